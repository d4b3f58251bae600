import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import firmware.model.description
from firmware.errors import ModelError, PayloadError
from firmware.model import axol1tl
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Condition, Feature, Rings, Score
from firmware.model.payload import Payload


def test_a_model_survives_the_way_through_json_and_arrays(model: Model) -> None:
    description, arrays = model.to_arrays()
    again = Model.from_arrays(json.loads(json.dumps(description)), arrays)
    assert again.id == model.id
    assert again.features == model.features
    assert again.rings == model.rings
    assert again.layout == model.layout
    assert not again.layers[0].weight.flags.writeable


def test_every_part_of_a_model_is_in_its_id(model: Model) -> None:
    weight = model.layers[1].weight.copy()
    weight[3, 2] += 1
    first, second, third = model.layers
    others = [
        replace(model, name="other"),
        replace(model, lut_bits=11),
        replace(model, n_cuts=4),
        replace(model, rings=()),
        replace(model, rings=(*model.rings[:2], Rings("jet", 4, 32))),
        replace(model, layers=(first, replace(second, weight=weight), third)),
        replace(model, layers=(first, second, replace(third, accum_type=Fixed(22, 15)))),
        replace(model, normalisation=replace(model.normalisation, offset=model.normalisation.offset + 1)),
        replace(model, features=(replace(model.features[0], object="sum"), *model.features[1:])),
    ]
    assert len({model.id, *(other.id for other in others)}) == len(others) + 1


