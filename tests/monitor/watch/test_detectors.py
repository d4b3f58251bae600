"""Every set of detectors that a configuration takes runs, and those that promise a run length share it."""

from itertools import combinations

import numpy as np
import pytest

from monitor.stats.count.building import reference_of_sample
from monitor.stats.detect.detectors import DETECTORS, promises_run_length
from monitor.stats.errors import StatsError
from monitor.watch.detectors import detector_settings, make_detectors
from monitor.watch.settings import DetectSettings

RNG = np.random.default_rng(1)
REFERENCE = reference_of_sample([(RNG.gamma(2, 60, 200_000).astype(np.int64), None, None)], cuts=[250, 500], bits=12)
EXPECTED = REFERENCE.expected()
BLOCKS = RNG.multinomial(10_000, EXPECTED.cells, size=3)
SETS = [
    *(names for n in range(3) for names in combinations(DETECTORS, n)),
    tuple(DETECTORS),
    tuple(name for name in DETECTORS if not promises_run_length(name)),
]


@pytest.mark.parametrize("names", SETS, ids="+".join)
def test_every_set_of_detectors_runs_a_block(names: tuple[str, ...]) -> None:
    detectors = make_detectors(DetectSettings(detectors={name: {} for name in names}), REFERENCE)
    assert tuple(detectors) == names
    for name, detector in detectors.items():
        for counts in BLOCKS:
            detector.update(counts, EXPECTED)
        assert np.isfinite(detector.statistic)
        assert not detector.drift_detected, name


def run_length(name: str, *others: str, streams: int = 1) -> float:
    """In hours of the configured scores."""
    detect = DetectSettings(
        detectors={each: {} for each in (name, *others)}, target_run_length_h=10.0, colliding_hz=1e6
    )
    return detector_settings(detect, streams)[name]["target_run_length"] / 3600e6


def test_the_false_alarms_of_all_that_promise_come_the_run_length_apart_together() -> None:
    assert run_length("e_mixture") == run_length("e_mixture", "adwin_kl") == pytest.approx(10)
    assert run_length("e_mixture", "e_rate") == run_length("e_rate", "e_mixture") == pytest.approx(20)
    assert run_length("e_mixture", "e_rate", streams=3) == pytest.approx(60)


def test_a_likelihood_ratio_alone_aims_at_the_whole_run_length() -> None:
    assert run_length("glr") == run_length("glr", "adwin_kl") == pytest.approx(10)
    assert run_length("glr", "e_mixture", "e_rate") == pytest.approx(20)


def test_settings_of_the_configuration_go_before_the_shared_ones() -> None:
    detect = DetectSettings(detectors={"e_rate": {"tolerated_change": 0.3}}, rate_tolerance=0.1)
    assert detector_settings(detect, 1)["e_rate"]["tolerated_change"] == 0.3


def test_an_unknown_detector_is_refused_by_its_name() -> None:
    with pytest.raises(StatsError, match="'voodoo'"):
        make_detectors(DetectSettings(detectors={"voodoo": {}}), REFERENCE)
