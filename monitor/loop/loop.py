"""The one place that decides: a pure function from (state, event) to (state, commands).

The service carries the commands out and feeds what became of them back as events.
An operation that takes time carries the ``task`` number under which it was begun;
what comes back under an older number is ignored, so a late answer can never move
a loop that has gone on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from monitor.terms import NEVER, Level, Moment


class Phase(StrEnum):
    """Where a stream's loop stands."""

    WARMING = "warming"
    WATCHING = "watching"
    COLLECTING = "collecting"
    FITTING = "fitting"
    GATING = "gating"
    AWAITING_APPROVAL = "awaiting_approval"
    STAGING = "staging"
    PREVIEWING = "previewing"
    ARMED = "armed"
    CONFIRMING = "confirming"
    ROLLED_BACK = "rolled_back"
    FROZEN = "frozen"
    FAULT = "fault"


class Mode(StrEnum):
    """Who lets a payload go to the board: the gates, save where they ask for a human; a human; or nobody."""

    AUTO = "auto"
    SUPERVISED = "supervised"
    SHADOW = "shadow"


@dataclass(frozen=True)
class Rules:
    """Lengths of the loop's waits, in lumi sections."""

    warm_ls: int = 3
    collect_max_ls: int = 20
    approval_max_ls: int = 200
    preview_max_ls: int = 20
    latch_max_ls: int = 6
    confirm_ls: int = 3
    confirm_max_ls: int = 12
    cooldown_ls: int = 3
    backoff_ls: int = 5
    backoff_max_ls: int = 160


@dataclass(frozen=True)
class Aside:
    """A phase that moving the cuts has interrupted, and what is known in it alone."""

    phase: Phase
    entered: int
    quiet: int
    candidate: str
    proposal: str


@dataclass(frozen=True)
class State:
    """All that the loop of one stream remembers.

    ``payload``, ``generation`` and ``epoch`` are what the board was last seen to run;
    ``candidate`` is the payload on its way there under ``target_generation``.
    ``aside`` is what the loop goes back to when the cuts have been moved.
    Waits are told in ``clock``, the number of lumi sections closed: numbers of lumi sections
    begin anew with each run.
    """

    mode: Mode = Mode.AUTO
    phase: Phase = Phase.WARMING
    task: int = 0
    at: Moment = NEVER
    clock: int = 0
    entered: int = 0
    quiet: int = 0
    onset: Moment = NEVER
    latched: Moment = NEVER
    payload: str = ""
    previous: str = ""
    generation: int = -1
    epoch: int = -1
    candidate: str = ""
    proposal: str = ""
    target_generation: int = -1
    target_ls: int = -1
    rolling_back: bool = False
    steering: bool = False
    aside: Aside | None = None
    steer_after: int = 0
    asked: bool = False
    dry_run: bool = False
    retries: int = 0
    not_before: int = 0
    reason: str = ""


# What happened.


@dataclass(frozen=True)
class LsClosed:
    """A lumi section was counted.

    ``sample_ready``: enough events kept for the work at hand; ``steer``: the active payload with the cuts that
    will hold the rates, if they are others; ``by_cuts``: a drift is one of rates alone, which such cuts bring back.
    """

    at: Moment
    level: Level
    epoch: int
    generation: int
    onset: Moment = NEVER
    sample_ready: bool = False
    text: str = ""
    steer: str = ""
    by_cuts: bool = False


@dataclass(frozen=True)
class Tick:
    """Wall time passed; the stream may be silent."""


@dataclass(frozen=True)
class FitProgress:
    """Where the fit is; ``text`` for people."""

    task: int
    stage: Literal["fitting", "gating"]
    text: str


@dataclass(frozen=True)
class FitDone:
    """A proposal is there. ``attention``: why a human must decide about it in any mode, if one must."""

    task: int
    proposal: str
    payload: str
    accepted: bool
    reason: str
    attention: str = ""


@dataclass(frozen=True)
class Staged:
    """The shadow bank holds the candidate; it is to become active as ``generation``."""

    task: int
    generation: int


@dataclass(frozen=True)
class Previewed:
    task: int
    good: bool
    reason: str


@dataclass(frozen=True)
class ArmedAt:
    task: int
    target_ls: int


@dataclass(frozen=True)
class Latched:
    task: int
    at: Moment
    epoch: int


@dataclass(frozen=True)
class Judged:
    task: int
    outcome: Literal["good", "harmful", "undecided"]
    reason: str


