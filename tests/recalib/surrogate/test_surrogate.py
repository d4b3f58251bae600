from dataclasses import replace

import numpy as np
import pytest
import torch

from firmware.datapath.emulator import Emulator
from firmware.model import axol1tl
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.surrogate.surrogate import Surrogate
from tests.recalib.conftest import Lab
from tests.support.places import DATA


def registers(payload: Payload) -> dict[str, torch.Tensor]:
    return {field.name: torch.from_numpy(payload.value(field.name)) for field in payload.layout.fields}


def turned(base: Payload, seed: int) -> Payload:
    """Every register away from its identity."""
    random = np.random.default_rng(seed)
    return base.replace_values(
        input_scale=random.uniform(0.8, 1.2, base.layout["input_scale"].size),
        ring_scale=random.uniform(0.8, 1.2, base.layout["ring_scale"].size),
        input_offset=random.uniform(-20, 20, base.layout["input_offset"].size),
        latent_scale=random.uniform(0.8, 1.2, base.layout["latent_scale"].size),
        latent_offset=random.uniform(-0.3, 0.3, base.layout["latent_offset"].size),
        output_scale=[1.07],
        output_offset=[-0.4],
        lut=np.sort(random.integers(0, 4096, base.layout["lut"].size)),
    )


def codes(model: Model, events: np.ndarray, payload: Payload) -> np.ndarray:
    scores = Surrogate(model)(torch.from_numpy(events.astype(np.float64)), registers(payload))
    return np.asarray(scores / model.lsb)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_forward_values_are_those_of_the_integer_emulator(lab: Lab, seed: int) -> None:
    events = lab.events(50_000)[:20_000]
    payload = turned(lab.nominal, seed) if seed else lab.nominal
    np.testing.assert_array_equal(codes(lab.package.model, events, payload), lab.emulator.codes(events, payload))


@pytest.mark.parametrize("sums", ["fixed<11,6,RND_CONV,SAT>", "fixed<14,9,TRN_ZERO,SAT_SYM>", "fixed<9,5>"])
def test_forward_values_are_those_of_the_integer_emulator_where_sums_are_cast(lab: Lab, sums: str) -> None:
    """In every layer before its activation, one that is linear among them."""
    model = lab.package.model
    model = replace(model, layers=tuple(replace(layer, sum_type=Fixed.parse(sums)) for layer in model.layers))
    nominal = Payload.nominal(model, lab.nominal.raw("cuts"))
    events, payload = lab.events(50_000)[:5000], turned(nominal, 3)
    found = codes(model, events, payload)
    np.testing.assert_array_equal(found, Emulator(model).codes(events, payload))
    assert (found != lab.emulator.codes(events, turned(lab.nominal, 3))).any()


def test_forward_values_are_those_of_axol1tl_v4() -> None:
    if not DATA.exists():
        pytest.skip(f"{DATA} is not there")
    w, golden = (np.load(DATA / f"axol1tl_v4_{name}.npz") for name in ("weights", "golden"))
    model = axol1tl.model(
        "axol1tl",
        [w["w2"], w["w4"], w["w6"]],
        [w["b2"], w["b4"], w["b6"]],
        w["input_shift"],
        w["input_offset"],
    )
    events = golden["2024_v1_3_0_data_000/inputs"]
    nominal = Payload.nominal(model, [346, 389, 415, 456, 557])
    np.testing.assert_array_equal(codes(model, events, nominal), golden["2024_v1_3_0_data_000/score_x16"])
    payload = turned(nominal, 5)
    np.testing.assert_array_equal(codes(model, events, payload), Emulator(model).codes(events, payload))


def test_gradient_of_the_unrounded_datapath_agrees_with_finite_differences(lab: Lab) -> None:
    surrogate = Surrogate(lab.package.model, exact=False)
    events = torch.from_numpy(lab.events(50_000)[:300].astype(np.float64))
    at = registers(turned(lab.nominal, 1))
    random = torch.Generator().manual_seed(2)
    for name in ("input_scale", "input_offset", "ring_scale", "latent_scale", "latent_offset", "output_scale"):
        way = torch.randn(len(at[name]), generator=random, dtype=torch.float64)
        leaf = at[name].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(surrogate(events, at | {name: leaf}).sum(), leaf)
        step = 1e-7
        with torch.no_grad():
            ends = [surrogate(events, at | {name: at[name] + s * step * way}).sum() for s in (1, -1)]
        difference = float(ends[0] - ends[1]) / (2 * step)
        assert float(gradient @ way) == pytest.approx(difference, rel=1e-3)


