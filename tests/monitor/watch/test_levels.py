"""When a drift is entered and left, from what each lumi section shows."""

import pytest

from monitor.watch.levels import Levels, watched
from monitor.watch.settings import DetectSettings

DETECT = DetectSettings(p_value=1e-6, consecutive_ls=2)
CLEAR, FAINT = 1e-9, 1e-4
"""p-values that are enough for a drift, and only to be watched."""


def levels(p_values: list[float | None], alarms: dict[int, list[str]] | None = None, settle_ls: int = 0) -> list[str]:
    """The level after each lumi section; `alarms` by its number from 0."""
    stream = Levels(DETECT)
    stream.begin(DETECT, settle_ls)
    return [stream.after(p, (alarms or {}).get(i, []), DETECT) for i, p in enumerate(p_values)]


def test_what_is_to_be_watched_lies_between_a_drift_and_nothing() -> None:
    assert DETECT.p_value < watched(DETECT) == pytest.approx(1e-3)


def test_a_drift_takes_as_many_differences_in_a_row_as_are_configured() -> None:
    assert levels([CLEAR, CLEAR, CLEAR]) == ["watch", "drift", "drift"]
    assert levels([CLEAR, None, CLEAR, None]) == ["watch", "ok", "watch", "ok"]
    assert levels([FAINT] * 5) == ["watch"] * 5


def test_a_drift_stays_while_anything_differs() -> None:
    assert levels([CLEAR, CLEAR, FAINT, None]) == ["watch", "drift", "drift", "ok"]


def test_after_a_push_a_drift_has_to_wait() -> None:
    assert levels([CLEAR] * 5, settle_ls=3) == ["watch", "watch", "watch", "drift", "drift"]


@pytest.mark.parametrize(("detector", "level"), [("e_mixture", "drift"), ("adwin_kl", "watch"), ("glr", "watch")])
def test_an_alarm_with_a_promise_makes_a_drift_of_a_faint_difference(detector: str, level: str) -> None:
    assert levels([FAINT, FAINT], {1: [detector]}) == ["watch", level]


def test_an_alarm_with_a_promise_counts_for_as_many_lumi_sections_as_are_configured() -> None:
    alarm = {0: ["e_rate"]}
    assert levels([None, FAINT, FAINT], alarm) == ["watch", "watch", "watch"]
    assert levels([FAINT, FAINT], alarm) == ["watch", "drift"]


def test_an_alarm_without_a_difference_is_watched() -> None:
    assert levels([None, None], {1: ["adwin_kl"]}) == ["ok", "watch"]
