"""When a drift began."""

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.stats.binning import StatsError
from monitor.stats.onset import onset

P = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
Q = np.array([0.38, 0.3, 0.21, 0.097, 0.013])


@settings(max_examples=40)
@given(st.integers(1, 29), st.integers(0, 2**32), st.sampled_from([0.0, 1e6, inf]))
def test_the_onset_of_a_step_is_found_exactly_where_statistics_are_ample(k: int, seed: int, m: float) -> None:
    rng = np.random.default_rng(seed)
    rows = np.array([rng.multinomial(200_000, P if t < k else Q) for t in range(30)])
    found = onset(rows, P, m)
    assert found.index == k
    assert found.log_likelihood_ratio > 100


def test_thin_statistics_leave_the_onset_within_a_few_rows() -> None:
    rng = np.random.default_rng(2)
    found = [onset([rng.multinomial(5000, P if t < 30 else Q) for t in range(60)], P, 1e6).index for _ in range(100)]
    assert np.median(np.abs(np.array(found) - 30)) <= 2


def test_a_reference_that_is_slightly_off_is_not_taken_for_a_change_at_the_first_row() -> None:
    rng = np.random.default_rng(3)
    reference = (rng.multinomial(20_000, P) + 0.5) / (20_000 + 2.5)
    rows = np.array([rng.multinomial(10**6, P if t < 12 else Q) for t in range(20)])
    assert onset(rows, reference).index == 12
    assert onset(rows, reference, m=20_000).index == 12
    assert onset(rows[:12], reference, m=20_000).log_likelihood_ratio < 10
    assert onset(rows[:12], reference, inf).log_likelihood_ratio > 100


def test_the_better_the_reference_is_known_the_surer_is_an_onset_right_after_it() -> None:
    rows = np.array([[50, 50], [60, 40], [62, 38], [59, 41]])
    ratios = [onset(rows, [0.5, 0.5], m).log_likelihood_ratio for m in (0.0, 1e3, 1e9, inf)]
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] == pytest.approx(ratios[3], rel=1e-4)


def test_falling_pileup_that_the_reference_explains_is_no_change() -> None:
    rng = np.random.default_rng(4)
    p = np.array([P * np.exp(-0.02 * t * np.arange(5)) for t in range(30)])
    p /= p.sum(axis=1, keepdims=True)
    rows = np.array(
        [rng.multinomial(10**5, row if t < 20 else row * Q / P / (row * Q / P).sum()) for t, row in enumerate(p)]
    )
    assert onset(rows, p).index == 20
    quiet = np.array([rng.multinomial(10**5, row) for row in p])
    assert onset(quiet, p).log_likelihood_ratio < 15
    assert onset(quiet, p[0]).log_likelihood_ratio > 1000


def test_rows_that_are_known_to_be_undrifted_are_not_the_onset() -> None:
    rows = np.array([[90, 10], [50, 50], [50, 50], [50, 50], [40, 60]])
    assert onset(rows, [0.5, 0.5], before=1).index == 1
    assert onset(rows, [0.5, 0.5], before=4).index == 4


def test_empty_rows_do_no_harm() -> None:
    rows = np.array([[500, 500], [0, 0], [500, 500], [0, 0], [800, 200]])
    assert onset(rows, [0.5, 0.5]).index in (3, 4)


@pytest.mark.parametrize(
    ("counts", "p", "before"),
    [
        ([[1, 2]], [0.5, 0.5], 1),
        ([[1, 2], [3, 4]], [0.5, 0.5], 2),
        ([[1, 2], [3, 4]], [0.5, 0.5], 0),
        ([[1, 2], [3, 4]], [0.2, 0.3, 0.5], 1),
        ([1, 2], [0.5, 0.5], 1),
        ([[1, 2], [3, -4]], [0.5, 0.5], 1),
        ([[1, 2], [3, 4]], [0.0, 1.0], 1),
    ],
)
def test_input_without_an_onset_is_refused(counts: Any, p: Any, before: int) -> None:
    with pytest.raises(StatsError, match="expected"):
        onset(counts, p, before=before)
