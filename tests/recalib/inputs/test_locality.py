import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from firmware.sim.world.events import Generator, digitise
from recalib.inputs.locality import Locality, locality
from recalib.inputs.scan import Axis, Counted, concentrated
from recalib.knobs.names import KnobName
from recalib.sample import EventSample
from tests.recalib.conftest import PILEUP, Lab

CELLS = 100


def looked_at(lab: Lab, sample: EventSample, base: Payload | None = None) -> Locality:
    reference, target = lab.reference, lab.target()
    assert reference.event_pileup is not None
    weights = np.exp(-0.5 * ((reference.event_pileup - PILEUP) / 2.0) ** 2) / reference.event_inclusion
    model, base = lab.package.model, base or lab.nominal
    return locality(model, reference, weights, sample, base, target.p, target.rates, PILEUP)


def published(lab: Lab, events: NDArray[np.int16]) -> EventSample:
    codes = lab.emulator.codes(events, lab.nominal)
    hard = codes >= lab.nominal.raw("cuts").min()
    kept = hard | (np.random.default_rng(3).random(len(events)) < 0.2)
    inclusion = np.where(hard, 1, 0.2)[kept].astype(np.float32)
    return EventSample(events[kept], inclusion, codes[kept], np.full(kept.sum(), 7), 0)


@pytest.mark.parametrize(
    "response",
    [
        Response(),
        Response(jet_energy_scale=0.1),
        Response(jet_energy_scale=-0.1),
        Response(eg_scale=0.05, met_noise=0.3),
        Response(met_noise=1.0),
        Response(ageing=0.2),
        Response(dead_phi=0.6),
    ],
    ids=str,
)
def test_what_drifts_as_a_whole_is_not_local(lab: Lab, response: Response) -> None:
    assert looked_at(lab, lab.sample(response=response)).excess == ""


@pytest.mark.parametrize("pileup", [PILEUP - 1.5, PILEUP + 1.5])
def test_a_pileup_that_is_not_quite_known_is_not_local(lab: Lab, pileup: float) -> None:
    source = Generator(21)
    events = np.concatenate([digitise(source.draw(100_000, pileup)) for _ in range(4)])
    assert looked_at(lab, published(lab, events)).excess == ""


@pytest.mark.parametrize("probability", [0.005, 0.1])
def test_a_hot_tower_is_local_and_told_where_it_is(lab: Lab, probability: float) -> None:
    """η 1.6 is code 37 and φ 2.2 code 50 of jets and e/γ: they lie in the cell that begins at η 35 and φ 45."""
    found = looked_at(lab, lab.sample(response=Response(hot_tower=probability)))
    places = "eta codes, around 37|phi codes, around 50|cells in eta × phi, around eta 35, phi 45"
    assert re.search(
        rf"of the excess of (jet|eg) objects above \d+ lies in 1 of \d+ ({places}), \d+ σ; × ", found.excess
    )


def test_a_hot_tower_is_seen_through_a_drift_of_the_scale(lab: Lab) -> None:
    assert looked_at(lab, lab.sample(response=Response(jet_energy_scale=-0.08, hot_tower=0.005))).excess


@pytest.mark.parametrize(("kind", "share"), [("resonance", 0.002), ("multilepton", 0.005)])
def test_a_signal_is_local_in_the_scores(lab: Lab, kind: str, share: float) -> None:
    events = lab.events(400_000).copy()
    bump = digitise(Generator(5).draw_signal(kind, int(share * len(events)), PILEUP))
    events[: len(bump)] = bump
    found = looked_at(lab, published(lab, events))
    assert "of the excess of the scores lies in" in found.excess
    assert "to the rates at the cuts" in found.excess


def test_a_dead_region_is_no_excess_and_is_told(lab: Lab) -> None:
    """0.6 rad around φ = 4 are the codes 85 to 98, the last of them in part."""
    found = looked_at(lab, lab.sample(response=Response(dead_phi=0.6)))
    assert found.excess == ""
    assert re.search("are missing at phi codes 85 to 9[78], where the reference has [89]", found.deficit)


def test_one_stuck_code_of_an_energy_is_local(lab: Lab) -> None:
    events = lab.events(400_000).copy()
    column = next(i for i, f in enumerate(lab.package.model.features) if f.object == "jet" and f.kind == "pt")
    events[np.random.default_rng(1).random(len(events)) < 0.05, column] = 96
    found = looked_at(lab, published(lab, events))
    assert "of the excess of jet objects lies in 1 of" in found.excess
    assert "energy codes, around 96" in found.excess


def test_energies_are_looked_at_as_the_registers_correct_them(lab: Lab) -> None:
    """A fifth more on every jet lets more of them pass each energy, and none at any place in particular."""
    sample = lab.sample()
    jets = np.array([f.object == "jet" and f.kind == "pt" for f in lab.package.model.features])
    base = lab.nominal.replace_values(input_scale=np.where(jets, 1.2, 1.0))
    drifted = replace(sample, codes=lab.emulator.codes(sample.events, base))
    assert looked_at(lab, drifted, base).excess == ""


def test_an_offset_makes_no_objects_where_there_are_none(lab: Lab) -> None:
    """Absent jets have an η and a φ of 0: ten GeV more would put them all in one place."""
    sample = lab.sample()
    jets = np.array([f.object == "jet" and f.kind == "pt" for f in lab.package.model.features])
    base = lab.nominal.replace_values(input_offset=np.where(jets, 20.0, 0.0))
    drifted = replace(sample, codes=lab.emulator.codes(sample.events, base))
    assert (sample.events[:, jets] == 0).sum() > 10_000
    assert looked_at(lab, drifted, base).excess == ""


