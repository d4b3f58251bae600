"""The generalised likelihood ratio over the last blocks, of any number of them."""

from dataclasses import dataclass
from math import log10
from typing import Any

from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray, IntArray
from monitor.stats.compare.divergence import compare
from monitor.stats.count.expected import Expected
from monitor.stats.count.window import Dyadic
from monitor.stats.detect.edetector import RUN_LENGTH, check_promise


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Counts (B,) of some blocks, the sum of what was expected of them, and the least m behind it."""

    counts: IntArray
    expected: FloatArray
    m: float

    def __add__(self, other: "_Blocks") -> "_Blocks":
        return _Blocks(self.counts + other.counts, self.expected + other.expected, min(self.m, other.m))


class Glr:
    """Alarm where any distribution fits the last 1, 2, 3–4, 5–8 … blocks better than the reference.

    Twice the log-likelihood ratio against the best other distribution is χ² = 2N'·KL, see `compare`. Of
    N scores in a block and W windows that end with it, each may have a p-value of N/(A·W) at the most.
    The false alarms come A scores apart as far as χ² describes the far tail, which is not promised.

    Attributes:
        statistic: −log10 of the least p-value for a drift beyond δ.

    References:
        D. Siegmund, E. S. Venkatraman, Using the generalized likelihood ratio statistic for sequential
        detection of a change-point, Ann. Stat. 23 (1995) 255.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(1)
        >>> detector = Glr(target_run_length=1e6)
        >>> for block in range(100):
        ...     truth = [0.5, 0.5] if block < 50 else [0.57, 0.43]
        ...     detector.update(rng.multinomial(250, truth), Expected.known([0.5, 0.5]))
        ...     if detector.drift_detected:
        ...         print(f"drift in block {block}")
        ...         break
        drift in block 55
    """

    promises_run_length = False
    words = ""

    def __init__(self, target_run_length: float = RUN_LENGTH, tolerated: float = 0.0) -> None:
        check_promise(target_run_length, tolerated)
        self.target_run_length = target_run_length
        self.tolerated = tolerated
        self._past = Dyadic[_Blocks]()
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        self._past.clear()
        self.statistic = 0.0
        self.drift_detected = False

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        """Take in one block."""
        bins = expected.bins(counts)
        n = int(bins.sum())
        if not n:
            return
        self._past.push(_Blocks(bins, n * expected.p, expected.m))
        windows = list(self._past.ending_now())
        found = [self._p_value(window, phi) for window in windows]
        self.statistic = -log10(max(min(found), 1e-300))
        self.drift_detected = min(found) * len(windows) < n / self.target_run_length

    def _p_value(self, window: _Blocks, phi: float) -> float:
        p = window.expected / window.expected.sum()
        return compare(window.counts, p, window.m, tolerated=self.tolerated, phi=phi).p_value_tolerated
