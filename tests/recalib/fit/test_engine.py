import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from firmware.sim.world.events import Generator, digitise
from recalib.fit.choice import estimated_overlap
from recalib.fit.engine import Engine
from recalib.fit.staged import Staged
from recalib.fit.trials import problem
from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Candidate, Proposal
from recalib.request import FitRequest, FitSettings
from recalib.sample import EventSample
from tests.recalib.conftest import Lab

JETS_DOWN = Response(jet_energy_scale=-0.08)
DEAD = Response(dead_phi=1.0)
USUAL = 400_000
ENOUGH = 800_000
"""Events with which the gate on the rates does not hang on chance."""
RINGS = ("input_scale", "input_scale_ring")
ALL_KNOBS = ("threshold", "output_scale", "latent_scale", "input_scale", "input_scale_feature", "lut")


@pytest.fixture(scope="module")
def restored(lab: Lab) -> Proposal:
    return lab.proposed(ENOUGH, JETS_DOWN, knobs=ALL_KNOBS)


@pytest.fixture(scope="module")
def dead(lab: Lab) -> Proposal:
    return lab.proposed(USUAL, DEAD, knobs=("threshold", "input_scale", "lut"))


def candidate(proposal: Proposal, knob: KnobName | Turned) -> Candidate:
    """What a proposal says of a knob by itself, or of one that was turned with its cuts."""
    turned = knob if isinstance(knob, Turned) else Turned(knob)
    return next(c for c in proposal.candidates if c.knob == turned)


def test_a_jet_scale_is_found_by_itself_among_all_knobs(restored: Proposal) -> None:
    assert restored.accepted, restored.reason
    assert restored.knob.name == "input_scale"
    assert restored.restores
    assert candidate(restored, KnobName.INPUT_SCALE).moves["jet"] == pytest.approx(0.083, abs=0.025)


def test_a_proposal_holds_what_was_seen_and_how_well_each_move_is_known(lab: Lab, restored: Proposal) -> None:
    bins = len(lab.reference.binning.edges) - 1
    assert restored.seen.shape == restored.predicted.shape == restored.squares.shape == (bins,)
    above = restored.seen[restored.edges[:-1] >= restored.cuts_before[0]].sum()
    assert above == pytest.approx(restored.rates_before[0])
    assert restored.predicted.sum() == pytest.approx(1)
    errors = candidate(restored, KnobName.INPUT_SCALE).errors
    assert set(errors) == set(candidate(restored, KnobName.INPUT_SCALE).moves)
    assert 0 < errors["jet"] < 0.02
    assert not candidate(restored, KnobName.LUT).errors


def test_a_jet_scale_is_restored_on_events_that_no_fit_has_seen(lab: Lab, restored: Proposal) -> None:
    """Rates within the tolerance, decisions kept better than by moved cuts, the KL's excess down by 80 %."""
    before, _ = lab.truth(lab.nominal.words, JETS_DOWN)
    rates, overlap = lab.truth(restored.words, JETS_DOWN)
    cuts_alone = lab.proposed(USUAL, JETS_DOWN, knobs=("threshold",))
    _, by_cuts = lab.truth(cuts_alone.words, JETS_DOWN)
    assert (before < 0.9).all(), "the drift is too small to show anything"
    np.testing.assert_allclose(rates, 1, atol=0.1)
    assert (overlap >= by_cuts - 0.01).all()
    excess = (restored.kl_after - restored.kl_floor) / (restored.kl_before - restored.kl_floor)
    assert excess < 0.2


def test_a_dead_region_is_not_taken_for_a_scale(dead: Proposal) -> None:
    """However far a scale can force the KL down."""
    assert dead.knob.name in (KnobName.THRESHOLD, None)
    assert candidate(dead, KnobName.INPUT_SCALE).explained < 0.2


def test_what_would_decide_more_like_the_undrifted_trigger_than_moved_cuts_is_named(lab: Lab) -> None:
    """Scales that explain too little of what has happened are left, and a person is told what they would do."""
    worn = Response(ageing=0.25, dead_phi=0.45)
    proposal = lab.proposed(ENOUGH, worn, knobs=("threshold", *RINGS))
    assert proposal.knob.name is KnobName.THRESHOLD, proposal.reason
    assert "would decide more like the undrifted trigger" in proposal.reason
    left = max(
        (c for c in proposal.candidates if c.knob.name is not KnobName.THRESHOLD),
        key=lambda c: sum(c.estimated_overlap),
    )
    assert f"; {left.knob} would decide" in proposal.reason
    assert "of the inputs' mismatch" in left.verdict
    moved = candidate(proposal, KnobName.THRESHOLD)
    assert np.mean(left.estimated_overlap) > np.mean(moved.estimated_overlap) + 0.02


