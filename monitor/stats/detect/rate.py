"""The e-detector of the rates at the cuts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.rates import confidence_sequence
from monitor.stats.compare.tilts import CHANGES
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.banks import RateBank
from monitor.stats.detect.edetector import REFERENCE_RISK, RUN_LENGTH, EDetector, check_promise
from monitor.stats.errors import StatsError


class RateDetector(EDetector):
    """Two-sided e-detector of the rate above each cut.

    Args:
        targets: Fractions to hold instead of those that p gives, exactly known; for a stream that holds its rate.
        tolerated_change: A smaller relative change of a rate is no drift. (A KL that is tolerable for the whole
            distribution, `tolerated`, hides any change of a rare cut's rate r: that is r c²/2 nats.)

    Examples:
        >>> rng = np.random.default_rng(7)
        >>> binning, p = Binning(np.array([0, 40, 64]), cuts=(40,)), np.array([0.99, 0.01])
        >>> detector = RateDetector(binning, p, target_run_length=1e6)
        >>> for block in range(100):
        ...     detector.update(rng.multinomial(10_000, [0.987, 0.013]), Expected.known(p, m=1e7))
        ...     if detector.drift_detected:
        ...         print(f"block {block}: {detector.largest.direction.where}")
        ...         break
        block 3: rate above cut 40
        >>> print(detector.words)
        rate above cut 40 × 1.25: 0.0105 to 0.0151
    """

    def __init__(
        self,
        binning: Binning,
        p: FloatArray,
        targets: Sequence[float] | None = None,
        tolerated_change: float = 0.0,
        changes: Sequence[float] = CHANGES,
        target_run_length: float = RUN_LENGTH,
        tolerated: float = 0.0,
        risk: float = REFERENCE_RISK,
    ) -> None:
        check_promise(target_run_length, tolerated, risk)
        if not binning.cuts or (targets is not None and len(targets) != len(binning.cuts)):
            raise StatsError(f"cuts {binning.cuts}, targets {targets}: expected a cut and a target for each")
        if not tolerated_change >= 0:
            raise StatsError(f"tolerated_change {tolerated_change}: expected at least 0")
        held = None if targets is None else np.asarray(targets, dtype=np.float64)
        rates = RateBank(binning, p, changes, held, tolerated_change, risk)
        self._binning = binning
        super().__init__([rates], target_run_length, tolerated)

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        self._n, self._above = 0, np.zeros(len(self._binning.cuts), np.int64)

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        """Take in one block."""
        super().update(counts, expected, phi)
        bins = expected.bins(counts)
        self._n += int(bins.sum())
        self._above += self._binning.above(bins)

    def limits(self, confidence: float = 0.95) -> list[tuple[float, float]]:
        """For the rate at each cut since the last reset, a confidence sequence: they hold at all times at once."""
        low, high = confidence_sequence(self._above, self._n, confidence)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    @property
    def words(self) -> str:
        """What it has seen, in words; nothing where it cannot tell."""
        what = self.largest.direction.where
        low, high = self.limits()[next(i for i, cut in enumerate(self._binning.cuts) if what.endswith(f" {cut}"))]
        return f"{self.largest}: {low:.3g} to {high:.3g}"