@pytest.mark.parametrize("low", [0, 1 << 13, (1 << 16) - 3])
def test_forward_values_are_those_of_the_emulator_whatever_the_scales_of_rings_and_inputs(lab: Lab, low: int) -> None:
    """From `low` to the largest number of the registers, 3.9999: from there the product saturates in every ring."""
    model, random = lab.package.model, np.random.default_rng(low)
    names = ("input_scale", "ring_scale")
    payload = lab.nominal.replace(**{n: random.integers(low, 1 << 16, model.layout[n].size) for n in names})
    events = lab.events(50_000)[:5000]
    np.testing.assert_array_equal(codes(model, events, payload), lab.emulator.codes(events, payload))


@pytest.mark.parametrize("name", ["input_scale", "ring_scale"])
def test_registers_may_be_repeated_for_each_event(lab: Lab, name: str) -> None:
    """Each event then has a slope of its own; they add up to that of the registers in common."""
    surrogate = Surrogate(lab.package.model)
    events = torch.from_numpy(lab.events(50_000)[:300].astype(np.float64))
    at = registers(turned(lab.nominal, 1))
    common = at[name].clone().requires_grad_()
    own = at[name].expand(len(events), -1).clone().requires_grad_()
    scores = surrogate(events, at | {name: common}), surrogate(events, at | {name: own})
    assert torch.equal(*scores)
    (together,), (each,) = (torch.autograd.grad(s.sum(), leaf) for s, leaf in zip(scores, (common, own), strict=True))
    assert (each != 0).any(dim=1).sum() > 100
    torch.testing.assert_close(each.sum(dim=0), together)


def test_what_is_known_of_the_events_rings_and_scales_can_be_given(lab: Lab) -> None:
    surrogate = Surrogate(lab.package.model)
    events = torch.from_numpy(lab.events(50_000)[:300].astype(np.float64))
    at = registers(turned(lab.nominal, 1))
    index = surrogate.ring_index(events)
    scale = surrogate.effective_scale(events, at, index)
    assert torch.equal(scale, surrogate.effective_scale(events, at))
    assert torch.equal(surrogate.core(events, at, scale), surrogate.core(events, at))
    assert not torch.equal(surrogate.effective_scale(events, at, index.roll(1, 0)), scale)
    assert not torch.equal(surrogate.core(events, at, scale.roll(1, 0)), surrogate.core(events, at))


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_forward_values_are_those_of_the_emulator_whatever_the_weights(weighted: Lab, seed: int) -> None:
    """As trained, near that, anything, and each at one end of its register: sums then saturate or wrap."""
    events, nominal, random = weighted.events(50_000)[:5000], weighted.nominal, np.random.default_rng(seed)
    raws = {}
    for name in ("weights", "biases"):
        field, raw = nominal.layout[name], nominal.raw(name)
        ends = [field.type.min_raw, field.type.max_raw]
        near = np.clip(raw + random.integers(-60, 60, field.size), *ends)
        raws[name] = [raw, near, random.integers(*ends, field.size), random.choice(ends, field.size)][seed]
    payload = turned(nominal.replace(**raws), seed) if seed else nominal
    found = codes(weighted.package.model, events, payload)
    np.testing.assert_array_equal(found, weighted.emulator.codes(events, payload))
    np.testing.assert_array_equal(found, weighted.engine.loaded.surrogate.codes(events, payload))


@pytest.mark.parametrize("name", ["weights", "biases"])
def test_slopes_in_the_weights_are_those_of_the_unrounded_datapath(weighted: Lab, name: str) -> None:
    """Over a small step of all, and of each event's own where they are repeated for each."""
    surrogate = Surrogate(weighted.package.model, exact=False)
    events = torch.from_numpy(weighted.events(50_000)[:300].astype(np.float64))
    at = registers(turned(weighted.nominal, 1))
    way = torch.randn(len(at[name]), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    common = at[name].clone().requires_grad_()
    own = at[name].expand(len(events), -1).clone().requires_grad_()
    scores = [surrogate(events, at | {name: leaf}) for leaf in (common, own)]
    torch.testing.assert_close(*scores)
    (together,), (each,) = (torch.autograd.grad(s.sum(), leaf) for s, leaf in zip(scores, (common, own), strict=True))
    torch.testing.assert_close(each.sum(dim=0), together)
    step = 1e-7
    with torch.no_grad():
        ends = [surrogate(events, at | {name: at[name] + s * step * way}).sum() for s in (1, -1)]
    assert float(together @ way) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-3)


