"""Wasserstein and Kolmogorov–Smirnov distances agree with SciPy on the same counts."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitor.stats.compare.distance import distance
from monitor.stats.errors import StatsError

EDGES = np.array([0, 3, 10, 11, 40, 64])
counts_of_five = st.lists(st.integers(0, 300), min_size=5, max_size=5).filter(any)


@given(counts_of_five, counts_of_five)
def test_both_agree_with_scipy_on_scores_at_the_lowest_code_of_their_bin(current: Any, past: Any) -> None:
    reference = np.array(past) + 1
    found = distance(current, reference / reference.sum(), EDGES, reference.sum(), lsb=0.25)
    at = 0.25 * EDGES[:-1]
    a, b = np.repeat(at, current), np.repeat(at, reference)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(a, b), abs=1e-12)
    assert found.ks == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)


def test_the_ks_p_value_is_that_of_scipy_on_fine_bins() -> None:
    rng = np.random.default_rng(1)
    reference, current = rng.integers(0, 2**14, 40_000), (rng.integers(0, 2**14, 30_000) * 0.99).astype(int)
    edges = np.arange(0, 2**14 + 1, 8)
    past, now = (np.histogram(sample, edges)[0] for sample in (reference, current))
    p = (past + 1e-9) / (past + 1e-9).sum()
    exact = stats.ks_2samp(current, reference, method="asymp").pvalue
    assert distance(now, p, edges, len(reference)).ks_p_value == pytest.approx(exact, rel=0.15)


def test_without_drift_the_wasserstein_distance_is_at_its_floor() -> None:
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.full(200, 5.0))
    edges = np.arange(201)
    past = [rng.multinomial(20_000, p) + 0.5 for _ in range(200)]
    found = [distance(rng.multinomial(5000, p), c / c.sum(), edges, 20_000) for c in past]
    floor = np.mean([d.wasserstein_floor for d in found])
    assert np.mean([d.wasserstein for d in found]) == pytest.approx(floor, rel=0.1)
    assert 0.02 < np.mean([d.ks_p_value < 0.05 for d in found]) <= 0.08


def test_a_shift_of_all_scores_is_its_own_wasserstein_distance() -> None:
    p = np.array([0.2, 0.3, 0.5, 1e-12])
    assert distance([0, 200, 300, 500], p / p.sum(), [0, 7, 14, 21, 28]).wasserstein == pytest.approx(7)


@pytest.mark.parametrize("edges", [[0, 1, 2], [0, 2, 1, 3]])
def test_edges_that_do_not_fit_are_refused(edges: list[int]) -> None:
    with pytest.raises(StatsError, match="4 increasing codes"):
        distance([1, 2, 3], [0.2, 0.3, 0.5], edges)
