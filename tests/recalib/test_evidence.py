import numpy as np
import pytest
from numpy.typing import NDArray

from recalib.evidence import Evidence, Target, quantile_map

P = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
EDGES = np.array([0, 10, 20, 40, 80, 256])
TARGET = Target(EDGES, P, 1e9, np.array([0.01]))
CENTRES = np.array([5, 15, 30, 60, 100], np.uint32)


def evidence(bins: NDArray[np.int64], weights: NDArray[np.float64], target: Target = TARGET) -> Evidence:
    return Evidence(CENTRES[bins], (bins == 4)[:, None], weights / weights.sum(), target)


def weighted(random: np.random.Generator, p: NDArray[np.float64] = P, n: int = 20_000) -> Evidence:
    """A draw in which the upper bins are published in full and the others with probability 1/10."""
    bins = random.choice(5, n, p=p)
    pi = np.where(bins >= 3, 1.0, 0.1)
    kept = random.random(n) < pi
    return evidence(bins[kept], 1 / pi[kept])


def test_kl_floor_is_the_mean_kl_without_drift() -> None:
    random = np.random.default_rng(1)
    draws = [weighted(random) for _ in range(300)]
    assert np.mean([e.kl for e in draws]) == pytest.approx(np.mean([e.kl_floor for e in draws]), rel=0.15)


def test_rate_errors_are_the_spread_of_the_rates() -> None:
    random = np.random.default_rng(2)
    draws = [weighted(random) for _ in range(400)]
    ratios = np.array([e.rate_ratios[0] for e in draws])
    assert ratios.mean() == pytest.approx(1, abs=0.02)
    assert ratios.std() == pytest.approx(np.mean([e.rate_errors[0] for e in draws]), rel=0.15)


def test_error_of_the_kl_change_is_its_spread_with_the_common_part_cancelled() -> None:
    random = np.random.default_rng(3)
    changes, errors = [], []
    for _ in range(300):
        bins = random.choice(5, 5000, p=[0.5, 0.3, 0.13, 0.06, 0.01])
        up = np.minimum(bins + (random.random(5000) < 0.3), 4)
        w = np.ones(5000)
        change, error = evidence(up, w).kl_change(evidence(bins, w))
        changes.append(change)
        errors.append(error)
    assert np.std(changes) == pytest.approx(np.mean(errors), rel=0.15)


def test_no_change_is_no_change_with_no_error() -> None:
    e = weighted(np.random.default_rng(4))
    assert e.kl_change(e) == (0.0, 0.0)
    np.testing.assert_array_equal(e.rate_change(e), [[0.0], [0.0]])
    np.testing.assert_array_equal(e.retention(e), [1.0])


def overlapping(random: np.random.Generator, n: int) -> tuple[Evidence, Evidence, NDArray[np.bool_]]:
    """A trigger that accepts 80 % of what the undrifted one does, one that accepts 60 % of it, and the latter."""
    undrifted = (random.random((n, 1)) < 0.1).astype(bool)
    accepts = [np.where(random.random((n, 1)) < share, undrifted, random.random((n, 1)) < 0.1) for share in (0.8, 0.6)]
    first, second = (evidence(np.where(a[:, 0], 4, 0), np.ones(n)) for a in accepts)
    return first, second, undrifted


def test_overlap_is_over_the_larger_of_the_two_sets_of_accepts() -> None:
    accepts, undrifted = evidence(np.array([4, 4, 0, 0]), np.array([2.0, 1, 1, 1])), np.array([[1], [0], [1], [0]]) > 0
    np.testing.assert_allclose(accepts.overlap(undrifted), [2 / 3])
    more = np.array([[1], [1], [1], [1]]) > 0
    np.testing.assert_allclose(accepts.overlap(more), [3 / 5])


def test_error_of_the_overlap_s_change_is_its_spread() -> None:
    random = np.random.default_rng(6)
    changes, errors = [], []
    for _ in range(300):
        first, second, undrifted = overlapping(random, 5000)
        change, error = first.overlap_change(second, undrifted)
        changes.append(change[0])
        errors.append(error[0])
    assert np.mean(changes) == pytest.approx(0.9 * 0.2, abs=0.01)
    assert np.std(changes) == pytest.approx(np.mean(errors), rel=0.15)


def test_retention_is_the_weighted_share_of_accepts_that_stay() -> None:
    bins = np.array([4, 4, 4, 0])
    before = evidence(bins, np.array([1.0, 1.0, 2.0, 5.0]))
    after = evidence(np.array([4, 0, 4, 4]), np.array([1.0, 1.0, 2.0, 5.0]))
    np.testing.assert_allclose(after.retention(before), [0.75])


def test_quantile_map_is_monotone_and_brings_the_distribution_back() -> None:
    random = np.random.default_rng(5)
    edges = EDGES * 64
    current = np.array([0.55, 0.25, 0.14, 0.055, 0.005])
    bins = random.choice(5, 200_000, p=current)
    codes = (edges[bins] + random.random(200_000) * np.diff(edges)[bins]).astype(np.uint32)
    mapped = quantile_map(codes, current, Target(edges, P, 1e9, np.array([0.01])))
    assert (np.diff(mapped[np.argsort(codes, kind="stable")]) >= 0).all()
    np.testing.assert_allclose(np.histogram(mapped + 0.5, edges)[0] / 200_000, P, atol=0.004)
