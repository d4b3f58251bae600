from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from firmware.model import axol1tl
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Score
from firmware.model.payload import Payload
from recalib.lipschitz import bounds, rise
from recalib.surrogate.surrogate import Surrogate

SIZES = (57, 28, 15, 8)
CUTS = [100, 200]


def network(seed: int, spread: float = 1.0, reconfigurable: bool = False) -> Model:
    random = np.random.default_rng(seed)
    shapes = list(pairwise(SIZES))
    weights = [random.normal(0, spread * np.sqrt(2 / n), (n, k)) for n, k in shapes]
    biases = [random.normal(0, 0.5, k) for _, k in shapes]
    shift, offset = np.full(57, 5), np.zeros(57)
    return axol1tl.model("any", weights, biases, shift, offset, 10, 2, reconfigurable)


MODELS = {
    "sum of squares": network(1),
    "small": network(2, 0.3),
    "weights in registers": network(5, 0.5, reconfigurable=True),
    "squared distance": replace(
        network(3, 0.5),
        score=Score(
            "squared_distance", (5, -40, 0, 8, 100, -7, 3, 1), network(3).score.term_type, network(3).score.sum_type
        ),
    ),
    "linear": replace(
        network(4, 0.5), score=Score("linear", None, Fixed.parse("fixed<18,14>"), network(4).score.sum_type)
    ),
}


def turned(model: Model, seed: int) -> Payload:
    """Every register somewhere else."""
    random = np.random.default_rng(seed)
    nominal = Payload.nominal(model, CUTS)
    values: dict[str, Any] = {
        field.name: random.uniform(0.7, 1.4, field.size)
        for field in model.layout.fields
        if field.name.endswith("_scale")
    }
    values |= {
        "input_offset": random.uniform(-20, 20, model.n_features),
        "latent_offset": random.uniform(-2, 2, model.n_latent),
        "output_offset": [random.uniform(5, 20)],
    }
    if model.layers[-1].reconfigurable:
        values["weights"] = nominal.value("weights") * random.uniform(0.5, 2, nominal.raw("weights").size)
        values["biases"] = random.uniform(-2, 2, model.n_latent)
    lut = np.sort(random.integers(0, nominal.raw("lut").size, nominal.raw("lut").size))
    return nominal.replace_values(**values).replace(lut=lut)


def events(model: Model, n: int, seed: int) -> NDArray[np.float64]:
    """From all over the range, and near its origin, where fewer numbers saturate."""
    random = np.random.default_rng(seed)
    low, high = model.limits
    near = np.clip(random.normal(0, 30, (n, model.n_features)), low, high).round()
    return np.concatenate([random.integers(low, high + 1, (n, model.n_features)), near]).astype(np.float64)


def scores(model: Model, payload: Payload, x: torch.Tensor) -> torch.Tensor:
    """In codes, of the datapath without its roundings."""
    registers = {field.name: torch.from_numpy(payload.value(field.name)) for field in payload.layout.fields}
    return Surrogate(model, exact=False)(x, registers) / model.lsb


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_no_gradient_is_larger(name: str, seed: int | None) -> None:
    model = MODELS[name]
    payload = Payload.nominal(model, CUTS) if seed is None else turned(model, seed)
    x = torch.from_numpy(events(model, 4000, 7)).requires_grad_()
    (gradient,) = torch.autograd.grad(scores(model, payload, x).sum(), x)
    largest = gradient.abs().max(dim=0).values.numpy()
    limit = bounds(model, payload)
    assert limit.shape == (model.n_features,)
    assert largest.max() > 0
    assert (largest <= limit * (1 + 1e-9)).all()


@pytest.mark.parametrize("name", MODELS)
def test_no_finite_difference_is_larger(name: str) -> None:
    """Of one energy or φ in each event, over steps small and large; an η stays, and with it the ring.

    Where there was no object before, or is none behind, the step is that of what the registers make of it.
    """
    model = MODELS[name]
    payload, random = turned(model, 3), np.random.default_rng(8)
    x = events(model, 4000, 9)
    columns = np.flatnonzero([feature.kind != "eta" for feature in model.features])
    which, rows = random.choice(columns, len(x)), np.arange(len(x))
    low, high = model.limits
    y = x.copy()
    y[rows, which] = np.clip(
        x[rows, which] + random.choice([-300, -20, -1, 1, 20, 300], len(x)), low[which], high[which]
    )
    at = {field.name: torch.from_numpy(payload.value(field.name)) for field in payload.layout.fields}
    scale = Surrogate(model, exact=False).effective_scale(torch.from_numpy(x), at).numpy()
    offset = at["input_offset"].numpy()
    step = ((y - x) * scale + offset * model.present(y) - offset * model.present(x)) / scale
    assert (model.present(x) != model.present(y)).sum() > 300
    change = (scores(model, payload, torch.from_numpy(y)) - scores(model, payload, torch.from_numpy(x))).abs().numpy()
    assert change.max() > 0
    assert (change <= bounds(model, payload)[which] * np.abs(step)[rows, which] * (1 + 1e-9) + 1e-6).all()


def test_the_bound_is_of_use() -> None:
    """It is not beyond all that happens."""
    model = MODELS["sum of squares"]
    payload = Payload.nominal(model, CUTS)
    x = torch.from_numpy(events(model, 20_000, 7)).requires_grad_()
    (gradient,) = torch.autograd.grad(scores(model, payload, x).sum(), x)
    assert (bounds(model, payload) < 30 * gradient.abs().max(dim=0).values.numpy()).all()


