"""Directions in which a score distribution can drift, and banks of tilts along them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, log1p
from typing import NamedTuple

import numpy as np

from monitor.stats.arrays import FloatArray
from monitor.stats.count.binning import Binning
from monitor.stats.errors import StatsError

TILT_SIZES = (1e-5, 3.2e-5, 1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2)
"""KL in nats per score to which the members of a bank are tuned: an amplitude is off by 1.33 at most."""
TILT_SMALLNESS = 0.5
"""Weights fall like KL^−TILT_SMALLNESS: a small drift has fewer scores within a run length to be found in."""
KINDS = {"rate": 0.62, "gain": 0.05, "width": 0.07, "slope": 0.02, "tail": 0.05, "range": 0.16, "bin": 0.03}
"""Weight of each kind of direction in a bank, before those that are there are scaled to 1."""
RANGE_PARTS = (2, 4, 8, 16)
"""Ranges hold these parts of the scores, half of one overlapping the next."""
CHANGES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Relative changes of a rate to which the members of a rate bank are tuned: up, and down by the inverse."""
MAX_ODDS = 30.0
"""No tilt changes odds by more than this factor."""
LARGEST_TAIL = 0.1
"""Upper shares up to this one are tails."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A shape d (B,) of drift: q_b ∝ p_b exp(a d_b) with amplitude a, where E_p d = 0 and Var_p d = 1.

    The drift's information is then a²/2 nats per score, to leading order. `kind` is one of `KINDS`;
    `where` names the codes; `unit` is the relative gain or width that makes a = 1.
    """

    kind: str
    where: str
    values: FloatArray
    unit: float = 0.0

    def words(self, amplitude: float) -> str:
        """A drift of this amplitude in words.

        Examples:
            >>> Direction("gain", "", np.zeros(2), unit=0.5).words(0.1)
            'gain +5.0 %'
        """
        if self.kind in ("gain", "width"):
            return f"{self.kind} {100 * amplitude * self.unit:+.1f} %"
        if self.kind == "slope":
            return f"slope towards {'high' if amplitude > 0 else 'low'} scores"
        if self.kind == "shape":
            return f"shape changed by up to × {exp(abs(amplitude) * float(np.abs(self.values).max())):.3g}"
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
    """Gain, width and slope; every cut and upper tail; single bins and ranges of bins."""
    if p.shape != (binning.n_bins,) or len(p) < 2 or not (p > 0).all():
        raise StatsError(f"p of shape {p.shape}: expected {binning.n_bins} bins, at least 2, all above 0")
    return (*_smooth(binning, p), *rate_directions(binning, p), *_of_sets(list(_sets(binning, p)), p))


def rate_directions(binning: Binning, p: FloatArray) -> tuple[Direction, ...]:
    """One direction per cut: the rate above it, everything else in proportion."""
    cuts = zip(binning.cuts, binning.cut_bins.tolist(), strict=True)
    return _of_sets([_Set("rate", f"rate above cut {cut}", first, binning.n_bins) for cut, first in cuts], p)


def bank(along: Sequence[Direction], sizes: Sequence[float] = TILT_SIZES, weight: float = 1.0) -> tuple[Tilt, ...]:
    """Tilts both ways along each direction, at most 30-fold; the kinds share the `weight` by `KINDS`.

    Args:
        sizes: KL in nats per score, one amplitude √(2 KL) each.
    """
    kinds = [direction.kind for direction in along]
    total = sum(KINDS[kind] for kind in set(kinds))
    members = []
    for direction in along:
        limit = log(MAX_ODDS) / float(np.ptp(direction.values))
        steps = sorted({min(float(np.sqrt(2 * size)), limit) for size in sizes})
        prior = np.array(steps) ** (-2 * TILT_SMALLNESS)
        share = weight * KINDS[direction.kind] / kinds.count(direction.kind) / total
        for step, each in zip(steps, (share * prior / prior.sum() / 2).tolist(), strict=True):
            members += [Tilt(direction, sign * step, each) for sign in (1, -1)]
    return tuple(members)


def rate_bank(binning: Binning, p: FloatArray, changes: Sequence[float] = CHANGES) -> tuple[Tilt, ...]:
    """Tilts of the rate above each cut alone, cut by cut, all of the same weight."""
    steps = [sign * log1p(change) for change in changes for sign in (1, -1)]
    along = rate_directions(binning, p)
    weight = 1 / max(len(along) * len(steps), 1)
    return tuple(Tilt(d, step / float(np.ptp(d.values)), weight) for d in along for step in steps)


def _smooth(binning: Binning, p: FloatArray) -> Iterator[Direction]:
    edges = binning.edges.astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(p)])
    middle = float(np.interp(0.5, below, edges))
    rank = below[:-1] + p / 2
    density = _density(edges, below)
    for kind, origin in (("gain", 0.0), ("width", middle)):
        flow = np.concatenate([[0.0], density * (edges[1:-1] - origin), [0.0]])
        values = -np.diff(flow) / p
        if not np.allclose(values, 0):
            shape, unit = _standard(values, p)
            yield Direction(kind, "", shape, float(unit[0]))
    yield Direction("slope", "", _standard(rank, p)[0])


def _density(edges: FloatArray, below: FloatArray) -> FloatArray:
    """(B−1,) events per code at the inner edges: the upper tail falls exponentially, the lower like a power."""
    inner, upper = edges[1:-1], below[1:-1] > 0.5
    if len(inner) < 2:
        return np.zeros(len(inner))
    low, high = below[1:-1], 1 - below[1:-1]
    falling = -high * np.gradient(np.log(high), inner)
    rising = low / inner * np.gradient(np.log(low), np.log(inner))
    return np.asarray(np.where(upper, falling, rising))


class _Set(NamedTuple):
    """Bins from `first` to before `last` whose share of the scores changes."""

    kind: str
    where: str
    first: int
    last: int


def _sets(binning: Binning, p: FloatArray) -> Iterator[_Set]:
    n, edges = binning.n_bins, binning.edges.tolist()
    share = np.cumsum(p[::-1])[::-1]
    for first in range(1, n):
        if share[first] <= LARGEST_TAIL and first not in binning.cut_bins:
            yield _Set("tail", f"codes from {edges[first]}", first, n)
    for first in range(n):
        yield _Set("bin", f"codes {edges[first]} to {edges[first + 1] - 1}", first, first + 1)
    rank, seen = np.cumsum(p) - p / 2, {(0, n)}
    for parts in RANGE_PARTS:
        halves = np.arange(2 * parts - 1)
        ends = np.searchsorted(rank, np.stack([halves, halves + 2], axis=1) / (2 * parts))
        for first, last in ends.tolist():
            if last - first > 1 and (first, last) not in seen:
                seen.add((first, last))
                yield _Set("range", f"codes {edges[first]} to {edges[last] - 1}", first, last)


def _of_sets(sets: Sequence[_Set], p: FloatArray) -> tuple[Direction, ...]:
    """The directions of all sets at once: an indicator each, standardised."""
    if not sets:
        return ()
    bins = np.arange(len(p))
    inside = np.array([(bins >= each.first) & (bins < each.last) for each in sets], dtype=np.float64)
    values, _ = _standard(inside, p)
    return tuple(Direction(each.kind, each.where, row) for each, row in zip(sets, values, strict=True))


def _standard(values: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`values` (..., B) with mean 0 and variance 1 under p, and the inverse (..., 1) of their spread."""
    centred = values - (values @ p)[..., None]
    spread = np.sqrt(centred**2 @ p)[..., None]
    return centred / spread, 1 / spread
