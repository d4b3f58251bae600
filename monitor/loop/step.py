"""The one place that decides: a pure function from (state, event) to (state, commands).

Whoever runs the loop carries the commands out and feeds what became of them back as events.
"""

from __future__ import annotations

from dataclasses import replace

from monitor.loop import answers, closing
from monitor.loop.commands import Abort, Announce, Arm, Command, Reconcile, Refuse, StartPreview
from monitor.loop.events import (
    Answer,
    Armed,
    BoardSeen,
    Event,
    FitEnded,
    FitProgressed,
    Latched,
    LsClosed,
    ModeSet,
    Ordered,
    Previewed,
    PushJudged,
    Staged,
    Ticked,
    WorkFailed,
)
from monitor.loop.moves import Transition, collect, enter, give_up, let_go, resume, stage, unasked
from monitor.loop.orders import ALLOWED, Approve, Freeze, Order, Recalibrate, Reject, Rollback, Unfreeze
from monitor.loop.states import WRITING, Mode, Phase, Rules, State


def step(state: State, event: Event, rules: Rules) -> Transition:
    """Return the state after ``event`` and what is to be done about it."""
    if isinstance(event, Answer) and event.task != state.task:
        return state, []  # of work that the loop has let go
    match event:
        case LsClosed():
            return closing.ls_closed(state, event, rules)
        case Ticked():
            return state, closing.poll(state)
        case FitProgressed() if state.phase in (Phase.FITTING, Phase.GATING):
            return replace(state, phase=Phase(event.stage), reason=event.text), []
        case FitEnded() if state.phase in (Phase.FITTING, Phase.GATING):
            return answers.fit_ended(state, event, rules)
        case Staged() if state.phase is Phase.STAGING:
            state = replace(state, target_generation=event.generation)
            if state.rolling_back or state.steering:
                return state, [Arm(state.task)]
            return enter(state, Phase.PREVIEWING), [StartPreview(state.task)]
        case Previewed() if state.phase is Phase.PREVIEWING:
            if event.good:
                return state, [Arm(state.task)]
            return give_up(state, rules, f"preview: {event.reason}")
        case Armed() if state.phase in (Phase.STAGING, Phase.PREVIEWING):
            text = f"armed for lumi section {event.target_ls}"
            armed = enter(state, Phase.ARMED, target_ls=event.target_ls, reason=text)
            return armed, [Announce("info", text)]
        case Latched() if state.phase is Phase.ARMED:
            return answers.latched(state, event.at, event.epoch, rules)
        case PushJudged() if state.phase is Phase.CONFIRMING:
            return answers.judged(state, event, rules)
        case WorkFailed():
            return answers.failed(state, event, rules)
        case BoardSeen():
            return answers.board_seen(state, event, rules)
        case ModeSet() if event.mode is not state.mode:
            return _mode_set(state, event.mode)
        case Ordered():
            return _ordered(state, event.order, rules)
        case _:
            return state, []


def _mode_set(state: State, mode: Mode) -> Transition:
    """What is on its way to the board goes on only if it might be under the new mode."""
    text = f"mode {mode}, was {state.mode}"
    state = replace(state, mode=mode)
    told = Announce("warning", text)
    if state.phase in WRITING and mode is not Mode.AUTO and (mode is Mode.SHADOW or not state.rolling_back):
        after = resume(state, text) if state.steering else let_go(state, Phase.WATCHING, text)
        return after, [Abort(), told]
    return unasked(state, text), [told]


def _ordered(state: State, order: Order, rules: Rules) -> Transition:
    allowed = ALLOWED[type(order)]
    if state.phase not in allowed:
        names = ", ".join(sorted(allowed))
        return state, [Refuse(f"not possible while {state.phase}; possible while {names}")]
    match order:
        case Recalibrate():
            return collect(state, state.at, "asked for by an operator", asked=True, dry_run=order.dry_run)
        case Approve() | Reject() if order.proposal != state.proposal:
            text = f"the proposal that waits is {state.proposal[:12]}, not {order.proposal[:12]}"
            return state, [Refuse(text)]
        case Approve():
            return stage(state, state.candidate, "approved by an operator")
        case Reject():
            return give_up(state, rules, f"proposal {state.proposal[:12]} rejected by an operator")
        case Rollback() if state.mode is Mode.SHADOW:
            return state, [Refuse("nothing is written in shadow mode")]
        case Rollback() if order.payload == state.payload:
            return state, [Refuse(f"payload {order.payload[:12]} is the active one")]
        case Rollback():
            return stage(state, order.payload, "rollback by an operator", rolling_back=True)
        case Freeze():
            commands: list[Command] = [Abort()] if state.phase in WRITING | {Phase.FAULT} else []
            text = "frozen by an operator"
            return let_go(state, Phase.FROZEN, text), [*commands, Announce("warning", text)]
        case Unfreeze():
            text = "unfrozen by an operator"
            return let_go(state, Phase.WARMING, text), [Announce("info", text), Reconcile()]
        case _:
            raise TypeError(f"no order of an operator: {order!r}")
