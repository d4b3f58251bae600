"""Work has come to its end, or the board was read: where the loop goes from there."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from monitor.loop.commands import Abort, Adopt, Announce, Command
from monitor.loop.events import BoardSeen, FitEnded, PushJudged, WorkFailed
from monitor.loop.moves import Transition, back_off, enter, fault, give_up, let_go, rest, resume, stage
from monitor.loop.states import WRITING, Mode, Phase, Rules, State
from monitor.terms import Moment


def fit_ended(state: State, event: FitEnded, rules: Rules) -> Transition:
    """A proposal is there: drop it, ask a person, or stage it."""
    name = event.proposal[:12]
    reason = "; ".join(filter(None, (event.attention, event.reason)))
    if state.dry_run or state.mode is Mode.SHADOW:
        why = "dry run" if state.dry_run else "shadow mode"
        verdict = f"passes its gates: {reason}" if event.accepted else f"is rejected: {reason}"
        text = f"proposal {name} {verdict}; {why}, nothing is written"
        rested = state if state.dry_run else back_off(state, rules)
        level: Literal["info", "warning"] = "warning" if event.attention else "info"
        return let_go(rested, Phase.WATCHING, text), [Announce(level, text)]
    if not event.accepted:
        return give_up(state, rules, f"proposal {name} rejected: {reason}")
    state = replace(state, proposal=event.proposal, candidate=event.payload)
    if state.mode is Mode.SUPERVISED or event.attention:
        text = f"proposal {name} waits for approval: {reason}"
        return enter(state, Phase.AWAITING_APPROVAL, reason=text), [Announce("warning", text)]
    return stage(state, event.payload, event.reason)


def latched(state: State, at: Moment, epoch: int, rules: Rules) -> Transition:
    """The candidate decides: adopt it, and see whether it works."""
    before = state.payload
    state = replace(state, payload=state.candidate, generation=state.target_generation, epoch=epoch)
    state = state if state.steering else replace(state, previous=before, latched=at)
    adopt = Adopt(state.payload, state.proposal, state.generation, state.epoch, at, state.steering)
    text = f"generation {state.generation} active since run {at[0]}, lumi section {at[1]}"
    if state.rolling_back:
        state = let_go(back_off(state, rules), Phase.ROLLED_BACK, f"rolled back; {text}")
    elif state.steering:
        state = resume(state, f"cuts moved; {text}")
    else:
        state = enter(state, Phase.CONFIRMING, task=state.task + 1, reason=text)
    return state, [adopt, Announce("info", state.reason)]


def judged(state: State, event: PushJudged, rules: Rules) -> Transition:
    """The payload in force was judged: keep it, or undo it."""
    if event.harmful and state.mode is Mode.SHADOW:
        text = f"generation {state.generation} does harm: {event.reason}; shadow mode, nothing is written"
        return let_go(back_off(state, rules), Phase.WATCHING, text), [Announce("error", text)]
    if event.harmful:
        after, commands = stage(state, state.previous, f"rolling back: {event.reason}", rolling_back=True)
        return after, [Announce("error", after.reason), *commands]
    text = f"generation {state.generation} confirmed: {event.reason}"
    rested = replace(rest(state, rules.cooldown_ls), retries=0)
    return let_go(rested, Phase.WATCHING, text), [Announce("info", text)]


def failed(state: State, event: WorkFailed, rules: Rules) -> Transition:
    """Work has failed: give up what it was for, or read the board where its state is not known."""
    if state.phase is Phase.ARMED or (event.unknown and state.phase in WRITING):
        return fault(state, event.reason)
    if state.phase is Phase.CONFIRMING:
        return state, [Announce("warning", event.reason)]
    if state.phase in (Phase.FITTING, Phase.GATING, *WRITING):
        return give_up(state, rules, event.reason)
    return state, []


def board_seen(state: State, event: BoardSeen, rules: Rules) -> Transition:
    """The board was read: what was under way is settled, or what it runs is adopted."""
    seen = (event.epoch, event.generation, event.payload)
    same = seen == (state.epoch, state.generation, state.payload)
    swapped = seen == (state.epoch, state.target_generation, state.candidate)
    if state.phase is Phase.FAULT and swapped:
        return latched(state, event.since, event.epoch, rules)
    if state.phase is Phase.FAULT and same:
        return give_up(state, rules, "the board still runs the old payload")
    if same or (state.phase is Phase.ARMED and swapped):
        return state, []
    text = f"board runs generation {event.generation} of epoch {event.epoch}, payload {event.payload[:12]}"
    aborts: list[Command] = [Abort()] if state.phase in WRITING else []
    phase = Phase.FROZEN if state.phase is Phase.FROZEN else Phase.WARMING
    state = replace(
        let_go(state, phase, text),
        previous=state.payload,
        payload=event.payload,
        generation=event.generation,
        epoch=event.epoch,
    )
    adopt = Adopt(event.payload, "", event.generation, event.epoch, event.since)
    return state, [*aborts, adopt, Announce("warning", text)]
