"""How steeply the score can rise with an input, whatever the event: a bound, not a sample."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Dense
from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.knobs.forest import forest_of

STEP = 1 / 64
"""Of an input's range: over so far the jumps of a forest count together."""


class Slopes(NamedTuple):
    """Values (k,) within [low, high] for every event, and their slopes in the inputs (k, n_features) likewise."""

    low: Floats
    high: Floats
    down: Floats
    up: Floats


def bounds(model: Model, payload: Payload) -> Floats:
    """The most that the score, in codes, can change per unit of each input, (n_features,).

    Intervals of values and of slopes are carried from the full range of every input through the
    datapath: a neuron that is never active passes no slope on, one that may be passes any between none
    and all, and a number that always saturates has none. It bounds the datapath without its roundings,
    its wraps and what jumps to zero (SAT_ZERO). With rings, the slope in an energy is the steepest of
    all rings of its object, and the object is taken to stay in its ring. Where an object of code x comes in
    place of none (code 0), its offset comes with it: that is a step, of |scale · x + offset| behind the
    registers, and no slope; over it the score changes by at most the bound times the step over the scale. Of
    a forest, which has no slope, it is the largest change over `STEP` of an input's range, over that distance,
    of an object that is there. After S. Gowal et al., arXiv:1810.12715, and, for the slopes, L. Weng et al.,
    arXiv:1804.09699.
    """
    state = _inputs(model, payload) if model.forest is None else _forest(model, payload)
    for layer in model.layers_under(payload):
        state = _dense(state, layer)
    state = _scaled(state, payload, "latent", model.latent.result_type)
    state = _scaled(_score(state, model), payload, "output", model.code_type)
    return _look_up(state, model, payload.raw("lut"))


def rise(model: Model, payload: Payload, nominal: Payload) -> float:
    """The largest ratio of the bounds of one payload to those of another, over the inputs."""
    new, old = bounds(model, payload), bounds(model, nominal)
    felt = new > 0
    return float(np.divide(new, old, out=np.full(len(new), np.inf), where=old > 0)[felt].max(initial=0.0))


def _inputs(model: Model, payload: Payload) -> Slopes:
    """Behind the normalisation; each value depends on its own input alone, that of no object is within its limits."""
    least, most = _scales(model, payload)
    low, high = (limit.astype(np.float64) for limit in model.limits)
    ends = np.stack([low * least, low * most, high * least, high * most]) + payload.value("input_offset")
    ends = np.concatenate([ends, np.where(model.is_energy, 0.0, ends)])
    state = Slopes(ends.min(axis=0), ends.max(axis=0), np.diag(least), np.diag(most))
    state = _cast(state, model.input.result_type)
    n = model.normalisation
    state = _cast(Slopes(state.low - n.offset, state.high - n.offset, state.down, state.up), n.subtract_type)
    factor = np.ldexp(1.0, -n.shift)
    state = Slopes(*(part * factor for part in state[:2]), *(part * factor[:, None] for part in state[2:]))
    return _cast(_cast(state, n.shift_type), n.result_type)


def _scales(model: Model, payload: Payload) -> tuple[Floats, Floats]:
    """The least and the largest effective scale of each feature."""
    scale = payload.value("input_scale")
    least, most = scale.copy(), scale.copy()
    for feature in model.ringed:
        rings = payload.value("ring_scale")[feature.first : feature.first + feature.size]
        least[feature.energy] *= rings.min()
        most[feature.energy] *= rings.max()
    top = model.input.effective_type
    return np.minimum(least, top.value(top.max_raw)), np.minimum(most, top.value(top.max_raw))


def _dense(state: Slopes, layer: Dense) -> Slopes:
    weight = layer.weight_type.value(layer.weight).T
    bias = layer.bias_type.value(layer.bias)
    low, high = _product(weight, state.low, state.high)
    state = _cast(Slopes(low + bias, high + bias, *_product(weight, state.down, state.up)), layer.accum_type)
    if layer.sum_type is not None:
        state = _cast(state, layer.sum_type)
    if layer.relu:
        state = _clamped(state, 0.0, np.inf)
    return _cast(state, layer.result_type)


