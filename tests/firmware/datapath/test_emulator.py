from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import firmware.datapath.emulator
from firmware.datapath.emulator import CHUNK, Emulator
from firmware.errors import ModelError, PayloadError
from firmware.model.fixed import Fixed
from firmware.model.layout import Layout
from firmware.model.model import Model
from firmware.model.parts import Dense, Feature, Normalisation, Registers, Rings, Score
from firmware.model.payload import Payload
from tests.support.networks import extreme_weights, odd_models

ORBITS = ("2024_v1_3_0_data_000", "Collisions2025_v1_0_0_data_000")
MENU_CUTS = np.array([346, 389, 415, 456, 557])
MENU_BITS = slice(439, 444)


@pytest.mark.parametrize("orbit", ORBITS)
def test_the_nominal_payload_gives_the_published_scores_of_axol1tl_v4(v4: Model, shared_data: Path, orbit: str) -> None:
    with np.load(shared_data / "axol1tl_v4_golden.npz") as golden:
        events, scores = golden[f"{orbit}/inputs"], golden[f"{orbit}/score_x16"]
    words = Emulator(v4).run(events, Payload.nominal(v4, MENU_CUTS))
    assert (words.codes != scores).sum() == 0
    assert (words.core_codes != scores).sum() == 0


def test_the_cuts_of_the_menu_give_the_published_algorithm_bits(v4: Model, shared_data: Path) -> None:
    """A score at the threshold is accepted: cuts one higher would be wrong in three bits."""
    with np.load(shared_data / "axol1tl_v4_golden.npz") as golden:
        events = golden[f"{ORBITS[0]}/inputs"]
        bits = np.unpackbits(golden[f"{ORBITS[0]}/algobits"], axis=1, bitorder="little")[:, MENU_BITS]
    emulator = Emulator(v4)
    assert (emulator.run(events, Payload.nominal(v4, MENU_CUTS)).accepts == bits).all()
    assert (emulator.run(events, Payload.nominal(v4, MENU_CUTS + 1)).accepts != bits).sum() == 3


