"""E-detectors: alarms with a promised run length."""

from collections.abc import Sequence
from math import log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.rates import confidence_sequence
from monitor.stats.compare.tilts import CHANGES, TILT_SIZES, Tilt, bank, directions
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.banks import EXCESSES, Bank, CellBank, RateBank, TiltBank
from monitor.stats.detect.learner import Learner
from monitor.stats.errors import StatsError

RUN_LENGTH = 1e9
"""Scores between false alarms, unless told otherwise."""
REFERENCE_RISK = 0.01
WEIGHTS = {"learner": 0.5, "cells": 0.11}
"""Shares of the new capital; the bank of tilts has the rest."""


class EDetector:
    """Shiryaev–Roberts e-detector: the evidence of banks of e-processes, started anew at every score.

    Each member of a bank bets on one kind of drift. Its evidence R for a drift that began at any time in
    the past grows by one for each score and by its gains; with A the target run length::

        alarm when Σ_k w_k R_k ≥ A

    Σ w R − Σ N is a supermartingale under the null, so that the mean number of scores to a false alarm is
    at least A, whatever the sizes of the blocks. The null is not p but every distribution within KL δ of
    one that a reference of m events may, but for the `risk`, have come from, at every pile-up that the
    measured one may stand for. So the promise stands for a reference of finite m too; what is paid is that
    drifts smaller than the reference's own error and δ are never seen.

    Args:
        target_run_length: A in scores.
        tolerated: δ in nats: a smaller KL to the reference is no drift.

    Attributes:
        statistic: ln(1 + Σ w R); the alarm is at `threshold` = ln(1 + A) and lasts until it is below or `reset`.

    References:
        J. Shin, A. Ramdas, A. Rinaldo, E-detectors: a nonparametric framework for sequential change
        detection, New England J. Stat. Data Sci. 2 (2024) 229.
    """

    def __init__(self, banks: Sequence[Bank], target_run_length: float, tolerated: float) -> None:
        self.banks = tuple(banks)
        self.threshold = log1p(target_run_length)
        self.tolerated = tolerated
        self._null: Expected | None = None
        self.reset()

    def reset(self) -> None:
        for each in self.banks:
            each.reset()
        self.statistic = 0.0

    @property
    def drift_detected(self) -> bool:
        return self.statistic >= self.threshold

    @property
    def largest(self) -> Tilt:
        """The bet with most of the evidence."""
        return max((each.largest for each in self.banks), key=lambda found: found[0])[1]

    @property
    def words(self) -> str:
        return str(self.largest)

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        bins = expected.bins(counts)
        if not bins.any():
            return
        if self._null is not expected:
            for each in self.banks:
                each.null(expected, self.tolerated)
            self._null = expected
        cells, bins, n = counts.astype(np.float64), bins.astype(np.float64), float(bins.sum())
        for each in self.banks:
            each.update(cells, bins, n, phi)
        self.statistic = log1p(sum(each.evidence for each in self.banks))


class EMixture(EDetector):
    """E-detector of any change of shape: what has a name, single codes, and a `Learner` for the rest.

    Args:
        p, cells: (B,) and (C,) probabilities of the reference's bins and of the cells that divide them.
        sizes: KL in nats per score to which the named tilts are tuned.
        risk: Probability that a reference of m events is so unlucky that the promise does not hold.

    Examples:
        >>> rng = np.random.default_rng(7)
        >>> binning, p = Binning(np.array([0, 10, 20, 40, 64])), np.array([0.4, 0.3, 0.2, 0.1])
        >>> detector = EMixture(binning, p, p, target_run_length=1e6)
        >>> for block in range(400):
        ...     truth = p if block < 200 else [0.4, 0.3, 0.17, 0.13]
        ...     detector.update(rng.multinomial(250, truth), Expected.known(p))
        ...     if detector.drift_detected:
        ...         print(f"drift in block {block}: {detector.largest}")
        ...         break
        drift in block 208: cell 3 × 1.3
    """

    def __init__(
        self,
        binning: Binning,
        p: FloatArray,
        cells: FloatArray,
        target_run_length: float = RUN_LENGTH,
        tolerated: float = 0.0,
        risk: float = REFERENCE_RISK,
        sizes: Sequence[float] = TILT_SIZES,
    ) -> None:
        _check(target_run_length, tolerated, risk)
        named = [direction for direction in directions(binning, p) if direction.kind != "bin"]
        tilts = bank(named, sizes, 1 - sum(WEIGHTS.values()))
        union = log(4 * (len(tilts) + (len(EXCESSES) + 1) * len(cells)) / risk)
        super().__init__(
            [
                TiltBank(tilts, union),
                CellBank(cells, WEIGHTS["cells"], union),
                Learner(p, WEIGHTS["learner"], risk / 2),
            ],
            target_run_length,
            tolerated,
        )


class ECusum(EDetector):
    """CUSUM of every tilt that has a name, with the promise of an e-detector.

    Less quick than `EMixture`, which sums over all onsets and learns; for comparison, and where only what
    has a name is of interest.
    """

    def __init__(
        self,
        binning: Binning,
        p: FloatArray,
        target_run_length: float = RUN_LENGTH,
        tolerated: float = 0.0,
        risk: float = REFERENCE_RISK,
        sizes: Sequence[float] = TILT_SIZES,
    ) -> None:
        _check(target_run_length, tolerated, risk)
        tilts = bank(directions(binning, p), sizes)
        named = TiltBank(tilts, log(2 * len(tilts) / risk), np.maximum)
        super().__init__([named], target_run_length, tolerated)


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
        _check(target_run_length, tolerated, risk)
        if not binning.cuts or (targets is not None and len(targets) != len(binning.cuts)):
            raise StatsError(f"cuts {binning.cuts}, targets {targets}: expected a cut and a target for each")
        if not tolerated_change >= 0:
            raise StatsError(f"tolerated_change {tolerated_change}: expected at least 0")
        held = None if targets is None else np.asarray(targets, dtype=np.float64)
        rates = RateBank(binning, p, changes, held, tolerated_change, risk)
        self._binning = binning
        super().__init__([rates], target_run_length, tolerated)

    def reset(self) -> None:
        super().reset()
        self._n, self._above = 0, np.zeros(len(self._binning.cuts), np.int64)

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
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
        what = self.largest.direction.where
        low, high = self.limits()[next(i for i, cut in enumerate(self._binning.cuts) if what.endswith(f" {cut}"))]
        return f"{self.largest}: {low:.3g} to {high:.3g}"


def _check(target_run_length: float, tolerated: float, risk: float) -> None:
    if not target_run_length >= 1 or not tolerated >= 0 or not 0 < risk < 1:
        raise StatsError(
            f"target_run_length {target_run_length}, tolerated {tolerated}, risk {risk}: "
            "expected at least 1, at least 0 and a probability"
        )
