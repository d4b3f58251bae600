"""Energies at fixed places: what they tell of each η ring, what is local among them, and what the engine restores."""

from dataclasses import replace

import numpy as np
import pytest

from firmware.sim.stream import Sampling
from firmware.sim.world.calorimeter import ETA_CENTRES, regions
from firmware.sim.world.detector import Response, mean_response
from firmware.sim.world.events import Generator
from recalib.fit.task import near as near_of
from recalib.inputs.estimates import Scale, scale_of
from recalib.inputs.inputs import InputReference
from recalib.inputs.objects import numbers_in_ring
from recalib.knobs.names import KnobName, Turned
from recalib.knobs.scales import scale_knob
from recalib.proposal import Proposal
from recalib.sample import EventSample
from tests.recalib.conftest import CHUNK, PILEUP, Lab

JETS_DOWN, JETS_UP, AGED = Response(jet_energy_scale=-0.04), Response(jet_energy_scale=0.04), Response(ageing=0.2)
DEAD, HOT = Response(dead_phi=0.35), Response(hot_tower=0.02)
KNOBS = ("input_scale", "input_scale_ring", "threshold")
RINGS = np.linspace(-0.1, 0.1, 14)


@pytest.fixture(scope="module")
def inputs(calorimeter: Lab) -> InputReference:
    reference, near = calorimeter.reference, near_of(calorimeter.reference, PILEUP)
    return InputReference(calorimeter.package.model, reference.events[near > 0], near[near > 0])


def seen(lab: Lab, response: Response) -> EventSample:
    """What a board publishes of 300,000 crossings: every tenth, and the tail."""
    if response not in lab.draws:
        source, random = Generator(11), np.random.default_rng(3)
        parts = []
        for _ in range(6):
            events = regions(source.draw(CHUNK, PILEUP), response)
            codes = lab.emulator.codes(events, lab.nominal)
            tail = codes >= Sampling().tail_code(lab.package)
            kept = tail | (random.random(CHUNK) < 0.1)
            parts.append((events[kept], np.where(tail, 1, 0.1)[kept].astype(np.float32), codes[kept]))
        drawn, inclusion, codes = (np.concatenate(column) for column in zip(*parts, strict=True))
        lab.draws[response] = EventSample(drawn, inclusion, codes, np.full(len(codes), 7), generation=0)
    sample: EventSample = lab.draws[response]
    return sample


def proposed(lab: Lab, response: Response) -> Proposal:
    """The tighter cut has so few accepts here that its rate is known to 10 % only: its gate must not decide."""
    return lab.engine.propose(lab.request(seen(lab, response), knobs=KNOBS, min_events=15_000, rate_tolerance=0.25))


def told(lab: Lab, inputs: InputReference, response: Response) -> Scale:
    sample = seen(lab, response)
    return scale_of(inputs, inputs.observe(sample.events, sample.weights), lab.nominal, "region")


def test_places_are_numbered_within_their_ring() -> None:
    assert numbers_in_ring(np.array([0, 1, 0, 1, 1, 2])).tolist() == [0, 0, 1, 1, 2, 0]


def test_undrifted_regions_match(calorimeter: Lab, inputs: InputReference) -> None:
    sample = seen(calorimeter, Response())
    observed = inputs.observe(sample.events, sample.weights)
    assert abs(inputs.mismatch(observed, calorimeter.nominal)) < 5 * inputs.resolution(observed)


@pytest.mark.parametrize("response", [JETS_DOWN, AGED], ids=str)
def test_the_energies_tell_the_scale_of_each_ring(calorimeter: Lab, inputs: InputReference, response: Response) -> None:
    found = told(calorimeter, inputs, response)
    truth = -np.log(mean_response(response, ETA_CENTRES))
    assert (found.ring_errors < 0.03).all()
    np.testing.assert_allclose(found.rings, truth, atol=0.03)
    assert np.corrcoef(found.rings, truth)[0, 1] > 0.7


