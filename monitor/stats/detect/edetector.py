"""What e-detectors have in common: evidence against a neighbourhood of the reference, and an alarm with a promise."""

from collections.abc import Sequence
from math import log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.compare.tilts import Tilt
from monitor.stats.count.expected import Expected
from monitor.stats.detect.banks import Bank
from monitor.stats.errors import StatsError

RUN_LENGTH = 1e9
"""Scores between false alarms, unless told otherwise."""
REFERENCE_RISK = 0.01
"""Probability that a reference is so unlucky that the promise does not hold, unless told otherwise."""


def check_promise(target_run_length: float, tolerated: float, risk: float = REFERENCE_RISK) -> None:
    """Refuse a run length, a tolerated KL or a risk with which nothing could be promised.

    Raises:
        StatsError: naming all three.
    """
    if not target_run_length >= 1 or not tolerated >= 0 or not 0 < risk < 1:
        raise StatsError(
            f"target_run_length {target_run_length}, tolerated {tolerated}, risk {risk}: "
            "expected at least 1, at least 0 and a probability"
        )


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

    promises_run_length = True

    def __init__(self, banks: Sequence[Bank], target_run_length: float, tolerated: float) -> None:
        self.banks = tuple(banks)
        self.threshold = log1p(target_run_length)
        self.tolerated = tolerated
        self._null: Expected | None = None
        self.reset()

    def reset(self) -> None:
        """Forget what was seen."""
        for each in self.banks:
            each.reset()
        self.statistic = 0.0

    @property
    def drift_detected(self) -> bool:
        """Whether it is in alarm."""
        return self.statistic >= self.threshold

    @property
    def largest(self) -> Tilt:
        """The bet with most of the evidence."""
        return max((each.largest for each in self.banks), key=lambda found: found[0])[1]

    @property
    def words(self) -> str:
        """What it has seen, in words; nothing where it cannot tell."""
        return str(self.largest)

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        """Take in one block."""
        bins = expected.bins(counts)
        if not bins.any():
            return
        # One object stands for one pile-up (`Reference.expected`), so limits are made anew only where it changes.
        if self._null is not expected:
            for each in self.banks:
                each.null(expected, self.tolerated)
            self._null = expected
        cells, bins, n = counts.astype(np.float64), bins.astype(np.float64), float(bins.sum())
        for each in self.banks:
            each.update(cells, bins, n, phi)
        self.statistic = log1p(sum(each.evidence for each in self.banks))
