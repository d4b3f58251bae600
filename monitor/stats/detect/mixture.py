"""The e-detector of any change of shape."""

from collections.abc import Sequence
from math import log

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.tilts import TILT_SIZES, bank, directions
from monitor.stats.count.binning import Binning
from monitor.stats.detect.banks import EXCESSES, CellBank, TiltBank
from monitor.stats.detect.edetector import REFERENCE_RISK, RUN_LENGTH, EDetector, check_promise
from monitor.stats.detect.learner import Learner

LEARNER_WEIGHT, CELLS_WEIGHT = 0.5, 0.11
"""Shares of the new capital; the bank of named tilts has the rest."""


class EMixture(EDetector):
    """E-detector of any change of shape: what has a name, single codes, and a `Learner` for the rest.

    Args:
        p, cells: (B,) and (C,) probabilities of the reference's bins and of the cells that divide them.
        sizes: KL in nats per score to which the named tilts are tuned.
        risk: Probability that a reference of m events is so unlucky that the promise does not hold.

    Examples:
        >>> import numpy as np
        >>> from monitor.stats.count.expected import Expected
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
        check_promise(target_run_length, tolerated, risk)
        named = [direction for direction in directions(binning, p) if direction.kind != "bin"]
        tilts = bank(named, sizes, 1 - LEARNER_WEIGHT - CELLS_WEIGHT)
        union = log(4 * (len(tilts) + (len(EXCESSES) + 1) * len(cells)) / risk)
        super().__init__(
            [
                TiltBank(tilts, union),
                CellBank(cells, CELLS_WEIGHT, union),
                Learner(p, LEARNER_WEIGHT, risk / 2),
            ],
            target_run_length,
            tolerated,
        )