@dataclass(frozen=True)
class Failed:
    """An operation failed. ``unknown``: the board's state is not known any more."""

    task: int
    reason: str
    unknown: bool = False


@dataclass(frozen=True)
class BoardSeen:
    """The board was read."""

    epoch: int
    generation: int
    payload: str
    since: Moment = NEVER


@dataclass(frozen=True)
class ModeSet:
    """The configuration names a mode; it may be the one in force."""

    mode: Mode


@dataclass(frozen=True)
class Recalibrate:
    dry_run: bool = False


@dataclass(frozen=True)
class Approve:
    proposal: str


@dataclass(frozen=True)
class Reject:
    proposal: str


@dataclass(frozen=True)
class Rollback:
    payload: str


@dataclass(frozen=True)
class Freeze:
    pass


@dataclass(frozen=True)
class Unfreeze:
    pass


Operator = Recalibrate | Approve | Reject | Rollback | Freeze | Unfreeze
Event = (
    LsClosed
    | Tick
    | FitProgress
    | FitDone
    | Staged
    | Previewed
    | ArmedAt
    | Latched
    | Judged
    | Failed
    | BoardSeen
    | ModeSet
    | Operator
)


# What is to be done.


@dataclass(frozen=True)
class Fit:
    task: int
    since: Moment


@dataclass(frozen=True)
class Stage:
    task: int
    payload: str


@dataclass(frozen=True)
class StartPreview:
    task: int


@dataclass(frozen=True)
class PollPreview:
    task: int
    last: bool


@dataclass(frozen=True)
class Arm:
    task: int


@dataclass(frozen=True)
class PollLatch:
    task: int


@dataclass(frozen=True)
class Judge:
    task: int
    since: Moment
    old: str
    new: str


@dataclass(frozen=True)
class Abort:
    """Disarm; the active bank stays untouched."""


@dataclass(frozen=True)
class Reconcile:
    """Read the board and say what it runs."""


@dataclass(frozen=True)
class Adopt:
    """Monitor against what this payload should give; ``proposal`` holds its prediction, if it has one.

    ``steered``: it differs from the one before in its cuts alone.
    """

    payload: str
    proposal: str
    generation: int
    epoch: int
    since: Moment
    steered: bool = False


@dataclass(frozen=True)
class Announce:
    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True)
class Refuse:
    """An operator's command does not fit the state."""

    reason: str


Work = Fit | Stage | StartPreview | PollPreview | Arm | PollLatch | Judge
"""Commands that take time; what becomes of them comes back under their task."""

Command = Work | Abort | Reconcile | Adopt | Announce | Refuse
Outcome = tuple[State, list[Command]]

ALLOWED: dict[type[Operator], frozenset[Phase]] = {
    Recalibrate: frozenset({Phase.WATCHING, Phase.ROLLED_BACK}),
    Approve: frozenset({Phase.AWAITING_APPROVAL}),
    Reject: frozenset({Phase.AWAITING_APPROVAL}),
    Rollback: frozenset(Phase) - {Phase.STAGING, Phase.PREVIEWING, Phase.ARMED, Phase.FROZEN, Phase.FAULT},
    Freeze: frozenset(Phase) - {Phase.FROZEN},
    Unfreeze: frozenset({Phase.FROZEN}),
}

WRITING = frozenset({Phase.STAGING, Phase.PREVIEWING, Phase.ARMED})
"""Phases in which the board's shadow bank may be touched or the swap may be armed."""

STEERED = frozenset({Phase.WATCHING, Phase.COLLECTING, Phase.AWAITING_APPROVAL, Phase.CONFIRMING, Phase.ROLLED_BACK})
"""Phases that moving the cuts may interrupt."""


