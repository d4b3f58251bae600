from collections.abc import Callable

import numpy as np

from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from recalib.judge import judge
from recalib.proposal import Judgement
from recalib.request import JudgeRequest
from tests.recalib.conftest import Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)


def judged(lab: Lab, old: Payload, new: Payload, response: Response, hold: str = "distribution") -> Judgement:
    """On what is published while `new` is in force."""
    target = lab.target()
    sample = lab.sample(response=response, base=new)
    request = JudgeRequest(old.words, new.words, sample, target.p, target.m, target.rates, 0.1, hold)
    return judge(lab.emulator, lab.package.model, target.edges, request)


def test_a_correction_of_a_drift_does_no_harm(lab: Lab, scaled: Callable[..., Payload]) -> None:
    verdict = judged(lab, lab.nominal, scaled(jet=1.087), JETS_DOWN)
    assert not verdict.harmful
    assert verdict.kl_new < verdict.kl_old


def test_a_correction_of_nothing_is_harmful(lab: Lab, scaled: Callable[..., Payload]) -> None:
    verdict = judged(lab, lab.nominal, scaled(jet=1.12), Response())
    assert verdict.harmful
    assert "old payload" in verdict.reason


def test_cuts_that_lose_the_rate_are_harmful_under_either_hold(lab: Lab) -> None:
    wrong = lab.nominal.replace(cuts=(lab.nominal.raw("cuts") * 1.5).astype(np.int64))
    for hold in ("distribution", "rate"):
        assert judged(lab, lab.nominal, wrong, Response(), hold).harmful
        assert not judged(lab, wrong, lab.nominal, Response(), hold).harmful


def test_a_drift_that_goes_on_is_no_reason_to_roll_back(lab: Lab, scaled: Callable[..., Payload]) -> None:
    """Half a correction is off by now, but the old payload would be farther off."""
    verdict = judged(lab, lab.nominal, scaled(jet=1.05), Response(jet_energy_scale=-0.15))
    assert verdict.kl_new > 2 * verdict.kl_floor
    assert not verdict.harmful


def test_where_cuts_follow_by_themselves_a_rate_is_no_harm_but_the_shape_is(
    lab: Lab, scaled: Callable[..., Payload]
) -> None:
    wrong = lab.nominal.replace(cuts=(lab.nominal.raw("cuts") * 1.5).astype(np.int64))
    assert not judged(lab, lab.nominal, wrong, Response(), "steered").harmful
    assert judged(lab, lab.nominal, scaled(jet=1.12), Response(), "steered").harmful