def test_a_scale_of_each_ring_explains_ageing_and_one_of_all_does_not(calorimeter: Lab, inputs: InputReference) -> None:
    sample = seen(calorimeter, AGED)
    observed = inputs.observe(sample.events, sample.weights)
    found = scale_of(inputs, observed, calorimeter.nominal, "region")
    payloads = [
        calorimeter.nominal.replace_values(input_scale=np.tile(np.exp(scales), 18))
        for scales in (np.zeros(14), np.full(14, found.scale), found.rings)
    ]
    nothing, of_all, by_ring = (inputs.mismatch(observed, payload) for payload in payloads)
    assert by_ring < 0.3 * nothing
    assert by_ring < 0.5 * of_all


def test_no_scale_explains_a_dead_wedge(calorimeter: Lab, inputs: InputReference) -> None:
    sample = seen(calorimeter, DEAD)
    observed = inputs.observe(sample.events, sample.weights)
    before = inputs.mismatch(observed, calorimeter.nominal)
    for factor in (1.03, 1.06, 1.1):
        payload = calorimeter.nominal.replace_values(input_scale=np.full(252, factor))
        assert inputs.mismatch(observed, payload) > 0.9 * before


def test_the_ring_knob_turns_the_inputs_of_each_ring_together(calorimeter: Lab) -> None:
    def tell(name: str) -> Scale:
        return Scale(0.08, 0.001, 0.08 + RINGS, np.full(14, 0.005), 20.0)

    turned = scale_knob(KnobName.INPUT_SCALE_RING, calorimeter.package.model, tell, 0.25)
    assert turned.labels == ("region", "region rings")
    assert set(turned.ties) == {"input_scale"}
    values = turned.payload(turned.centre, calorimeter.nominal).value("input_scale").reshape(18, 14)
    assert (values == values[0]).all()
    np.testing.assert_allclose(np.log(values[0]), 0.08 + RINGS, atol=0.002)


UNDECIDED = pytest.mark.xfail(
    strict=False, reason="so small a rise is answered by cuts alone on some processors, which train another student"
)


@pytest.mark.parametrize(
    ("response", "overlap"),
    [(JETS_DOWN, 0.94), pytest.param(JETS_UP, 0.93, marks=UNDECIDED), (AGED, 0.93)],
    ids=str,
)
def test_the_engine_restores_what_scales_can(calorimeter: Lab, response: Response, overlap: float) -> None:
    """On twins that it has not seen; by scales of the inputs, and better than cuts alone could."""
    proposal = proposed(calorimeter, response)
    assert proposal.accepted, proposal.reason
    assert proposal.knob.name in (KnobName.INPUT_SCALE, KnobName.INPUT_SCALE_RING)
    assert proposal.kl_after < 0.2 * proposal.kl_before
    rates, overlaps = calorimeter.truth(proposal.words, response)
    drifted, _ = calorimeter.truth(calorimeter.nominal.words, response)
    assert np.abs(drifted - 1).min() > 0.15
    assert rates[0] == pytest.approx(1, abs=0.08)
    assert overlaps[0] > overlap


def test_ageing_is_undone_by_ring(calorimeter: Lab) -> None:
    proposal = proposed(calorimeter, AGED)
    assert proposal.knob.name is KnobName.INPUT_SCALE_RING
    words = calorimeter.nominal.layout["input_scale"].words
    scales = np.log(replace(calorimeter.nominal, words=proposal.words).value("input_scale")).reshape(18, 14)[0]
    assert words.start == 0
    assert np.corrcoef(scales, -np.log(mean_response(AGED, ETA_CENTRES)))[0, 1] > 0.9


def test_a_dead_wedge_leaves_the_scales_alone_and_is_told(calorimeter: Lab) -> None:
    proposal = proposed(calorimeter, DEAD)
    assert proposal.knob == Turned(KnobName.THRESHOLD), proposal.reason
    (told,) = (gate.text for gate in proposal.gates if gate.name == "local excess")
    assert "are missing at phi codes 11 to" in told


def test_a_hot_tower_goes_to_a_person_with_its_place(calorimeter: Lab) -> None:
    """η 1.6 is ring 11, φ 2.2 wedge 6."""
    proposal = proposed(calorimeter, HOT)
    assert "eta 11, phi 6" in proposal.attention
    assert proposal.knob.name in (KnobName.THRESHOLD, None)


def test_what_drifts_as_a_whole_is_not_local(calorimeter: Lab) -> None:
    for response in (Response(), JETS_DOWN, JETS_UP, AGED):
        assert not proposed(calorimeter, response).attention
