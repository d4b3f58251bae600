"""Settings of detectors that promise nothing, from what they would have done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.count.expected import Expected
from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import make_detector
from monitor.stats.detect.on_statistic import OnStatistic
from monitor.stats.errors import StatsError

PRECISION = 0.02
"""Of the logarithm (to base 10) of a setting."""


@dataclass(frozen=True)
class Setting:
    """What makes a detector more or less sensitive: from `strict`, where it is all but blind, to `keen`."""

    name: str
    strict: float
    keen: float


@dataclass(frozen=True)
class Tuned:
    """The keenest value of a setting that gives few enough alarms, and how many it gives."""

    setting: str
    value: float
    alarms: int


SETTINGS = {
    "adwin": Setting("delta", strict=1e-100, keen=0.5),
    "page_hinkley": Setting("threshold", strict=1e9, keen=0.1),
    "kswin": Setting("alpha", strict=1e-30, keen=0.5),
}
"""By the detector's name in `DETECTORS`, without the statistic."""


def setting_of(detector: str) -> Setting | None:
    """The setting that is tuned, None for a detector that keeps a promise without."""
    return SETTINGS.get(detector.removesuffix("_kl").removesuffix("_rate"))


class Recorder:
    """A detector that never alarms and remembers the statistic that another one would see."""

    promises_run_length = False
    drift_detected = False
    words = ""

    def __init__(self, detector: OnStatistic) -> None:
        self._of_block = detector.of_block
        self.statistics: list[float] = []

    @property
    def statistic(self) -> float:
        """The last one that was remembered."""
        return self.statistics[-1] if self.statistics else 0.0

    def reset(self) -> None:
        """Nothing is forgotten."""

    def update(self, counts: NDArray[Any], expected: Expected, phi: float = 1.0) -> None:
        """Remember the statistic of one block."""
        if counts.sum():
            self.statistics.append(self._of_block(expected.bins(counts), expected.p, expected.m))


def recorder(detector: str, reference: Reference, **settings: Any) -> Recorder:
    """A recorder for one of river's detectors. Raises StatsError for others."""
    made = make_detector(detector, reference, **settings)
    if setting_of(detector) is None or not isinstance(made, OnStatistic):
        raise StatsError(f"detector {detector!r}: expected one of river's, {', '.join(SETTINGS)}")
    return Recorder(made)


def count_alarms(detector: OnStatistic, statistics: Sequence[float]) -> int:
    """How often a detector alarms on the statistics of blocks; it begins anew after each alarm."""
    detector.reset()
    found = 0
    for value in statistics:
        detector.detector.update(value)
        if detector.drift_detected:
            found += 1
            detector.reset()
    return found


def tune(detector: str, reference: Reference, statistics: Sequence[float], allowed: int, **settings: Any) -> Tuned:
    """The keenest setting with which a detector alarms at most `allowed` times on a record.

    Bisects the logarithm of the setting between its strict and its keen end. The number of alarms need
    not grow steadily in between; the value that is given was tried and keeps to `allowed`.

    Args:
        statistics: What a `Recorder` of this detector saw in blocks without drift.
        settings: The others of the detector, which stay.

    Raises:
        StatsError: for a detector without such a setting, an empty record, and where even the strict end alarms more
            often.

    Examples:
        >>> from monitor.stats.count.building import reference_of_histogram
        >>> rng = np.random.default_rng(1)
        >>> reference = reference_of_histogram([0, 10, 16], [[700, 300]])
        >>> record = rng.chisquare(1, size=2000)
        >>> found = tune("page_hinkley_kl", reference, record, allowed=2, delta=0.05)
        >>> found.setting, found.alarms, round(found.value)
        ('threshold', 2, 43)
    """
    setting = setting_of(detector)
    if setting is None:
        raise StatsError(f"detector {detector!r}: expected one of river's, {', '.join(SETTINGS)}")
    if not len(statistics):
        raise StatsError("no block to tune on: give a longer record")

    def tried(place: float) -> Tuned:
        # Tried as it will be printed: a rounded setting could give more alarms.
        value = float(f"{10**place:.3g}")
        made = make_detector(detector, reference, **settings | {setting.name: value})
        assert isinstance(made, OnStatistic)
        return Tuned(setting.name, value, count_alarms(made, statistics))

    low, high = np.log10(setting.strict), np.log10(setting.keen)
    best, keen = tried(low), tried(high)
    if best.alarms > allowed:
        raise StatsError(f"{detector}: {best.alarms} alarms even with {setting.name} {setting.strict:g}: allow more")
    if keen.alarms <= allowed:
        return keen
    while abs(high - low) > PRECISION:
        middle = (low + high) / 2
        found = tried(middle)
        if found.alarms <= allowed:
            low, best = middle, found
        else:
            high = middle
    return best