def step(state: State, event: Event, rules: Rules) -> Outcome:
    """Return the state after ``event`` and what is to be done about it."""
    if getattr(event, "task", state.task) != state.task:
        return state, []
    match event:
        case LsClosed():
            return _ls_closed(state, event, rules)
        case Tick():
            return state, _poll(state)
        case FitProgress() if state.phase in (Phase.FITTING, Phase.GATING):
            return replace(state, phase=Phase(event.stage), reason=event.text), []
        case FitDone() if state.phase in (Phase.FITTING, Phase.GATING):
            return _fit_done(state, event, rules)
        case Staged() if state.phase is Phase.STAGING:
            state = replace(state, target_generation=event.generation)
            if state.rolling_back or state.steering:
                return state, [Arm(state.task)]
            return _enter(state, Phase.PREVIEWING), [StartPreview(state.task)]
        case Previewed() if state.phase is Phase.PREVIEWING:
            if event.good:
                return state, [Arm(state.task)]
            return _give_up(state, rules, f"preview: {event.reason}")
        case ArmedAt() if state.phase in (Phase.STAGING, Phase.PREVIEWING):
            text = f"armed for lumi section {event.target_ls}"
            armed = _enter(state, Phase.ARMED, target_ls=event.target_ls, reason=text)
            return armed, [Announce("info", text)]
        case Latched() if state.phase is Phase.ARMED:
            return _latched(state, event.at, event.epoch, rules)
        case Judged() if state.phase is Phase.CONFIRMING:
            return _judged(state, event, rules)
        case Failed():
            return _failed(state, event, rules)
        case BoardSeen():
            return _board_seen(state, event, rules)
        case ModeSet() if event.mode is not state.mode:
            return _mode_set(state, event.mode)
        case Recalibrate() | Approve() | Reject() | Rollback() | Freeze() | Unfreeze():
            return _operator(state, event, rules)
        case _:
            return state, []


def _enter(state: State, phase: Phase, **changes: object) -> State:
    return replace(state, phase=phase, entered=state.clock, quiet=0, **changes)  # type: ignore[arg-type]


