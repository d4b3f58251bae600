"""E-detectors keep their promise of a run length, with a reference of finite statistics too."""

from math import inf
from typing import Any

import numpy as np
import pytest

from monitor.stats.arrays import FloatArray
from monitor.stats.count.expected import Expected
from monitor.stats.detect.edetector import EDetector
from monitor.stats.errors import StatsError
from tests.support.detection import GAIN, P, cusum, mixture, rates


def estimate(m: int, rng: np.random.Generator) -> FloatArray:
    return np.asarray((rng.multinomial(m, P) + 0.5) / (m + len(P) / 2))


def alarms(detector: EDetector, truth: FloatArray, p: FloatArray, m: float, n: int, blocks: int, seed: int) -> int:
    found, expected = 0, Expected.known(p, m)
    for counts in np.random.default_rng(seed).multinomial(n, truth, size=blocks):
        detector.update(counts, expected)
        if detector.drift_detected:
            found += 1
            detector.reset()
    return found


@pytest.mark.parametrize("make", [mixture, rates, cusum])
@pytest.mark.parametrize("n", [50, 400])
def test_false_alarms_are_at_least_the_promised_run_length_apart(make: Any, n: int) -> None:
    promised, scores = 1e4, 6_000_000 if n == 400 else 1_500_000
    found = alarms(make(target_run_length=promised), P, P, inf, n, scores // n, seed=n)
    assert found < 1.05 * scores / promised
    assert make is cusum or found > 0.2 * scores / promised


@pytest.mark.parametrize("make", [mixture, rates])
def test_the_promise_stands_for_a_reference_of_finite_statistics_and_breaks_where_that_is_ignored(
    make: Any,
) -> None:
    rng = np.random.default_rng(5)
    m, promised, scores = 100_000, 1e6, 20_000_000
    told = ignored = 0
    for seed in range(3):
        p = estimate(m, rng)
        told += alarms(make(target_run_length=promised), P, p, m, 10_000, scores // 10_000, seed)
        ignored += alarms(make(target_run_length=promised), P, p, inf, 10_000, scores // 10_000, seed)
    assert told <= 3
    assert ignored > 3 * scores / promised


def test_tolerance_finite_statistics_and_overdispersion_each_lower_the_evidence() -> None:
    counts = np.random.default_rng(3).multinomial(20_000, GAIN)
    plain, tolerant, tempered, finite = mixture(), mixture(tolerated=1e-3), mixture(), mixture()
    for detector, m, phi in ((plain, inf, 1), (tolerant, inf, 1), (tempered, inf, 2), (finite, 1e6, 1)):
        for block in (counts, counts):
            detector.update(block, Expected.known(P, m), phi)
    assert plain.statistic > max(tolerant.statistic, tempered.statistic, finite.statistic)


def test_ratios_follow_the_p_of_each_block() -> None:
    """Pile-up moves p from block to block; what p explains is no drift."""
    rng = np.random.default_rng(4)
    following, fixed = mixture(target_run_length=1e7), mixture(target_run_length=1e7)
    for block in range(200):
        p = P * np.exp(0.2 * np.sin(block / 20) * np.linspace(-1, 1, len(P)))
        p /= p.sum()
        counts = rng.multinomial(2000, p)
        following.update(counts, Expected.known(p))
        fixed.update(counts, Expected.known(P))
        assert not following.drift_detected
    assert fixed.drift_detected


def test_every_pile_up_that_the_measured_one_may_stand_for_is_no_drift() -> None:
    rng = np.random.default_rng(9)
    tilt = np.exp(0.1 * np.linspace(-1, 1, len(P)))
    low, high = P / tilt / (P / tilt).sum(), P * tilt / (P * tilt).sum()
    base = Expected.known(P)
    spanned = Expected(P, inf, P, base.first, np.stack([low, high]))
    told, untold = mixture(target_run_length=1e7), mixture(target_run_length=1e7)
    for counts in rng.multinomial(5000, high, size=400):
        told.update(counts, spanned)
        untold.update(counts, base)
        assert not told.drift_detected
    assert untold.drift_detected


@pytest.mark.parametrize("wrong", [{"target_run_length": 0}, {"tolerated": -1}, {"risk": 0}, {"risk": float("nan")}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StatsError, match="expected at least"):
        mixture(**wrong)
