"""What drifted, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from monitor.stats.binning import Binning, FloatArray
from monitor.stats.divergence import checked
from monitor.stats.rates import measure
from monitor.stats.tilts import Direction, directions

BINS = 3
"""Bins that are named."""
MAX_LOG_ODDS = 50.0
STEPS = 50


@dataclass(frozen=True)
class Description:
    """The likely kind of a drift and where it shows.

    `kind` is ``gain``, ``width``, ``slope``, ``tail``, ``range``, ``rate only``, ``stuck code`` or
    ``missing codes``; `share` the part of the window's KL that one such shape explains; `bins` the
    indices of the bins that contribute most to the KL, largest first; `cut` the index of the cut
    whose rate is off by most standard deviations, None without cuts.
    """

    kind: str
    text: str
    share: float
    bins: tuple[int, ...]
    cut: int | None


def describe(counts: ArrayLike, p: ArrayLike, m: float, binning: Binning) -> Description:
    r"""Name the direction (see `monitor.stats.tilts`) that explains the counts best.

    Along direction d the log-likelihood ratio N (a f·d − ln Σ p e^{a d}), f = counts/N, is concave in
    the amplitude a, which Newton steps find. A direction of a kind with many members pays the
    logarithm of their number for having been chosen.

    Raises StatsError as `compare` does.

    Examples
    --------
    >>> binning = Binning(np.array([0, 10, 20, 30, 40, 64]), cuts=(40,))
    >>> p = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
    >>> print(describe([39_800, 29_850, 19_900, 8_950, 1500], p, 1e6, binning).text.replace("; ", "\n"))
    rate only: rate above cut 40 × 1.51 (100 % of the KL)
    most in codes 40 to 63 × 1.50
    rate above cut 40 × 1.50
    """
    n, q = checked(counts, p, m)
    f = n / n.sum()
    along = directions(binning, q)
    amplitudes, explained = _fit(along, f, q)
    kinds = [direction.kind for direction in along]
    price = np.log([kinds.count(kind) for kind in kinds]) * (1 / n.sum() + 1 / m)
    best = int(np.argmax(explained - price))
    contributions = rel_entr(f, q) - f + q
    bins = tuple(np.argsort(-contributions)[:BINS].tolist())
    kind = _kind(along[best], amplitudes[best])
    words = along[best].words(amplitudes[best])
    share = float(explained[best] / max(contributions.sum(), np.finfo(float).tiny))
    low, high = binning.edges[bins[0]], binning.edges[bins[0] + 1] - 1
    text = f"{words if words.startswith(kind) else f'{kind}: {words}'} ({100 * share:.0f} % of the KL)"
    text += f"; most in codes {low} to {high} × {f[bins[0]] / q[bins[0]]:.2f}"
    cut = None
    if binning.cuts:
        rates = measure(n, binning, binning.above(q).tolist(), m)
        cut = int(np.argmax([abs(rate.z) for rate in rates]))
        text += f"; rate above cut {rates[cut].cut} × {rates[cut].ratio:.2f}"
    return Description(kind, text, share, bins, cut)


def _fit(along: Sequence[Direction], f: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Amplitude of each direction and the KL that it explains."""
    shapes = np.stack([direction.values for direction in along])
    limit = MAX_LOG_ODDS / np.ptp(shapes, axis=1)
    wanted, a = shapes @ f, np.zeros(len(shapes))
    for _ in range(STEPS):
        q = p * np.exp(a[:, None] * shapes)
        q /= q.sum(axis=1, keepdims=True)
        mean = (q * shapes).sum(axis=1)
        variance = (q * (shapes - mean[:, None]) ** 2).sum(axis=1)
        step = np.clip((wanted - mean) / np.maximum(variance, 1e-12), -limit / 10, limit / 10)
        a = np.clip(a + step, -limit, limit)
    return a, a * wanted - np.log(np.exp(a[:, None] * shapes) @ p)


def _kind(direction: Direction, amplitude: float) -> str:
    if direction.kind == "bin":
        return "stuck code" if amplitude > 0 else "missing codes"
    return "rate only" if direction.kind == "rate" else direction.kind
