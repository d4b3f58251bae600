"""The loop, explored: every state that events can lead to, and what it must never do in any of them."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from types import UnionType

import pytest

from monitor.loop.commands import (
    Abort,
    Adopt,
    Announce,
    Arm,
    Command,
    Fit,
    Judge,
    PollLatch,
    Reconcile,
    Refuse,
    Stage,
    StartPreview,
)
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
from monitor.loop.orders import ALLOWED, Approve, Freeze, Recalibrate, Reject, Rollback, Unfreeze
from monitor.loop.states import WRITING, Mode, Phase, Rules, State
from monitor.loop.step import step

RULES = Rules(
    warm_ls=1,
    collect_max_ls=2,
    approval_max_ls=2,
    preview_max_ls=2,
    latch_max_ls=2,
    confirm_ls=1,
    confirm_max_ls=2,
    cooldown_ls=1,
    backoff_ls=1,
    backoff_max_ls=2,
)
START = State(payload="nominal", generation=0, epoch=1)
WAITING = {Phase.COLLECTING, Phase.AWAITING_APPROVAL, Phase.PREVIEWING, Phase.ARMED, Phase.CONFIRMING}
QUIET = {Phase.WARMING, Phase.COLLECTING}


def events(state: State) -> Iterator[Event]:
    """Everything that can happen to a loop in ``state``, told relative to it."""
    at = (1, state.clock + 1)
    for generation in {state.generation, state.generation - 1, state.target_generation, 99}:
        for level in ("ok", "drift"):
            for ready in (False, True):
                yield LsClosed(at, level, state.epoch, generation, onset=(1, 1), sample_ready=ready)
    for ready in (False, True):
        yield LsClosed(at, "ok", state.epoch, state.generation, sample_ready=ready, steer="moved cuts")
    yield LsClosed(at, "drift", state.epoch, state.generation, steer="moved cuts", by_cuts=True)
    yield LsClosed(at, "ok", state.epoch + 1, 0)
    yield Ticked()
    task = state.task
    yield FitProgressed(task, "gating", "input_scale")
    for accepted in (True, False):
        for attention in ("", "a bump"):
            yield FitEnded(task, "proposal", "candidate", accepted, "", attention)
    yield Staged(task, state.generation + 1)
    yield Previewed(task, True, "")
    yield Previewed(task, False, "off")
    yield Armed(task, 7)
    yield Latched(task, at, state.epoch)
    yield PushJudged(task, False, "")
    yield PushJudged(task, True, "")
    yield WorkFailed(task, "broke")
    yield WorkFailed(task, "silent", unknown=True)
    yield BoardSeen(state.epoch, state.generation, state.payload)
    yield BoardSeen(state.epoch, state.target_generation, state.candidate)
    yield BoardSeen(state.epoch + 1, 0, "nominal")
    yield Ordered(Recalibrate())
    yield Ordered(Recalibrate(dry_run=True))
    yield Ordered(Approve(state.proposal))
    yield Ordered(Approve("another"))
    yield Ordered(Reject(state.proposal))
    yield Ordered(Rollback("nominal"))
    yield Ordered(Freeze())
    yield Ordered(Unfreeze())
    for mode in Mode:
        yield ModeSet(mode)


def ordered(event: Event, orders: type | UnionType) -> bool:
    return isinstance(event, Ordered) and isinstance(event.order, orders)


def normal(state: State) -> State:
    """The state without what only counts up: two states alike in this behave alike."""
    return replace(
        state,
        task=0,
        at=(0, 0),
        clock=0,
        entered=min(state.clock - state.entered, 3) if state.phase in WAITING else 0,
        quiet=min(state.quiet, 2) if state.phase in QUIET else 0,
        not_before=max(0, state.not_before - state.clock),
        steer_after=max(0, state.steer_after - state.clock),
        aside=state.aside
        and replace(
            state.aside,
            entered=min(state.clock - state.aside.entered, 3) if state.aside.phase in WAITING else 0,
            quiet=min(state.aside.quiet, 2) if state.aside.phase in QUIET else 0,
        ),
        retries=min(state.retries, 1),
        generation=0,
        target_generation=0 if state.target_generation < 0 else 1 + state.target_generation - state.generation,
        target_ls=0,
        epoch=0,
        onset=(0, 0),
        latched=(0, 0),
        reason="",
    )


Edge = tuple[State, Event, State, list[Command]]


def explore(mode: Mode, turned: bool = False) -> list[Edge]:
    """All that can happen from a start in this mode; ``turned``: also where the mode changes on the way."""
    start = replace(START, mode=mode)
    seen = {normal(start)}
    todo = deque([start])
    edges: list[Edge] = []
    while todo:
        state = todo.popleft()
        for event in events(state):
            if isinstance(event, ModeSet) and not turned:
                continue
            after, commands = step(state, event, RULES)
            edges.append((state, event, after, commands))
            key = normal(after)
            if key not in seen:
                seen.add(key)
                todo.append(after)
    return edges


@pytest.fixture(scope="module")
def edges() -> list[Edge]:
    """Of all modes, which may change at any time."""
    return explore(Mode.AUTO, turned=True)


def test_every_state_is_reached_and_none_that_writes_in_shadow_mode(edges: list[Edge]) -> None:
    for mode in (Mode.AUTO, Mode.SUPERVISED):
        assert {after.phase for _, _, after, _ in edges if after.mode is mode} == set(Phase)
    writes = {Phase.STAGING, Phase.PREVIEWING, Phase.ARMED, Phase.CONFIRMING, Phase.ROLLED_BACK, Phase.FAULT}
    reached = {after.phase for _, _, after, _ in explore(Mode.SHADOW)}
    assert set(Phase) - reached == {Phase.AWAITING_APPROVAL, *writes}


def test_a_frozen_stream_is_never_written(edges: list[Edge]) -> None:
    writes = (Stage, StartPreview, Arm)
    for state, event, after, commands in edges:
        if state.phase is Phase.FROZEN:
            assert not any(isinstance(command, writes) for command in commands), event
            assert after.phase is Phase.FROZEN or ordered(event, Unfreeze)


def test_the_board_is_armed_only_after_a_good_preview_or_to_undo_or_to_move_cuts(edges: list[Edge]) -> None:
    for state, event, _, commands in edges:
        if any(isinstance(command, Arm) for command in commands):
            previewed = state.phase is Phase.PREVIEWING and isinstance(event, Previewed) and event.good
            known = state.rolling_back or state.steering
            assert previewed or (state.phase is Phase.STAGING and known and isinstance(event, Staged))


def test_a_payload_is_staged_only_with_passed_gates_or_by_a_human_or_to_undo_harm(edges: list[Edge]) -> None:
    for state, event, after, commands in edges:
        if not any(isinstance(command, Stage) for command in commands):
            continue
        unattended = state.mode is Mode.AUTO and not state.dry_run
        by_gates = isinstance(event, FitEnded) and event.accepted and unattended and not event.attention
        by_human = ordered(event, Approve | Rollback)
        undone = isinstance(event, PushJudged) and event.harmful and state.mode is not Mode.SHADOW
        steered = state.mode is Mode.AUTO and isinstance(event, LsClosed) and event.steer != ""
        assert by_gates or by_human or undone or (steered and after.steering)
        assert after.phase is Phase.STAGING


def test_nothing_is_written_in_shadow_mode_whatever_was_under_way(edges: list[Edge]) -> None:
    for state, event, after, commands in edges:
        if after.mode is Mode.SHADOW:
            assert not any(isinstance(command, Stage | StartPreview | Arm) for command in commands), (state, event)
            assert after.phase not in WRITING


def test_what_waits_for_approval_under_another_mode_is_not_asked_about_in_shadow_mode() -> None:
    waiting = replace(START, phase=Phase.AWAITING_APPROVAL, candidate="new", proposal="proposal")
    state, commands = run(waiting, ModeSet(Mode.SHADOW))
    assert (state.phase, state.proposal, state.mode) == (Phase.WATCHING, "", Mode.SHADOW)
    assert commands == [Announce("warning", "mode shadow, was auto")]
    assert run(waiting, ModeSet(Mode.SUPERVISED))[0] == replace(waiting, mode=Mode.SUPERVISED)


@pytest.mark.parametrize("phase", sorted(WRITING))
def test_a_push_that_nobody_approved_ends_where_a_human_is_to_decide_from_now_on(phase: Phase) -> None:
    pushing = replace(START, phase=phase, candidate="new", proposal="proposal", task=4)
    state, commands = run(pushing, ModeSet(Mode.SUPERVISED))
    assert (state.phase, state.candidate, state.task) == (Phase.WATCHING, "", 5)
    assert commands[0] == Abort()
    assert run(pushing, ModeSet(Mode.AUTO)) == (pushing, [])
    undoing = replace(pushing, rolling_back=True)
    assert run(undoing, ModeSet(Mode.SUPERVISED))[0].phase is phase
    assert run(undoing, ModeSet(Mode.SHADOW))[0].phase is Phase.WATCHING


def test_leaving_a_writing_phase_without_a_swap_disarms_the_board(edges: list[Edge]) -> None:
    for state, event, after, commands in edges:
        left = state.phase in WRITING and after.phase not in WRITING | {Phase.FAULT}
        if left and not isinstance(event, Latched):
            assert any(isinstance(command, Abort) for command in commands), (state.phase, event)


def test_what_belongs_to_an_older_task_changes_nothing(edges: list[Edge]) -> None:
    for state, event, _, _ in edges:
        if isinstance(event, Answer):
            assert step(state, replace(event, task=event.task - 1), RULES) == (state, [])


def test_a_command_that_does_not_fit_is_refused_with_the_reason_and_changes_nothing(
    edges: list[Edge],
) -> None:
    for state, event, after, commands in edges:
        if isinstance(event, Ordered) and state.phase not in ALLOWED[type(event.order)]:
            assert after == state
            assert [type(command) for command in commands] == [Refuse]
            assert str(state.phase) in commands[0].reason  # type: ignore[union-attr]


def test_from_everywhere_there_is_a_way_back_to_watching(edges: list[Edge]) -> None:
    backwards: dict[State, set[State]] = {}
    for state, _, after, _ in edges:
        backwards.setdefault(normal(after), set()).add(normal(state))
    todo = [key for key in backwards if key.phase is Phase.WATCHING]
    good = set(todo)
    while todo:
        for before in backwards.get(todo.pop(), ()):
            if before not in good:
                good.add(before)
                todo.append(before)
    assert {normal(state) for state, _, _, _ in edges} <= good


def test_a_new_identity_on_the_board_is_always_adopted_or_was_on_its_way(edges: list[Edge]) -> None:
    for state, _, after, commands in edges:
        if (state.epoch, state.generation, state.payload) != (after.epoch, after.generation, after.payload):
            assert any(isinstance(command, Adopt) for command in commands)


def run(state: State, *happened: Event) -> tuple[State, list[Command]]:
    commands: list[Command] = []
    for event in happened:
        state, more = step(state, event, RULES)
        commands += more
    return state, commands


def closed(state: State, **changes: object) -> LsClosed:
    base = LsClosed((1, state.clock + 1), "ok", state.epoch, state.generation)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_drift_runs_through_to_a_confirmed_payload() -> None:
    state, _ = run(START, closed(START))
    assert state.phase is Phase.WATCHING
    state, _ = run(state, closed(state, level="drift", onset=(1, 3)))
    state, commands = run(state, closed(state, level="drift", sample_ready=True))
    assert commands == [Fit(state.task, (1, 3))]
    state, commands = run(state, FitEnded(state.task, "p", "new", True, "good"))
    assert commands == [Stage(state.task, "new")]
    state, _ = run(state, Staged(state.task, 1), Previewed(state.task, True, ""), Armed(state.task, 9))
    assert state.phase is Phase.ARMED
    state, commands = run(state, closed(state, generation=1))
    assert commands == [PollLatch(state.task)]
    state, commands = run(state, Latched(state.task, (1, 9), 1))
    assert Adopt("new", "p", 1, 1, (1, 9)) in commands
    state, commands = run(state, closed(state, sample_ready=True))
    assert commands == [Judge(state.task, (1, 9), "nominal", "new")]
    state, _ = run(state, PushJudged(state.task, False, "restored"))
    assert (state.phase, state.payload, state.generation, state.retries) == (Phase.WATCHING, "new", 1, 0)


def test_what_needs_attention_waits_for_a_human_even_in_auto_mode() -> None:
    fitting = replace(START, phase=Phase.FITTING, task=4)
    waits, commands = run(fitting, FitEnded(4, "p", "new", True, "cuts moved", "23 σ in one cell"))
    assert waits.phase is Phase.AWAITING_APPROVAL
    assert commands == [Announce("warning", "proposal p waits for approval: 23 σ in one cell; cuts moved")]
    _, commands = run(waits, Ordered(Approve("p")))
    assert commands == [Stage(waits.task + 1, "new")]
    left, commands = run(waits, Ordered(Reject("p")))
    assert left.phase is Phase.WATCHING
    assert not any(isinstance(command, Stage) for command in commands)


def test_what_needs_attention_is_said_where_nothing_can_be_done_about_it() -> None:
    fitting = replace(START, phase=Phase.FITTING, task=4)
    done = FitEnded(4, "p", "new", False, "no knob helps", "23 σ in one cell")
    for state in (fitting, replace(fitting, mode=Mode.SHADOW), replace(fitting, dry_run=True)):
        _, (announcement,) = run(state, done)
        assert isinstance(announcement, Announce)
        assert announcement.level == "warning"
        assert "23 σ in one cell; no knob helps" in announcement.text


def test_a_harmful_payload_is_rolled_back_as_a_new_generation() -> None:
    state = replace(START, phase=Phase.CONFIRMING, payload="bad", previous="good", generation=4, task=3)
    state, commands = run(state, PushJudged(3, True, "rate"))
    assert Stage(state.task, "good") in commands
    state, commands = run(state, Staged(state.task, 5))
    assert commands == [Arm(state.task)]
    state, _ = run(state, Armed(state.task, 9), Latched(state.task, (1, 9), 1))
    assert (state.phase, state.payload, state.generation) == (Phase.ROLLED_BACK, "good", 5)


def test_retries_back_off_exponentially_up_to_a_limit() -> None:
    rules = Rules(backoff_ls=5, backoff_max_ls=18)
    waits = []
    state = replace(START, phase=Phase.FITTING)
    for _ in range(4):
        state, _ = step(replace(state, phase=Phase.FITTING), WorkFailed(state.task, "worker died"), rules)
        waits.append(state.not_before - state.clock)
        state = replace(state, clock=state.not_before)
    assert waits == [5, 10, 18, 18]


def test_a_late_lumi_section_of_the_old_generation_is_no_reason_to_reconcile() -> None:
    state = replace(START, phase=Phase.CONFIRMING, generation=2)
    assert run(state, closed(state, generation=1)) == (state, [])


def test_a_foreign_generation_makes_the_loop_read_the_board_and_adopt_what_it_finds() -> None:
    state = replace(START, phase=Phase.WATCHING)
    state, commands = run(state, closed(state, generation=7))
    assert commands == [Reconcile()]
    state, commands = run(state, BoardSeen(1, 7, "foreign", since=(1, 5)))
    assert (state.phase, state.payload, state.generation) == (Phase.WARMING, "foreign", 7)
    assert Adopt("foreign", "", 7, 1, (1, 5)) in commands


def test_cuts_are_moved_without_a_preview_and_without_being_judged() -> None:
    state, commands = run(replace(START, phase=Phase.WATCHING), closed(START, steer="moved"))
    assert (state.phase, commands) == (Phase.STAGING, [Stage(state.task, "moved")])
    state, commands = run(state, Staged(state.task, 1))
    assert commands == [Arm(state.task)]
    state, commands = run(state, Armed(state.task, 3), Latched(state.task, (1, 3), 1))
    assert (state.phase, state.payload, state.previous) == (Phase.WATCHING, "moved", "")
    assert [command.steered for command in commands if isinstance(command, Adopt)] == [True]


def test_a_confirmation_goes_on_after_its_cuts_have_moved() -> None:
    """What is judged is the payload as it is now against the one before the push, on all events since the push."""
    confirming = replace(
        START, phase=Phase.CONFIRMING, payload="new", previous="old", latched=(1, 4), generation=3, clock=9, entered=9
    )
    state, _ = run(confirming, closed(confirming, steer="moved"))
    state, _ = run(state, Staged(state.task, 4), Armed(state.task, 11), Latched(state.task, (1, 11), 1))
    assert (state.phase, state.entered, state.latched, state.generation) == (Phase.CONFIRMING, 9, (1, 4), 4)
    state, commands = step(state, closed(state, sample_ready=True), replace(RULES, confirm_max_ls=9))
    assert commands == [Judge(state.task, (1, 4), "old", "moved")]


@pytest.mark.parametrize("mode", [Mode.SUPERVISED, Mode.SHADOW])
def test_where_a_human_decides_no_cut_moves_by_itself(mode: Mode) -> None:
    watching = replace(START, phase=Phase.WATCHING, mode=mode)
    assert run(watching, closed(watching, steer="moved"))[0].phase is Phase.WATCHING


def test_what_is_ready_to_be_fitted_or_judged_comes_before_the_cuts() -> None:
    watching = replace(START, phase=Phase.WATCHING)
    drift = closed(watching, level="drift", steer="moved", sample_ready=True, onset=(1, 1))
    state, commands = run(watching, drift)
    assert (state.phase, commands[-1]) == (Phase.FITTING, Fit(state.task, (1, 1)))
    state, _ = run(watching, replace(drift, sample_ready=False))
    assert (state.phase, state.aside and state.aside.phase) == (Phase.STAGING, Phase.COLLECTING)
    collecting = replace(START, phase=Phase.COLLECTING)
    ready = closed(collecting, level="drift", steer="moved", sample_ready=True)
    assert run(collecting, ready)[0].phase is Phase.FITTING
    assert run(collecting, replace(ready, sample_ready=False))[0].phase is Phase.STAGING


def test_collecting_goes_on_after_cuts_have_moved_with_what_was_asked_for() -> None:
    state, _ = run(replace(START, phase=Phase.WATCHING), Ordered(Recalibrate(dry_run=True)))
    state, _ = run(state, closed(state, steer="moved"))
    state, _ = run(state, Staged(state.task, 1), Armed(state.task, 3), Latched(state.task, (1, 3), 1))
    assert (state.phase, state.asked, state.dry_run) == (Phase.COLLECTING, True, True)


def test_a_proposal_waits_for_its_human_while_cuts_move() -> None:
    waiting = replace(START, phase=Phase.AWAITING_APPROVAL, candidate="new", proposal="proposal")
    state, _ = run(waiting, closed(waiting, steer="moved"))
    assert (state.phase, state.candidate, state.proposal) == (Phase.STAGING, "moved", "")
    for event in (Latched(state.task, (1, 3), 1), WorkFailed(state.task, "refused")):
        state_then, _ = run(state, Staged(state.task, 1), Armed(state.task, 3))
        state_then, _ = run(state_then if isinstance(event, Latched) else state, event)
        assert (state_then.phase, state_then.candidate, state_then.proposal) == (waiting.phase, "new", "proposal")


def test_rates_alone_are_brought_back_by_cuts_and_fitted_only_where_no_cut_moves_by_itself() -> None:
    watching = replace(START, phase=Phase.WATCHING)
    drift = closed(watching, level="drift", sample_ready=True, by_cuts=True)
    assert run(watching, drift)[0].phase is Phase.WATCHING
    assert run(replace(watching, mode=Mode.SUPERVISED), drift)[0].phase is Phase.FITTING


def test_cuts_that_could_not_be_moved_rest_but_a_fit_does_not() -> None:
    patient = replace(RULES, backoff_ls=3)
    state, _ = run(replace(START, phase=Phase.WATCHING), closed(START, steer="moved"))
    state, commands = step(state, WorkFailed(state.task, "refused"), patient)
    assert (state.phase, state.retries) == (Phase.WATCHING, 0)
    assert isinstance(commands[0], Abort)
    assert step(state, closed(state, steer="moved"), patient)[0].phase is Phase.WATCHING
    drifting = closed(state, level="drift", steer="moved")
    assert step(state, drifting, patient)[0].phase is Phase.COLLECTING
    later = replace(state, clock=state.clock + 3)
    assert step(later, closed(later, steer="moved"), patient)[0].phase is Phase.STAGING
