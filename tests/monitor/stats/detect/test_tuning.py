"""Tuning: the keenest setting that keeps to the number of alarms, on a record of blocks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.stats.count.building import reference_of_sample
from monitor.stats.detect.detectors import make_detector
from monitor.stats.detect.on_statistic import OnStatistic
from monitor.stats.detect.tuning import count_alarms, recorder, setting_of, tune
from monitor.stats.errors import StatsError

REFERENCE = reference_of_sample([(np.random.default_rng(1).geometric(0.02, 200_000), None, None)], cuts=[150], bits=12)
OTHERS: dict[str, dict[str, float]] = {"adwin_kl": {}, "page_hinkley_kl": {"delta": 0.05}, "kswin_rate": {"cut": 0}}


def record(detector: str, blocks: int = 600) -> list[float]:
    """What the detector sees in blocks whose overdispersion comes and goes."""
    found = recorder(detector, REFERENCE, **OTHERS[detector])
    expected = REFERENCE.expected()
    rng = np.random.default_rng(2)
    for block in range(blocks):
        p: NDArray[np.float64] = expected.cells * np.exp(0.3 * (block // 60 % 2) * rng.normal(size=len(expected.cells)))
        found.update(rng.multinomial(2000, p / p.sum()), expected)
    return found.statistics


@pytest.mark.parametrize("detector", OTHERS)
def test_the_setting_keeps_to_the_alarms_and_a_keener_one_does_not(detector: str) -> None:
    statistics, setting = record(detector), setting_of(detector)
    assert setting is not None
    found = tune(detector, REFERENCE, statistics, 3, **OTHERS[detector])
    keener = found.value * (1.1 if setting.keen > setting.strict else 1 / 1.1)
    counted = []
    for value in (found.value, keener):
        made = make_detector(detector, REFERENCE, **OTHERS[detector] | {setting.name: value})
        assert isinstance(made, OnStatistic)
        counted.append(count_alarms(made, statistics))
    assert counted[0] == found.alarms <= 3
    assert counted[1] > 3


def test_more_alarms_allow_a_keener_setting() -> None:
    statistics = record("page_hinkley_kl")
    values = [tune("page_hinkley_kl", REFERENCE, statistics, allowed, delta=0.05).value for allowed in (0, 5, 50)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1]


def test_a_record_that_no_setting_is_quiet_on_is_refused() -> None:
    with pytest.raises(StatsError, match="alarms even with threshold 1e\\+09: allow more"):
        tune("page_hinkley_kl", REFERENCE, 1e12 * np.arange(100.0), 0)
    with pytest.raises(StatsError, match="no block to tune on"):
        tune("page_hinkley_kl", REFERENCE, [], 0)


def test_detectors_that_promise_a_run_length_are_not_tuned() -> None:
    for call in (lambda: recorder("e_rate", REFERENCE), lambda: tune("e_rate", REFERENCE, [1.0], 0)):
        with pytest.raises(StatsError, match="'e_rate': expected one of river's"):
            call()
