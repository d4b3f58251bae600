"""What drifted, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.divergence import checked
from monitor.stats.compare.rates import measure
from monitor.stats.compare.tilts import Direction, directions
from monitor.stats.count.binning import Binning

NAMED_BINS = 3
"""Bins that are named."""
MAX_LOG_ODDS = 50.0
"""An amplitude is limited so that no odds change by more than the exponential of this."""
ITERATIONS, CONVERGED = 50, 1e-6
"""Newton steps at most, and the step at which they end."""
MAX_CHANGE, PRECISE = 0.9, 1e-8
"""Largest relative gain or width that is looked for, and how precisely."""
GOLDEN_RATIO = (5**0.5 - 1) / 2
RANK_SPREAD = 12**-0.5
"""Standard deviation of the rank, which is uniform."""
LAST_LEFT = 1e-6
"""Share of the last bin that is left at its end."""


@dataclass(frozen=True)
class Description:
    """The likely kind of a drift and where it shows.

    `kind` is ``gain``, ``width``, ``slope``, ``tail``, ``range``, ``rate only``, ``stuck code`` or
    ``missing codes``; `size` with its `error` the relative change of scale, width or odds, for a slope
    the shift of the mean rank; `words` say both. `share` is the part of the window's KL that one such shape
    explains; `bins` the indices of the bins that contribute most to the KL, largest first; `cut` the
    index of the cut whose rate is off by most standard deviations, None without cuts. `direction` is
    the shape of the drift.
    """

    kind: str
    size: float
    error: float
    words: str
    text: str
    share: float
    bins: tuple[int, ...]
    cut: int | None
    direction: Direction


def describe(
    counts: ArrayLike, p: ArrayLike, m: float, binning: Binning, nearby: FloatArray | None = None
) -> Description:
    r"""Name the direction (see `monitor.stats.compare.tilts`) that explains the counts best.

    Along direction d the log-likelihood ratio N (a f·d − ln Σ p e^{a d}), f = counts/N, is concave in
    the amplitude a, which Newton steps find. A direction of a kind with many members pays the
    logarithm of their number for having been chosen. The error of a is √((1/N + 1/M) / Var d) and,
    in quadrature, the largest amplitude of the `nearby`. The size of a gain or width is the most
    likely one, ln of the share above a code being linear within each bin.

    Args:
        nearby: (J, B) probabilities that may stand in for p, such as those at other pile-ups.

    Raises:
        StatsError: as `compare` does.

    Examples:
        >>> binning = Binning(np.array([0, 10, 20, 30, 40, 64]), cuts=(40,))
        >>> p = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
        >>> print(describe([39_800, 29_850, 19_900, 8_950, 1500], p, 1e6, binning).text.replace("; ", "\n"))
        rate only: rate above cut 40 × 1.51 ± 0.04 (100 % of the KL)
        most in codes 40 to 63 × 1.50
        rate above cut 40 × 1.50
    """
    n, q = checked(counts, p, m)
    f = n / n.sum()
    along = directions(binning, q)
    amplitudes, errors, explained = _fit(along, f, q)
    inverse_n = 1 / n.sum() + 1 / m
    kinds = [direction.kind for direction in along]
    best = int(np.argmax(explained - np.log([kinds.count(kind) for kind in kinds]) * inverse_n))
    direction, amplitude = along[best], float(amplitudes[best])
    by_nearby = 0.0 if nearby is None else float(np.abs((nearby - q) @ direction.values).max(initial=0.0))
    error = float(np.hypot(errors[best] * np.sqrt(inverse_n), by_nearby))
    if direction.kind in ("gain", "width"):
        amplitude = _rescaling(direction.kind, f, binning, q) / direction.unit
    size, error, words = _sized(direction, amplitude, error)
    contributions = rel_entr(f, q) - f + q
    bins = tuple(np.argsort(-contributions)[:NAMED_BINS].tolist())
    kind = _kind(direction, amplitude)
    words = words if words.startswith(kind) else f"{kind}: {words}"
    share = float(explained[best] / max(contributions.sum(), np.finfo(float).tiny))
    low, high = binning.edges[bins[0]], binning.edges[bins[0] + 1] - 1
    text = f"{words} ({100 * share:.0f} % of the KL)"
    text += f"; most in codes {low} to {high} × {f[bins[0]] / q[bins[0]]:.2f}"
    cut = None
    if binning.cuts:
        rates = measure(n, binning, binning.above(q).tolist(), m)
        cut = int(np.argmax([abs(rate.z) for rate in rates]))
        text += f"; rate above cut {rates[cut].cut} × {rates[cut].ratio:.2f}"
    return Description(kind, size, error, words, text, share, bins, cut, direction)


def _fit(along: Sequence[Direction], f: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Amplitude of each direction, its error times √N, and the KL that it explains."""
    shapes = np.stack([direction.values for direction in along])
    limit = MAX_LOG_ODDS / np.ptp(shapes, axis=1)
    wanted, a = shapes @ f, np.zeros(len(shapes))
    for _ in range(ITERATIONS):
        q = p * np.exp(a[:, None] * shapes)
        q /= q.sum(axis=1, keepdims=True)
        mean = (q * shapes).sum(axis=1)
        variance = (q * (shapes - mean[:, None]) ** 2).sum(axis=1)
        step = np.clip((wanted - mean) / np.maximum(variance, 1e-12), -limit / 10, limit / 10)
        a = np.clip(a + step, -limit, limit)
        if np.abs(step).max() < CONVERGED:
            break
    return a, 1 / np.sqrt(np.maximum(variance, 1e-12)), a * wanted - np.log(np.exp(a[:, None] * shapes) @ p)


