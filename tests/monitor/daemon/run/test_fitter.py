"""What is asked of the fit's worker, and what is kept of its answers."""

import asyncio

import numpy as np
import pytest

from firmware.errors import ProcessDied
from monitor.daemon.run.collected import InForce
from recalib.request import FitRequest, JudgeRequest
from tests.monitor.daemon.run.scene import EPOCH, Scene


def test_a_fit_is_asked_with_the_events_the_rates_and_the_settings_of_the_stream() -> None:
    async def scene() -> None:
        at = Scene(detect={"rate_tolerance": 0.05}, recalibrate={"max_move": 0.1, "seed": 9})
        at.collected.in_force = InForce(EPOCH, 0, 0)
        at.offer(1, n=500)
        at.worker.proposal = lambda request: at.proposal()
        ended = await at.fitter.fit(4, (1, 1), at.nominal, lambda step: None)
        (asked,) = at.worker.asked
        assert isinstance(asked, FitRequest)
        assert len(asked.sample) == 500
        assert (asked.settings.rate_tolerance, asked.settings.max_move, asked.settings.seed) == (0.05, 0.1, 9)
        np.testing.assert_array_equal(asked.words, at.nominal.words)
        reference = at.loaded.reference
        np.testing.assert_allclose(asked.rates, reference.rates_of(reference.p))
        assert (ended.task, ended.accepted) == (4, True)

    asyncio.run(scene())


def test_a_proposal_is_kept_with_its_payload_and_counted_by_its_knob() -> None:
    async def scene() -> None:
        at = Scene()
        at.worker.proposal = lambda request: at.proposal(accepted=False, reason="rates")
        ended = await at.fitter.fit(1, (1, 1), at.nominal, lambda step: None)
        assert at.record.stored[ended.proposal]["reason"] == "rates"
        assert at.payloads[ended.payload].id == at.proposal().payload_id
        assert at.fitter.proposals == {("threshold", "rejected"): 1}

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("hold", "steered", "asked"),
    [("distribution", True, "distribution"), ("rate", False, "rate"), ("rate", True, "rate")],
)
def test_cuts_are_judged_as_following_only_where_they_can_follow(hold: str, steered: bool, asked: str) -> None:
    """Without a pile-up, as here, no cut is steered."""

    async def scene() -> None:
        at = Scene(hold=hold)
        judged = await at.fitter.judge(2, (1, 1), at.nominal, at.nominal, steered)
        (request,) = at.worker.asked
        assert isinstance(request, JudgeRequest)
        assert request.hold == asked
        assert (judged.task, judged.harmful) == (2, False)
        assert at.record.texts("judgement") == ["the rates are back"]

    asyncio.run(scene())


def test_a_worker_that_does_not_start_is_said_and_does_not_end_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        at = Scene()

        def dies(*_: object) -> str:
            raise ProcessDied("fit: no memory")

        monkeypatch.setattr(at.worker, "warm_up", dies)
        await at.fitter.warm_up()
        assert at.fitter.datapath == "the fit's worker did not start: fit: no memory"

    asyncio.run(scene())