def test_a_model_of_another_definition_of_the_datapath_is_another_and_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says nothing of it is of the first, which added offsets to objects that were not there."""
    description, arrays = model.to_arrays()
    own = model.id
    undefined = {name: part for name, part in description.items() if name != "definition"}
    with pytest.raises(ModelError, match="of definition 1 of the datapath, expected 2: make its package anew"):
        Model.from_arrays(undefined, arrays)
    monkeypatch.setattr(firmware.model.description, "DEFINITION", 3)
    assert replace(model).id != own
    with pytest.raises(ModelError, match="of definition 2 of the datapath, expected 3"):
        Model.from_arrays(description, arrays)


def test_an_input_offset_is_added_where_there_is_an_object(model: Model) -> None:
    events = np.zeros((2, 57), dtype=np.int16)
    events[1, :3] = [7, 0, 3]
    present = model.present(events)
    kinds = np.array([feature.kind for feature in model.features])
    assert (present[0] == (kinds != "pt")).all()
    assert np.flatnonzero(present[1] != present[0]).tolist() == [0]
    assert model.is_energy.tolist() == (kinds == "pt").tolist()


def test_float_weights_are_rounded_to_the_grid_and_saturate() -> None:
    weights = [np.full((57, 3), 0.2), np.full((3, 3), -9.0), np.full((3, 2), 9.0)]
    built = axol1tl.model("m", weights, [np.zeros(3), np.zeros(3), np.zeros(2)], np.zeros(57), np.zeros(57))
    assert [layer.weight[0, 0] for layer in built.layers] == [2, -32, 31]


def test_the_global_trigger_objects_follow_one_another(model: Model) -> None:
    names = [feature.name for feature in model.features]
    assert names[:4] + names[14:17] + names[-1:] == [
        "met_pt",
        "met_eta",
        "met_phi",
        "eg0_pt",
        "eg3_phi",
        "mu0_pt",
        "mu0_eta",
        "jet9_phi",
    ]
    assert [sum(f.object == o for f in model.features) for o in ("met", "eg", "mu", "jet")] == [3, 12, 12, 30]


def test_the_input_type_holds_every_feature(model: Model) -> None:
    assert model.input_type == Fixed(13, 13)


def test_an_energy_has_the_ring_of_the_same_objects_eta(model: Model) -> None:
    """Rings of e/γ and jets are 8 codes of η wide, those of muons 16; η = 0 opens ring 16, the ends clip."""
    features = [feature.name for feature in model.features]
    events = np.zeros((4, 57), dtype=np.int16)
    events[:, features.index("eg1_eta")] = [-1, -8, -9, 7]
    events[:, features.index("mu3_eta")] = [-1, -16, -17, 15]
    events[:, features.index("jet9_eta")] = [127, 255, -256, 8]
    ringed = [features[feature.energy] for feature in model.ringed]
    assert set(ringed) == {f.name for f in model.features if f.kind == "pt" and f.object != "met"}
    index = model.ring_index(events)
    assert index.shape == (4, len(ringed))
    assert index[:, ringed.index("eg1_pt")].tolist() == [15, 15, 14, 16]
    assert index[:, ringed.index("mu3_pt")].tolist() == [32 + 15, 32 + 15, 32 + 14, 32 + 16]
    assert index[:, ringed.index("jet9_pt")].tolist() == [64 + 31, 64 + 31, 64, 64 + 17]
    assert set(index[:, ringed.index("eg0_pt")]) == {16}


def test_a_model_without_rings_has_no_registers_for_them(model: Model) -> None:
    plain = replace(model, rings=())
    assert "ring_scale" not in [field.name for field in plain.layout.fields]
    assert plain.ring_index(np.zeros((2, 57), int)).shape == (2, 0)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 4096, "met_pt = 4096 is outside ap_uint<12>"),
        (1, -257, "met_eta = -257"),
        (3, -1, "eg0_pt = -1"),
    ],
)
def test_an_event_out_of_range_is_refused_by_feature(model: Model, column: int, value: int, message: str) -> None:
    events = np.zeros((5, 57), dtype=np.int16)
    events[2, column] = value
    assert model.in_range(events).tolist() == [True, True, False, True, True]
    with pytest.raises(ModelError, match=f"event 2: {message}"):
        model.check_events(events)


@pytest.mark.parametrize("events", [np.zeros((2, 56), int), np.zeros(57, int), np.zeros((2, 57))])
def test_events_of_a_wrong_shape_or_kind_are_refused(model: Model, events: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ModelError, match=r"expected integers \(n, 57\)"):
        model.check_events(events)


def faults(model: Model) -> dict[str, dict[str, Any]]:
    first, second, third = model.layers
    distance = Score("squared_distance", None, model.score.term_type, model.score.sum_type)
    return {
        r"layers.1.weight has shape \(27, 15\), expected \(28, 15\)": {
            "layers": (first, replace(second, weight=second.weight[1:]), third)
        },
        r"layers.2.bias has shape \(1, 8\), expected \(8,\)": {
            "layers": (first, second, replace(third, bias=third.bias[None]))
        },
        "layers.0: raw 99 is outside -32 to 31": {
            "layers": (replace(first, weight=first.weight * 0 + 99), second, third)
        },
        "layers.0: width 67 is outside": {"layers": (replace(first, accum_type=Fixed(61, 61)), second, third)},
        "at least one dense layer": {"layers": ()},
        r"normalisation.shift has shape \(56,\)": {
            "normalisation": replace(model.normalisation, shift=model.normalisation.shift[1:])
        },
        "a name of its own": {"features": (model.features[1], *model.features[1:])},
        "feature x: ap_fixed<8,7> is no integer type": {
            "features": (Feature("x", "met", "pt", Fixed(8, 7)), *model.features[1:])
        },
        "input: ap_fixed<8,6> cannot hold every ap_uint<12>": {"input": replace(model.input, result_type=Fixed(8, 6))},
        "latent: a scale of ap_ufixed<16,0> cannot be 1": {
            "latent": replace(model.latent, scale_type=Fixed(16, 0, False))
        },
        "output: a register is wider than a word": {"output": replace(model.output, offset_type=Fixed(33, 20))},
        "output: the result ap_ufixed<19,14> differs in size": {
            "output": replace(model.output, result_type=Fixed(19, 14, False))
        },
        "score 'product' is none of": {"score": replace(model.score, kind="product")},
        "score: ap_fixed<18,14> is no unsigned type": {"score": replace(model.score, sum_type=Fixed(18, 14))},
        "a center belongs to squared_distance": {"score": distance},
        r"score.center has shape \(3,\), expected \(8,\)": {"score": replace(distance, center=(0, 1, 2))},
        "score: raw 512 is outside": {"score": replace(distance, center=(512,) * 8)},
        "lut_bits 19 is outside 0 to 18": {"lut_bits": 19},
        "at least one cut": {"n_cuts": 0},
        "rings of eg: given more than once": {"rings": (*model.rings, Rings("eg", 4, 8))},
        "rings of tau: it has 0 features of kind pt or energy and 0 of kind eta": {"rings": (Rings("tau", 3, 32),)},
        "rings of eg: it has 4 features of kind pt or energy and 3 of kind eta": {
            "features": tuple(replace(f, kind="phi") if f.name == "eg2_eta" else f for f in model.features)
        },
        "rings of mu: size 24 is no power of two": {"rings": (Rings("mu", 4, 24),)},
        "rings of mu: size 0 is no power of two": {"rings": (Rings("mu", 4, 0),)},
        "rings of jet: shift -1 is outside 0 to 31": {"rings": (Rings("jet", -1, 32),)},
        "rings of jet: shift 32 is outside 0 to 31": {"rings": (Rings("jet", 32, 32),)},
        "rings: width 64 is outside 1 to 62 bits": {"input": replace(model.input, scale_type=Fixed(32, 2, False))},
    }


def reconfigurable(model: Model, **change: Any) -> Model:
    """With the weights of the last layer in registers."""
    *others, last = model.layers
    return replace(model, layers=(*others, replace(last, reconfigurable=True, **change)))


def test_the_weights_of_a_reconfigurable_layer_have_registers_that_hold_them_as_trained(model: Model) -> None:
    weighted = reconfigurable(model)
    names = [field.name for field in weighted.layout.fields]
    assert names[names.index("ring_scale") + 1 :][:3] == ["weights", "biases", "latent_scale"]
    nominal = Payload.nominal(weighted, np.zeros(5))
    assert nominal.raw("weights").tolist() == model.layers[-1].weight.ravel().tolist()
    assert nominal.raw("biases").tolist() == model.layers[-1].bias.tolist()
    assert "weights" not in [field.name for field in model.layout.fields]


def test_only_a_model_with_weights_in_registers_says_so(model: Model) -> None:
    """What a model without them is described by has not changed, and so its id has not."""
    weighted = reconfigurable(model)
    assert weighted.id != model.id
    assert "reconfigurable" not in json.dumps(model.to_arrays()[0])
    again = Model.from_arrays(*weighted.to_arrays())
    assert again.layers[-1].reconfigurable
    assert again.id == weighted.id


def test_a_layer_under_a_payload_has_that_payload_s_weights(model: Model) -> None:
    weighted = reconfigurable(model)
    nominal = Payload.nominal(weighted, np.zeros(5))
    weights = nominal.raw("weights")
    weights[3 * 8 + 5] = -32
    *others, last = weighted.layers_under(nominal.replace(weights=weights, biases=np.arange(8)))
    assert [layer is old for layer, old in zip(others, weighted.layers, strict=False)] == [True, True]
    assert last.weight[3, 5] == -32
    assert (last.weight != model.layers[-1].weight).sum() == 1
    assert last.bias.tolist() == list(range(8))


def test_a_layer_that_cannot_take_every_weight_is_refused_by_name(model: Model) -> None:
    first, second, third = model.layers
    for message, change in {
        "layers.1: only the last layer, 2, can be reconfigurable": {
            "layers": (first, replace(second, reconfigurable=True), third)
        },
        r"layers.2: ap_fixed<21,14,AP_TRN,AP_SAT> accumulates what registers hold, expected one that wraps, of at "
        "least 7 fractional bits": {
            "layers": (
                first,
                second,
                replace(third, accum_type=Fixed(21, 14, overflow="SAT"), reconfigurable=True),
            )
        },
        "layers.2: ap_fixed<20,14> accumulates": {
            "layers": (first, second, replace(third, accum_type=Fixed(20, 14), reconfigurable=True))
        },
    }.items():
        with pytest.raises(ModelError, match=message):
            replace(model, **change)


def test_a_weight_outside_its_type_is_refused_by_number(model: Model) -> None:
    weighted = reconfigurable(model)
    weights = np.zeros(120)
    weights[17] = 32
    with pytest.raises(PayloadError, match=r"weights\[17\]: raw 32.0 \(value 4\) is outside -32 to 31"):
        Payload.nominal(weighted, np.zeros(5)).replace(weights=weights)


def conditioned(model: Model, *conditions: Condition) -> Model:
    """With a row of ones more in the first weights for each condition."""
    first, *others = model.layers
    weight = np.concatenate([first.weight, np.ones((len(conditions), first.bias.size), np.int64)])
    return replace(model, layers=(replace(first, weight=weight), *others), conditions=conditions)


PILEUP = Condition("pileup", Fixed(10, 3), nominal=-16, low=-128, high=128, centre=40.0, unit=20.0)


def test_a_condition_has_a_register_that_moves_the_first_bias_exactly(model: Model) -> None:
    told = conditioned(model, PILEUP, replace(PILEUP, name="lumi", nominal=5))
    assert [field.name for field in told.layout.fields][3] == "conditioning"
    nominal = Payload.nominal(told, np.zeros(5))
    assert nominal.raw("conditioning").tolist() == [-16, 5]
    first = told.layers_under(nominal.replace(conditioning=[100, -31]))[0]
    assert first.weight.shape == (57, 28)
    added = first.bias_type.value(first.bias) - model.layers[0].bias_type.value(model.layers[0].bias)
    assert set(added) == {(100 - 31) / 128 / 8}
    assert set(told.wired[0].bias_type.value(told.wired[0].bias - first.bias)) == {(-11 - 69) / 128 / 8}
    assert Model.from_arrays(*told.to_arrays()).id == told.id != model.id


def test_a_value_of_a_condition_stands_for_a_quantity_within_what_was_trained_on() -> None:
    assert [PILEUP.value(pileup) for pileup in (40, 50, 90, 0)] == [0.0, 0.5, 1.0, -1.0]
    assert PILEUP.quantity(-16) == 37.5


def test_conditions_that_do_not_fit_are_refused_by_name(model: Model) -> None:
    for message, conditions in {
        "conditions pileup, pileup: expected each once": (PILEUP, PILEUP),
        "condition lumi: ap_fixed<9,3>, expected one type for all": (
            PILEUP,
            replace(PILEUP, name="lumi", type=Fixed(9, 3)),
        ),
        "condition pileup: low -128, nominal 200 and high 128: expected raws of ap_fixed<10,3>": (
            replace(PILEUP, nominal=200),
        ),
        "condition pileup: low -128, nominal -16 and high 512": (replace(PILEUP, high=512),),
        "condition pileup: a unit of 0 about 40": (replace(PILEUP, unit=0.0),),
    }.items():
        with pytest.raises(ModelError, match=message):
            conditioned(model, *conditions)
    with pytest.raises(ModelError, match=r"layers.0.weight has shape \(57, 28\), expected \(58, 28\)"):
        replace(model, conditions=(PILEUP,))
    first, *others = conditioned(model, PILEUP).layers
    saturating = replace(first, accum_type=replace(first.accum_type, overflow="SAT"))
    with pytest.raises(ModelError, match=r"layers\.0: .* accumulates what registers hold"):
        replace(model, layers=(saturating, *others), conditions=(PILEUP,))


def test_parts_that_do_not_fit_are_refused_by_name(model: Model) -> None:
    for message, change in faults(model).items():
        with pytest.raises(ModelError, match=message):
            replace(model, **change)


def test_weights_must_be_integers(model: Model) -> None:
    with pytest.raises(ModelError, match=r"Dense.weight must hold integers, not float64"):
        replace(model.layers[0], weight=np.zeros((57, 28)))  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["name", "layers", "score", "input", "rings"])
def test_an_incomplete_description_is_refused(model: Model, missing: str) -> None:
    description, arrays = model.to_arrays()
    del description[missing]
    with pytest.raises(ModelError, match=missing):
        Model.from_arrays(description, arrays)


def test_missing_weights_are_refused(model: Model) -> None:
    description, arrays = model.to_arrays()
    del arrays["layers.1.bias"]
    with pytest.raises(ModelError, match=r"layers\.1\.bias"):
        Model.from_arrays(description, arrays)
