import numpy as np
import pytest

from firmware.emulator import Emulator
from firmware.package import Package
from firmware.payload import Payload
from firmware.sim.detector import Response
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target
from recalib.knobs import FEATURE_SPREAD, INPUT_SPREAD, SPREAD, ScaleKnob, mapped_lut, moved_cuts, scale_knob
from recalib.sample import EventSample
from tests.recalib.conftest import Lab

SCALES = ("output_scale", "latent_scale", "input_scale", "input_scale_feature")


def seen(name: str) -> tuple[float, float]:
    """What the energies alone tell: a scale for jets, nothing for muons."""
    return {"jet": (0.08, 0.001), "mu": (0.3, np.inf)}.get(name, (0.0, 0.01))


def knob(name: str, package: Package) -> ScaleKnob:
    return scale_knob(name, package.model, seen)


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
    kind = nominal.layout[turned.field].type
    asked = turned.values(theta, nominal)
    assert np.abs(payload.value(turned.field) - asked).max() <= kind.lsb / 2
    assert {change.field for change in payload.diff(nominal)} == {turned.field}


@pytest.mark.parametrize("name", SCALES)
@pytest.mark.parametrize("far", [-30.0, 30.0])
def test_registers_stay_in_their_range(name: str, far: float, package: Package, nominal: Payload) -> None:
    turned = knob(name, package)
    payload = turned.payload(np.full(len(turned.spread), far), nominal)
    kind = nominal.layout[turned.field].type
    driven = turned.tie.any(axis=1)
    assert (payload.raw(turned.field)[driven] == (kind.max_raw if far > 0 else 0)).all()
    assert (payload.raw(turned.field)[~driven] == nominal.raw(turned.field)[~driven]).all()


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


def test_single_features_may_differ_a_little_from_their_object(package: Package, nominal: Payload) -> None:
    turned = knob("input_scale_feature", package)
    energies = [f.name for f in package.model.features if f.kind == "pt"]
    assert turned.labels == ("eg", "jet", "met", "mu", *energies)
    assert (turned.spread[4:] == FEATURE_SPREAD).all()
    theta = np.zeros(len(turned.labels))
    theta[1], theta[turned.labels.index(energies[-1])] = 0.1, 0.05
    values = np.log(turned.values(theta, nominal))
    last = [f.name for f in package.model.features].index(energies[-1])
    assert values[last] == pytest.approx(0.15)
    assert np.count_nonzero(np.abs(values - 0.1) < 1e-9) == 9


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
        scale_knob("input_scale", Blind(), seen)  # type: ignore[arg-type]
