"""Scalar detectors, such as river's, on one number a block."""

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from monitor.stats.arrays import FloatArray
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.errors import StatsError

Statistic = Callable[[NDArray[Any], FloatArray, float], float]
"""Counts (B,), their expected p (B,) and the m events behind it to a number of order 1."""


class OnStatistic:
    """One of river's scalar detectors on a statistic of each block; promises no run length.

    Args:
        of_block: (counts, p, m) to a number of order 1, such as `kl_per_block` or `rate_per_block(binning)`.
        detector: A `river.drift` detector that has seen nothing yet.

    Examples:
        >>> from river.drift import ADWIN
        >>> rng = np.random.default_rng(1)
        >>> p = np.array([0.5, 0.3, 0.2])
        >>> detector = OnStatistic(kl_per_block, ADWIN())
        >>> for block in range(400):
        ...     truth = p if block < 200 else [0.45, 0.3, 0.25]
        ...     detector.update(rng.multinomial(1000, truth), Expected.known(p))
        ...     if detector.drift_detected:
        ...         print(f"drift in block {block}")
        ...         break
        drift in block 223
    """

    promises_run_length = False
    words = ""

    def __init__(self, of_block: Statistic, detector: Any) -> None:
        self.of_block = of_block
        self._unused = detector
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self.detector = self._unused.clone()
        self.statistic = 0.0

    @property
    def drift_detected(self) -> bool:
        """Whether it is in alarm."""
        return bool(self.detector.drift_detected)

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        """Take in one block."""
        if counts.sum():
            self.statistic = self.of_block(expected.bins(counts), expected.p, expected.m)
            self.detector.update(self.statistic)


def kl_per_block(counts: NDArray[Any], p: FloatArray, m: float = inf) -> float:
    """KL of a block over what statistics alone give: 2 N' KL(current ‖ p) / (B − 1), mean 1 without drift."""
    n = counts.sum()
    return float(2 * rel_entr(counts / n, p).sum() / (1 / n + 1 / m) / (len(p) - 1))


def rate_per_block(binning: Binning, cut: float = 0) -> Statistic:
    """Distance of the rate above `binning.cuts[cut]` from that of p, in standard deviations."""
    if cut not in range(len(binning.cuts)):
        raise StatsError(f"cut {cut}: expected the index of one of the cuts {binning.cuts}")
    first = int(binning.cut_bins[int(cut)])

    def pull(counts: NDArray[Any], p: FloatArray, m: float = inf) -> float:
        n, rate = counts.sum(), p[first:].sum()
        return float((counts[first:].sum() / n - rate) / np.sqrt(rate * (1 - rate) * (1 / n + 1 / m)))

    return pull
