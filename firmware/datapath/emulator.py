"""The datapath in NumPy integers, word for word what the firmware computes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.errors import PayloadError
from firmware.model.fixed import Fixed, Integers
from firmware.model.forest import Walker
from firmware.model.model import Model
from firmware.model.parts import Dense, Normalisation, Registers
from firmware.model.payload import Payload

Transform = Callable[[Integers], Integers]

CHUNK = 2048
EXACT_DOUBLE = 1 << 53


@dataclass(frozen=True, eq=False)
class Answers:
    """What the firmware says about n events.

    Args:
        codes: score codes after output registers and LUT, uint32 (n,).
        core_codes: score codes before the output registers, uint32 (n,).
        latent: raws behind the latent registers, int64 (n, n_latent).
        accepts: code >= cut, bool (n, n_cuts).
    """

    codes: NDArray[np.uint32]
    core_codes: NDArray[np.uint32]
    latent: Integers
    accepts: NDArray[np.bool_]


Execute = Callable[[NDArray[Any], Payload], Answers]
"""An execution of the datapath of one model: what it answers to hardware integers (n, n_features) under a payload."""


class Emulator:
    """Runs events through a model with the registers of a payload."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._layers = _network(model, model.wired)

    def run(self, events: NDArray[Any], payload: Payload) -> Answers:
        """What the firmware says about events under a payload.

        Args:
            events: hardware integers (n, n_features).

        Raises:
            ModelError: if the events have a wrong shape or a number that its feature cannot take.
            PayloadError: if the payload is made for another model.
        """
        model = self.model
        check_payload(model, payload)
        raws = {field.name: payload.raw(field.name) for field in payload.layout.fields}
        core = self._core(payload)
        n = len(events)
        words = Answers(
            np.empty(n, np.uint32),
            np.empty(n, np.uint32),
            np.empty((n, model.n_latent), np.int64),
            np.empty((n, model.n_cuts), np.bool_),
        )
        for start in range(0, n, CHUNK):
            part = slice(start, start + CHUNK)
            model.check_events(events[part])
            latent = self._latent(events[part].astype(np.int64), raws, core)
            score = self._score(latent)
            codes = self._codes(score, raws)
            words.latent[part], words.core_codes[part], words.codes[part] = latent, score, codes
            words.accepts[part] = codes[:, None] >= raws["cuts"]
        return words

    def _core(self, payload: Payload) -> Sequence[Transform]:
        """What stands between normalisation and latent registers, as the payload makes it."""
        model = self.model
        if model.forest is not None:
            return [_forest(Walker(model.forest.shape, payload.raw("forest")))]
        return _network(model, model.layers_under(payload)) if model.trained else self._layers

    def codes(self, events: NDArray[Any], payload: Payload) -> NDArray[np.uint32]:
        """The score codes (n,) of events (n, n_features), as `run` gives them."""
        return self.run(events, payload).codes

    def _latent(self, events: Integers, raws: dict[str, Integers], core: Sequence[Transform]) -> Integers:
        model = self.model
        x = _calibrate(events, 0, model.input, self._input_scale(events, raws), self._input_offset(events, raws))
        x = _normalise(x, model.input.result_type.frac, model.normalisation)
        for step in core:
            x = step(x)
        return _calibrate(x, model.core_type.frac, model.latent, raws["latent_scale"], raws["latent_offset"])

    def _input_scale(self, events: Integers, raws: dict[str, Integers]) -> Integers:
        """The effective scale of each feature: (n_features,), or (n, n_features) where the rings differ from one."""
        model, scale, rings = self.model, raws["input_scale"], raws.get("ring_scale")
        kind = model.input.effective_type
        if rings is None or (rings == 1 << kind.frac).all():
            return scale
        columns = [feature.energy for feature in model.ringed]
        every = kind.cast(scale[columns, None] * rings, 2 * kind.frac)
        effective = np.tile(scale, (len(events), 1))
        effective[:, columns] = every[np.arange(len(columns)), model.ring_index(events)]
        return effective

    def _input_offset(self, events: Integers, raws: dict[str, Integers]) -> Integers:
        """The effective offset of each feature: (n_features,), or (n, n_features) where any differs from zero."""
        offset = raws["input_offset"]
        return offset * self.model.present(events) if offset.any() else offset

    def _score(self, latent: Integers) -> Integers:
        score, frac = self.model.score, self.model.latent.result_type.frac
        if score.kind == "squared_distance":
            latent = latent - np.array(score.center)
        if score.kind != "linear":
            latent, frac = latent * latent, 2 * frac
        terms = score.term_type.cast(latent, frac)
        total: Integers = np.zeros(len(latent), dtype=np.int64)
        for term in terms.T:
            total = _add(total, score.sum_type, term, score.term_type.frac)
        return total

    def _codes(self, core: Integers, raws: dict[str, Integers]) -> Integers:
        model, lut = self.model, raws["lut"]
        frac = model.score.sum_type.frac
        codes = _calibrate(core, frac, model.output, raws["output_scale"], raws["output_offset"])
        return np.where(codes < lut.size, lut[np.minimum(codes, lut.size - 1)], codes)


