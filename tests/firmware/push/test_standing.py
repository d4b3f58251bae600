"""What has become of a payload, by registers that are written down here."""

from dataclasses import replace
from typing import Any

import pytest

from firmware.board.board import BoardState
from firmware.board.register_map import ArmStatus
from firmware.push.standing import Base, Outcome, Standing, joint, judge

BASE = Base(epoch=9, generation=3, active_crc=0xA)
NEW_GENERATION, NEW_CRC = 4, 0xB
OLD_STATE = BoardState(
    epoch=9,
    run=7,
    ls=10,
    generation=3,
    latched_ls=2,
    active_crc=0xA,
    shadow_crc=NEW_CRC,
    arm_status=ArmStatus.IDLE,
    arm_generation=0,
    arm_target_ls=0,
)


def standing(armed_run: int | None = None, **registers: Any) -> Standing:
    return judge(replace(OLD_STATE, **registers), BASE, NEW_GENERATION, NEW_CRC, armed_run)


ARMED = {"arm_status": ArmStatus.ARMED, "arm_generation": NEW_GENERATION, "arm_target_ls": 12}
LATCHED = {"generation": NEW_GENERATION, "active_crc": NEW_CRC, "latched_ls": 12, "ls": 12}


def test_what_was_active_still_is() -> None:
    assert standing().outcome is Outcome.OLD


def test_the_payload_is_armed_for_its_lumi_section() -> None:
    found = standing(**ARMED)
    assert (found.outcome, found.ls) == (Outcome.ARMED, 12)


@pytest.mark.parametrize("other", [{"arm_generation": 5}, {"shadow_crc": 0xC}])
def test_another_payload_that_is_armed_is_not_this_one(other: dict[str, int]) -> None:
    assert standing(**(ARMED | other)).outcome is Outcome.OLD


def test_the_payload_is_active_since_the_lumi_section_that_the_board_says() -> None:
    found = standing(**LATCHED)
    assert (found.outcome, found.run, found.ls) == (Outcome.LATCHED, 7, 12)


def test_a_swap_at_a_later_lumi_section_than_the_present_was_in_the_run_in_which_it_was_armed() -> None:
    found = standing(armed_run=7, **(LATCHED | {"run": 8, "ls": 1}))
    assert (found.run, found.ls) == (7, 12)


@pytest.mark.parametrize(
    ("registers", "reason"),
    [({"epoch": 10}, "restarted: epoch 10, was 9"), ({"active_crc": 0xD}, "is active, neither the old")],
)
def test_what_neither_payload_explains_is_lost(registers: dict[str, int], reason: str) -> None:
    found = standing(**registers)
    assert found.outcome is Outcome.LOST
    assert reason in found.reason


def test_a_board_that_nobody_identified_is_judged_by_itself() -> None:
    assert judge(OLD_STATE, None, NEW_GENERATION, NEW_CRC, None).outcome is Outcome.OLD


@pytest.mark.parametrize(
    ("registers", "expected"),
    [
        (({}, {}), Outcome.OLD),
        (({}, ARMED), Outcome.OLD),
        ((ARMED, ARMED), Outcome.ARMED),
        ((ARMED, LATCHED), Outcome.ARMED),
        ((LATCHED, LATCHED), Outcome.LATCHED),
        ((LATCHED, {}), Outcome.LOST),
        ((ARMED, ARMED | {"arm_target_ls": 13}), Outcome.OLD),
        ((LATCHED, LATCHED | {"latched_ls": 13}), Outcome.LOST),
        ((ARMED, {"epoch": 10}), Outcome.LOST),
    ],
)
def test_several_boards_are_armed_or_latched_only_together(
    registers: tuple[dict[str, Any], dict[str, Any]], expected: Outcome
) -> None:
    """Boards that swap at one boundary may be read on either side of it."""
    first, second = (standing(**each) for each in registers)
    assert joint({"gt": first, "spare": second}).outcome is expected
