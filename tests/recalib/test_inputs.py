from collections.abc import Callable

import pytest

from firmware.payload import Payload
from firmware.sim.detector import Response
from recalib.inputs import InputReference
from tests.recalib.conftest import PILEUP, Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)
DEAD = Response(dead_phi=0.7)


@pytest.fixture(scope="module")
def inputs(lab: Lab) -> InputReference:
    return lab.engine._inputs_at(PILEUP)


def test_undrifted_inputs_match(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample()
    assert abs(inputs.mismatch(sample.events, sample.weights, lab.nominal)) < 0.005


def test_a_scale_explains_a_scale(lab: Lab, inputs: InputReference, scaled: Callable[..., Payload]) -> None:
    sample = lab.sample(response=JETS_DOWN)
    before = inputs.mismatch(sample.events, sample.weights, lab.nominal)
    after = inputs.mismatch(sample.events, sample.weights, scaled(jet=1.09))
    assert before > 0.02
    assert after < 0.2 * before


def test_no_scale_explains_a_dead_region(lab: Lab, inputs: InputReference, scaled: Callable[..., Payload]) -> None:
    sample = lab.sample(response=DEAD)
    before = inputs.mismatch(sample.events, sample.weights, lab.nominal)
    for factor in (0.95, 1.05, 1.1, 1.2):
        payload = scaled(jet=factor, met=factor, eg=factor)
        assert inputs.mismatch(sample.events, sample.weights, payload) > 0.8 * before


def test_the_energies_alone_tell_the_jets_scale(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample(response=JETS_DOWN)
    found, error = inputs.scale(sample.events, sample.weights, lab.nominal, "jet")
    assert found == pytest.approx(0.083, abs=0.015)
    assert error < 0.01