def check_payload(model: Model, payload: Payload) -> None:
    """Check that a payload is one of this model's.

    Raises:
        PayloadError: if the payload is made for another model or layout.
    """
    if payload.model_id != model.id:
        raise PayloadError(f"the payload is made for model {payload.model_id}, not for {model.id}")
    if payload.layout != model.layout:
        raise PayloadError(f"the payload has another layout than model {model.id}")


def _calibrate(x: Integers, frac: int, registers: Registers, scale: Integers, offset: Integers) -> Integers:
    product_frac, offset_frac = frac + registers.scale_type.frac, registers.offset_type.frac
    common = max(product_frac, offset_frac)
    return registers.result_type.cast(
        ((x * scale) << (common - product_frac)) + (offset << (common - offset_frac)), common
    )


def _normalise(x: Integers, frac: int, n: Normalisation) -> Integers:
    up = max(-frac, 0)
    t = n.subtract_type.cast((x << up) - (n.offset << (frac + up)), frac + up)
    most = n.scale_type.frac
    u = n.shift_type.cast(t << (most - n.shift), n.subtract_type.frac + most)
    return n.result_type.cast(u, n.shift_type.frac)


def _forest(walk: Walker) -> Transform:
    """Raws (n, n_features) to the one value (n, 1) of a forest."""
    return lambda x: walk(x)[:, None]


def _add(total: Integers, type: Fixed, term: Integers, frac: int) -> Integers:
    """The sum of `total` and a term, as `type`, of which total is."""
    common = max(type.frac, frac)
    return type.cast((total << (common - type.frac)) + (term << (common - frac)), common)


def _network(model: Model, layers: Sequence[Dense]) -> list[Transform]:
    given = (model.normalisation.result_type, *(layer.result_type for layer in layers))
    return [_dense(layer, of) for layer, of in zip(layers, given, strict=False)]


def _dense(layer: Dense, given: Fixed) -> Transform:
    """One layer as a function of raws (n, n_in): one matrix product where that is exact."""
    accum, frac = layer.accum_type, given.frac + layer.weight_type.frac
    up = accum.frac - frac
    bias = accum.cast(layer.bias, layer.bias_type.frac)
    weight = layer.weight.astype(np.float64)

    def product(x: Integers) -> Integers:
        return accum.cast(((x.astype(np.float64) @ weight).astype(np.int64) << up) + bias, accum.frac)

    def one_by_one(x: Integers) -> Integers:
        total = np.broadcast_to(bias, (len(x), bias.size))
        for column, row in zip(x.T, layer.weight, strict=True):
            total = accum.cast(total + accum.cast(column[:, None] * row, frac), accum.frac)
        return total

    accumulate = product if layer.lossless(given) and layer.reach(given) < EXACT_DOUBLE else one_by_one

    def forward(x: Integers) -> Integers:
        total = layer.linear_type.cast(accumulate(x), accum.frac)
        return layer.result_type.cast(np.maximum(total, 0) if layer.relu else total, layer.linear_type.frac)

    return forward
