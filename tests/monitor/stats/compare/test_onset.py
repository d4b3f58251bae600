"""When a drift began, and whether by a step or by a ramp."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.stats.compare.onset import onset
from monitor.stats.errors import StatsError

T = np.arange(60)


def step(k: int, size: float) -> NDArray[Any]:
    return size * (k <= T)


def ramp(k: int, size: float) -> NDArray[Any]:
    return size * ((T + 0.5 - k) / (59.5 - k)).clip(0)


@settings(max_examples=40)
@given(st.integers(1, 58), st.integers(0, 2**32))
def test_a_large_step_is_dated_exactly(k: int, seed: int) -> None:
    found = onset(step(k, 20) + np.random.default_rng(seed).normal(size=60), np.ones(60))
    assert (found.index, found.first, found.last) == (k, k, k)
    assert k == 58 or found.course == "sudden"


@pytest.mark.parametrize(("course", "size"), [(step, 1.5), (step, 4.0), (ramp, 6.0), (ramp, 20.0)])
def test_the_true_onset_is_in_the_range_as_often_as_claimed(course: Any, size: float) -> None:
    rng = np.random.default_rng(1)
    found = [onset(course(30, size) + rng.normal(size=60), np.ones(60)) for _ in range(400)]
    told = {each.course for each in found}
    assert np.mean([each.first <= 30 <= each.last for each in found]) > 0.9
    assert ("gradual" if course is step else "sudden") not in told or size < 10


def test_steps_and_ramps_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    steps = [onset(step(25, 3) + rng.normal(size=60), np.ones(60)).course for _ in range(100)]
    ramps = [onset(ramp(10, 8) + rng.normal(size=60), np.ones(60)).course for _ in range(100)]
    assert steps.count("sudden") > 95
    assert ramps.count("gradual") > 90


def test_what_the_rows_have_in_common_is_no_drift_from_the_first_row() -> None:
    """The reference is off by 2: that is an onset unless the reference's error is known to allow it."""
    y = 2 + step(40, 6) + np.random.default_rng(3).normal(size=60)
    assert onset(y, np.ones(60), offset_error=2).index == 40
    assert onset(2 + 0 * y, np.full(60, 0.1)).index == 0


def test_a_late_step_is_found_behind_long_rows() -> None:
    durations = [64, 32, 16, 8, 4, 2, 1, 1, 1, 1]
    y = np.array([0.0] * 7 + [5, 5, 5])
    found = onset(y, np.array(durations) ** -0.5, durations)
    assert (found.index, found.course) == (7, "sudden")


def test_errors_that_are_too_small_do_not_make_the_onset_too_sure() -> None:
    y = step(30, 10) + 5 * np.random.default_rng(5).normal(size=60)
    wide = onset(y, np.full(60, 5.0))
    told = onset(y, np.full(60, 0.1))
    assert (told.first, told.last) == pytest.approx((wide.first, wide.last), abs=2)
    assert told.first < told.last


@pytest.mark.parametrize(
    ("values", "errors", "settings"),
    [
        ([], [], {}),
        ([1.0, 2.0], [1.0], {}),
        ([1.0, 2.0], [1.0, 0.0], {}),
        ([1.0, 2.0], [1.0, 1.0], {"durations": [1.0, 0.0]}),
        ([1.0, 2.0], [1.0, 1.0], {"offset_error": -1.0}),
        ([[1.0]], [[1.0]], {}),
    ],
)
def test_input_without_an_onset_is_refused(values: Any, errors: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(StatsError, match="expected"):
        onset(values, errors, **settings)
