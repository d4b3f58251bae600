import dataclasses

import numpy as np
import pytest

from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.detector import Response
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target
from recalib.inputs.estimates import Pedestal, Scale
from recalib.inputs.hidden import HiddenEstimate
from recalib.knobs.conditions import condition_knob
from recalib.knobs.direct import mapped_lut, moved_cuts
from recalib.knobs.knobs import LinearKnob
from recalib.knobs.names import KnobName
from recalib.knobs.scales import FEATURE_SPREAD, INPUT_SPREAD, RING_SPREAD, SPREAD, offset_knob, scale_knob
from recalib.knobs.weights import bias_unit, trained_weights, weight_knob
from recalib.sample import EventSample
from tests.recalib.conftest import Lab

SCALES = ("output_scale", "latent_scale", "input_scale", "input_scale_ring", "input_scale_feature")


NONE = np.zeros(0)
RINGS = np.where(np.abs(np.arange(32) - 15.5) < 10, np.linspace(-0.1, 0.1, 32), 0.0)
RING_ERRORS = np.where(RINGS != 0, 0.01, np.inf)


def tell(name: str) -> Scale:
    """What the energies alone tell: a scale for jets that depends on η, nothing for muons."""
    told = {"jet": Scale(0.08, 0.001, 0.08 + RINGS, RING_ERRORS, 20.0), "mu": Scale(0.3, np.inf, NONE, NONE)}
    return told.get(name, Scale(0.0, 0.01, NONE, NONE))


def knob(name: str, package: Package) -> LinearKnob:
    return scale_knob(KnobName(name), package.model, tell, 0.25)


@pytest.fixture(scope="module")
def package(lab: Lab) -> Package:
    return lab.package


@pytest.fixture(scope="module")
def nominal(lab: Lab) -> Payload:
    return lab.nominal


@pytest.fixture(scope="module")
def emulator(lab: Lab) -> Emulator:
    return lab.emulator


@pytest.fixture(scope="module")
def target(lab: Lab) -> Target:
    return lab.target()


@pytest.fixture(scope="module")
def low_jets(lab: Lab) -> EventSample:
    return lab.sample(response=Response(jet_energy_scale=-0.08))


@pytest.fixture(scope="module")
def drifted(lab: Lab, low_jets: EventSample) -> Evidence:
    return lab.evidence(lab.nominal, low_jets)


@pytest.mark.parametrize("name", SCALES)
def test_nothing_turned_is_the_deployed_payload(name: str, package: Package, nominal: Payload) -> None:
    turned = knob(name, package)
    assert turned.payload(np.zeros(len(turned.spread)), nominal).id == nominal.id


@pytest.mark.parametrize("name", SCALES)
def test_registers_take_the_grid_value_nearest_to_what_is_asked(name: str, package: Package, nominal: Payload) -> None:
    turned = knob(name, package)
    theta = np.random.default_rng(1).normal(0, 0.1, len(turned.spread))
    payload = turned.payload(theta, nominal)
    for field, asked in turned.values(theta, nominal).items():
        assert np.abs(payload.value(field) - asked).max() <= nominal.layout[field].type.lsb / 2
    assert {change.field for change in payload.diff(nominal)} == set(turned.ties)


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("far", [-3000.0, 3000.0])
def test_registers_stay_in_the_trust_region_and_in_their_range(
    name: str, far: float, package: Package, nominal: Payload
) -> None:
    turned = knob(name, package)
    wide = dataclasses.replace(turned, max_move=50.0)
    for field, tie in turned.ties.items():
        driven = tie.any(axis=1)
        kind = nominal.layout[field].type
        moved, driven_far = (k.payload(far * np.ones(len(k.spread)), nominal) for k in (turned, wide))
        assert np.abs(np.log(moved.value(field))).max() <= 0.25 + kind.lsb
        assert set(driven_far.raw(field)[driven]) <= {0, kind.max_raw}
        assert (moved.raw(field)[~driven] == nominal.raw(field)[~driven]).all()


def test_an_input_scale_multiplies_the_energies_of_one_object_type_and_no_angle(
    package: Package, nominal: Payload
) -> None:
    turned = knob("input_scale", package)
    assert turned.labels == ("eg", "jet", "met", "mu")
    values = turned.payload(np.array([0, 0.1, 0, 0]), nominal).value("input_scale")
    for feature, value in zip(package.model.features, values, strict=True):
        jet = feature.object == "jet" and feature.kind == "pt"
        assert value == pytest.approx(np.exp(0.1) if jet else 1.0, abs=1e-4)


def test_scales_multiply_what_is_deployed(package: Package, nominal: Payload) -> None:
    turned = knob("output_scale", package)
    once = turned.payload(np.array([0.1]), nominal)
    assert turned.payload(np.array([0.1]), once).value("output_scale")[0] == pytest.approx(np.exp(0.2), abs=1e-4)