def test_without_a_drift_nothing_is_accepted(lab: Lab) -> None:
    proposal = lab.engine.propose(lab.request(lab.sample(), knobs=("threshold", "input_scale", "latent_scale")))
    assert not proposal.accepted
    assert proposal.reason


def test_the_same_request_gives_the_same_proposal(lab: Lab, restored: Proposal) -> None:
    request = lab.request(lab.sample(ENOUGH, response=JETS_DOWN), knobs=("threshold", "input_scale"))
    first, again = (Engine(lab.package).propose(request) for _ in range(2))
    assert first.id == again.id
    assert first.payload_id == again.payload_id == restored.payload_id


def test_it_starts_from_what_is_deployed(lab: Lab) -> None:
    """A jet scale that is already half corrected needs the other half only."""
    jets = np.array([f.object == "jet" and f.kind == "pt" for f in lab.package.model.features])
    base = lab.nominal.replace_values(input_scale=np.where(jets, 1.045, 1.0))
    sample = lab.sample(response=JETS_DOWN, base=base)
    proposal = lab.engine.propose(lab.request(sample, base=base, knobs=("input_scale",)))
    assert candidate(proposal, KnobName.INPUT_SCALE).moves["jet"] == pytest.approx(0.042, abs=0.025)


@pytest.mark.parametrize("form", ["absolute", "huber"])
def test_every_form_of_rho_restores_the_jet_scale(lab: Lab, form: str) -> None:
    request = lab.request(lab.sample(response=JETS_DOWN), knobs=("input_scale",), form=form)
    proposal = lab.engine.propose(request)
    assert candidate(proposal, KnobName.INPUT_SCALE).moves["jet"] == pytest.approx(0.083, abs=0.025)


@pytest.mark.parametrize("beta", [1e-4, 1e4])
def test_a_given_beta_is_used(lab: Lab, beta: float) -> None:
    request = lab.request(lab.sample(response=JETS_DOWN), knobs=("input_scale",), beta=beta)
    proposal = lab.engine.propose(request)
    assert proposal.beta in (beta, 0.0)


def test_all_moves_are_within_the_trust_region(lab: Lab) -> None:
    request = lab.request(lab.sample(response=JETS_DOWN), knobs=("latent_scale", "input_scale"), max_move=0.03)
    for found in lab.engine.propose(request).candidates:
        assert all(abs(step) <= 0.03 + 1e-9 for step in found.moves.values())


def with_codes(sample: EventSample, codes: Any) -> EventSample:
    return replace(sample, codes=np.asarray(codes, np.uint32))


def test_degenerate_input_is_a_rejection_with_a_reason(lab: Lab) -> None:
    sample = lab.sample(response=JETS_DOWN)
    few = lab.request(sample.take(np.arange(500)))
    nothing = lab.request(sample.take(np.arange(0)))
    equal = lab.request(with_codes(sample, np.full(len(sample), 12)))
    other = lab.request(with_codes(sample, sample.codes + 1))
    p = few.p_ref.copy()
    p[3] = np.nan
    for request, reason in (
        (few, "500 events in the sample, 20000 are needed"),
        (nothing, "0 events in the sample"),
        (equal, "every score in the sample is 12"),
        (other, "the board does not run what it is thought to run"),
        (replace(lab.request(sample), p_ref=p), "no number"),
    ):
        proposal = lab.engine.propose(request)
        assert not proposal.accepted
        assert reason in proposal.reason
        np.testing.assert_array_equal(proposal.words, request.words)
        np.testing.assert_array_equal(proposal.seen, proposal.predicted)
        Proposal.from_dict(proposal.to_dict())


@pytest.fixture(scope="module")
def plain(lab: Lab) -> Package:
    """The package of a model that knows nothing of what its inputs are."""
    features = tuple(replace(f, kind="raw") for f in lab.package.model.features)
    model = replace(lab.package.model, features=features, rings=())
    return replace(lab.package, model=model, nominal=Payload.nominal(model, lab.nominal.raw("cuts")))


