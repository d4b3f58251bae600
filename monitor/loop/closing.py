"""A lumi section was closed, or time has passed: what the phase makes of it."""

from __future__ import annotations

from dataclasses import replace

from monitor.loop.commands import Announce, Command, Fit, Judge, PollLatch, PollPreview, Reconcile, Work
from monitor.loop.events import LsClosed
from monitor.loop.moves import Transition, collect, enter, fault, give_up, let_go, rest, stage
from monitor.loop.states import STEERED, Aside, Mode, Phase, Rules, State


def ls_closed(state: State, event: LsClosed, rules: Rules) -> Transition:
    """Let a lumi section move the loop, and after it the cuts."""
    if event.epoch == state.epoch and event.generation < state.generation:
        return state, []  # late, of a payload that is no longer active
    state = replace(state, at=event.at, clock=state.clock + 1)
    awaited = state.phase is Phase.ARMED and event.generation == state.target_generation
    if event.epoch != state.epoch or (event.generation != state.generation and not awaited):
        return state, [Reconcile()]
    state, commands = _go_on(state, event, rules)
    if not _may_steer(state, event) or any(isinstance(command, Work) for command in commands):
        return state, commands
    aside = Aside(state.phase, state.entered, state.quiet, state.candidate, state.proposal)
    state, more = stage(replace(state, aside=aside), event.steer, "the cuts follow to hold the rates", steering=True)
    return state, [*commands, *more]


def poll(state: State) -> list[Command]:
    """What is asked again and again while the loop waits for the board."""
    if state.phase is Phase.ARMED:
        return [PollLatch(state.task)]
    if state.phase is Phase.FAULT:
        return [Reconcile()]
    return []


def _go_on(state: State, event: LsClosed, rules: Rules) -> Transition:
    """What a lumi section changes but for the cuts."""
    waited = state.clock - state.entered
    match state.phase:
        case Phase.WARMING:
            state = replace(state, quiet=state.quiet + (event.level != "thin"))
            if state.quiet < rules.warm_ls:
                return state, []
            return enter(state, Phase.WATCHING, reason="warmed up"), []
        case Phase.WATCHING if _to_be_fitted(state, event):
            state, commands = collect(state, event.onset, event.text)
            state, more = _collecting(state, event, 0, rules)
            return state, [*commands, *more]
        case Phase.COLLECTING:
            return _collecting(state, event, waited, rules)
        case Phase.AWAITING_APPROVAL if waited > rules.approval_max_ls:
            return give_up(state, rules, f"proposal {state.proposal[:12]} expired unapproved")
        case Phase.PREVIEWING:
            return state, [PollPreview(state.task, last=waited >= rules.preview_max_ls)]
        case Phase.ARMED if waited > rules.latch_max_ls:
            return fault(state, f"no swap seen {waited} lumi sections after arming")
        case Phase.CONFIRMING:
            return _confirming(state, event, waited, rules)
        case Phase.ROLLED_BACK if state.clock >= state.not_before:
            return let_go(state, Phase.WATCHING, "watching again after the rollback"), []
        case _:
            return state, poll(state)


def _to_be_fitted(state: State, event: LsClosed) -> bool:
    return event.level == "drift" and not _by_cuts(state, event) and state.clock >= state.not_before


def _by_cuts(state: State, event: LsClosed) -> bool:
    """Whether moved cuts bring a drift back by themselves."""
    return event.by_cuts and state.mode is Mode.AUTO


def _may_steer(state: State, event: LsClosed) -> bool:
    """Whether the cuts are moved by themselves."""
    free = state.phase in STEERED and state.clock >= state.steer_after
    return bool(event.steer) and free and state.mode is Mode.AUTO


def _collecting(state: State, event: LsClosed, waited: int, rules: Rules) -> Transition:
    quiet = event.level == "ok" or _by_cuts(state, event)
    state = replace(state, quiet=state.quiet + 1 if quiet else 0)
    if state.quiet >= rules.cooldown_ls and not state.asked:
        text = "the drift went away by itself"
        return let_go(state, Phase.WATCHING, text), [Announce("info", text)]
    if event.sample_ready:
        state = enter(state, Phase.FITTING, task=state.task + 1)
        return state, [Fit(state.task, state.onset)]
    if waited >= rules.collect_max_ls:
        return give_up(state, rules, f"too few events within {waited} lumi sections for a fit")
    return state, []


def _confirming(state: State, event: LsClosed, waited: int, rules: Rules) -> Transition:
    if waited >= rules.confirm_max_ls:
        text = f"generation {state.generation} could not be judged within {waited} lumi sections"
        return let_go(rest(state, rules.cooldown_ls), Phase.WATCHING, text), [Announce("warning", text)]
    if waited >= rules.confirm_ls and event.sample_ready:
        return state, [Judge(state.task, state.latched, state.previous, state.payload)]
    return state, []
