"""Directions in which a score distribution can drift, and banks of tilts along them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, log1p

import numpy as np

from monitor.stats.binning import Binning, FloatArray, StatsError

SIZES = (1e-5, 1e-4, 1e-3, 1e-2)
"""KL in nats per score to which the members of a bank are tuned."""
CHANGES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Relative changes of a rate to which the members of a rate bank are tuned: up, and down by the inverse."""
MAX_ODDS = 30.0
TAIL = 0.1
"""Upper shares up to this one are tails."""
_STEP = 0.01


@dataclass(frozen=True, eq=False)
class Direction:
    """A shape d (B,) of drift: q_b ∝ p_b exp(a d_b) with amplitude a, where E_p d = 0 and Var_p d = 1.

    The drift's information is then a²/2 nats per score, to leading order. `kind` is ``gain``,
    ``width``, ``slope``, ``rate`` (at or above a cut), ``tail``, ``range`` or ``bin``; `where` names the
    codes; `unit` is the relative gain or width that makes a = 1.
    """

    kind: str
    where: str
    values: FloatArray
    unit: float = 0.0

    def words(self, amplitude: float) -> str:
        """A drift of this amplitude in words.

        Examples
        --------
        >>> Direction("gain", "", np.zeros(2), unit=0.5).words(0.1)
        'gain +5.0 %'
        """
        if self.kind in ("gain", "width"):
            return f"{self.kind} {100 * amplitude * self.unit:+.1f} %"
        if self.kind == "slope":
            return f"slope towards {'high' if amplitude > 0 else 'low'} scores"
        odds = exp(amplitude * float(np.ptp(self.values)))
        return f"{self.where} × {odds:.3g}"


@dataclass(frozen=True, eq=False)
class Tilt:
    """A member of a bank: a direction with an amplitude, and its share of the bank's weight."""

    direction: Direction
    amplitude: float
    weight: float

    def __str__(self) -> str:
        return self.direction.words(self.amplitude)


def directions(binning: Binning, p: FloatArray) -> tuple[Direction, ...]:
    """Gain, width and slope; every cut and upper tail; single bins and dyadic ranges of bins."""
    if p.shape != (binning.n_bins,) or len(p) < 2 or not (p > 0).all():
        raise StatsError(f"p of shape {p.shape}: expected {binning.n_bins} bins, at least 2, all above 0")
    return tuple(_smooth(binning, p)) + rate_directions(binning, p) + tuple(_sets(binning, p))


def rate_directions(binning: Binning, p: FloatArray) -> tuple[Direction, ...]:
    """One direction per cut: the rate above it, everything else in proportion."""
    cuts = zip(binning.cuts, binning.cut_bins.tolist(), strict=True)
    return tuple(_set("rate", f"rate above cut {cut}", slice(first, None), p) for cut, first in cuts)


def bank(along: Sequence[Direction], sizes: Sequence[float] = SIZES) -> tuple[Tilt, ...]:
    """Tilts both ways along each direction, at most 30-fold; the kinds share the weight equally.

    Parameters
    ----------
    sizes
        KL in nats per score, one amplitude √(2 KL) each.
    """
    members = []
    for direction in along:
        limit = log(MAX_ODDS) / float(np.ptp(direction.values))
        steps = sorted({min(float(np.sqrt(2 * size)), limit) for size in sizes})
        members += [(direction, sign * step) for step in steps for sign in (1, -1)]
    kinds = [direction.kind for direction, _ in members]
    weight = {kind: 1 / kinds.count(kind) / len(set(kinds)) for kind in kinds}
    return tuple(Tilt(direction, amplitude, weight[direction.kind]) for direction, amplitude in members)


def rate_bank(binning: Binning, p: FloatArray, changes: Sequence[float] = CHANGES) -> tuple[Tilt, ...]:
    """Tilts of the rate above each cut alone, cut by cut, all of the same weight."""
    steps = [sign * log1p(change) for change in changes for sign in (1, -1)]
    along = rate_directions(binning, p)
    weight = 1 / max(len(along) * len(steps), 1)
    return tuple(Tilt(d, step / float(np.ptp(d.values)), weight) for d in along for step in steps)


def _smooth(binning: Binning, p: FloatArray) -> Iterator[Direction]:
    edges = binning.edges.astype(np.float64)
    rank = np.cumsum(p) - p / 2
    middle = float(np.interp(0.5, np.concatenate([[0.0], np.cumsum(p)]), edges))
    survival = _survival(edges, p)
    for kind, origin in (("gain", 0.0), ("width", middle)):
        above = survival(origin + (edges - origin) / (1 + _STEP))
        above[0], above[-1] = 1.0, 0.0
        values = (-np.diff(above) / p - 1) / _STEP
        if not np.allclose(values, 0):
            yield Direction(kind, "", *_standard(values, p))
    yield Direction("slope", "", _standard(rank, p)[0])


def _survival(edges: FloatArray, p: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """The share at or above a code, ln linear between the edges; the last bin falls like the one before."""
    log_share = np.log(np.cumsum(p[::-1])[::-1])
    slope = (log_share[-1] - log_share[-2]) / (edges[-2] - edges[-3])
    knots = np.append(log_share, log_share[-1] + slope * (edges[-1] - edges[-2]))
    return lambda codes: np.exp(np.interp(codes, edges, knots))


def _sets(binning: Binning, p: FloatArray) -> Iterator[Direction]:
    n, edges = binning.n_bins, binning.edges.tolist()
    share = np.cumsum(p[::-1])[::-1]
    for first in range(1, n):
        if share[first] <= TAIL and first not in binning.cut_bins:
            yield _set("tail", f"codes from {edges[first]}", slice(first, None), p)
    width = 1
    while width <= n // 2:
        for first in range(0, n - width + 1, width):
            where = f"codes {edges[first]} to {edges[first + width] - 1}"
            yield _set("bin" if width == 1 else "range", where, slice(first, first + width), p)
        width *= 2


def _set(kind: str, where: str, bins: slice, p: FloatArray) -> Direction:
    inside = np.zeros(len(p))
    inside[bins] = 1.0
    return Direction(kind, where, _standard(inside, p)[0])


def _standard(values: FloatArray, p: FloatArray) -> tuple[FloatArray, float]:
    """`values` with mean 0 and variance 1 under p, and the inverse of their spread."""
    centred = values - p @ values
    spread = float(np.sqrt(p @ centred**2))
    return centred / spread, 1 / spread
