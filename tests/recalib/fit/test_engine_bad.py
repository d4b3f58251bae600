"""What cannot be fitted is a proposal to leave everything as it is, with the reason."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.datapath.emulator import Emulator
from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from recalib.fit.engine import Engine
from recalib.knobs.knobs import LinearKnob
from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Proposal
from recalib.request import FitRequest
from recalib.sample import EventSample
from recalib.solve.problem import Problem
from tests.recalib.conftest import Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)


def rejection(engine: Engine, request: FitRequest) -> Proposal:
    """The proposal, after a look at what every rejection must be."""
    proposal = engine.propose(request)
    assert not proposal.accepted
    assert proposal.reason
    assert proposal.payload_id == proposal.base_id
    np.testing.assert_array_equal(proposal.words, request.words)
    assert Proposal.from_dict(proposal.to_dict()).reason == proposal.reason
    return proposal


def drifted(lab: Lab) -> EventSample:
    return lab.sample(response=JETS_DOWN)


@pytest.mark.parametrize("n", [0, 1, 19_999])
def test_too_few_events(lab: Lab, n: int) -> None:
    found = rejection(lab.engine, lab.request(drifted(lab).take(np.arange(n))))
    assert found.reason == f"{n} events in the sample, 20000 are needed"


def test_events_of_which_few_carry_the_weight(lab: Lab) -> None:
    sample = drifted(lab)
    inclusion = np.ones(len(sample), np.float32)
    inclusion[:100] = 1e-4
    found = rejection(lab.engine, lab.request(replace(sample, inclusion=inclusion)))
    assert "equally weighted events, 5000 are needed" in found.reason


def test_all_scores_equal(lab: Lab) -> None:
    sample = drifted(lab)
    found = rejection(lab.engine, lab.request(replace(sample, codes=np.full(len(sample), 12, np.uint32))))
    assert found.reason == "every score in the sample is 12"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_reference_that_holds_no_numbers(lab: Lab, wrong: float) -> None:
    request = lab.request(drifted(lab))
    p, rates = request.p_ref.copy(), request.rates.copy()
    p[3] = rates[0] = wrong
    for broken in (replace(request, p_ref=p), replace(request, rates=rates)):
        assert "holds a value that is no number" in rejection(lab.engine, broken).reason


def packed(lab: Lab, **parts: Any) -> tuple[Engine, Payload]:
    """An engine for the lab's model with other parts, and its nominal payload."""
    model = replace(lab.package.model, **parts)
    nominal = Payload.nominal(model, lab.nominal.raw("cuts"))
    package = replace(lab.package, model=model, nominal=nominal)
    return Engine(package), nominal


def republished(sample: EventSample, engine: Engine, payload: Payload) -> EventSample:
    return replace(sample, codes=Emulator(engine.package.model).codes(sample.events, payload))


def verdict_of(found: Proposal, knob: str) -> str:
    return next(candidate.verdict for candidate in found.candidates if candidate.knob == Turned(KnobName(knob)))


def test_a_latent_value_that_is_always_zero(lab: Lab) -> None:
    """Its scale does nothing, so that the Hessian has a row of zeros; the prior keeps it where it is."""
    last = lab.package.model.layers[-1]
    weight, bias = last.weight.copy(), last.bias.copy()
    weight[:, 2] = bias[2] = 0
    layers = (*lab.package.model.layers[:-1], replace(last, weight=weight, bias=bias))
    engine, nominal = packed(lab, layers=layers)
    sample = republished(drifted(lab), engine, nominal)
    found = engine.propose(lab.request(sample, nominal, knobs=("latent_scale",)))
    moves = next(candidate.moves for candidate in found.candidates if candidate.knob == Turned(KnobName.LATENT_SCALE))
    assert moves.get("latent2", 0.0) == 0.0


def test_a_model_of_which_every_score_is_zero(lab: Lab) -> None:
    last = lab.package.model.layers[-1]
    silent = replace(last, weight=np.zeros_like(last.weight), bias=np.zeros_like(last.bias))
    engine, nominal = packed(lab, layers=(*lab.package.model.layers[:-1], silent))
    sample = republished(drifted(lab), engine, nominal)
    assert rejection(engine, lab.request(sample, nominal)).reason == "every score in the sample is 0"


def test_a_knob_on_which_no_score_depends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tie that turns no register gives a Hessian of the prior alone."""
    from recalib.fit import trials

    def loose(name: str, *arguments: Any) -> LinearKnob:
        knob = fit_knob(name, *arguments)
        return replace(knob, ties={field: np.zeros_like(tie) for field, tie in knob.ties.items()})

    fit_knob = trials.scale_knob
    monkeypatch.setattr(trials, "scale_knob", loose)
    found = rejection(lab.engine, lab.request(drifted(lab), knobs=("output_scale",)))
    assert "output_scale: the scores do not depend on it" in found.reason


def test_a_gradient_that_is_no_number(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Problem.linear

    def broken(self: Problem, theta: NDArray[np.float64]) -> Any:
        now = real(self, theta)
        slopes = now.slopes.clone()
        slopes[5] = float("nan")
        return now._replace(slopes=slopes)

    monkeypatch.setattr(Problem, "linear", broken)
    found = rejection(lab.engine, lab.request(drifted(lab), knobs=("output_scale", "input_scale")))
    assert "output_scale: the gradient is not a number" in found.reason
    assert "input_scale: the gradient is not a number" in found.reason


def test_knobs_without_registers_on_this_board(lab: Lab) -> None:
    features = tuple(replace(feature, kind="raw") for feature in lab.package.model.features)
    engine, nominal = packed(lab, features=features, rings=())
    sample = republished(drifted(lab), engine, nominal)
    found = rejection(engine, lab.request(sample, nominal, knobs=("input_scale", "input_scale_feature")))
    for knob in ("input_scale", "input_scale_feature"):
        assert f"{knob}: the model has no input of kind pt or energy" in found.reason


def test_a_fit_that_does_not_improve(lab: Lab) -> None:
    """An undrifted sample: what remains is chance, and a rate within its tolerance."""
    found = rejection(lab.engine, lab.request(lab.sample(), knobs=("threshold", "input_scale", "output_scale")))
    assert found.reason.startswith("no knob helps: ")
    assert "the rates are in their tolerance as it is" in verdict_of(found, "threshold")
    for knob in ("input_scale", "output_scale"):
        assert verdict_of(found, knob) not in ("chosen", "not needed")
