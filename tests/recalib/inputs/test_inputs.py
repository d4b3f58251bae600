from collections.abc import Callable

import numpy as np
import pytest

from firmware.model.payload import Payload
from firmware.sim.world.detector import _JET_RINGS, _RINGS, JET, PT_LSB, RING_SPREAD, Response
from recalib.fit.task import near
from recalib.inputs.estimates import pedestal_of, scale_of
from recalib.inputs.inputs import InputReference
from recalib.knobs.scales import RINGS_APART
from tests.recalib.conftest import PILEUP, Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)
GEV = PT_LSB
DEAD = Response(dead_phi=0.7)


@pytest.fixture(scope="module")
def inputs(lab: Lab) -> InputReference:
    return InputReference(lab.package.model, lab.reference.events, near(lab.reference, PILEUP))


def test_undrifted_inputs_match(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample()
    observed = inputs.observe(sample.events, sample.weights)
    assert abs(inputs.mismatch(observed, lab.nominal)) < 5 * inputs.resolution(observed)


def test_a_scale_explains_a_scale(lab: Lab, inputs: InputReference, scaled: Callable[..., Payload]) -> None:
    sample = lab.sample(response=JETS_DOWN)
    observed = inputs.observe(sample.events, sample.weights)
    before = inputs.mismatch(observed, lab.nominal)
    after = inputs.mismatch(observed, scaled(jet=1.09))
    assert before > 0.02
    assert after < 0.2 * before


def test_no_scale_explains_a_dead_region(lab: Lab, inputs: InputReference, scaled: Callable[..., Payload]) -> None:
    sample = lab.sample(response=DEAD)
    observed = inputs.observe(sample.events, sample.weights)
    before = inputs.mismatch(observed, lab.nominal)
    for factor in (0.95, 1.05, 1.1, 1.2):
        payload = scaled(jet=factor, met=factor, eg=factor)
        assert inputs.mismatch(observed, payload) > 0.8 * before


def test_the_energies_alone_tell_the_jets_scale(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample(response=JETS_DOWN)
    told = scale_of(inputs, inputs.observe(sample.events, sample.weights), lab.nominal, "jet")
    assert told.scale == pytest.approx(0.083, abs=0.015)
    assert told.error < 0.01


def test_the_energies_tell_the_rings_of_the_jets(lab: Lab, inputs: InputReference) -> None:
    """Their scales are those of the simulated calorimeter's response."""
    sample = lab.sample(response=JETS_DOWN)
    told = scale_of(inputs, inputs.observe(sample.events, sample.weights), lab.nominal, "jet")
    middle = (np.arange(32) - 15.5) * 8 * JET.eta_lsb
    truth = -np.log(1 - 0.08 * (1 + RING_SPREAD * np.interp(middle, _RINGS, _JET_RINGS)))
    sure = told.ring_errors < 0.02
    assert sure.sum() > 10
    assert told.spread > RINGS_APART
    assert np.corrcoef(told.rings[sure], truth[sure])[0, 1] > 0.7
    assert np.abs(told.rings - truth)[sure].mean() < 0.02


def test_without_a_dependence_on_eta_the_rings_are_alike(lab: Lab, inputs: InputReference) -> None:
    """Chance may tell the rings of one type apart, but not clearly."""
    sample = lab.sample()
    observed = inputs.observe(sample.events, sample.weights)
    spreads = [scale_of(inputs, observed, lab.nominal, name).spread for name in ("eg", "jet", "mu")]
    assert sorted(spreads)[1] < RINGS_APART
    assert max(spreads) < 2 * RINGS_APART


def test_a_correction_by_ring_explains_more_than_one_of_all(
    lab: Lab, inputs: InputReference, scaled: Callable[..., Payload]
) -> None:
    sample = lab.sample(response=Response(ageing=0.3))
    observed = inputs.observe(sample.events, sample.weights)
    told = scale_of(inputs, observed, lab.nominal, "jet")
    rings = np.ones(lab.package.model.n_rings)
    rings[-32:] = np.exp(np.where(told.ring_errors < 0.05, told.rings, 0.0))
    by_ring = inputs.mismatch(observed, lab.nominal.replace_values(ring_scale=rings))
    of_all = inputs.mismatch(observed, scaled(jet=np.exp(told.scale)))
    assert by_ring < 0.7 * of_all


@pytest.mark.parametrize(
    "response", [JETS_DOWN, Response(jet_pedestal=3.0), Response(jet_pedestal=-2.0), Response(ageing=0.2)], ids=str
)
def test_a_change_of_the_response_is_undone_event_by_event(
    lab: Lab, inputs: InputReference, response: Response
) -> None:
    """Jets come back to where their twins are, but for what smears them; what none of them is stays absent."""
    twins, drifted = lab.events(200_000), lab.events(200_000, response)
    observed = inputs.observe(drifted, np.ones(len(drifted)))
    undrifted = inputs.undrifted(observed, drifted)
    jets = lab.package.model.energies("jet")
    there = (twins[:, jets] > 0) & (drifted[:, jets] > 0)
    before, after = ((events[:, jets] / np.maximum(twins[:, jets], 1) - 1)[there] for events in (drifted, undrifted))
    assert abs(after.mean()) < 0.3 * abs(before.mean())
    assert np.abs(after).mean() < 0.9 * np.abs(before).mean()
    assert not undrifted[:, jets][drifted[:, jets] == 0].any()
    angles = [i for i in range(lab.package.model.n_features) if lab.package.model.features[i].kind == "phi"]
    np.testing.assert_array_equal(undrifted[:, angles], drifted[:, angles])
    assert inputs.mismatch(inputs.observe(undrifted, np.ones(len(drifted))), lab.nominal) < 0.3 * inputs.mismatch(
        observed, lab.nominal
    )


def test_without_a_drift_the_inputs_stay(lab: Lab, inputs: InputReference) -> None:
    events = lab.events(200_000)
    undrifted = inputs.undrifted(inputs.observe(events, np.ones(len(events))), events)
    jets = lab.package.model.energies("jet")
    there = events[:, jets] > 0
    moved = np.abs(undrifted[:, jets] / np.maximum(events[:, jets], 1) - 1)[there]
    assert moved.mean() < 0.01


def test_energies_at_the_end_of_their_range_stay_there(lab: Lab, inputs: InputReference) -> None:
    """The highest code stands for all that is beyond it."""
    events = lab.events(200_000, JETS_DOWN).copy()
    jets = lab.package.model.energies("jet")
    top = lab.package.model.features[jets[0]].type.max_raw
    events[:5, jets[0]] = top
    undrifted = inputs.undrifted(inputs.observe(events, np.ones(len(events))), events)
    np.testing.assert_array_equal(undrifted[:5, jets[0]], top)
    assert undrifted.max(axis=0)[jets].max() == top


def test_the_energies_tell_a_pedestal_from_a_scale(lab: Lab, inputs: InputReference) -> None:
    """3 GeV under each jet are to be taken away again, and no scale beside."""
    events = lab.sample(response=Response(jet_pedestal=3.0))
    told = pedestal_of(inputs, inputs.observe(events.events, events.weights), lab.nominal, "jet")
    assert told is not None
    assert told.offset * told.unit * GEV == pytest.approx(-3, abs=0.6)
    assert told.scale == pytest.approx(0, abs=0.02)
    assert 0 < told.offset_error < 0.05
    assert 0 < told.scale_error < 0.01


def test_what_offsets_do_already_needs_no_further_one(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample(response=Response(jet_pedestal=3.0))
    observed = inputs.observe(sample.events, sample.weights)
    offset = np.zeros(lab.package.model.n_features)
    offset[lab.package.model.energies("jet")] = -3 / GEV
    told = pedestal_of(inputs, observed, lab.nominal.replace_values(input_offset=offset), "jet")
    assert told is None or abs(told.offset * told.unit * GEV) < 0.6


def test_without_a_drift_no_energies_ask_for_an_offset(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample()
    observed = inputs.observe(sample.events, sample.weights)
    assert [pedestal_of(inputs, observed, lab.nominal, name) for name in ("jet", "eg", "met", "mu")] == [None] * 4


def test_objects_that_the_reference_has_none_of_tell_no_pedestal(lab: Lab, inputs: InputReference) -> None:
    sample = lab.sample()
    assert pedestal_of(inputs, inputs.observe(sample.events, sample.weights), lab.nominal, "tau") is None
