"""The demo's verdict: from the board's own counters, and only where all came back."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from firmware.board.board import Counters
from monitor.demo.marks import Marks
from monitor.demo.verdict import counted, loop_figures, pileup_figures

STATUS: dict[str, Any] = {"phase": "watching", "generation": 1, "target_ls": 14, "registers": [{}, {}]}


def window(ls: int, kl: float = 0.0, generation: int = 0, **more: Any) -> dict[str, Any]:
    known = {"ls": ls, "n": 1000, "kl": kl, "kl_error": 0.001, "generation": generation, "level": "ok", "pileup": 50.0}
    return known | {"expected_rates": [0.05, 0.01], "ratios": [0.5, 0.4]} | more


WINDOWS = [
    *(window(ls) for ls in range(1, 11)),
    *(window(ls, kl=0.1) for ls in range(11, 14)),
    *(window(ls, generation=1) for ls in range(14, 21)),
]


@pytest.fixture
def marks() -> Marks:
    """Drift in LS 11, alarm in 12, the payload in 14, confirmed in 16; a second a lumi section."""
    at = {"drift": 11, "alarm": 12, "active": 14, "confirmed": 16}
    return Marks(at={name: (ls, float(ls)) for name, ls in at.items()})


def figures(marks: Marks, accepts: tuple[int, int] = (5000, 1000), **status: Any) -> dict[str, Any]:
    return loop_figures(marks, WINDOWS, STATUS | status, 100_000, np.array(accepts))


def test_a_loop_that_closed_passes_with_its_figures(marks: Marks) -> None:
    found = figures(marks)
    assert found["passed"] is True
    assert found["seconds"] == found["lumi_sections"] == {"drift": 0, "alarm": 1, "active": 3, "confirmed": 5}
    assert (found["kl_before"], found["kl_drifted"], found["kl_after"]) == (0, 0.1, 0)
    assert found["rate_drifted"] == [0.5, 0.4]
    assert found["rate_after"] == [1.0, 1.0]
    assert found["registers"] == 2


@pytest.mark.parametrize("accepts", [(5600, 1000), (5000, 890)])
def test_a_rate_beyond_a_tenth_fails(marks: Marks, accepts: tuple[int, int]) -> None:
    assert figures(marks, accepts)["passed"] is False


@pytest.mark.parametrize("status", [{"phase": "rolled_back"}, {"generation": 0}])
def test_a_payload_that_did_not_stay_fails(marks: Marks, status: dict[str, Any]) -> None:
    assert figures(marks, **status)["passed"] is False


def test_a_kl_above_its_floor_fails(marks: Marks) -> None:
    late = [replaced | {"kl": 0.006} if replaced["ls"] > 16 else replaced for replaced in WINDOWS]
    assert loop_figures(marks, late, STATUS, 100_000, np.array([5000, 1000]))["passed"] is False


def test_only_the_newest_generation_after_the_mark_is_counted() -> None:
    one = Counters(ls=16, generation=1, events=10, accepts=(3, 1), dropped=0)
    counters = {
        16: one,
        17: replace(one, ls=17),
        18: replace(one, ls=18, accepts=(5, 2)),
        19: replace(one, ls=19, generation=0),
    }
    events, accepts = counted(counters, 16, 2)
    assert (events, accepts.tolist()) == (20, [8, 3])
    events, accepts = counted({}, 16, 2)
    assert (events, accepts.tolist()) == (0, [0, 0])


def test_what_a_falling_pileup_did_is_told_by_its_ends() -> None:
    windows = [window(1, pileup=60.0), window(2, level="drift"), window(3, pileup=40.0)]
    assert pileup_figures(windows, 2) == {"from": 60.0, "to": 40.0, "pushes": 2, "drift_verdicts": 1}
