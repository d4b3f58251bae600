"""What has become of a payload, judged by the registers of its boards alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from firmware.board.board import BoardState


class Outcome(StrEnum):
    """What has become of a payload; `Standing` says what each means."""

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


def joint(standings: Mapping[str, Standing]) -> Standing:
    """What is true of all boards together; run and state are those of the first.

    ARMED and LATCHED only if all are, for one LS: those that have swapped and those that are about to were read
    before and after the same boundary. OLD as long as no board has swapped. Anything else is LOST.
    """
    parts = list(standings.values())
    outcomes = {part.outcome for part in parts}
    if outcomes <= {Outcome.ARMED, Outcome.LATCHED} and len({part.ls for part in parts}) == 1:
        outcome = Outcome.ARMED if Outcome.ARMED in outcomes else Outcome.LATCHED
    elif outcomes <= {Outcome.OLD, Outcome.ARMED}:
        outcome = Outcome.OLD
    else:
        outcome = Outcome.LOST
    reasons = (f"{name}: {part.reason}" for name, part in standings.items())
    return replace(parts[0], outcome=outcome, reason="; ".join(reasons) if len(parts) > 1 else parts[0].reason)


def _named(bank: tuple[int, int]) -> str:
    generation, crc = bank
    return f"generation {generation} (CRC {crc:#010x})"
