"""What has become of a payload, judged by the registers of its board alone."""

from dataclasses import dataclass
from enum import StrEnum

from firmware.board import BoardState


class Outcome(StrEnum):
    OLD = "old"
    ARMED = "armed"
    LATCHED = "latched"
    LOST = "lost"


@dataclass(frozen=True)
class Standing:
    """What is true of a transaction by the board's own registers.

    OLD: what was active at the begin still is, and this payload is not armed. ARMED: it becomes active at
    `ls`. LATCHED: it is active since `ls` of `run`. LOST: something else happened to the board, as
    `reason` says.
    """

    outcome: Outcome
    run: int
    ls: int
    reason: str
    state: BoardState


@dataclass(frozen=True)
class Base:
    """What was active when the transaction began."""

    epoch: int
    generation: int
    active_crc: int


def judge(state: BoardState, base: Base | None, generation: int, crc: int, armed_run: int | None) -> Standing:
    """The standing of payload `crc` under `generation`, on a board that was in `base` when this began.

    `armed_run` is the run in which it was armed: a swap at a later LS than the present one was in that run.
    A state may be read across the swap, `arm` before the shadow CRC, the generation and the active CRC.
    """
    base = base or Base(state.epoch, state.generation, state.active_crc)
    active, old, new = (
        (state.generation, state.active_crc),
        (base.generation, base.active_crc),
        (generation, crc),
    )
    run, ls = state.run, state.ls
    if state.epoch != base.epoch:
        outcome, reason = Outcome.LOST, f"the board restarted: epoch {state.epoch}, was {base.epoch}"
    elif active == new:
        outcome, ls = Outcome.LATCHED, state.latched_ls
        if ls > state.ls and armed_run is not None:
            run = armed_run
        reason = f"{_named(new)} is active since LS {ls}"
    elif active not in (old, (base.generation, crc)):
        outcome = Outcome.LOST
        reason = f"{_named(active)} is active, neither the old {_named(old)} nor the new {_named(new)}"
    elif state.armed and (state.arm_generation, state.shadow_crc) == new:
        outcome, ls = Outcome.ARMED, state.arm_target_ls
        reason = f"{_named(new)} is armed for LS {ls}"
    else:
        outcome, reason = Outcome.OLD, f"{_named(old)} is active, {_named(new)} is not armed"
    return Standing(outcome, run, ls, reason, state)


def _named(bank: tuple[int, int]) -> str:
    generation, crc = bank
    return f"generation {generation} (CRC {crc:#010x})"