@pytest.mark.parametrize("raw", [-512, -128, 0, 77, 511])
def test_forward_values_are_those_of_the_emulator_whatever_the_network_is_told(told: Lab, raw: int) -> None:
    events, payload = told.events(50_000)[:5000], turned(told.nominal, 1).replace(conditioning=[raw])
    found = codes(told.package.model, events, payload)
    np.testing.assert_array_equal(found, told.emulator.codes(events, payload))
    assert (found != told.emulator.codes(events, turned(told.nominal, 1))).any()


def test_the_slope_in_a_condition_is_that_of_the_unrounded_datapath(told: Lab) -> None:
    surrogate = Surrogate(told.package.model, exact=False)
    events, at = torch.from_numpy(told.events(50_000)[:300].astype(np.float64)), registers(turned(told.nominal, 1))
    own = at["conditioning"].expand(len(events), -1).clone().requires_grad_()
    (slopes,) = torch.autograd.grad(surrogate(events, at | {"conditioning": own}).sum(), own)
    step = 1e-7
    with torch.no_grad():
        ends = [surrogate(events, at | {"conditioning": at["conditioning"] + s * step}).sum() for s in (1, -1)]
    assert float(slopes.sum()) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-3)


def test_a_ring_pulls_on_the_events_in_it_alone(lab: Lab) -> None:
    surrogate = Surrogate(lab.package.model)
    events = torch.from_numpy(lab.events(50_000)[:300].astype(np.float64))
    at = registers(lab.nominal)
    own = at["ring_scale"].expand(len(events), -1).clone().requires_grad_()
    (slopes,) = torch.autograd.grad(surrogate(events, at | {"ring_scale": own}).sum(), own)
    index = surrogate.ring_index(events)
    inside = torch.stack([(index == ring).any(dim=1) for ring in range(own.shape[1])], dim=1)
    assert not slopes[~inside].any()
    assert slopes[inside].any()


@pytest.mark.parametrize("offset", [0.0, 7.0])
def test_an_offset_pulls_on_the_objects_that_are_there_alone(lab: Lab, offset: float) -> None:
    """And on angles, whose code 0 is an angle."""
    model, surrogate = lab.package.model, Surrogate(lab.package.model)
    events = torch.from_numpy(lab.events(50_000)[:300].astype(np.float64))
    own = torch.full(events.shape, offset, dtype=torch.float64).requires_grad_()
    (slopes,) = torch.autograd.grad(surrogate(events, registers(lab.nominal) | {"input_offset": own}).sum(), own)
    zero, energy = events == 0, torch.tensor([feature.kind == "pt" for feature in model.features])
    assert (zero & energy).sum() > 1000
    assert not slopes[zero & energy].any()
    assert slopes[~zero & energy].any()
    assert slopes[zero & ~energy].any()


def test_straight_through_slope_is_that_of_the_emulator_over_a_visible_step(lab: Lab) -> None:
    """The mean score against the jets' scale: gradient at 1 against the secant between 0.95 and 1.05."""
    model, nominal = lab.package.model, lab.nominal
    events = lab.events(50_000)[:30_000]
    jets = np.array([f.object == "jet" and f.kind == "pt" for f in model.features])

    def mean(factor: float) -> float:
        payload = nominal.replace_values(input_scale=np.where(jets, factor, 1.0))
        return float(lab.emulator.codes(events, payload).mean() * model.lsb)

    leaf = torch.from_numpy(nominal.value("input_scale")).requires_grad_()
    scores = Surrogate(model)(torch.from_numpy(events.astype(np.float64)), registers(nominal) | {"input_scale": leaf})
    (gradient,) = torch.autograd.grad(scores.mean(), leaf)
    assert gradient.numpy()[jets].sum() == pytest.approx((mean(1.05) - mean(0.95)) / 0.1, rel=0.15)
