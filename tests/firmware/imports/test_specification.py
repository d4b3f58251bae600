from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.datapath.emulator import Emulator
from firmware.errors import ModelError, SpecificationError
from firmware.imports.specification import Specification
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Registers, Rings
from firmware.model.payload import Payload
from tests.support.specifications import AXOL1TL_V4, SMALL


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A specification that says as little as it may, and its weights."""
    rng = np.random.default_rng(2)
    arrays = {
        "weight0": rng.normal(0, 0.5, (6, 4)),
        "bias0": rng.normal(0, 1, 4),
        "weight1": rng.normal(0, 0.5, (4, 2)),
    }
    np.savez(tmp_path / "weights.npz", **arrays)
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def model_of(path: Path, **given: Any) -> Model:
    return Specification.load(path, given).model


def test_axol1tl_v4_is_met_on_every_published_score(tmp_path: Path, shared_data: Path, v4: Model) -> None:
    """From the published types and weights; registers and rings of muons are left to the defaults."""
    path = tmp_path / "axol1tl_v4.toml"
    path.write_text(AXOL1TL_V4)
    model = model_of(path, weights=shared_data / "axol1tl_v4_weights.npz")
    assert model.id == v4.id
    emulator, nominal = Emulator(model), Payload.nominal(model, [346, 389, 415, 456, 557])
    with np.load(shared_data / "axol1tl_v4_golden.npz") as golden:
        for orbit in ("2024_v1_3_0_data_000", "Collisions2025_v1_0_0_data_000"):
            codes = emulator.codes(golden[f"{orbit}/inputs"], nominal)
            assert (codes != golden[f"{orbit}/score_x16"]).sum() == 0


def test_a_small_specification_gets_what_it_leaves_out(small: Path) -> None:
    model = model_of(small)
    assert [feature.name for feature in model.features] == [
        "jet0_pt",
        "jet0_eta",
        "jet1_pt",
        "jet1_eta",
        "met_pt",
        "met_phi",
    ]
    assert model.rings == (Rings("jet", 4, 32),)
    scale = Fixed(16, 2, signed=False)
    assert model.input == Registers(scale, Fixed(16, 10), Fixed(18, 13, True, "RND_CONV", "SAT"))
    first, second = model.layers
    assert first.bias_type == first.weight_type
    assert not second.bias.any()
    assert first.lossless(model.normalisation.result_type)
    assert model.score.sum_type == Fixed(17, 9, False, "TRN", "SAT")
    assert (model.lut_bits, model.n_cuts) == (12, 2)


def test_the_default_code_loses_no_score(small: Path) -> None:
    """Its range ends within one code of where that of the score does, and no bit behind the point is cut off."""
    model = model_of(small)
    latent = model.latent.result_type
    largest = 2 * float(latent.value(latent.min_raw)) ** 2
    assert model.code_type.value(model.code_type.max_raw) >= largest - model.lsb
    assert model.code_type.frac == 2 * latent.frac


def test_a_model_does_what_its_specification_says(small: Path, tmp_path: Path) -> None:
    """The arithmetic of the small network, in floating point where that is exact."""
    model = model_of(small)
    rng = np.random.default_rng(5)
    low, high = model.limits
    events = rng.integers(low, high + 1, (500, 6))
    with np.load(tmp_path / "weights.npz") as w:
        step = 2.0**-4
        weights = [np.floor(w[name] / step) * step for name in ("weight0", "weight1")]
        bias = np.floor(w["bias0"] / step) * step
    x = np.clip(np.rint((events - np.array([3, 0, 3, 0, 3, 0])) / [32, 16, 32, 16, 32, 16] * 4) / 4, -32, 31.75)
    hidden = np.clip(np.floor(np.maximum(x @ weights[0] + bias, 0) * 8) / 8, 0, 31.875)
    latent = np.clip(np.rint(hidden @ weights[1] * 16) / 16, -16, 15.9375)
    words = Emulator(model).run(events, Payload.nominal(model, [1, 2]))
    np.testing.assert_array_equal(model.latent.result_type.value(words.latent), latent)
    np.testing.assert_array_equal(words.codes * model.lsb, np.minimum((latent**2).sum(axis=1), 512 - model.lsb))


def test_integers_are_raws_and_floats_are_values(small: Path, tmp_path: Path) -> None:
    with np.load(tmp_path / "weights.npz") as w:
        raws = {name: np.floor(w[name] * 16).astype(np.int32) for name in w.files}
    before = model_of(small)
    np.savez(tmp_path / "weights.npz", **raws)
    assert model_of(small).id == before.id


def test_a_scale_in_place_of_a_weight_is_one_factor_per_input(small: Path, tmp_path: Path) -> None:
    with np.load(tmp_path / "weights.npz") as w:
        arrays = dict(w) | {"s": np.array([2.0, -0.5, 1.0, 0.25])}
    np.savez(tmp_path / "weights.npz", **arrays)
    layer = {"scale": "s", "weight_type": "fixed<6,3>", "result_type": "fixed<14,8>"}
    first, second = ({**vars(part)} for part in Specification.load(small, {}).file.layers)
    model = model_of(small, layers=[_spelt(first), layer, _spelt(second) | {"weight": "weight1"}])
    events = np.random.default_rng(6).integers(0, 200, (50, 6))
    middle = model.layers[1]
    assert middle.lossless(model.layers[0].result_type)
    assert (middle.weight == np.diag([16, -4, 8, 2])).all()
    assert len(np.unique(Emulator(model).codes(events, Payload.nominal(model, [1, 2])))) > 5


def _spelt(part: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Fixed) else value for name, value in part.items() if value is not None
    }


def test_fixed_rings_and_registers_are_taken_as_given(small: Path) -> None:
    objects = [{"name": "region", "count": 6, "features": {"energy": "uint<10>"}, "ring": [0, 0, 1, 1, 2, 2]}]
    registers = {"input": {"offset_type": "fixed<12,10>"}, "output": {"scale_type": "ufixed<12,2>"}}
    model = model_of(small, objects=objects, registers=registers)
    assert [feature.ring for feature in model.features] == [0, 0, 1, 1, 2, 2]
    assert model.rings == ()
    assert model.input.offset_type == Fixed(12, 10)
    assert model.output.scale_type == Fixed(12, 2, signed=False)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"lutbits": 4}, "lutbits: Extra inputs are not permitted"),
    ({"name": "no name"}, "name: String should match"),
    ({"cuts": {"codes": [3]}}, "cuts: Value error, give codes or target_rates"),
    (
        {"objects": [{"name": "x", "features": {"pt": "float"}}]},
        "objects.0.features.pt: Value error, 'float' is no fixed",
    ),
    ({"layers": []}, "give objects, layers and weights, or an hls4ml project"),
    ({"hls4ml": "project"}, "hls4ml: the project holds layers, normalisation and weights"),
    (
        {"objects": [{"name": "x", "count": 2, "features": {"pt": "uint<4>"}, "ring": [1]}]},
        "objects.0: Value error, 1 rings for 2 objects",
    ),
]


@pytest.mark.parametrize(("given", "message"), FAULTS)
def test_a_fault_is_named_by_its_place_in_the_specification(small: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecificationError, match=message.replace("(", r"\(")):
        Specification.load(small, given)


def test_all_faults_are_named_at_once(small: Path) -> None:
    with pytest.raises(SpecificationError) as caught:
        Specification.load(small, FAULTS[0][0] | FAULTS[1][0] | FAULTS[3][0])
    assert all(FAULTS[i][1] in str(caught.value) for i in (0, 1, 3))


LAYER = {"weight_type": "fixed<6,3>", "result_type": "fixed<8,4>"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"layers": [LAYER | {"weight": "w9"}]},
            r"layers.0.weight: no array 'w9' in .*weights.npz: there are bias0, weight0",
        ),
        ({"layers": [LAYER | {"weight": "weight1"}]}, r"layers.0.weight has shape \(4, 2\), expected \(6, n_out\)"),
        ({"layers": [LAYER | {"bias": "weight1"}]}, r"layers.0.bias has shape \(4, 2\), expected \(4,\)"),
        (
            {"layers": [LAYER | {"scale": "bias0"}]},
            r"layers.0.scale has shape \(4,\), expected \(6,\)",
        ),
        ({"normalisation": {"shift": 0.5}}, "normalisation.shift: expected whole numbers"),
        ({"normalisation": {"offset": [1, 2]}}, r"normalisation.offset has shape \(2,\), expected \(6,\)"),
        ({"weights": "absent.npz"}, "absent.npz: no npz file of arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_named(small: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises((SpecificationError, ModelError), match=message):
        model_of(small, **given)


def test_fractional_features_are_refused_with_what_to_do(small: Path) -> None:
    with pytest.raises(ModelError, match=r"ap_fixed<8,4> is no integer type; put the point by normalisation.shift"):
        model_of(small, objects=[{"name": "x", "count": 6, "features": {"pt": "fixed<8,4>"}}])


@pytest.mark.parametrize("text", ["name = ", "\xff"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecificationError, match=r"bad.toml: no specification can be read"):
        Specification.load(path, {})


def test_the_digest_is_of_what_is_said_and_of_the_weights(small: Path, tmp_path: Path) -> None:
    before = Specification.load(small, {}).digest
    assert Specification.load(small, {"weights": tmp_path / "weights.npz"}).digest == before
    assert Specification.load(small, {"lut_bits": 5}).digest != before
    with np.load(tmp_path / "weights.npz") as w:
        np.savez(tmp_path / "weights.npz", **{name: w[name] + 1 for name in w.files})
    assert Specification.load(small, {}).digest != before


def reconfigurable(path: Path, layer: int, more: str = "") -> Path:
    """The specification with the weights of one of its two layers in registers."""
    first, second, third = path.read_text().split("[[layers]]\n")
    parts = [second, third]
    parts[layer] = "reconfigurable = true\n" + parts[layer]
    path.write_text("[[layers]]\n".join([first, *parts]) + more)
    return path


def test_a_last_layer_may_be_imported_with_its_weights_in_registers(small: Path) -> None:
    frozen = model_of(small)
    model = model_of(reconfigurable(small, 1))
    assert [layer.reconfigurable for layer in model.layers] == [False, True]
    nominal = Payload.nominal(model, [1, 2])
    assert nominal.raw("weights").tolist() == frozen.layers[-1].weight.ravel().tolist()
    events = np.random.default_rng(1).integers(0, 250, (200, 6))
    plain = Payload.nominal(frozen, [1, 2])
    assert Emulator(model).codes(events, nominal).tolist() == Emulator(frozen).codes(events, plain).tolist()


def test_an_inner_layer_or_one_that_is_lifted_keeps_its_weights(small: Path) -> None:
    text = small.read_text()
    with pytest.raises(ModelError, match=r"layers\.0: only the last layer, 1, can be reconfigurable"):
        model_of(reconfigurable(small, 0))
    small.write_text(text)
    with pytest.raises(
        SpecificationError, match=r"layers\.1: reconfigurable, but what lifts .* give score\.lift = false"
    ):
        model_of(reconfigurable(small, 1, '[score]\nkind = "linear"\n'))


CONDITION = """
[[conditions]]
name = "pileup"
type = "fixed<10,3>"
nominal = -0.125
low = -1.0
high = 1.0
centre = 40
unit = 20
"""


def test_a_network_may_be_imported_that_is_told_its_pile_up(small: Path) -> None:
    with np.load(small.with_name("weights.npz")) as arrays:
        more = dict(arrays)
    more["weight0"] = np.concatenate([more["weight0"], [[1.0, -2.0, 0.5, 3.0]]])
    plain = model_of(small)
    np.savez(small.with_name("weights.npz"), **more)
    small.write_text(small.read_text() + CONDITION)
    model = model_of(small)
    (condition,) = model.conditions
    assert (condition.nominal, condition.low, condition.high) == (-16, -128, 128)
    assert condition.quantity(condition.nominal) == 37.5
    events = np.random.default_rng(1).integers(0, 250, (300, 6))
    off = Payload.nominal(model, [1, 2]).replace(conditioning=[0])
    assert (
        Emulator(model).codes(events, off).tolist()
        == Emulator(plain).codes(events, Payload.nominal(plain, [1, 2])).tolist()
    )
    assert (Emulator(model).codes(events, off.replace(conditioning=[128])) != Emulator(model).codes(events, off)).any()


def test_weights_without_a_row_for_a_condition_are_refused(small: Path) -> None:
    small.write_text(small.read_text() + CONDITION)
    with pytest.raises(SpecificationError, match=r"layers\.0\.weight has shape \(6, 4\), expected \(7, n_out\)"):
        model_of(small)
