"""A score distribution with a drift of its own, and e-detectors of it."""

from typing import Any

import numpy as np

from monitor.stats.arrays import FloatArray
from monitor.stats.count.binning import Binning
from monitor.stats.detect.cusum import ECusum
from monitor.stats.detect.mixture import EMixture
from monitor.stats.detect.rate import RateDetector

CUTS = (400, 600)
SCORES = np.random.default_rng(1).gamma(2, 60, 1_000_000).clip(0, 2**14 - 1)
BINNING = Binning.build(SCORES.astype(np.int64), CUTS, bits=14, bulk=12, tails=(1e-2, 1e-3))
P = BINNING.count(SCORES.astype(np.int64)) / len(SCORES)
GAIN = BINNING.count((1.02 * SCORES).clip(0, 2**14 - 1).astype(np.int64)) / len(SCORES)
"""P of scores that are 2 % higher."""


def mixture(**settings: Any) -> EMixture:
    """Of any change of shape."""
    return EMixture(BINNING, P, P, **settings)


def cusum(**settings: Any) -> ECusum:
    """Of the named drifts."""
    return ECusum(BINNING, P, **settings)


def rates(**settings: Any) -> RateDetector:
    """Of the rates at both cuts."""
    return RateDetector(BINNING, P, **settings)


def changed(factor: float) -> FloatArray:
    """P with another rate above the second cut."""
    above = np.arange(len(P)) >= BINNING.cut_bins[1]
    rate = P[above].sum()
    return np.where(above, factor * P, P * (1 - factor * rate) / (1 - rate))
