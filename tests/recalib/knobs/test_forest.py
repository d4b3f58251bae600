"""A boosted forest: what it has learnt, what a fit may do to it, and what that gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.datapath.emulator import Emulator
from firmware.model.forest import Nodes
from firmware.model.fpu import SHAPE
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from firmware.sim.world.events import Generator, digitise
from recalib.errors import Unfit
from recalib.inputs.estimates import Scale
from recalib.knobs import forest
from recalib.knobs.names import KnobName, Turned
from recalib.lipschitz import STEP, bounds, rise
from recalib.proposal import Proposal
from recalib.surrogate.surrogate import Surrogate
from recalib.training import boosted, encoder
from recalib.training.train import SETTINGS, build_package
from tests.recalib.conftest import Lab, lab_of
from tests.support.forests import forest_model, random_forest

SMALL = replace(
    SETTINGS["forest"],
    training_events=60_000,
    epochs=4,
    reference_events=400_000,
    pileup_edges=(35.0, 45.0, 55.0),
)
JETS_DOWN = Response(jet_energy_scale=-0.08)
ENOUGH = 800_000
FLAT = Scale(0.0, 0.01, np.zeros(0), np.zeros(0))


def quiet(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def trees() -> Lab:
    return lab_of(SMALL)


@pytest.fixture(scope="module")
def restored(trees: Lab) -> Proposal:
    sample = trees.sample(ENOUGH, response=JETS_DOWN)
    return trees.engine.propose(trees.request(sample, knobs=("threshold", "forest")))


@pytest.fixture(scope="module")
def events() -> NDArray[np.int16]:
    return digitise(Generator(5).draw(8192, 40.0))


def payload_of(lab: Lab, words: NDArray[np.uint32]) -> Payload:
    return Payload(lab.package.model.id, lab.package.model.layout, words)


def the_knob(model: Model) -> forest.ForestKnob:
    return forest.forest_knob(model, lambda name: FLAT, 0.25)


def test_the_same_seed_gives_the_same_forest_and_another_seed_another(events: NDArray[np.int16]) -> None:
    ids = [boosted.train(seed, events, 2, epochs=1, progress=quiet).id for seed in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]


def test_the_forest_gives_the_teachers_score_with_the_mean_that_boosting_begins_with(events: NDArray[np.int16]) -> None:
    teacher = encoder.train(3, events, 2, epochs=2, progress=quiet)
    model = boosted.train(3, events, 2, epochs=2, progress=quiet)
    wanted = boosted.wanted_scores(teacher, events)
    latent = Emulator(model).run(events, Payload.nominal(model, [0, 0])).latent[:, 0]
    found = model.latent.result_type.value(latent)
    assert np.corrcoef(found, wanted)[0, 1] > 0.7
    assert found.mean() == pytest.approx(wanted.mean(), rel=0.1)


def test_the_forest_accepts_what_its_teacher_accepts(trees: Lab, tmp_path: Path) -> None:
    """On events that neither has seen."""
    streams = int(np.random.SeedSequence([SMALL.seed, 0]).generate_state(1)[0])
    random = np.random.default_rng(streams)
    drawn = digitise(Generator(streams).draw(SMALL.training_events, random.uniform(20, 60, SMALL.training_events)))
    teacher = encoder.train(SMALL.seed, drawn, 2, epochs=SMALL.epochs, progress=quiet)
    new = trees.events(200_000, seed=99)
    scores = boosted.wanted_scores(teacher, new), trees.emulator.codes(new, trees.nominal)
    accepts = [score >= np.quantile(score, 0.99) for score in scores]
    assert (accepts[0] & accepts[1]).sum() > 0.75 * accepts[0].sum()


def test_surrogate_and_emulator_give_the_same_codes_under_random_forests(events: NDArray[np.int16]) -> None:
    model = forest_model()
    surrogate, emulator = Surrogate(model), Emulator(model)
    random = np.random.default_rng(1)
    for seed in range(4):
        payload = Payload.nominal(model, [1, 2]).replace(forest=random_forest(SHAPE, seed).words)
        payload = payload.replace_values(
            input_scale=random.uniform(0.5, 2, 57),
            ring_scale=random.uniform(0.8, 1.2, 96),
            latent_offset=150,
            output_scale=1.1,
        )
        codes = surrogate.codes(events[:2000], payload)
        assert (codes == emulator.codes(events[:2000], payload)).all()
        assert len(np.unique(codes)) > 50


def test_nothing_is_turned_at_zero_and_structure_stays(trees: Lab) -> None:
    knob, base = the_knob(trees.package.model), trees.nominal
    assert knob.labels == ("eg", "jet", "met", "mu", "gain")
    assert knob.payload(np.zeros(5), base).id == base.id
    turned = knob.payload(np.array([0.1, -0.1, 0.05, 0.0, 0.02]), base)
    assert {change.field for change in turned.diff(base)} == {"forest"}
    for old, new in zip(Nodes.of(base.raw("forest"))[1:], Nodes.of(turned.raw("forest"))[1:], strict=True):
        assert (old == new).all()


def test_thresholds_do_what_an_input_scale_does(trees: Lab) -> None:
    model, base = trees.package.model, trees.nominal
    knob = the_knob(model)
    theta = np.array([0.0, 0.08, 0.0, 0.0, 0.0])
    scale = np.ones(57)
    scale[model.energies("jet")] = np.exp(0.08)
    events = trees.events(50_000)
    by_input = trees.emulator.codes(events, base.replace_values(input_scale=scale)).astype(int)
    by_forest = trees.emulator.codes(events, knob.payload(theta, base)).astype(int)
    unturned = trees.emulator.codes(events, base).astype(int)
    assert abs(by_forest - by_input).mean() < 0.05 * abs(by_input - unturned).mean()


def test_what_a_forest_does_to_its_inputs_is_read_back_as_scales(trees: Lab) -> None:
    model, base = trees.package.model, trees.nominal
    turned = the_knob(model).payload(np.array([-0.05, 0.08, 0.0, 0.0, 0.01]), base)
    scales = forest.as_scales(model, turned).value("input_scale")
    assert scales[model.energies("jet")] == pytest.approx(np.exp(0.08), rel=0.003)
    assert scales[model.energies("eg")] == pytest.approx(np.exp(-0.05), rel=0.003)
    assert scales[model.energies("met")] == pytest.approx(1, rel=0.003)
    assert scales[[1, 2]].tolist() == [1, 1]


def test_a_gain_beyond_what_the_unit_holds_is_refused() -> None:
    model = forest_model()
    knob = the_knob(model)
    with pytest.raises(Unfit, match="a sum might overflow"):
        knob.payload(np.array([0, 0, 0, 0, 0.2]), Payload.nominal(model, [1, 2]))


def test_a_network_has_no_such_knob(lab: Lab) -> None:
    with pytest.raises(Unfit, match="forest: the model is a network"):
        forest.forest_knob(lab.package.model, lambda name: FLAT, 0.25)
    assert forest.as_scales(lab.package.model, lab.nominal) is lab.nominal


def test_a_jet_scale_is_found_by_the_thresholds_alone(trees: Lab, restored: Proposal) -> None:
    """Rates within the tolerance, decisions kept at least as well as by moved cuts, and nothing else is written."""
    assert restored.accepted, restored.reason
    assert restored.knob.name is KnobName.FOREST
    found = next(c for c in restored.candidates if c.knob == Turned(KnobName.FOREST))
    assert found.moves["jet"] == pytest.approx(0.083, abs=0.025)
    assert found.explained > 0.5
    assert {c.field for c in payload_of(trees, restored.words).diff(trees.nominal)} <= {"forest", "cuts"}
    before, _ = trees.truth(trees.nominal.words, JETS_DOWN)
    rates, overlap = trees.truth(restored.words, JETS_DOWN)
    cuts = trees.engine.propose(trees.request(trees.sample(ENOUGH, response=JETS_DOWN), knobs=("threshold",)))
    _, by_cuts = trees.truth(cuts.words, JETS_DOWN)
    assert (before < 0.9).all(), "the drift is too small to show anything"
    np.testing.assert_allclose(rates, 1, atol=0.1)
    assert (overlap >= by_cuts - 0.015).all()
    assert restored.kl_after - restored.kl_floor < 0.35 * (restored.kl_before - restored.kl_floor)


def test_a_forest_that_is_corrected_already_is_left_alone(trees: Lab, restored: Proposal) -> None:
    """Though the inputs before it are as far off as before."""
    base = payload_of(trees, restored.words)
    sample = trees.sample(ENOUGH, response=JETS_DOWN, base=base)
    again = trees.engine.propose(trees.request(sample, base=base, knobs=("forest",)))
    moved = [abs(c.moves["jet"]) for c in again.candidates if c.moves]
    assert not again.accepted or max(moved) < 0.02


def test_other_knobs_turn_what_surrounds_a_forest(trees: Lab) -> None:
    sample = trees.sample(ENOUGH, response=JETS_DOWN)
    proposal = trees.engine.propose(trees.request(sample, knobs=("input_scale", "output_scale", "lut")))
    tried = {str(c.knob): c for c in proposal.candidates}
    assert proposal.knob == Turned(KnobName.INPUT_SCALE)
    assert tried["input_scale"].moves["jet"] == pytest.approx(0.083, abs=0.025)
    assert tried["output_scale"].moves["output0"] > 0
    assert tried["lut"].kl < tried["input_scale"].kl


def test_another_structure_is_an_infinite_move_and_rounding_is_none(trees: Lab) -> None:
    model, base = trees.package.model, trees.nominal
    nodes = Nodes.of(base.raw("forest"))
    inner = int(np.flatnonzero(nodes.inner)[0])
    by_one = nodes._replace(value=nodes.value + (nodes.value > 100))
    assert forest.move(model, base, base.replace(forest=by_one.words)) == 0
    turned = the_knob(model).payload(np.array([0.0, 0.08, 0.0, 0.0, 0.0]), base)
    assert forest.move(model, base, turned) == pytest.approx(0.08, abs=0.01)
    feature = nodes.feature.copy()
    feature[inner] = (feature[inner] + 3) % 57
    other = base.replace(forest=nodes._replace(feature=feature).words)
    assert forest.move(model, base, other) == np.inf


def test_no_input_moves_the_score_by_more_than_the_bound(trees: Lab) -> None:
    model, base = trees.package.model, trees.nominal
    most = bounds(model, base)
    low, high = model.limits
    events = trees.events(50_000)[:3000].astype(np.int64)
    codes = trees.emulator.codes(events, base).astype(np.int64)
    seen = np.zeros(57)
    for j in range(57):
        distance = int((high[j] - low[j] + 1) * STEP)
        moved = events.copy()
        moved[:, j] = np.minimum(moved[:, j] + distance, high[j])
        change = abs(trees.emulator.codes(moved, base).astype(np.int64) - codes).max()
        seen[j] = change
        assert change <= most[j] * distance + 2, model.features[j].name
    assert seen.max() > 100


def test_a_gain_makes_the_score_as_much_steeper_and_an_unchanged_forest_none(trees: Lab) -> None:
    model, base = trees.package.model, trees.nominal
    assert rise(model, base, base) == 1
    steeper = the_knob(model).payload(np.array([0, 0, 0, 0, 0.2]), base)
    assert rise(model, steeper, base) == pytest.approx(np.exp(0.2), rel=0.02)
    squeezed = the_knob(model).payload(np.array([0, 0.25, 0, 0, 0]), base)
    assert rise(model, squeezed, base) > 1.02


def test_a_package_of_a_forest_is_reused(trees: Lab) -> None:
    assert build_package(trees.path, SMALL).id == trees.package.id
    assert "gain" not in trees.package.lineage