def test_one_matrix_product_gives_what_one_product_after_the_other_gives(
    model: Model,
    nominal: Payload,
    random_events: Callable[[Model, int, int], np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = random_events(model, 3000, 1)
    fast = Emulator(model).run(events, nominal)
    monkeypatch.setattr(firmware.datapath.emulator, "EXACT_DOUBLE", 0)
    slow = Emulator(model).run(events, nominal)
    assert (fast.latent == slow.latent).all()
    assert len(np.unique(fast.codes)) > 1000


def test_sums_that_saturate_at_zero_do_so_at_every_step(
    random_events: Callable[[Model, int, int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = odd_models()["unsigned"]
    events, payload = random_events(model, 1000, 9), Payload.nominal(model, [1, 2])
    words = Emulator(model).run(events, payload)
    monkeypatch.setattr(firmware.datapath.emulator, "EXACT_DOUBLE", 0)
    assert (words.latent == Emulator(model).run(events, payload).latent).all()
    assert len(np.unique(words.codes)) > 500


def test_the_nominal_registers_change_nothing(
    model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray]
) -> None:
    words = Emulator(model).run(random_events(model, 1000, 2), nominal)
    assert (words.codes == words.core_codes).all()
    assert (words.core_codes == (words.latent**2 >> 2).sum(axis=1) % 2**18).all()
    assert (words.accepts == (words.codes[:, None] >= MENU_CUTS)).all()


@pytest.mark.parametrize("n", [0, 1, CHUNK, CHUNK + 1])
def test_events_are_independent_of_how_many_run_together(
    model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray], n: int
) -> None:
    events = random_events(model, 2 * CHUNK, 3)
    emulator = Emulator(model)
    every, some = emulator.run(events, nominal), emulator.run(events[:n], nominal)
    assert (some.codes == every.codes[:n]).all()
    assert (some.latent == every.latent[:n]).all()
    assert some.accepts.shape == (n, 5)


def test_input_registers_scale_and_shift_each_feature_on_its_own(
    model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray]
) -> None:
    """Halving a feature in the registers is the same as halving it in the event; MET of 0 stays 0."""
    events = random_events(model, 1000, 4)
    events[:, 27:] = 0
    events[:, 0] &= ~1
    halved = events.copy()
    halved[:, 0] = np.where(events[:, 0] > 0, events[:, 0] // 2 + 3, 0)
    scale, offset = nominal.value("input_scale"), nominal.value("input_offset")
    scale[0], offset[0] = 0.5, 3.0
    emulator = Emulator(model)
    recalibrated = emulator.run(events, nominal.replace_values(input_scale=scale, input_offset=offset))
    assert (recalibrated.latent == emulator.run(halved, nominal).latent).all()


@pytest.mark.parametrize(("name", "first", "width"), [("eg", 0, 8), ("mu", 32, 16), ("jet", 64, 8)])
@pytest.mark.parametrize("ring", [0, 15, 16, 31])
def test_a_ring_scales_the_energies_of_its_objects_and_no_others(
    model: Model,
    nominal: Payload,
    random_events: Callable[[Model, int, int], np.ndarray],
    name: str,
    first: int,
    width: int,
    ring: int,
) -> None:
    """Halving one ring in the registers is the same as halving, in the events, what is in that ring."""
    events = random_events(model, 500, 8)
    pt = np.array([i for i, f in enumerate(model.features) if (f.object, f.kind) == (name, "pt")])
    events[:, pt] &= ~1
    inside = np.clip(np.floor(events[:, pt + 1] / width) + 16, 0, 31) == ring
    halved = events.copy()
    halved[:, pt] = np.where(inside, events[:, pt] // 2, events[:, pt])
    scales = nominal.value("ring_scale")
    scales[first + ring] = 0.5
    emulator = Emulator(model)
    latent = emulator.run(events, nominal.replace_values(ring_scale=scales)).latent
    assert (latent == emulator.run(halved, nominal).latent).all()
    moved = (latent != emulator.run(events, nominal).latent).any(axis=1)
    assert moved.sum() > 10
    assert not moved[~inside.any(axis=1)].any()


@pytest.mark.parametrize(
    ("scale", "ring", "effective"),
    [
        (3 << 13, 1 << 14, 3 << 13),
        (20_001, 24_576, 30_002),
        (16_385, 8_192, 8_193),
        (16_387, 4_096, 4_097),
        (32_768, 32_767, 65_534),
        (32_768, 32_768, 65_535),
        (65_535, 65_535, 65_535),
    ],
)
def test_the_scales_of_input_and_ring_multiply_rounded_half_up_and_saturate(
    scale: int, ring: int, effective: int
) -> None:
    """In raws of 2^-14; an energy of 1 passes this network as its own scale."""
    model = one_energy()
    payload = Payload.nominal(model, [1]).replace(input_scale=[scale, 1 << 14], ring_scale=np.full(32, ring))
    assert Emulator(model).run(np.array([[1, 5]]), payload).latent.tolist() == [[effective]]


def one_energy() -> Model:
    """A network that passes one calibrated energy on, as a raw of 2^-14; its angle alone tells the ring."""
    wide, code = Fixed(25, 11), Fixed(24, 10, signed=False)
    registers = Registers(Fixed(16, 2, signed=False), Fixed(16, 10), wide)
    return Model(
        "one energy and its angle",
        (Feature("pt", "jet", "pt", Fixed(9, 9)), Feature("eta", "jet", "eta", Fixed(9, 9))),
        (Rings("jet", 3, 32),),
        registers,
        Normalisation(np.zeros(2, int), np.zeros(2, int), wide, wide, wide),
        (Dense(np.array([[1], [0]]), np.zeros(1, int), Fixed(2, 2), Fixed(2, 2), wide, wide, relu=False),),
        registers,
        Score("linear", None, code, code),
        replace(registers, result_type=code),
        lut_bits=0,
        n_cuts=1,
    )


def test_an_offset_is_added_to_an_energy_that_is_there_and_to_every_angle() -> None:
    model, lsb = one_energy(), 2.0**-14
    first = model.layers[0]
    payload = Payload.nominal(model, [1]).replace_values(input_scale=[1.5, 1.0], input_offset=[-7.0, 20.0])
    events = np.array([[0, 3], [1, 3], [-1, 3], [100, 0]])
    assert (Emulator(model).run(events, payload).latent * lsb).tolist() == [[0.0], [-5.5], [-8.5], [143.0]]
    angle = replace(model, layers=(replace(first, weight=first.weight[::-1]),))
    payload = Payload(angle.id, angle.layout, payload.words)
    assert (Emulator(angle).run(events, payload).latent * lsb).tolist() == [[23.0], [23.0], [23.0], [20.0]]


@settings(max_examples=200, deadline=None)
@given(gain=st.floats(0.7, 1.4), pedestal=st.floats(-30, 60))
def test_a_gain_and_a_pedestal_of_the_objects_are_undone_up_to_rounding_and_no_object_stays_none(
    gain: float, pedestal: float
) -> None:
    """Codes are rounded by half a unit and the registers by half of theirs; an object that the drift took is gone."""
    model = one_energy()
    codes = np.arange(139)
    drifted = np.where(codes > 0, np.maximum(np.rint(gain * codes + pedestal), 0), 0).astype(np.int64)
    payload = Payload.nominal(model, [1]).replace_values(
        input_scale=[1 / gain, 1.0], input_offset=[-pedestal / gain, 0.0]
    )
    events = np.stack([drifted, np.zeros_like(codes)], axis=1)
    energy = model.latent.result_type.value(Emulator(model).run(events, payload).latent[:, 0])
    there = drifted > 0
    rounding = 0.5 / gain + drifted * model.input.scale_type.lsb / 2 + model.input.offset_type.lsb / 2
    assert (np.abs(energy - codes) <= rounding + 1e-9)[there].all()
    assert not energy[~there].any()


def test_rings_of_scale_one_change_nothing(
    model: Model,
    random_events: Callable[[Model, int, int], np.ndarray],
    random_payload: Callable[[Model, int], Payload],
) -> None:
    plain = replace(model, rings=())
    for seed in range(4):
        events, payload = random_events(model, 500, seed), random_payload(plain, seed)
        same = Payload.nominal(model, np.zeros(5)).replace(
            **{field.name: payload.raw(field.name) for field in plain.layout.fields}
        )
        assert (Emulator(plain).run(events, payload).latent == Emulator(model).run(events, same).latent).all()


def test_weights_in_registers_are_those_of_a_network_with_such_weights(
    random_events: Callable[[Model, int, int], np.ndarray], random_payload: Callable[[Model, int], Payload]
) -> None:
    for name in ("weights", "unsigned weights"):
        model = odd_models()[name]
        for seed in range(4):
            events, payload = random_events(model, 500, seed), random_payload(model, seed)
            *others, last = model.layers_under(payload)
            frozen = replace(model, layers=(*others, replace(last, reconfigurable=False)))
            same = Payload.nominal(frozen, np.zeros(model.n_cuts)).replace(
                **{field.name: payload.raw(field.name) for field in frozen.layout.fields}
            )
            words = Emulator(model).run(events, payload)
            assert (words.latent == Emulator(frozen).run(events, same).latent).all()
            nominal = Payload.nominal(model, np.zeros(model.n_cuts))
            assert (words.latent != Emulator(model).run(events, nominal).latent).any()


def test_sums_of_weights_in_registers_wrap_as_one_product_after_the_other_does(
    random_events: Callable[[Model, int, int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = odd_models()["weights"]
    events, payloads = random_events(model, 500, 9), list(extreme_weights(model))
    fast = [Emulator(model).run(events, payload).latent for payload in payloads]
    monkeypatch.setattr(firmware.datapath.emulator, "EXACT_DOUBLE", 0)
    for payload, latent in zip(payloads, fast, strict=True):
        assert (latent == Emulator(model).run(events, payload).latent).all()


def test_output_registers_act_on_the_score_and_round_half_up(
    model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray]
) -> None:
    events = random_events(model, 1000, 5)
    words = Emulator(model).run(events, nominal.replace_values(output_scale=1.5, output_offset=-2.0))
    expected = np.clip((3 * words.core_codes.astype(np.int64) - 64 + 1) // 2, 0, 2**18 - 1)
    assert (words.codes == expected).all()


def test_the_lut_maps_the_codes_of_its_range_and_lets_the_others_pass(
    model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray]
) -> None:
    lut = np.arange(4096)[::-1] + 7
    events, emulator = random_events(model, 2000, 6), Emulator(model)
    words = emulator.run(events, nominal.replace(lut=lut))
    low = words.core_codes < 4096
    assert (words.codes[low] == 4102 - words.core_codes[low]).all()
    assert (words.codes[~low] == words.core_codes[~low]).all()
    assert 0 < low.sum() < low.size
    for code, expected in ((4095, 7), (4096, 4096)):
        forced = nominal.replace(lut=lut, output_scale=0, output_offset=code)
        assert emulator.codes(events[:1], forced).tolist() == [expected]


def test_a_code_at_the_cut_is_accepted(
    model: Model, nominal: Payload, random_events: Callable[[Model, int, int], np.ndarray]
) -> None:
    events = random_events(model, 1, 7)
    emulator = Emulator(model)
    code = int(emulator.codes(events, nominal)[0])
    at = nominal.replace(cuts=[code - 1, code, code + 1, 0, 2**18 - 1])
    assert emulator.run(events, at).accepts.tolist() == [[True, True, False, True, False]]


def test_a_payload_of_another_model_is_refused(model: Model) -> None:
    other = Payload.nominal(replace(model, name="other"), MENU_CUTS)
    with pytest.raises(PayloadError, match=f"not for {model.id}"):
        Emulator(model).run(np.zeros((1, 57), int), other)


def test_a_payload_of_another_layout_is_refused(model: Model, nominal: Payload) -> None:
    shorter = Layout(nominal.layout.fields[:-1])
    with pytest.raises(PayloadError, match="another layout"):
        Emulator(model).run(np.zeros((1, 57), int), Payload(model.id, shorter, nominal.words[:-4096]))


def test_an_event_that_the_inputs_cannot_carry_is_refused(model: Model, nominal: Payload) -> None:
    with pytest.raises(ModelError, match="met_pt = 5000"):
        Emulator(model).run(np.full((1, 57), 5000), nominal)