def test_the_prior_is_centred_on_what_the_energies_tell_where_they_tell_something(package: Package) -> None:
    turned = knob("input_scale", package)
    assert turned.centre.tolist() == [0, 0.08, 0, 0]
    assert turned.spread.tolist() == pytest.approx(
        [np.hypot(0.01, INPUT_SPREAD), np.hypot(0.001, INPUT_SPREAD), np.hypot(0.01, INPUT_SPREAD), SPREAD]
    )


def test_rings_follow_what_the_energies_tell_and_not_what_is_statistics(package: Package, nominal: Payload) -> None:
    """Relative to what all jets have in common, shrunk a little, and 0 where nothing is known."""
    turned = knob("input_scale_ring", package)
    assert turned.labels == ("eg", "jet", "met", "mu", "jet rings")
    payload = turned.payload(turned.centre, nominal)
    jets = np.log(payload.value("ring_scale"))[-32:]
    heard = np.isfinite(RING_ERRORS)
    assert not jets[~heard].any()
    pull = jets[heard] @ RINGS[heard] / (RINGS[heard] @ RINGS[heard])
    assert 0.9 < pull < 1
    assert not np.log(payload.value("ring_scale"))[:-32].any()
    assert turned.spread[-1] == pytest.approx(RING_SPREAD * np.sqrt(np.mean(jets[heard] ** 2)), rel=1e-3)


def test_without_rings_that_differ_there_is_no_such_knob(package: Package) -> None:
    def alike(name: str) -> Scale:
        return dataclasses.replace(tell(name), spread=1.0)

    with pytest.raises(Unfit, match="no η ring differs"):
        scale_knob(KnobName.INPUT_SCALE_RING, package.model, alike, 0.25)
    with pytest.raises(Unfit, match="no scales by η ring"):
        scale_knob(KnobName.INPUT_SCALE_RING, dataclasses.replace(package.model, rings=()), tell, 0.25)


def test_single_features_may_differ_a_little_from_their_object(package: Package, nominal: Payload) -> None:
    turned = knob("input_scale_feature", package)
    energies = [f.name for f in package.model.features if f.kind == "pt"]
    assert turned.labels == ("eg", "jet", "met", "mu", *energies)
    assert (turned.spread[4:] == FEATURE_SPREAD).all()
    theta = np.zeros(len(turned.labels))
    theta[1], theta[turned.labels.index(energies[-1])] = 0.1, 0.05
    values = np.log(turned.values(theta, nominal)["input_scale"])
    last = [f.name for f in package.model.features].index(energies[-1])
    assert values[last] == pytest.approx(0.15)
    assert np.count_nonzero(np.abs(values - 0.1) < 1e-9) == 9


JET_PEDESTAL = Pedestal(0.05, -0.2, 0.001, 0.03, 60.0)


def pedestal(name: str) -> Pedestal | None:
    """What the energies tell of an offset: one of jets alone."""
    return JET_PEDESTAL if name == "jet" else None


def test_an_offset_is_added_to_all_objects_of_a_type_whose_energies_ask_for_one(
    package: Package, nominal: Payload
) -> None:
    turned = offset_knob(package.model, tell, pedestal, 0.25)
    assert turned.labels == ("eg", "jet", "met", "mu", "jet offset")
    assert (turned.centre[1], turned.centre[-1]) == (0.05, -0.2)
    assert turned.spread[-1] == pytest.approx(np.hypot(0.03, INPUT_SPREAD))
    assert turned.spread[1] == pytest.approx(np.hypot(0.001, INPUT_SPREAD))
    payload = turned.payload(turned.centre, nominal)
    jets = package.model.energies("jet")
    np.testing.assert_allclose(payload.value("input_offset")[jets], -12.0)
    np.testing.assert_allclose(payload.value("input_scale")[jets], np.exp(0.05), rtol=1e-3)
    assert np.count_nonzero(payload.value("input_offset")) == len(jets)
    again = turned.payload(turned.centre, payload)
    np.testing.assert_allclose(again.value("input_offset")[jets], -24.0)


def test_without_energies_that_ask_for_an_offset_there_is_no_such_knob(package: Package) -> None:
    with pytest.raises(Unfit, match="a scale alone"):
        offset_knob(package.model, tell, lambda name: None, 0.25)


HIDDEN = HiddenEstimate(np.full(15, 1.1), np.full(15, 0.01), np.full(15, 1.7), np.full(15, 1.5))


def test_weights_return_to_what_gives_their_inputs_the_mean_and_spread_of_the_reference(weighted: Lab) -> None:
    model, nominal = weighted.package.model, weighted.nominal
    turned = weight_knob(model, nominal, lambda: HIDDEN, 0.25)
    weight, bias = trained_weights(model)
    values = turned.values(turned.centre, nominal)
    np.testing.assert_allclose(values["weights"].reshape(weight.shape), 1.1 * weight)
    hidden = np.random.default_rng(1).normal(0, 1, (9, 15))
    back = (1.1 * (hidden - HIDDEN.now) + HIDDEN.then) @ weight + bias
    np.testing.assert_allclose(hidden @ values["weights"].reshape(weight.shape) + values["biases"], back)


