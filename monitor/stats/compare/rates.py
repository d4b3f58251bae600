"""Rates at the cuts against their targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, betaln, xlog1py, xlogy

from monitor.stats.arrays import FloatArray
from monitor.stats.count.binning import Binning
from monitor.stats.errors import StatsError

BISECTIONS = 60


@dataclass(frozen=True)
class Rate:
    """Fraction of crossings at or above one cut.

    `low` and `high` enclose the true fraction with the confidence asked for; `z` is the distance to
    the target in standard deviations and `ratio` the fraction over the target.
    """

    cut: int
    value: float
    error: float
    low: float
    high: float
    target: float
    ratio: float
    ratio_error: float
    z: float


def interval(above: ArrayLike, n: ArrayLike, confidence: float = 0.68) -> tuple[FloatArray, FloatArray]:
    """Clopper–Pearson interval for a fraction: covers the truth at least as often as promised.

    References:
        C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404.

    Examples:
        >>> low, high = interval(0, 100, confidence=0.9)
        >>> float(low), round(float(high), 4)
        (0.0, 0.0295)
    """
    k, total = np.asarray(above, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = (1 - confidence) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), total - k + 1, tail), 0.0)
    high = np.where(k < total, betaincinv(k + 1, np.maximum(total - k, 1), 1 - tail), 1.0)
    return low, high


def confidence_sequence(above: ArrayLike, n: ArrayLike, confidence: float = 0.95) -> tuple[FloatArray, FloatArray]:
    """Limits for a fraction that enclose it at all times at once, however often one looks.

    With Beta(½, ½) mixed over the alternatives, the likelihood ratio of k above in n against a true r::

        B(k + ½, n − k + ½) / B(½, ½) / (r^k (1 − r)^(n − k))

    is a martingale of mean 1 and stays below 1/(1 − confidence) for ever, but for that probability
    (J. Ville 1939). The limits are where it reaches that.

    Args:
        above: Scores above the cut, and
        n: all scores: arrays of any shapes that broadcast.
        confidence: Probability with which all limits enclose the fraction.

    Raises:
        StatsError: where more are above than there are, or none are there.

    References:
        H. Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 41
        (1970) 1397. S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, Ann. Stat. 49 (2021) 1055.

    Examples:
        >>> [round(float(limit), 4) for limit in confidence_sequence(20, 1000)]
        [0.0078, 0.0406]
    """
    k, total = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(n, dtype=np.float64))
    if not (k >= 0).all() or not (k <= total).all() or not (total > 0).all() or not 0 < confidence < 1:
        raise StatsError(f"{k} of {total} at confidence {confidence}: expected a part of at least one")
    least = betaln(k + 0.5, total - k + 0.5) - betaln(0.5, 0.5) + log(1 - confidence)

    def edge(outside: float) -> FloatArray:
        """By bisection between the best fraction, which is inside, and 0 or 1."""
        inside, out = k / total, np.full(k.shape, outside)
        for _ in range(BISECTIONS):
            middle = (inside + out) / 2
            within = xlogy(k, middle) + xlog1py(total - k, -middle) >= least
            inside, out = np.where(within, middle, inside), np.where(within, out, middle)
        return np.asarray(inside)

    return np.where(k > 0, edge(0.0), 0.0), np.where(k < total, edge(1.0), 1.0)


def measure(
    counts: ArrayLike, binning: Binning, targets: Sequence[float], m: float = inf, confidence: float = 0.68
) -> tuple[Rate, ...]:
    """The rate at every cut.

    With r = k/N, target r₀ and pooled r̄ = (Nr + Mr₀)/(N + M)::

        z = (r − r₀) / √(r̄ (1 − r̄)(1/N + 1/M))

    and √(1/k + 1/(M r₀)) for the relative error of the ratio, both without the (1 − r) of a rare cut.

    Args:
        counts: (B,) events per bin of `binning`.
        targets: Target fraction per cut.
        m: Events from which the targets were estimated; `inf` for targets that were decided.

    Examples:
        >>> binning = Binning(np.array([0, 20, 256]), cuts=(20,))
        >>> rate, = measure([980, 20], binning, targets=[0.01])
        >>> rate.value, rate.ratio, round(rate.z, 2)
        (0.02, 2.0, 3.18)
    """
    array = np.asarray(counts)
    if array.shape != (binning.n_bins,) or array.sum() == 0:
        raise StatsError(f"counts {array.tolist()}: expected {binning.n_bins} bins and at least one event")
    if len(targets) != len(binning.cuts) or not all(0 < target < 1 for target in targets):
        raise StatsError(f"targets {list(targets)}: expected a fraction for each of cuts {binning.cuts}")
    n = int(array.sum())
    above = binning.above(array)
    low, high = interval(above, n, confidence)
    return tuple(
        _rate(cut, int(k), n, float(a), float(b), target, m)
        for cut, k, a, b, target in zip(binning.cuts, above, low, high, targets, strict=True)
    )


def _rate(cut: int, k: int, n: int, low: float, high: float, target: float, m: float) -> Rate:
    value = k / n
    weight = n / (n + m)
    pooled = weight * value + (1 - weight) * target
    inverse_n = 1 / n + 1 / m
    return Rate(
        cut=cut,
        value=value,
        error=sqrt(value * (1 - value) / n),
        low=low,
        high=high,
        target=target,
        ratio=value / target,
        ratio_error=value / target * sqrt(1 / max(k, 1) + 1 / (m * target)),
        z=(value - target) / sqrt(pooled * (1 - pooled) * inverse_n),
    )