def _let_go(state: State, phase: Phase, reason: str) -> State:
    """Drop whatever was under way; results that still come in are of an older task."""
    return _enter(
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


def _resume(state: State, reason: str) -> State:
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
    return _unasked(resumed, reason)


def _rest(state: State, wait: int) -> State:
    return replace(state, not_before=max(state.not_before, state.clock + wait))


def _back_off(state: State, rules: Rules) -> State:
    wait = min(rules.backoff_ls << min(state.retries, 16), rules.backoff_max_ls)
    return replace(_rest(state, wait), retries=state.retries + 1)


def _give_up(state: State, rules: Rules, reason: str) -> Outcome:
    commands: list[Command] = [Abort()] if state.phase in WRITING | {Phase.FAULT} else []
    if state.steering:
        text = f"{reason}; the cuts stay for {rules.backoff_ls} lumi sections"
        later = replace(state, steer_after=state.clock + rules.backoff_ls)
        return _resume(later, text), [*commands, Announce("warning", text)]
    later = _back_off(state, rules)
    text = f"{reason}; no new attempt for {later.not_before - later.clock} lumi sections"
    return _let_go(later, Phase.WATCHING, text), [*commands, Announce("warning", text)]


def _poll(state: State) -> list[Command]:
    if state.phase is Phase.ARMED:
        return [PollLatch(state.task)]
    if state.phase is Phase.FAULT:
        return [Reconcile()]
    return []


def _ls_closed(state: State, event: LsClosed, rules: Rules) -> Outcome:
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
    state, more = _stage(replace(state, aside=aside), event.steer, "the cuts follow to hold the rates", steering=True)
    return state, [*commands, *more]


def _go_on(state: State, event: LsClosed, rules: Rules) -> Outcome:
    """What a lumi section changes but for the cuts."""
    waited = state.clock - state.entered
    match state.phase:
        case Phase.WARMING:
            state = replace(state, quiet=state.quiet + (event.level != "thin"))
            if state.quiet < rules.warm_ls:
                return state, []
            return _enter(state, Phase.WATCHING, reason="warmed up"), []
        case Phase.WATCHING if _to_be_fitted(state, event):
            state, commands = _collect(state, event.onset, event.text)
            state, more = _collecting(state, event, 0, rules)
            return state, [*commands, *more]
        case Phase.COLLECTING:
            return _collecting(state, event, waited, rules)
        case Phase.AWAITING_APPROVAL if waited > rules.approval_max_ls:
            return _give_up(state, rules, f"proposal {state.proposal[:12]} expired unapproved")
        case Phase.PREVIEWING:
            return state, [PollPreview(state.task, last=waited >= rules.preview_max_ls)]
        case Phase.ARMED if waited > rules.latch_max_ls:
            return _fault(state, f"no swap seen {waited} lumi sections after arming")
        case Phase.CONFIRMING:
            return _confirming(state, event, waited, rules)
        case Phase.ROLLED_BACK if state.clock >= state.not_before:
            return _let_go(state, Phase.WATCHING, "watching again after the rollback"), []
        case _:
            return state, _poll(state)


def _to_be_fitted(state: State, event: LsClosed) -> bool:
    return event.level == "drift" and not _by_cuts(state, event) and state.clock >= state.not_before


def _by_cuts(state: State, event: LsClosed) -> bool:
    """Whether moved cuts bring a drift back by themselves."""
    return event.by_cuts and state.mode is Mode.AUTO


def _may_steer(state: State, event: LsClosed) -> bool:
    """Whether the cuts are moved by themselves."""
    free = state.phase in STEERED and state.clock >= state.steer_after
    return bool(event.steer) and free and state.mode is Mode.AUTO


def _collect(state: State, onset: Moment, reason: str, **asked: bool) -> Outcome:
    state = _enter(state, Phase.COLLECTING, onset=onset, reason=reason, **asked)
    return state, [Announce("warning", reason)]


def _collecting(state: State, event: LsClosed, waited: int, rules: Rules) -> Outcome:
    quiet = event.level == "ok" or _by_cuts(state, event)
    state = replace(state, quiet=state.quiet + 1 if quiet else 0)
    if state.quiet >= rules.cooldown_ls and not state.asked:
        text = "the drift went away by itself"
        return _let_go(state, Phase.WATCHING, text), [Announce("info", text)]
    if event.sample_ready:
        state = _enter(state, Phase.FITTING, task=state.task + 1)
        return state, [Fit(state.task, state.onset)]
    if waited >= rules.collect_max_ls:
        return _give_up(state, rules, f"too few events within {waited} lumi sections for a fit")
    return state, []


def _fit_done(state: State, event: FitDone, rules: Rules) -> Outcome:
    name = event.proposal[:12]
    reason = "; ".join(filter(None, (event.attention, event.reason)))
    if state.dry_run or state.mode is Mode.SHADOW:
        why = "dry run" if state.dry_run else "shadow mode"
        verdict = f"passes its gates: {reason}" if event.accepted else f"is rejected: {reason}"
        text = f"proposal {name} {verdict}; {why}, nothing is written"
        rested = state if state.dry_run else _back_off(state, rules)
        level: Literal["info", "warning"] = "warning" if event.attention else "info"
        return _let_go(rested, Phase.WATCHING, text), [Announce(level, text)]
    if not event.accepted:
        return _give_up(state, rules, f"proposal {name} rejected: {reason}")
    state = replace(state, proposal=event.proposal, candidate=event.payload)
    if state.mode is Mode.SUPERVISED or event.attention:
        text = f"proposal {name} waits for approval: {reason}"
        return _enter(state, Phase.AWAITING_APPROVAL, reason=text), [Announce("warning", text)]
    return _stage(state, event.payload, event.reason)


def _stage(state: State, payload: str, reason: str, rolling_back: bool = False, steering: bool = False) -> Outcome:
    state = _enter(
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


def _latched(state: State, at: Moment, epoch: int, rules: Rules) -> Outcome:
    before = state.payload
    state = replace(state, payload=state.candidate, generation=state.target_generation, epoch=epoch)
    state = state if state.steering else replace(state, previous=before, latched=at)
    adopt = Adopt(state.payload, state.proposal, state.generation, state.epoch, at, state.steering)
    text = f"generation {state.generation} active since run {at[0]}, lumi section {at[1]}"
    if state.rolling_back:
        state = _let_go(_back_off(state, rules), Phase.ROLLED_BACK, f"rolled back; {text}")
    elif state.steering:
        state = _resume(state, f"cuts moved; {text}")
    else:
        state = _enter(state, Phase.CONFIRMING, task=state.task + 1, reason=text)
    return state, [adopt, Announce("info", state.reason)]


def _confirming(state: State, event: LsClosed, waited: int, rules: Rules) -> Outcome:
    if waited >= rules.confirm_max_ls:
        text = f"generation {state.generation} could not be judged within {waited} lumi sections"
        return _let_go(_rest(state, rules.cooldown_ls), Phase.WATCHING, text), [Announce("warning", text)]
    if waited >= rules.confirm_ls and event.sample_ready:
        return state, [Judge(state.task, state.latched, state.previous, state.payload)]
    return state, []


def _judged(state: State, event: Judged, rules: Rules) -> Outcome:
    if event.outcome == "undecided":
        return state, []
    if event.outcome == "harmful" and state.mode is Mode.SHADOW:
        text = f"generation {state.generation} does harm: {event.reason}; shadow mode, nothing is written"
        return _let_go(_back_off(state, rules), Phase.WATCHING, text), [Announce("error", text)]
    if event.outcome == "harmful":
        after, commands = _stage(state, state.previous, f"rolling back: {event.reason}", rolling_back=True)
        return after, [Announce("error", after.reason), *commands]
    text = f"generation {state.generation} confirmed: {event.reason}"
    rested = replace(_rest(state, rules.cooldown_ls), retries=0)
    return _let_go(rested, Phase.WATCHING, text), [Announce("info", text)]


def _fault(state: State, reason: str) -> Outcome:
    return _enter(state, Phase.FAULT, reason=reason), [Announce("error", reason), Reconcile()]


def _failed(state: State, event: Failed, rules: Rules) -> Outcome:
    if state.phase is Phase.ARMED or (event.unknown and state.phase in WRITING):
        return _fault(state, event.reason)
    if state.phase is Phase.CONFIRMING:
        return state, [Announce("warning", event.reason)]
    if state.phase in (Phase.FITTING, Phase.GATING, *WRITING):
        return _give_up(state, rules, event.reason)
    return state, []


def _board_seen(state: State, event: BoardSeen, rules: Rules) -> Outcome:
    seen = (event.epoch, event.generation, event.payload)
    same = seen == (state.epoch, state.generation, state.payload)
    swapped = seen == (state.epoch, state.target_generation, state.candidate)
    if state.phase is Phase.FAULT and swapped:
        return _latched(state, event.since, event.epoch, rules)
    if state.phase is Phase.FAULT and same:
        return _give_up(state, rules, "the board still runs the old payload")
    if same or (state.phase is Phase.ARMED and swapped):
        return state, []
    text = f"board runs generation {event.generation} of epoch {event.epoch}, payload {event.payload[:12]}"
    aborts: list[Command] = [Abort()] if state.phase in WRITING else []
    phase = Phase.FROZEN if state.phase is Phase.FROZEN else Phase.WARMING
    state = replace(
        _let_go(state, phase, text),
        previous=state.payload,
        payload=event.payload,
        generation=event.generation,
        epoch=event.epoch,
    )
    adopt = Adopt(event.payload, "", event.generation, event.epoch, event.since)
    return state, [*aborts, adopt, Announce("warning", text)]


def _mode_set(state: State, mode: Mode) -> Outcome:
    """What is on its way to the board goes on only if it might be under the new mode."""
    text = f"mode {mode}, was {state.mode}"
    state = replace(state, mode=mode)
    told = Announce("warning", text)
    if state.phase in WRITING and mode is not Mode.AUTO and (mode is Mode.SHADOW or not state.rolling_back):
        after = _resume(state, text) if state.steering else _let_go(state, Phase.WATCHING, text)
        return after, [Abort(), told]
    return _unasked(state, text), [told]


def _unasked(state: State, reason: str) -> State:
    """In shadow mode nobody is asked about a proposal."""
    if state.mode is Mode.SHADOW and state.phase is Phase.AWAITING_APPROVAL:
        return _let_go(state, Phase.WATCHING, reason)
    return state


def _operator(state: State, event: Operator, rules: Rules) -> Outcome:
    allowed = ALLOWED[type(event)]
    if state.phase not in allowed:
        names = ", ".join(sorted(allowed))
        return state, [Refuse(f"not possible while {state.phase}; possible while {names}")]
    match event:
        case Recalibrate():
            return _collect(state, state.at, "asked for by an operator", asked=True, dry_run=event.dry_run)
        case Approve() | Reject() if event.proposal != state.proposal:
            text = f"the proposal that waits is {state.proposal[:12]}, not {event.proposal[:12]}"
            return state, [Refuse(text)]
        case Approve():
            return _stage(state, state.candidate, "approved by an operator")
        case Reject():
            return _give_up(state, rules, f"proposal {state.proposal[:12]} rejected by an operator")
        case Rollback() if state.mode is Mode.SHADOW:
            return state, [Refuse("nothing is written in shadow mode")]
        case Rollback() if event.payload == state.payload:
            return state, [Refuse(f"payload {event.payload[:12]} is the active one")]
        case Rollback():
            return _stage(state, event.payload, "rollback by an operator", rolling_back=True)
        case Freeze():
            commands: list[Command] = [Abort()] if state.phase in WRITING | {Phase.FAULT} else []
            text = "frozen by an operator"
            return _let_go(state, Phase.FROZEN, text), [*commands, Announce("warning", text)]
        case Unfreeze():
            text = "unfrozen by an operator"
            return _let_go(state, Phase.WARMING, text), [Announce("info", text), Reconcile()]
