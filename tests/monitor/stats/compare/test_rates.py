"""Rates at the cuts: intervals, ratios and their significance."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.rates import confidence_sequence, interval, measure
from monitor.stats.count.binning import Binning
from monitor.stats.errors import StatsError

BINNING = Binning(np.array([0, 100, 200, 1024]), cuts=(200, 100))


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_those_of_scipys_exact_test(case: tuple[int, int]) -> None:
    k, n = case
    low, high = interval(k, n, confidence=0.95)
    exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high), rel=1e-6, abs=1e-12)


def test_rates_follow_the_order_of_the_cuts() -> None:
    high, low = measure([900, 60, 40], BINNING, targets=[0.02, 0.1])
    assert (high.cut, high.value, high.ratio) == (200, 0.04, 2.0)
    assert (low.cut, low.value, low.ratio) == (100, 0.1, 1.0)
    assert high.low < 0.04 < high.high
    assert low.z == pytest.approx(0)


@pytest.mark.parametrize("m", [1e5, inf])
def test_z_is_standard_normal_without_drift_whatever_the_reference_holds(m: float) -> None:
    rng = np.random.default_rng(3)
    p = [0.9, 0.09, 0.01]
    z = []
    for _ in range(1500):
        reference = rng.multinomial(int(m), p) / m if m < inf else np.array(p)
        targets = [reference[2], reference[1] + reference[2]]
        z.append([rate.z for rate in measure(rng.multinomial(10**5, p), BINNING, targets, m)])
    assert np.std(z, axis=0) == pytest.approx(1, abs=0.06)
    assert np.mean(z, axis=0) == pytest.approx(0, abs=0.08)


def test_the_error_of_the_ratio_is_that_of_repeated_measurements() -> None:
    rng = np.random.default_rng(5)
    rates = [
        measure(
            rng.multinomial(20_000, [0.9, 0.09, 0.01]),
            BINNING,
            [rng.binomial(50_000, 0.01) / 50_000, 0.1],
            50_000,
        )
        for _ in range(1500)
    ]
    assert np.std([first.ratio for first, _ in rates]) == pytest.approx(rates[0][0].ratio_error, rel=0.1)


def test_a_cut_that_nothing_passed_still_has_an_upper_limit() -> None:
    rate = measure([1000, 0, 0], BINNING, targets=[0.01, 0.1])[0]
    assert (rate.value, rate.low) == (0, 0)
    assert 0 < rate.high < 0.003
    assert rate.z < -2


@pytest.mark.parametrize(
    ("counts", "targets"),
    [([1, 2], [0.1, 0.1]), ([0, 0, 0], [0.1, 0.1]), ([1, 2, 3], [0.1]), ([1, 2, 3], [0.1, 0.0])],
)
def test_input_without_rates_is_refused(counts: list[int], targets: list[float]) -> None:
    with pytest.raises(StatsError, match="expected"):
        measure(counts, BINNING, targets)


def test_a_confidence_sequence_holds_at_all_times_at_once_and_an_interval_does_not() -> None:
    rng, truth = np.random.default_rng(3), 0.02
    above = np.cumsum(rng.binomial(200, truth, size=(200, 200)), axis=1)
    n = 200 * np.arange(1, 201)

    def left(limits: tuple[FloatArray, FloatArray]) -> int:
        """Runs in which the truth was outside at least once."""
        low, high = limits
        return int(((low > truth) | (truth > high)).any(axis=1).sum())

    assert left(confidence_sequence(above, n, 0.95)) <= 0.05 * 200
    assert left(interval(above, n, 0.95)) > 0.2 * 200


@pytest.mark.parametrize(("above", "n"), [(0, 50), (50, 50), (1, 10**9)])
def test_a_confidence_sequence_closes_around_what_was_seen(above: int, n: int) -> None:
    low, high = confidence_sequence(above, n)
    assert 0 <= low <= above / n <= high <= 1
    assert high - low < 0.2


@pytest.mark.parametrize(("above", "n", "confidence"), [(-1, 5, 0.9), (6, 5, 0.9), (0, 0, 0.9), (1, 2, 1.0)])
def test_what_is_no_part_has_no_confidence_sequence(above: int, n: int, confidence: float) -> None:
    with pytest.raises(StatsError, match="expected a part"):
        confidence_sequence(above, n, confidence)
