"""Moves from phase to phase that several transitions share."""

from __future__ import annotations

from dataclasses import replace

from monitor.loop.commands import Abort, Announce, Command, Reconcile, Stage
from monitor.loop.states import WRITING, Mode, Phase, Rules, State
from monitor.terms import Moment

Transition = tuple[State, list[Command]]
"""The state after an event, and what is to be done about it."""


def enter(state: State, phase: Phase, **changes: object) -> State:
    """Go into a phase."""
    return replace(state, phase=phase, entered=state.clock, quiet=0, **changes)  # type: ignore[arg-type]


def let_go(state: State, phase: Phase, reason: str) -> State:
    """Drop whatever was under way; results that still come in are of an older task."""
    return enter(
        state,
        phase,
        task=state.task + 1,
        candidate="",
        proposal="",
        target_generation=-1,
        target_ls=-1,
        rolling_back=False,
        steering=False,
        aside=None,
        asked=False,
        dry_run=False,
        reason=reason,
    )


def resume(state: State, reason: str) -> State:
    """Go on with what was set aside to move the cuts."""
    assert state.aside is not None
    resumed = replace(
        state,
        **vars(state.aside),
        task=state.task + 1,
        target_generation=-1,
        target_ls=-1,
        steering=False,
        aside=None,
        reason=reason,
    )
    return unasked(resumed, reason)


def unasked(state: State, reason: str) -> State:
    """In shadow mode nobody is asked about a proposal."""
    if state.mode is Mode.SHADOW and state.phase is Phase.AWAITING_APPROVAL:
        return let_go(state, Phase.WATCHING, reason)
    return state


def rest(state: State, wait: int) -> State:
    """Begin nothing by itself for so many lumi sections."""
    return replace(state, not_before=max(state.not_before, state.clock + wait))


def back_off(state: State, rules: Rules) -> State:
    """Rest for longer after each attempt that failed."""
    wait = min(rules.backoff_ls << min(state.retries, 16), rules.backoff_max_ls)
    return replace(rest(state, wait), retries=state.retries + 1)


def give_up(state: State, rules: Rules, reason: str) -> Transition:
    """Leave what was under way, disarm what may be armed, and rest."""
    commands: list[Command] = [Abort()] if state.phase in WRITING | {Phase.FAULT} else []
    if state.steering:
        text = f"{reason}; the cuts stay for {rules.backoff_ls} lumi sections"
        later = replace(state, steer_after=state.clock + rules.backoff_ls)
        return resume(later, text), [*commands, Announce("warning", text)]
    later = back_off(state, rules)
    text = f"{reason}; no new attempt for {later.not_before - later.clock} lumi sections"
    return let_go(later, Phase.WATCHING, text), [*commands, Announce("warning", text)]


def fault(state: State, reason: str) -> Transition:
    """The board's state is not known: read it."""
    return enter(state, Phase.FAULT, reason=reason), [Announce("error", reason), Reconcile()]


def collect(state: State, onset: Moment, reason: str, **asked: bool) -> Transition:
    """Begin to collect events for a fit."""
    state = enter(state, Phase.COLLECTING, onset=onset, reason=reason, **asked)
    return state, [Announce("warning", reason)]


def stage(state: State, payload: str, reason: str, rolling_back: bool = False, steering: bool = False) -> Transition:
    """Begin to bring a payload to the board."""
    state = enter(
        state,
        Phase.STAGING,
        task=state.task + 1,
        candidate=payload,
        proposal="" if rolling_back or steering else state.proposal,
        rolling_back=rolling_back,
        steering=steering,
        reason=reason,
    )
    return state, [Stage(state.task, payload)]
