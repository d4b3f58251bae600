"""Every detector that a configuration can name passes the same checks."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import rel_entr

from monitor.stats.count.building import reference_of_sample
from monitor.stats.detect.detectors import DETECTORS, Detector, make_detector, promises_run_length
from monitor.stats.detect.on_statistic import kl_per_block, rate_per_block
from monitor.stats.errors import StatsError

RNG = np.random.default_rng(1)
REFERENCE = reference_of_sample([(RNG.gamma(2, 60, 400_000).astype(np.int64), None, None)], cuts=[250, 500], bits=12)
EXPECTED = REFERENCE.expected()
P = EXPECTED.cells
DRIFTED = P * np.where(np.arange(len(P)) >= REFERENCE.cells.cut_bins[0], 1.5, 1)
DRIFTED /= DRIFTED.sum()
N = 5000
SETTINGS: dict[str, dict[str, Any]] = {name: {} for name in DETECTORS}
SETTINGS |= {name: {"alpha": 1e-5} for name in DETECTORS if name.startswith("kswin")}


def blocks(truth: NDArray[Any], n: int, seed: int = 3) -> NDArray[Any]:
    return np.random.default_rng(seed).multinomial(N, truth, size=n)


def alarm(detector: Detector, counts: NDArray[Any]) -> int | None:
    """The first block at which the detector alarms."""
    for i, block in enumerate(counts):
        detector.update(block, EXPECTED)
        if detector.drift_detected:
            return i
    return None


@pytest.fixture(params=DETECTORS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(name: str) -> Detector:
    return make_detector(name, REFERENCE, **SETTINGS[name])


def test_a_new_detector_has_seen_nothing(name: str) -> None:
    detector = made(name)
    assert detector.drift_detected is False
    assert detector.statistic == 0


def test_it_is_quiet_without_drift_and_alarms_after_a_drift(name: str) -> None:
    onset = 300
    found = alarm(made(name), np.concatenate([blocks(P, onset), blocks(DRIFTED, 300, seed=4)]))
    assert found is not None
    assert onset <= found < onset + 250


def test_its_statistic_is_a_finite_number_at_every_block(name: str) -> None:
    detector = made(name)
    for block in np.concatenate([blocks(P, 30), blocks(DRIFTED, 30), N * np.eye(len(P), dtype=int)]):
        detector.update(block, EXPECTED)
        assert isinstance(detector.statistic, float)
        assert np.isfinite(detector.statistic)


def test_after_a_reset_it_is_as_new(name: str) -> None:
    counts = np.concatenate([blocks(P, 40), blocks(DRIFTED, 80, seed=4)])
    used, new = made(name), made(name)
    alarm(used, blocks(DRIFTED, 50, seed=9))
    used.reset()
    assert used.drift_detected is False
    assert used.statistic == 0
    for block in counts:
        used.update(block, EXPECTED)
        new.update(block, EXPECTED)
        assert (used.statistic, used.drift_detected) == (new.statistic, new.drift_detected)


def test_an_empty_block_changes_nothing(name: str) -> None:
    detector, counts = made(name), blocks(P, 3)
    alarm(detector, counts)
    before = detector.statistic
    detector.update(np.zeros(len(P), dtype=np.int64), EXPECTED)
    assert detector.statistic == before


def test_it_leaves_counts_and_p_as_they_are(name: str) -> None:
    counts = blocks(P, 1)[0]
    kept, p, cells = counts.copy(), EXPECTED.p.copy(), EXPECTED.cells.copy()
    made(name).update(counts, EXPECTED)
    np.testing.assert_array_equal(counts, kept)
    np.testing.assert_array_equal(EXPECTED.p, p)
    np.testing.assert_array_equal(EXPECTED.cells, cells)


@pytest.mark.parametrize("name", ["e_mixture", "e_rate", "e_cusum", "glr"])
def test_counts_of_another_binning_are_refused(name: str) -> None:
    with pytest.raises(StatsError, match="expected"):
        made(name).update(np.ones(3, dtype=np.int64), EXPECTED)


def test_false_alarms_of_the_likelihood_ratio_come_no_more_often_than_asked_for() -> None:
    detector = make_detector("glr", REFERENCE, target_run_length=20 * N)
    found = 0
    for block in blocks(P, 3000):
        detector.update(block, EXPECTED)
        if detector.drift_detected:
            found += 1
            detector.reset()
    assert 15 < found < 1.3 * 3000 / 20


def test_settings_that_it_does_not_know_are_refused(name: str) -> None:
    with pytest.raises(StatsError, match=f"detector '{name}': .*colour"):
        make_detector(name, REFERENCE, colour="blue")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("e_mixture", {"target_run_length": 0.5}),
        ("e_rate", {"targets": [0.1]}),
        ("adwin_rate", {"cut": 2}),
        ("adwin_rate", {"cut": 0.5}),
        ("adwin_kl", {"clock": 0.0}),
        ("adwin_kl", {"max_buckets": 5.5}),
        ("kswin_kl", {"window_size": 50.0}),
        ("glr", {"target_run_length": 0.0}),
        ("glr", {"tolerated": -1.0}),
        ("page_hinkley_kl", {"mode": "sideways"}),
    ],
)
def test_settings_out_of_range_are_refused_in_the_name_of_the_detector(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(StatsError, match=f"detector '{name}'"):
        make_detector(name, REFERENCE, **settings)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("adwin_rate", {"cut": 1.0, "clock": 16.0}), ("kswin_kl", {"window_size": 80.0, "stat_size": 40.0})],
)
def test_whole_numbers_may_come_as_floats_as_they_do_out_of_a_configuration(
    name: str, settings: dict[str, float]
) -> None:
    detector = make_detector(name, REFERENCE, **settings)
    for block in blocks(P, 200):
        detector.update(block, EXPECTED)


def test_e_detectors_alone_promise_a_run_length_and_say_so_by_name_too(name: str) -> None:
    assert made(name).promises_run_length is promises_run_length(name) is name.startswith("e_")
    assert not promises_run_length("voodoo")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(StatsError, match=r"'adwin'.*e_mixture, e_rate"):
        make_detector("adwin", REFERENCE)


def test_the_statistics_of_a_block_are_of_order_one_without_drift_whatever_its_size() -> None:
    rate = rate_per_block(REFERENCE.binning, 1)
    for n in (2000, 200_000):
        counts = np.random.default_rng(n).multinomial(n, P, size=400)
        assert np.mean([kl_per_block(block, P) for block in counts]) == pytest.approx(1, abs=0.05)
        pulls = [rate(block, P, np.inf) for block in counts]
        assert np.std(pulls) == pytest.approx(1, abs=0.1)
    f = counts[0] / counts[0].sum()
    assert kl_per_block(counts[0], P) == pytest.approx(2 * 200_000 * rel_entr(f, P).sum() / (len(P) - 1))