def test_an_input_that_no_neuron_reads_has_no_slope() -> None:
    model = MODELS["small"]
    first = model.layers[0]
    weight = first.weight.copy()
    weight[5] = 0
    model = replace(model, layers=(replace(first, weight=weight), *model.layers[1:]))
    found = bounds(model, Payload.nominal(model, CUTS))
    assert found[5] == 0
    assert (np.delete(found, 5) > 0).all()


def test_what_is_felt_only_beside_no_object_counts() -> None:
    """e/γ / 2⁵, at most 15.97, less MET / 2⁵, which with an offset of 511 is more wherever there is any."""
    weights = [np.zeros((n, k)) for n, k in pairwise(SIZES)]
    for weight in weights:
        weight[0, 0] = 1
    weights[0][0, 0], weights[0][3, 0] = -1, 1
    model = axol1tl.model("veto", weights, [np.zeros(k) for k in SIZES[1:]], np.full(57, 5), np.zeros(57), n_cuts=2)
    assert [model.features[i].name for i in (0, 3)] == ["met_pt", "eg0_pt"]
    payload = Payload.nominal(model, CUTS).replace_values(input_offset=511.0 * (np.arange(57) == 0))
    x = torch.zeros(1, 57, dtype=torch.float64)
    x[0, 3] = 500
    felt = scores(model, payload, x) - scores(model, payload, x - 10 * (torch.arange(57) == 3))
    assert 0 < float(felt) <= 10 * bounds(model, payload)[3]


def test_an_offset_is_no_slope() -> None:
    """Of the path of one input alone: its steps are as steep, whatever comes with the object."""
    model = MODELS["small"]
    nominal = Payload.nominal(model, CUTS)
    offset = nominal.replace_values(input_offset=np.where(model.is_energy, 4.0, 0.0))
    assert rise(model, offset, nominal) == pytest.approx(1, rel=0.05)


def test_neurons_that_are_never_active_pass_nothing_on() -> None:
    model = MODELS["small"]
    first = model.layers[0]
    never = replace(first, bias=np.full_like(first.bias, first.bias_type.min_raw), weight=np.zeros_like(first.weight))
    model = replace(model, layers=(never, *model.layers[1:]))
    assert not bounds(model, Payload.nominal(model, CUTS)).any()


def test_nominal_is_as_steep_as_nominal() -> None:
    model = MODELS["small"]
    nominal = Payload.nominal(model, CUTS)
    assert rise(model, nominal, nominal) == 1


def test_what_multiplies_the_score_multiplies_the_bound() -> None:
    model = MODELS["small"]
    nominal = Payload.nominal(model, CUTS)
    assert rise(model, nominal.replace_values(output_scale=[1.3]), nominal) == pytest.approx(1.3, rel=1e-3)
    assert rise(model, nominal.replace_values(output_scale=[0.5]), nominal) == pytest.approx(0.5, rel=1e-3)


def test_the_largest_rise_of_any_input_counts() -> None:
    model = MODELS["small"]
    nominal = Payload.nominal(model, CUTS)
    scale = np.ones(model.n_features)
    scale[9] = 1.5
    assert rise(model, nominal.replace_values(input_scale=scale), nominal) == pytest.approx(1.5, rel=0.02)


def test_the_steepest_ring_of_an_object_counts() -> None:
    model = MODELS["small"]
    nominal = Payload.nominal(model, CUTS)
    rings = np.ones(model.n_rings)
    rings[model.ringed[0].first + 3] = 1.4
    new, old = (bounds(model, payload) for payload in (nominal.replace_values(ring_scale=rings), nominal))
    object = model.features[model.ringed[0].energy].object
    for j, feature in enumerate(model.features):
        if feature.object == object and feature.kind == "pt":
            assert new[j] / old[j] == pytest.approx(1.4, rel=0.03)
    assert rise(model, nominal.replace_values(ring_scale=rings), nominal) == pytest.approx(1.4, rel=0.03)


def test_a_steep_step_of_the_lut_counts() -> None:
    model = MODELS["small"]
    nominal = Payload.nominal(model, CUTS)
    lut = nominal.raw("lut").copy()
    lut[500:] = np.minimum(lut[500:] + 6, lut.size)
    assert rise(model, nominal.replace(lut=lut), nominal) == pytest.approx(7)


def test_of_a_single_path_it_is_the_slope_itself() -> None:
    """MET / 2⁵ up to 31.75 through weights of 1, squared, in codes of 1/16: at most 2 · 31.75 · 16 / 32 per code."""
    weights = [np.zeros((n, k)) for n, k in pairwise(SIZES)]
    for weight in weights:
        weight[0, 0] = 1
    model = axol1tl.model("path", weights, [np.zeros(k) for k in SIZES[1:]], np.full(57, 5), np.zeros(57), n_cuts=2)
    found = bounds(model, Payload.nominal(model, CUTS))
    assert found[0] == pytest.approx(31.75)
    assert not found[1:].any()


def test_a_score_is_as_much_steeper_as_the_weights_are_larger() -> None:
    """Where nothing saturates: twice the weights of the last layer, four times the sum of squares."""
    model = network(2, 0.3, reconfigurable=True)
    nominal = Payload.nominal(model, CUTS)
    double = nominal.replace(weights=2 * nominal.raw("weights"), biases=2 * nominal.raw("biases"))
    assert rise(model, double, nominal) == pytest.approx(4, rel=0.01)