def _rescaling(kind: str, f: FloatArray, binning: Binning, p: FloatArray) -> float:
    """The most likely relative gain or width, by golden section."""
    edges = binning.edges.astype(np.float64)
    log_share = np.log(np.append(np.cumsum(p[::-1])[::-1], p[-1] * LAST_LEFT))
    origin = 0.0 if kind == "gain" else float(np.interp(0.5, np.append(0.0, np.cumsum(p)), edges))

    def kl(change: float) -> float:
        above = np.exp(np.interp(origin + (edges - origin) / (1 + change), edges, log_share))
        above[0], above[-1] = 1.0, 0.0
        return float(rel_entr(f, np.maximum(-np.diff(above), LAST_LEFT * p)).sum())

    low, high = -MAX_CHANGE, MAX_CHANGE
    left, right = high - GOLDEN_RATIO * (high - low), low + GOLDEN_RATIO * (high - low)
    at_left, at_right = kl(left), kl(right)
    while high - low > PRECISE:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN_RATIO * (high - low)
            at_left = kl(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN_RATIO * (high - low)
            at_right = kl(right)
    return (low + high) / 2


def _sized(direction: Direction, amplitude: float, error: float) -> tuple[float, float, str]:
    """The change that the amplitude stands for, its error, and both in words."""
    if direction.kind in ("gain", "width"):
        size, error = amplitude * direction.unit, error * direction.unit
        return size, error, f"{direction.kind} {100 * size:+.1f} ± {100 * error:.1f} %"
    if direction.kind == "slope":
        size, error = amplitude * RANK_SPREAD, error * RANK_SPREAD
        return size, error, f"{direction.words(amplitude)} (mean rank {100 * size:+.1f} ± {100 * error:.1f} %)"
    span = float(np.ptp(direction.values))
    odds = float(np.exp(amplitude * span))
    return odds - 1, odds * error * span, f"{direction.where} × {odds:.2f} ± {odds * error * span:.2f}"


def _kind(direction: Direction, amplitude: float) -> str:
    if direction.kind == "bin":
        return "stuck code" if amplitude > 0 else "missing codes"
    return "rate only" if direction.kind == "rate" else direction.kind
