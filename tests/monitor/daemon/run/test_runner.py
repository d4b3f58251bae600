"""A runner feeds the loop and carries out what it says: on fakes, in milliseconds."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from firmware.errors import BoardError, BoardUnreachable, ProcessDied
from monitor.loop.commands import Fit
from monitor.loop.events import BoardSeen, Ordered, Staged, Ticked
from monitor.loop.orders import Approve, Freeze, Recalibrate, Rollback
from monitor.loop.states import Mode, Phase
from recalib.proposal import Step
from tests.monitor.daemon.run.scene import EPOCH, Happened, Scene

FEW = {"recalibrate": {"min_events": 1000, "min_accepts": 10, "min_effective": 100}, "waits": {"warm_ls": 1}}


def played(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 30))  # type: ignore[arg-type]


async def watching(**settings: Any) -> Scene:
    """A stream that has read its board and counted undrifted scores."""
    scene = Scene(**FEW | settings)
    await scene.runner.startup()
    await scene.runner.idle()
    scene.runner.on_ls(scene.report(1))
    await scene.runner.idle()
    assert scene.runner.state.phase is Phase.WATCHING
    return scene


def test_at_the_start_the_board_is_read_and_its_payload_adopted() -> None:
    async def scene() -> None:
        at = await watching()
        assert at.pusher.did[:2] == ["end_unfinished", "read"]
        assert at.worker.warmed == 1
        assert at.runner.state.payload == at.nominal.id
        assert at.record.iovs == [(1, 1, at.nominal.id, 0, EPOCH)]
        assert at.monitor.expected[EPOCH, 0].cuts == tuple(at.nominal.raw("cuts").tolist())

    played(scene)


def test_a_drift_goes_all_the_way_to_a_judged_payload() -> None:
    async def scene() -> None:
        at = await watching()
        at.worker.proposal = lambda request: at.proposal()
        for ls in range(2, 30):
            at.offer(ls)
            at.runner.on_ls(at.report(ls, scale=0.8))
            await at.runner.idle()
            if at.runner.state.phase is Phase.ARMED:
                break
        new = at.proposal().payload_id
        assert at.pusher.coming.id == new
        at.pusher.latch()
        at.runner.feed(Ticked())
        await at.runner.idle()
        assert at.runner.state.phase is Phase.CONFIRMING
        assert at.record.iovs[-1][2:] == (new, 1, EPOCH)
        for ls in range(30, 40):
            at.offer(ls, generation=1)
            at.runner.on_ls(at.report(ls, generation=1))
            await at.runner.idle()
        assert at.runner.state.phase is Phase.WATCHING
        assert at.runner.activity.outcomes["push", "good"] == 1
        (drift,) = (text for kind, text in at.listener.told if kind == "drift")
        assert drift.startswith("Scores drift since LS 2: ")

    played(scene)


def test_a_frozen_stream_stays_frozen_in_the_next_life_of_the_daemon() -> None:
    async def scene() -> None:
        at = Scene(**FEW)
        at.record.happened = [Happened("order freeze", "info", "freeze", {}, time=5_000_000_000)]
        await at.runner.startup()
        assert at.runner.state.phase is Phase.FROZEN
        assert at.runner.activity.entered_at == 5.0

    played(scene)


def test_an_order_is_recorded_with_its_reason_whether_it_is_taken_or_refused() -> None:
    async def scene() -> None:
        at = await watching()
        assert at.runner.order(Approve("abc"), "looks good", "ada") == at.runner.why_not(Approve("abc")) != ""
        assert not at.runner.order(Freeze(), "access", "ada")
        refused, taken = (each for each in at.record.happened if each.kind.startswith("order "))
        assert (refused.kind, refused.level) == ("order approve", "warning")
        assert (taken.kind, taken.level, taken.text) == ("order freeze", "info", "freeze")
        assert taken.data == {"reason": "access", "by": "ada"}

    played(scene)


def test_what_a_person_decides_on_a_proposal_is_recorded_with_it() -> None:
    async def scene() -> None:
        at = await watching(mode=Mode.SUPERVISED)
        at.state(phase=Phase.AWAITING_APPROVAL, proposal="p1", candidate=at.nominal.id)
        assert not at.runner.order(Approve("p1"), "looks good", "ada")
        await at.runner.idle()
        assert at.record.decided == [("p1", "approve", "ada", "looks good")]

    played(scene)


def test_a_fit_is_left_at_its_next_step_when_the_loop_has_gone_on() -> None:
    async def scene() -> None:
        at = await watching()
        at.state(phase=Phase.FITTING, task=5)
        at.worker.steps = [Step("fitting", "input_scale"), Step("gating", "rates")]
        at.worker.proposal = lambda request: pytest.fail("the fit went on")  # type: ignore[arg-type, return-value]
        at.state(phase=Phase.FROZEN, task=6)
        await at.runner._performer.do(Fit(5, (1, 1)))
        await at.runner.idle()
        assert at.runner.activity.outcomes == {("fit", "abandoned"): 1}
        assert at.worker.warmed == 2  # ready for the next fit

    played(scene)


def test_people_are_told_where_a_fit_is() -> None:
    async def scene() -> None:
        at = await watching()
        at.state(phase=Phase.FITTING, task=5)
        seen: list[str] = []
        at.worker.steps = [Step("gating", "retention")]

        def proposal(request: object) -> Any:
            seen.append("proposed")
            return at.proposal(accepted=False, reason="rates")

        at.worker.proposal = proposal
        await at.runner._performer.do(Fit(5, (1, 1)))
        assert seen
        assert at.runner.activity.outcomes["fit", "rejected"] == 1
        assert "rejected: rates" in at.runner.state.reason

    played(scene)


def test_a_worker_that_dies_ends_the_fit_and_is_started_again() -> None:
    async def scene() -> None:
        at = await watching()
        at.state(phase=Phase.FITTING, task=5)
        at.worker.raises = ProcessDied("fit: killed")
        await at.runner._performer.do(Fit(5, (1, 1)))
        await at.runner.idle()
        assert at.runner.state.phase is Phase.WATCHING
        assert "fit: killed" in at.runner.state.reason
        assert at.worker.warmed == 2

    played(scene)


@pytest.mark.parametrize(
    ("raised", "phase"), [(BoardUnreachable("silent"), Phase.FAULT), (BoardError("refused"), Phase.FAULT)]
)
def test_a_board_that_fails_while_it_is_armed_leaves_its_state_unknown(raised: Exception, phase: Phase) -> None:
    async def scene() -> None:
        at = await watching()
        at.pusher.raises = {"arm": raised, "read": BoardUnreachable("silent")}
        at.state(phase=Phase.STAGING, task=5, candidate=at.nominal.id, rolling_back=True)
        at.runner.feed(Staged(5, 1))
        await at.runner.idle()
        assert at.runner.state.phase is phase
        assert at.runner.activity.outcomes["arm", "failed"] == 1

    played(scene)


def test_a_board_that_cannot_be_read_is_said_once() -> None:
    async def scene() -> None:
        at = await watching()
        at.pusher.raises = {"read": BoardUnreachable("gt is silent")}
        for ls in (2, 3, 4):
            at.runner.on_ls(at.report(ls))
            await at.runner.idle()
        assert at.record.texts("board") == ["gt is silent"]

    played(scene)


def test_an_end_while_a_swap_may_be_armed_disarms_it() -> None:
    async def scene() -> None:
        at = await watching()
        at.state(phase=Phase.ARMED)
        await at.runner.shutdown()
        assert at.pusher.did[-1] == "abort"
        at.pusher.did.clear()
        at.state(phase=Phase.WATCHING)
        await at.runner.shutdown()
        assert at.pusher.did == []

    played(scene)


def test_a_freeze_disarms_at_once() -> None:
    async def scene() -> None:
        at = await watching()
        at.state(phase=Phase.PREVIEWING, task=3, candidate=at.nominal.id)
        at.runner.feed(Ordered(Freeze()))
        await at.runner.idle()
        assert (at.runner.state.phase, at.pusher.did[-1]) == (Phase.FROZEN, "abort")

    played(scene)


def test_a_lumi_section_that_breaks_is_logged_and_the_next_is_judged() -> None:
    async def scene() -> None:
        at = await watching()
        running = asyncio.create_task(at.runner.run())
        at.runner.deliver(replace(at.report(2), window=None))  # type: ignore[arg-type]
        at.runner.deliver(at.report(3))
        while at.runner.last is None or at.runner.last.ls != 3:
            await asyncio.sleep(0)
        assert at.runner.activity.ls_closed == 3
        running.cancel()

    played(scene)


def test_a_payload_that_others_wrote_is_adopted_and_told() -> None:
    async def scene() -> None:
        at = await watching()
        foreign = at.payloads.keep(at.nominal.replace(cuts=at.nominal.raw("cuts") + 3), "found")
        at.runner.feed(BoardSeen(EPOCH, 7, foreign.id, (1, 2)))
        assert (at.runner.state.phase, at.runner.state.generation) == (Phase.WARMING, 7)
        assert at.monitor.expected[EPOCH, 7].cuts == tuple(foreign.raw("cuts").tolist())
        assert at.listener.told[-2][0] == "found"

    played(scene)


def test_a_rollback_goes_to_the_board_without_a_preview() -> None:
    async def scene() -> None:
        at = await watching()
        other = at.payloads.keep(at.nominal.replace(cuts=at.nominal.raw("cuts") + 3), "test")
        assert not at.runner.order(Rollback(other.id), "it was better", "ada")
        await at.runner.idle()
        assert at.runner.state.phase is Phase.ARMED
        assert at.pusher.coming.id == other.id
        assert "start_preview" not in at.pusher.did

    played(scene)


def test_a_dry_run_writes_nothing() -> None:
    async def scene() -> None:
        at = await watching()
        at.worker.proposal = lambda request: at.proposal()
        assert not at.runner.order(Recalibrate(dry_run=True), "looks low", "ada")
        for ls in range(2, 6):
            at.offer(ls)
            at.runner.on_ls(at.report(ls))
            await at.runner.idle()
        assert at.runner.state.phase is Phase.WATCHING
        assert "stage" not in at.pusher.did
        assert len(at.record.stored) == 1

    played(scene)