def test_with_a_local_excess_no_scale_is_turned_and_a_human_is_asked(lab: Lab) -> None:
    sample = lab.sample(response=Response(hot_tower=0.005))
    proposal = lab.engine.propose(lab.request(sample, knobs=("threshold", "input_scale", "output_scale")))
    assert proposal.knob.name in (KnobName.THRESHOLD, None)
    assert "of the excess of" in proposal.attention
    for candidate in proposal.candidates:
        if candidate.knob.name is not KnobName.THRESHOLD:
            assert "not to be calibrated away" in candidate.verdict or "no step lowers" in candidate.verdict
    advice = {gate.name: gate for gate in proposal.gates}
    assert not advice or not advice["local excess"].passed


def test_a_drift_of_a_scale_asks_for_no_human(lab: Lab) -> None:
    sample = lab.sample(response=Response(jet_energy_scale=-0.08))
    assert lab.engine.propose(lab.request(sample, knobs=("threshold",))).attention == ""


def axis(seen: NDArray[np.float64], expected: NDArray[np.float64], joined: bool = True) -> Axis:
    """Counts of events of weight 1 in a sample and a reference of a million each."""
    n = 1e6
    sides = [Counted(x / n, x / n**2, 1 / n) for x in (seen, expected)]
    return Axis("things", "codes", [str(i) for i in range(len(seen))], sides[0], sides[1], joined)


def test_an_excess_in_one_cell_is_found_with_its_size() -> None:
    expected = np.full(CELLS, 1000.0)
    seen = expected.copy()
    seen[40] += 500
    place = concentrated(axis(seen, expected))
    assert place is not None
    assert np.flatnonzero(place.cells).tolist() == [40]
    assert place.share == 1
    assert place.times == pytest.approx(1.5)
    assert place.sigmas == pytest.approx(500 / np.sqrt(1500 + 1250 + 2), rel=0.01)


def test_two_places_are_one_local_excess() -> None:
    expected = np.full(CELLS, 1000.0)
    seen = expected.copy()
    seen[[10, 60]] += 500
    place = concentrated(axis(seen, expected))
    assert place is not None
    assert np.flatnonzero(place.cells).tolist() == [10, 60]


@pytest.mark.parametrize("joined", [True, False])
def test_an_excess_everywhere_or_in_many_cells_is_not_local(joined: bool) -> None:
    expected = np.full(CELLS, 1000.0)
    broad, many = expected.copy(), expected.copy()
    broad[20:60] += 300
    many[::10] += 500
    for seen in (expected * 1.3, broad, many):
        assert concentrated(axis(seen, expected, joined)) is None


def test_a_local_excess_beside_a_larger_broad_one_is_not_called_local() -> None:
    expected = np.full(CELLS, 1000.0)
    seen = expected.copy()
    seen[40] += 500
    seen[60:] += 100
    assert concentrated(axis(seen, expected)) is None


def test_chance_is_not_local() -> None:
    """However few entries there are on either side: 500 axes, none local."""
    random = np.random.default_rng(2)
    for mean in (0.5, 3.0, 30.0, 1000.0):
        for _ in range(125):
            seen, expected = random.poisson(mean, (2, CELLS)).astype(float)
            assert concentrated(axis(seen, expected).scaled()) is None


def test_heavy_weights_are_not_taken_for_precision() -> None:
    """A zero-bias event that counts a hundredfold, beside tail events that count once."""
    random = np.random.default_rng(4)
    for _ in range(200):
        sides = []
        for _ in range(2):
            weights = np.where(random.random(2000) < 0.5, 100.0, 1.0) / 1e5
            sides.append(Counted.of(random.integers(0, CELLS, 2000), weights, CELLS))
        labels = [str(i) for i in range(CELLS)]
        assert concentrated(Axis("things", "codes", labels, *sides).scaled()) is None


def test_how_many_there_are_of_everything_does_not_matter() -> None:
    expected = np.full(CELLS, 1000.0)
    seen = expected * 1.4
    seen[40] += 700
    assert concentrated(axis(seen, expected)) is None
    place = concentrated(axis(seen, expected).scaled())
    assert place is not None
    assert place.times == pytest.approx(1.5, rel=0.01)


def test_a_dead_part_makes_nothing_else_an_excess() -> None:
    expected = np.full(CELLS, 1000.0)
    seen = expected.copy()
    seen[:25] = 0
    assert axis(seen, expected).scaled().excess[25:] == pytest.approx(0)


def test_a_code_that_stands_out_is_found_beside_codes_of_next_to_no_weight() -> None:
    """Reference events at a far pile-up weigh 10⁻⁶⁰ here."""
    expected = np.append(np.full(CELLS, 1000.0), np.full(CELLS, 1e-60))
    seen = np.append(np.full(CELLS, 1000.0), np.full(CELLS, 1.0))
    seen[30] += 500
    place = concentrated(axis(seen, expected, joined=False).smoothed())
    assert place is not None
    assert np.flatnonzero(place.cells).tolist() == [30]


def test_a_code_is_held_against_its_neighbours() -> None:
    """A spectrum that falls less steeply than expected has no code that stands out."""
    x = np.arange(CELLS)
    expected, seen = 1e5 * np.exp(-x / 20), 1e5 * np.exp(-x / 24)
    assert concentrated(axis(seen, expected, joined=False).smoothed()) is None
    seen[30] *= 1.3
    place = concentrated(axis(seen, expected, joined=False).smoothed())
    assert place is not None
    assert np.flatnonzero(place.cells).tolist() == [30]