def test_a_model_without_the_knobs_registers_is_a_rejection_that_names_it(lab: Lab, plain: Package) -> None:
    sample = lab.sample(response=JETS_DOWN)
    proposal = Engine(plain).propose(lab.request(sample, base=plain.nominal, knobs=("input_scale",)))
    assert not proposal.accepted
    assert "the model has no input of kind pt or energy" in proposal.reason


def test_without_energies_nothing_is_said_of_the_undrifted_trigger(lab: Lab, plain: Package) -> None:
    request = lab.request(lab.sample(response=JETS_DOWN), base=plain.nominal, knobs=("threshold",))
    proposal = Engine(plain).propose(request)
    assert proposal.knob.name is KnobName.THRESHOLD, proposal.reason
    assert candidate(proposal, KnobName.THRESHOLD).estimated_overlap == ()


@pytest.mark.parametrize("wrong", [{"knobs": ("pedestal",)}, {"knobs": ()}, {"form": "cubic"}], ids=str)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|none of"):
        FitSettings(**wrong)


def test_the_engine_cannot_see_the_simulation() -> None:
    """Neither twin nor generator: the modules of the fit and of the judgement load nothing of it."""
    script = (
        "import sys, recalib.fit.engine, recalib.judge, recalib.worker;"
        "sys.exit(any(name.startswith('firmware.sim') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_daemon_can_ask_for_a_fit_without_loading_torch() -> None:
    script = (
        "import sys, recalib.worker, recalib.sample, recalib.proposal, recalib.request;sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


PEDESTAL = Response(jet_pedestal=3.0)


@pytest.fixture(scope="module")
def without_offset(lab: Lab) -> Proposal:
    """What the engine does about a pedestal, if it may turn no offsets: it moves the cuts."""
    return lab.proposed(ENOUGH, PEDESTAL, knobs=("threshold", "input_scale"))


def test_a_scale_that_decides_less_like_the_undrifted_trigger_than_moved_cuts_is_left(
    lab: Lab, without_offset: Proposal
) -> None:
    """A pedestal looks like a scale to most energies; to take one for it costs more decisions than to move the cuts."""
    assert without_offset.knob == Turned(KnobName.THRESHOLD), without_offset.reason
    left = candidate(without_offset, Turned(KnobName.INPUT_SCALE, with_cuts=True))
    assert "less like the undrifted trigger" in left.verdict
    assert left.explained > 0.5
    by_scale = lab.proposed(ENOUGH, PEDESTAL, knobs=("input_scale",))
    (_, by_cuts), (_, scaled) = (lab.truth(found.words, PEDESTAL) for found in (without_offset, by_scale))
    assert by_cuts[0] > scaled[0] + 0.05


@pytest.fixture(scope="module")
def offset(lab: Lab) -> Proposal:
    """What the engine does about a pedestal, if it may turn offsets."""
    knobs = ("threshold", "input_scale", "input_offset")
    return lab.proposed(ENOUGH, PEDESTAL, knobs=knobs)


def test_a_pedestal_is_answered_by_an_offset(lab: Lab, offset: Proposal, without_offset: Proposal) -> None:
    """On events that no fit has seen it keeps more decisions than moved cuts."""
    assert offset.knob.name == "input_offset", offset.reason
    assert offset.accepted, offset.reason
    moves = candidate(offset, offset.knob).moves
    assert moves["jet offset"] < -0.05
    (rates, overlap), (_, by_cuts) = (lab.truth(found.words, PEDESTAL) for found in (offset, without_offset))
    assert overlap[0] > by_cuts[0] + 0.01
    assert rates[0] == pytest.approx(1, abs=0.05)


def test_an_offset_s_step_is_gated_in_units_of_a_typical_energy(lab: Lab, offset: Proposal) -> None:
    (gate,) = (gate for gate in offset.gates if gate.name == "move input_offset")
    moved = abs(candidate(offset, offset.knob).moves["jet offset"])
    assert gate.value == pytest.approx(moved, rel=0.1)
    knobs = ("input_offset",)
    narrow = lab.proposed(ENOUGH, PEDESTAL, knobs=knobs, max_total_move=0.5 * moved)
    assert "total input_offset" in {gate.name for gate in narrow.gates if not gate.passed}


def test_slopes_in_an_offset_are_those_of_the_scores(lab: Lab) -> None:
    task = lab.engine.prepare(lab.request(lab.sample(ENOUGH, response=PEDESTAL)))
    staged = Staged(lab.engine.loaded.surrogate, task, lab.nominal)
    turning = problem(lab.engine.loaded, task, staged, KnobName.INPUT_OFFSET)
    theta = turning.knob.centre
    slopes = turning.linear(theta).slopes
    for label in ("jet", "jet offset"):
        k, step = turning.knob.labels.index(label), np.zeros(len(theta))
        step[k] = 0.02
        ends = [turning.scores(at, turning.fit) for at in (theta + step, theta - step)]
        found = float((ends[0] - ends[1]).mean()) / 0.04
        assert float(slopes[:, k].mean()) == pytest.approx(found, rel=0.1), label


@pytest.mark.parametrize("response", [JETS_DOWN, PEDESTAL], ids=str)
def test_overlaps_are_known_without_twins(lab: Lab, response: Response) -> None:
    """What a candidate says of its overlap is near what it turns out to be."""
    request = lab.request(lab.sample(ENOUGH, response=response), knobs=("threshold", "input_scale", "latent_scale"))
    task = lab.engine.prepare(request)
    trials, _ = lab.engine.trials(task)
    for trial in trials:
        _, true = lab.truth(trial.payload.words, response)
        assert estimated_overlap(task, trial)[0] == pytest.approx(true[0], abs=0.04), trial.knob


WITH_WEIGHTS = ("threshold", "input_scale", "weights")


def test_a_pedestal_is_answered_by_the_weights_and_not_by_a_scale(weighted: Lab) -> None:
    """Decisions are kept as well as by moved cuts at least, and p(s) is restored."""
    pedestal = Response(jet_pedestal=1.5)
    proposal = weighted.proposed(ENOUGH, pedestal, knobs=WITH_WEIGHTS, rate_tolerance=0.15)
    assert proposal.knob.name == "weights", proposal.reason
    assert proposal.accepted, proposal.reason
    _, overlap = weighted.truth(proposal.words, pedestal)
    cuts = weighted.proposed(ENOUGH, pedestal, knobs=("threshold",))
    _, by_cuts = weighted.truth(cuts.words, pedestal)
    assert (overlap > by_cuts - 0.02).all()
    excess = (proposal.kl_after - proposal.kl_floor) / (proposal.kl_before - proposal.kl_floor)
    assert excess < 0.2


def test_a_jet_scale_stays_a_matter_for_the_scale_where_weights_could_move_too(weighted: Lab) -> None:
    proposal = weighted.proposed(ENOUGH, JETS_DOWN, knobs=WITH_WEIGHTS)
    assert proposal.knob.name == "input_scale", proposal.reason


def test_weights_of_a_frozen_layer_are_no_candidate(lab: Lab) -> None:
    proposal = lab.proposed(USUAL, JETS_DOWN, knobs=("threshold", "weights"))
    assert candidate(proposal, KnobName.WEIGHTS).verdict == "weights: the model's last layer is frozen"


STALE_TOLERANCE = 0.4
"""The register does not bring the rate back as a whole (× 1.25 of × 1.54 in the figures), and its error is 0.1 here."""


def stale(told: Lab, pileup: float, n: int = USUAL) -> FitRequest:
    """Crossings of a pile-up that the network is not told: it is to do what it does at its nominal one."""
    (condition,) = told.package.model.conditions
    source, base = Generator(5), told.nominal
    events = np.concatenate([digitise(source.draw(100_000, pileup)) for _ in range(n // 100_000)])
    expected = told.reference.expected(condition.quantity(condition.nominal))
    rates = told.reference.rates_of(expected.p)
    settings = FitSettings(knobs=("threshold", "latent_scale", "conditioning"), rate_tolerance=STALE_TOLERANCE)
    sample = EventSample(events, np.ones(n, np.float32), told.emulator.codes(events, base), np.ones(n, np.int64), 0)
    return FitRequest(base.words, sample, expected.p, expected.m, rates, pileup, settings)


def test_a_pile_up_that_the_network_is_told_wrongly_is_told_rightly(told: Lab) -> None:
    proposal = told.engine.propose(stale(told, 54.0))
    assert proposal.knob.name == "conditioning", proposal.reason
    assert proposal.accepted, proposal.reason
    moved = Payload(told.package.model.id, told.package.model.layout, proposal.words).value("conditioning")
    assert moved == pytest.approx([2.8], abs=0.6)
    off = np.abs(np.array([proposal.rates_before, proposal.rates_after]) / proposal.rates_target - 1)
    assert off[1].sum() < 0.7 * off[0].sum()
    excess = (proposal.kl_after - proposal.kl_floor) / (proposal.kl_before - proposal.kl_floor)
    assert excess < 0.5
