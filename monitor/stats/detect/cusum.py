"""The e-detector of changes that have a name, by the most likely onset alone."""

from collections.abc import Sequence
from math import log

import numpy as np

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.tilts import TILT_SIZES, bank, directions
from monitor.stats.count.binning import Binning
from monitor.stats.detect.banks import TiltBank
from monitor.stats.detect.edetector import REFERENCE_RISK, RUN_LENGTH, EDetector, check_promise


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
        check_promise(target_run_length, tolerated, risk)
        tilts = bank(directions(binning, p), sizes)
        named = TiltBank(tilts, log(2 * len(tilts) / risk), np.maximum)
        super().__init__([named], target_run_length, tolerated)