def _forest(model: Model, payload: Payload) -> Slopes:
    """One value; in a distance each threshold on an input counts by what the leaves on its sides differ at most."""
    forest = forest_of(model, payload)
    shape, nodes = forest.shape, forest.nodes
    low, high = shape.reach(nodes)
    tree, node = np.nonzero(nodes.inner)
    left = nodes.left[tree, node]
    change = np.maximum(high[tree, left + 1] - low[tree, left], high[tree, left] - low[tree, left + 1])
    threshold = shape.threshold_type.value(nodes.value[tree, node])
    first, last = model.limits
    distance = (last - first + 1) * STEP
    reached = distance * _scales(model, payload)[1] * np.ldexp(1.0, -model.normalisation.shift)
    steepest = np.zeros(model.n_features)
    for j in np.unique(nodes.feature[tree, node]):
        on = np.flatnonzero(nodes.feature[tree, node] == j)
        on = on[np.argsort(threshold[on])]
        size = np.append(0, np.cumsum(change[on]))
        end = np.searchsorted(threshold[on], threshold[on] + reached[j])
        steepest[j] = (size[end] - size[:-1]).max()
    slopes = (shape.score_type.value(steepest) / distance)[None, :]
    least, most = (shape.score_type.value(total.sum(keepdims=True)) for total in shape.ends(nodes))
    return Slopes(least, most, -slopes, slopes)


def _product(weight: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Interval of a matrix product."""
    rising, falling = np.maximum(weight, 0), np.minimum(weight, 0)
    least: Floats = rising @ low + falling @ high
    most: Floats = rising @ high + falling @ low
    return least, most


def _scaled(state: Slopes, payload: Payload, part: str, into: Fixed) -> Slopes:
    """Behind the registers of the latent values or of the score."""
    scale, offset = payload.value(f"{part}_scale"), payload.value(f"{part}_offset")
    values = np.sort([state.low * scale, state.high * scale], axis=0) + offset
    slopes = np.sort([state.down * scale[:, None], state.up * scale[:, None]], axis=0)
    return _cast(Slopes(*values, *slopes), into)


def _score(state: Slopes, model: Model) -> Slopes:
    """One value: the sum of the terms, each cast into its type."""
    score = model.score
    if score.center is not None:
        centre = np.array(score.center) * model.latent.result_type.lsb
        state = state._replace(low=state.low - centre, high=state.high - centre)
    terms = _cast(state if score.kind == "linear" else _squared(state), score.term_type)
    return _cast(Slopes(*(part.sum(axis=0, keepdims=True) for part in terms)), score.sum_type)


def _squared(state: Slopes) -> Slopes:
    """z², of slope 2z·∂z."""
    ends = np.sort([state.low**2, state.high**2], axis=0)
    least = np.where((state.low < 0) & (state.high > 0), 0.0, ends[0])
    corners = [2 * z[:, None] * slope for z in (state.low, state.high) for slope in (state.down, state.up)]
    return Slopes(least, ends[1], np.min(corners, axis=0), np.max(corners, axis=0))


def _look_up(state: Slopes, model: Model, lut: NDArray[np.int64]) -> Floats:
    """The largest slope either way of the code, through the steepest step of the LUT within reach."""
    steepest: Floats = np.maximum(np.abs(state.down[0]), np.abs(state.up[0])) / model.lsb
    if not lut.size:
        return steepest
    low, high = (int(np.floor(end[0] / model.lsb)) for end in (state.low, state.high))
    steps = np.abs(np.diff(np.append(lut, lut.size)))[low : high + 1]
    beyond = 1.0 if high >= lut.size else 0.0
    found: Floats = steepest * steps.max(initial=beyond)
    return found


def _cast(state: Slopes, into: Fixed) -> Slopes:
    """Saturated as the type says."""
    low, high = into.min_raw * into.lsb, into.max_raw * into.lsb
    match into.overflow:
        case "SAT":
            return _clamped(state, low, high)
        case "SAT_SYM":
            return _clamped(state, max(low, -high), high)
        case "SAT_ZERO":
            inside = _clamped(state, low, high)
            jumps = (state.low < low) | (state.high > high)
            return inside._replace(
                low=np.where(jumps, np.minimum(inside.low, 0), inside.low),
                high=np.where(jumps, np.maximum(inside.high, 0), inside.high),
            )
    return state


def _clamped(state: Slopes, least: float, most: float) -> Slopes:
    """Where the limit can be met the slope may be none; where it always is, it is none."""
    meets = ((state.low < least) | (state.high > most))[:, None]
    always = ((state.high <= least) | (state.low >= most))[:, None]
    down = np.where(meets, np.minimum(state.down, 0), state.down)
    up = np.where(meets, np.maximum(state.up, 0), state.up)
    return Slopes(
        np.clip(state.low, least, most),
        np.clip(state.high, least, most),
        np.where(always, 0.0, down),
        np.where(always, 0.0, up),
    )