def test_weights_that_are_deployed_already_need_the_rest_alone(weighted: Lab) -> None:
    model, nominal = weighted.package.model, weighted.nominal
    payload = weight_knob(model, nominal, lambda: HIDDEN, 0.25)
    there = payload.payload(payload.centre, nominal)
    again = weight_knob(model, there, lambda: HIDDEN, 0.25)
    np.testing.assert_allclose(again.centre, 0, atol=0.01)
    assert again.payload(np.zeros(23), there).id == there.id


def test_no_weight_goes_further_than_the_trust_region_or_turns_its_sign(weighted: Lab) -> None:
    """However far what its input tells is off; the shift then makes up for what the gain could do."""
    model, nominal = weighted.package.model, weighted.nominal
    far = weight_knob(model, nominal, lambda: HIDDEN._replace(gain=np.full(15, 9.0)), 0.25)
    weight, _ = trained_weights(model)
    for theta in (far.centre, np.full(23, 3000.0)):
        moved = far.payload(theta, nominal).value("weights").reshape(weight.shape)
        steps = np.linalg.norm(moved - weight, axis=1) / np.linalg.norm(weight, axis=1)
        assert 0.2 < steps.min() < steps.max() <= 0.25
        assert (moved * weight >= 0).all()
    gain, most = 1 + far.max_move, far.max_move * bias_unit(model)
    shift = far.values(far.centre, nominal)["biases"] - nominal.value("biases")
    np.testing.assert_allclose(shift, np.clip((HIDDEN.then - gain * HIDDEN.now) @ weight, -most, most))


def test_a_frozen_last_layer_has_no_weights_to_turn(package: Package, nominal: Payload) -> None:
    with pytest.raises(Unfit, match="weights: the model's last layer is frozen"):
        weight_knob(package.model, nominal, lambda: HIDDEN, 0.25)


def test_a_condition_is_sought_about_the_measured_pile_up_and_within_what_was_trained_on(told: Lab) -> None:
    model, nominal = told.package.model, told.nominal
    turned = condition_knob(model, nominal, 50.0)
    assert turned.labels == ("pileup",)
    assert turned.values(turned.centre, nominal)["conditioning"] == pytest.approx([2.0])
    assert turned.spread == pytest.approx([0.03 * 50 / 5])
    unknown = condition_knob(model, nominal, None)
    assert unknown.centre == [0.0]
    assert unknown.spread == [2.0]
    for far, raw in ((9.0, 256), (-9.0, -256)):
        assert turned.payload(np.array([far]), nominal).raw("conditioning").tolist() == [raw]


def test_a_network_that_is_told_nothing_has_no_conditions(package: Package, nominal: Payload) -> None:
    with pytest.raises(Unfit, match="conditioning: the model has no conditions"):
        condition_knob(package.model, nominal, 50.0)


def test_each_cut_moves_to_the_code_that_comes_nearest_to_its_rate(
    drifted: Evidence, nominal: Payload, target: Target
) -> None:
    """Found by trying every code; a cut accepts code >= cut."""
    cuts = moved_cuts(drifted, nominal).raw("cuts")
    histogram = np.bincount(drifted.codes, drifted.weights)
    rates = np.cumsum(histogram[::-1])[::-1]
    for cut, wanted in zip(cuts, target.rates, strict=True):
        assert np.abs(rates[cut] - wanted) == pytest.approx(np.abs(rates - wanted).min(), abs=1e-12)
        assert rates[cut] == pytest.approx(wanted, rel=0.02)


def test_moved_cuts_accept_the_target_rate_on_the_board(
    drifted: Evidence, nominal: Payload, low_jets: EventSample, emulator: Emulator, target: Target
) -> None:
    assert (drifted.rate_ratios < 0.9).all()
    after = Evidence.of(emulator.run(low_jets.events, moved_cuts(drifted, nominal)), low_jets.weights, target)
    np.testing.assert_allclose(after.rate_ratios, 1, atol=0.02)


def test_a_mapped_lut_is_monotone_and_within_its_range(drifted: Evidence, nominal: Payload, target: Target) -> None:
    lut = mapped_lut(drifted, nominal, target).raw("lut")
    assert (np.diff(lut) >= 0).all()
    assert lut.min() >= 0
    assert lut.max() <= lut.size
    assert (lut != nominal.raw("lut")).any()


def test_a_mapped_lut_brings_the_rates_nearer_to_their_targets(
    drifted: Evidence, nominal: Payload, low_jets: EventSample, emulator: Emulator, target: Target
) -> None:
    mapped = mapped_lut(drifted, nominal, target)
    after = Evidence.of(emulator.run(low_jets.events, mapped), low_jets.weights, target)
    assert (np.abs(after.rate_ratios - 1) < np.abs(drifted.rate_ratios - 1)).all()


def test_a_model_without_energies_has_no_input_scale(package: Package) -> None:
    class Blind:
        features = tuple(f for f in package.model.features if f.kind != "pt")

    with pytest.raises(Unfit, match="input_scale: the model has no input of kind pt or energy"):
        scale_knob(KnobName.INPUT_SCALE, Blind(), tell, 0.25)  # type: ignore[arg-type]
