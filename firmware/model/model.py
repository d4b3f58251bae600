"""A frozen network, or a forest that is written like a register, and the registers around it, in firmware integers."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware.errors import FixedPointError, ForestError, ModelError
from firmware.model import axol1tl, cicada, fpu
from firmware.model.fixed import WORD_BITS, Fixed, Integers
from firmware.model.forest import Forest, Shape
from firmware.model.layout import Layout
from firmware.model.parts import ENERGIES, Condition, Dense, Feature, Normalisation, Registers, Rings, Score
from firmware.model.payload import Payload

__all__ = ["Condition", "Dense", "Feature", "Model", "Normalisation", "Registers", "Rings", "Score"]

WORD = Fixed(WORD_BITS, WORD_BITS, signed=False)
DEFINITION = 2
"""Of the datapath: what the words of a model and its registers mean. Part of the model's id."""
OPTIONAL = ("reconfigurable", "conditions", "forest")
"""What a description leaves out where it is not there: a model without it keeps its id."""
SCORES = ("sum_of_squares", "squared_distance", "linear")


class RingedFeature(NamedTuple):
    """An energy whose scale is register `first` + ring of `ring_scale`, where `eta` tells the ring.

    `energy` and `eta` are columns of the events.
    """

    energy: int
    eta: int
    shift: int
    size: int
    first: int


@dataclass(frozen=True, eq=False)
class Model:
    """The datapath of a reconfigurable trigger model.

    input registers → normalisation → dense layers → latent registers → score → output registers
    → LUT (codes below 2^lut_bits) → cuts (accept when code >= cut).
    Nothing is added to an energy of code 0, which says that there is no object: it is 0 whatever its input offset.
    In place of dense layers there may be a forest, whose one value is the sum of its trees' scores; it is the nominal
    one, and as many registers hold it as it has nodes.
    An energy's input scale is multiplied by the `ring_scale` of the η ring that its object is in, where the
    object has rings; the product is held as a scale register would hold it, rounded and saturating.
    Registers hold the weights of a last layer that is reconfigurable. What the first layer gets besides the features
    are the `conditions`, from registers: their weights are its last rows, and what comes of them adds to its bias.
    With scales of 1, offsets of 0, the trained weights, nominal conditions and LUT entry i = i the registers change
    nothing.

    Raises:
        ModelError: if shapes or types do not fit together; the text names the part.
    """

    name: str
    features: tuple[Feature, ...]
    rings: tuple[Rings, ...]
    input: Registers
    normalisation: Normalisation
    layers: tuple[Dense, ...]
    latent: Registers
    score: Score
    output: Registers
    lut_bits: int
    n_cuts: int
    conditions: tuple[Condition, ...] = ()
    forest: Forest | None = None

    def __post_init__(self) -> None:
        _check_input(self)
        _check_rings(self)
        _check_conditions(self)
        _check_core(self)
        _check_score(self)

    @property
    def n_features(self) -> int:
        return len(self.features)

    @property
    def n_latent(self) -> int:
        return 1 if self.forest is not None else int(self.layers[-1].weight.shape[1])

    @property
    def core_type(self) -> Fixed:
        """Of what comes to the latent registers."""
        return self.layers[-1].result_type if self.forest is None else self.forest.shape.score_type

    @property
    def n_rings(self) -> int:
        """Registers in `ring_scale`, which holds the rings of one object after those of another."""
        return sum(rings.size for rings in self.rings)

    @property
    def code_type(self) -> Fixed:
        return self.output.result_type

    @property
    def lsb(self) -> float:
        """The score of one code."""
        return self.code_type.lsb

    @property
    def input_type(self) -> Fixed:
        """The smallest integer type that holds every feature."""
        types = [feature.type for feature in self.features]
        signed = any(t.signed for t in types)
        width = max(t.width + (signed and not t.signed) for t in types)
        return Fixed(width, width, signed)

    @cached_property
    def layout(self) -> Layout:
        code = Fixed(self.code_type.width, self.code_type.width, signed=False)
        return Layout.build(
            [
                ("input_scale", self.n_features, self.input.scale_type),
                ("input_offset", self.n_features, self.input.offset_type),
                *([("ring_scale", self.n_rings, self.input.scale_type)] if self.rings else []),
                *([("conditioning", len(self.conditions), self.conditions[0].type)] if self.conditions else []),
                *(
                    field
                    for last in self.layers[-1:]
                    if last.reconfigurable
                    for field in (
                        ("weights", last.weight.size, last.weight_type),
                        ("biases", last.bias.size, last.bias_type),
                    )
                ),
                ("latent_scale", self.n_latent, self.latent.scale_type),
                ("latent_offset", self.n_latent, self.latent.offset_type),
                ("output_scale", 1, self.output.scale_type),
                ("output_offset", 1, self.output.offset_type),
                ("cuts", self.n_cuts, code),
                ("lut", 1 << self.lut_bits, code),
                *([] if self.forest is None else [("forest", self.forest.shape.size, WORD)]),
            ],
            None if self.forest is None else self.forest.shape,
        )

    @property
    def has_weights(self) -> bool:
        """Whether registers hold the weights of the last layer."""
        return any(layer.reconfigurable for layer in self.layers)

    @property
    def trained(self) -> dict[str, NDArray[Any]]:
        """What the registers of network or forest hold as it was trained, as raws by field."""
        found: dict[str, NDArray[Any]] = {}
        if self.conditions:
            found["conditioning"] = np.array([condition.nominal for condition in self.conditions])
        if self.has_weights:
            found |= {"weights": self.layers[-1].weight.ravel(), "biases": self.layers[-1].bias}
        if self.forest is not None:
            found["forest"] = self.forest.words
        return found

    def layers_under(self, payload: Payload) -> tuple[Dense, ...]:
        """The layers as a payload makes them, on the features alone.

        With its weights (n_in · n_out, one row after the other) and biases, and its conditions in the first bias.
        """
        layers = [*self.layers]
        if self.conditions:
            layers[0] = self._conditioned(payload.raw("conditioning"))
        if self.has_weights:
            weight = payload.raw("weights").reshape(layers[-1].weight.shape)
            layers[-1] = replace(layers[-1], weight=weight, bias=payload.raw("biases"))
        return tuple(layers)

    @cached_property
    def wired(self) -> tuple[Dense, ...]:
        """The layers on the features alone, with the trained weights and the nominal conditions."""
        if not self.conditions:
            return self.layers
        return (self._conditioned(self.trained["conditioning"]), *self.layers[1:])

    @property
    def condition_weight(self) -> Integers:
        """Raw weights (n_conditions, n_out) in the first layer."""
        return self.layers[0].weight[self.n_features :]

    def _conditioned(self, conditions: Integers) -> Dense:
        """The first layer with raw conditions (n_conditions,) in its bias, which is exact."""
        first, exact = self.layers[0], self._conditioned_bias_type
        up = exact.frac - self.conditions[0].type.frac - first.weight_type.frac
        added = conditions @ self.condition_weight << up
        bias = (first.bias << (exact.frac - first.bias_type.frac)) + added
        return replace(first, weight=first.weight[: self.n_features], bias=bias, bias_type=exact)

    @property
    def _conditioned_bias_type(self) -> Fixed:
        """Of every sum of the first bias and the weighted conditions."""
        first = self.layers[0]
        exact = first.bias_type
        for condition in self.conditions:
            exact = exact + condition.type * first.weight_type
        return exact

    @cached_property
    def limits(self) -> tuple[Integers, Integers]:
        """The lowest and the highest number that each feature can take."""
        types = [feature.type for feature in self.features]
        return np.array([t.min_raw for t in types]), np.array([t.max_raw for t in types])

    def in_range(self, events: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the events (n, n_features) the firmware's inputs can carry, as (n,)."""
        low, high = self.limits
        return np.asarray(((events >= low) & (events <= high)).all(axis=1))

    def check_events(self, events: NDArray[Any]) -> None:
        """
        Raises:
            ModelError: unless events are integers of shape (n, n_features), within each feature's range.
        """
        if events.ndim != 2 or events.shape[1] != self.n_features or events.dtype.kind not in "iu":
            raise ModelError(
                f"events of shape {events.shape}, {events.dtype}: expected integers (n, {self.n_features})"
            )
        bad = np.flatnonzero(~self.in_range(events))
        if bad.size:
            event = events[bad[0]]
            column = int(np.flatnonzero((event < self.limits[0]) | (event > self.limits[1]))[0])
            feature = self.features[column]
            raise ModelError(f"event {bad[0]}: {feature.name} = {event[column]} is outside {feature.type}")

    def energies(self, name: str) -> list[int]:
        """The columns of an object's energies."""
        return _energies_and_etas(self, name)[0]

    def fixed_rings(self, name: str) -> Integers | None:
        """The η ring (k,) of each energy of an object, where it is the same in every event."""
        rings = [self.features[column].ring for column in self.energies(name)]
        return None if None in rings else np.array(rings, dtype=np.int64)

    def ring_registers(self, name: str) -> range:
        """Those of `ring_scale` that are an object's; none where no η tells its ring."""
        first = 0
        for rings in self.rings:
            if rings.object == name:
                return range(first, first + rings.size)
            first += rings.size
        return range(0)

    @cached_property
    def ringed(self) -> tuple[RingedFeature, ...]:
        """The features whose scale depends on the ring."""
        return tuple(
            RingedFeature(energy, eta, rings.shift, rings.size, self.ring_registers(rings.object).start)
            for rings in self.rings
            for energy, eta in zip(*_energies_and_etas(self, rings.object), strict=True)
        )

    def ring_index(self, events: NDArray[Any]) -> NDArray[np.int16]:
        """The register in `ring_scale` of each ringed feature, (n, ringed features).

        Args:
            events: hardware integers (n, n_features).
        """
        _, eta, shift, size, first = self._ring_columns
        eta_codes = events[:, eta].astype(np.int32)
        ring = np.clip((eta_codes >> shift.astype(np.int32)) + (size // 2).astype(np.int32), 0, size - 1)
        return np.asarray(ring + first, dtype=np.int16)

    @cached_property
    def _ring_columns(self) -> Integers:
        """The ringed features by column: energy, eta, shift, size and first, (5, ringed features)."""
        return np.array(self.ringed, dtype=np.int64).reshape(-1, len(RingedFeature._fields)).T

    @cached_property
    def is_energy(self) -> NDArray[np.bool_]:
        """Which features are energies, (n_features,)."""
        return np.array([feature.kind in ENERGIES for feature in self.features])

    def present(self, events: NDArray[Any]) -> NDArray[np.bool_]:
        """Where the input offset is added, (n, n_features): everywhere but to an energy of code 0.

        Args:
            events: hardware integers (n, n_features).
        """
        return np.asarray((events != 0) | ~self.is_energy)

    @cached_property
    def id(self) -> str:
        """SHA-256 of architecture, types, weights and the definition of the datapath."""
        description, arrays = self.to_arrays()
        digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(f"{name}{arrays[name].shape}".encode())
            digest.update(arrays[name].astype("<i8").tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """A JSON-able description, and the arrays that it leaves out."""
        arrays: dict[str, NDArray[Any]] = {
            "normalisation.shift": self.normalisation.shift,
            "normalisation.offset": self.normalisation.offset,
        }
        for i, layer in enumerate(self.layers):
            arrays |= {f"layers.{i}.weight": layer.weight, f"layers.{i}.bias": layer.bias}
        description = _describe(self)
        assert isinstance(description, dict)
        description["definition"] = DEFINITION
        if self.forest is not None:
            arrays["forest.words"] = self.forest.words
        return description, arrays

    @classmethod
    def from_arrays(cls, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `to_arrays` described.

        Raises:
            ModelError: if a part is missing or does not fit, or the model is of another definition of the datapath.
        """
        try:
            if (definition := description.get("definition", 1)) != DEFINITION:
                raise ModelError(
                    f"the model is of definition {definition} of the datapath, expected {DEFINITION}: make its package "
                    "anew with driftd model train or import, and its firmware"
                )
            return cls(
                name=description["name"],
                features=tuple(Feature(**_types(feature)) for feature in description["features"]),
                rings=tuple(Rings(**rings) for rings in description["rings"]),
                input=Registers(**_types(description["input"])),
                normalisation=Normalisation(
                    arrays["normalisation.shift"],
                    arrays["normalisation.offset"],
                    **_types(description["normalisation"]),
                ),
                layers=tuple(
                    Dense(arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"], **_types(layer))
                    for i, layer in enumerate(description["layers"])
                ),
                latent=Registers(**_types(description["latent"])),
                score=Score(**_types(description["score"])),
                output=Registers(**_types(description["output"])),
                lut_bits=description["lut_bits"],
                n_cuts=description["n_cuts"],
                conditions=tuple(Condition(**_types(each)) for each in description.get("conditions", ())),
                forest=(
                    Forest(Shape(**_types(description["forest"]["shape"])), arrays["forest.words"])
                    if "forest" in description
                    else None
                ),
            )
        except (KeyError, TypeError, AttributeError, FixedPointError, ForestError) as error:
            raise ModelError(f"no description of a model: {error!r}") from error

    @classmethod
    def axol1tl(
        cls,
        name: str,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        shift: ArrayLike,
        offset: ArrayLike,
        lut_bits: int = 12,
        n_cuts: int = 5,
        reconfigurable: bool = False,
        conditions: tuple[Condition, ...] = (),
    ) -> Self:
        """A model with the types of CMS's AXOL1TL v4, from float weights of its three layers.

        Weights (n_in, n_out) and biases are rounded to the grid; `shift` and `offset` (57,) are the input
        normalisation, whose offset the firmware floors. Inputs are MET, 4 e/γ, 4 µ and 10 jets, each with
        pt, η and φ as global-trigger integers; the scales of e/γ, µ and jets have 32 η rings each. The last layer
        may be `reconfigurable`; with `conditions` the first weights have as many rows more.
        """
        return cls(
            name,
            axol1tl.FEATURES,
            axol1tl.RINGS,
            axol1tl.INPUT,
            axol1tl.normalisation(shift, offset),
            axol1tl.layers(weights, biases, reconfigurable),
            axol1tl.LATENT,
            axol1tl.SCORE,
            axol1tl.OUTPUT,
            lut_bits,
            n_cuts,
            conditions,
        )

    @classmethod
    def cicada(
        cls,
        name: str,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        lut_bits: int = 12,
        n_cuts: int = 2,
    ) -> Self:
        """A model with the inputs and about the types of CMS's CICADA, from float weights of its two layers.

        Weights (252, k), (k, 1) and biases are rounded to the grid. Inputs are the transverse energies of 18 φ × 14 η
        calorimeter regions, each in a fixed η ring.
        """
        return cls(
            name,
            cicada.FEATURES,
            (),
            cicada.INPUT,
            cicada.normalisation(),
            cicada.layers(weights, biases),
            cicada.LATENT,
            cicada.SCORE,
            cicada.OUTPUT,
            lut_bits,
            n_cuts,
        )

    @classmethod
    def fpu(cls, name: str, forest: Forest, lut_bits: int = 12, n_cuts: int = 2) -> Self:
        """A forest on the inputs of AXOL1TL, of the types of `firmware.model.fpu`."""
        return cls(
            name,
            axol1tl.FEATURES,
            axol1tl.RINGS,
            axol1tl.INPUT,
            fpu.normalisation(),
            (),
            fpu.LATENT,
            fpu.SCORE,
            fpu.OUTPUT,
            lut_bits,
            n_cuts,
            forest=forest,
        )


@contextmanager
def _named(part: str) -> Iterator[None]:
    """Say which part of the model a type fault belongs to."""
    try:
        yield
    except FixedPointError as error:
        raise ModelError(f"{part}: {error}") from error


def _expect(shape: tuple[int, ...], expected: tuple[int, ...], part: str) -> None:
    if shape != expected:
        raise ModelError(f"{part} has shape {shape}, expected {expected}")


def _check_input(model: Model) -> None:
    names = [feature.name for feature in model.features]
    if not names or len(set(names)) != len(names):
        raise ModelError("features must be one or more, each with a name of its own")
    for feature in model.features:
        if feature.type.frac:
            raise ModelError(f"feature {feature.name}: {feature.type} is no integer type")
        _check_registers("input", model.input, feature.type)
    _check_fixed_rings(model)
    n = model.normalisation
    _expect(n.shift.shape, (model.n_features,), "normalisation.shift")
    _expect(n.offset.shape, (model.n_features,), "normalisation.offset")
    with _named("normalisation"):
        _ = model.input.result_type + n.offset_type, n.subtract_type * n.scale_type


def _check_fixed_rings(model: Model) -> None:
    by_eta = {rings.object for rings in model.rings}
    for name in {feature.object for feature in model.features if feature.ring is not None}:
        rings = model.fixed_rings(name)
        if rings is None or rings.min(initial=0) < 0 or name in by_eta:
            raise ModelError(
                f"features of {name}: expected a ring of 0 or more for each energy, and no rings by its eta"
            )


def _check_rings(model: Model) -> None:
    objects = [rings.object for rings in model.rings]
    for rings in model.rings:
        part = f"rings of {rings.object}"
        if objects.count(rings.object) > 1:
            raise ModelError(f"{part}: given more than once")
        energies, etas = _energies_and_etas(model, rings.object)
        if not energies or len(energies) != len(etas):
            raise ModelError(
                f"{part}: it has {len(energies)} features of kind {' or '.join(ENERGIES)} and {len(etas)} of kind eta, "
                "expected one eta for each of one or more"
            )
        if rings.size < 1 or rings.size & (rings.size - 1):
            raise ModelError(f"{part}: size {rings.size} is no power of two")
        if not 0 <= rings.shift < WORD_BITS:
            raise ModelError(f"{part}: shift {rings.shift} is outside 0 to {WORD_BITS - 1}")
    if model.rings:
        with _named("rings"):
            _ = model.input.scale_type * model.input.scale_type


def _energies_and_etas(model: Model, name: str) -> tuple[list[int], list[int]]:
    """The columns of the energies and of the η of an object."""
    own = [(i, feature.kind) for i, feature in enumerate(model.features) if feature.object == name]
    return [i for i, kind in own if kind in ENERGIES], [i for i, kind in own if kind == "eta"]


def _check_core(model: Model) -> None:
    if bool(model.layers) == (model.forest is not None):
        raise ModelError("a model needs at least one dense layer, or a forest")
    if model.forest is not None:
        shape, given = model.forest.shape, model.normalisation.result_type
        if (shape.n_features, shape.threshold_type) != (model.n_features, given):
            raise ModelError(
                f"forest: it cuts on {shape.n_features} inputs of {shape.threshold_type}, "
                f"but gets {model.n_features} of {given}"
            )
        if model.conditions:
            raise ModelError("conditions: a forest is told nothing but its features")
        if given.overflow != "SAT":
            raise ModelError(f"forest: inputs of {given} wrap where they are out of range: expected AP_SAT")
    given, n_in = model.normalisation.result_type, model.n_features + len(model.conditions)
    for i, layer in enumerate(model.layers):
        n_out = layer.bias.size
        _expect(layer.weight.shape, (n_in, n_out), f"layers.{i}.weight")
        _expect(layer.bias.shape, (n_out,), f"layers.{i}.bias")
        with _named(f"layers.{i}"):
            layer.weight_type.pack(layer.weight)
            layer.bias_type.pack(layer.bias)
            _ = given * layer.weight_type + layer.accum_type, layer.linear_type + layer.result_type
            if layer.reconfigurable:
                _check_reconfigurable(model, i)
            if (layer.reconfigurable or (model.conditions and i == 0)) and not layer.wraps(given):
                raise ModelError(
                    f"layers.{i}: {layer.accum_type} accumulates what registers hold, expected one that wraps, of at "
                    f"least {given.frac + layer.weight_type.frac} fractional bits"
                )
        given, n_in = layer.result_type, n_out
    _check_registers("latent", model.latent, model.core_type)


def _check_reconfigurable(model: Model, i: int) -> None:
    if i + 1 < len(model.layers):
        raise ModelError(f"layers.{i}: only the last layer, {len(model.layers) - 1}, can be reconfigurable")
    if i == 0 and model.conditions:
        raise ModelError("layers.0: the layer that gets the conditions cannot be reconfigurable: give it one behind it")


def _check_conditions(model: Model) -> None:
    names = [condition.name for condition in model.conditions]
    if len(set(names)) != len(names):
        raise ModelError(f"conditions {', '.join(names)}: expected each once")
    for condition in model.conditions:
        part, kind = f"condition {condition.name}", condition.type
        if kind != model.conditions[0].type or kind.width > WORD_BITS:
            raise ModelError(f"{part}: {kind}, expected one type for all, of up to {WORD_BITS} bits")
        if not kind.min_raw <= condition.low <= condition.nominal <= condition.high <= kind.max_raw:
            raise ModelError(
                f"{part}: low {condition.low}, nominal {condition.nominal} and high {condition.high}: expected raws of "
                f"{kind} in this order"
            )
        if not (math.isfinite(condition.centre) and math.isfinite(condition.unit) and condition.unit > 0):
            raise ModelError(f"{part}: a unit of {condition.unit:g} about {condition.centre:g}, expected one above 0")
    if model.conditions and model.layers:
        with _named("conditions"):
            _ = model._conditioned_bias_type


def _check_score(model: Model) -> None:
    score, latent, code = model.score, model.latent.result_type, model.output.result_type
    if score.kind not in SCORES:
        raise ModelError(f"score {score.kind!r} is none of {', '.join(SCORES)}")
    if score.sum_type.signed or score.sum_type.width > WORD_BITS:
        raise ModelError(f"score: {score.sum_type} is no unsigned type of up to {WORD_BITS} bits")
    if (score.center is not None) != (score.kind == "squared_distance"):
        raise ModelError("score: a center belongs to squared_distance, and to it alone")
    with _named("score"):
        if score.center is not None:
            _expect((len(score.center),), (model.n_latent,), "score.center")
            latent.pack(score.center)
            latent = latent + latent
        _ = latent * latent, score.sum_type + score.term_type
    if (code.width, code.integer, code.signed) != (score.sum_type.width, score.sum_type.integer, False):
        raise ModelError(f"output: the result {code} differs in size from the score {score.sum_type}")
    _check_registers("output", model.output, score.sum_type)
    if not 0 <= model.lut_bits <= code.width:
        raise ModelError(f"lut_bits {model.lut_bits} is outside 0 to {code.width}")
    if model.n_cuts < 1:
        raise ModelError("a model needs at least one cut")


def _check_registers(part: str, registers: Registers, given: Fixed) -> None:
    """Registers must be able to change nothing, and their exact result must fit the integers."""
    with _named(part):
        registers.exact(given)
    if max(registers.scale_type.width, registers.offset_type.width) > WORD_BITS:
        raise ModelError(f"{part}: a register is wider than a word of {WORD_BITS} bits")
    if not registers.scale_type.holds(Fixed(1, 1, signed=False)):
        raise ModelError(f"{part}: a scale of {registers.scale_type} cannot be 1")
    if not registers.result_type.holds(given):
        raise ModelError(f"{part}: {registers.result_type} cannot hold every {given}")


def _describe(value: Any) -> Any:
    """Dataclasses as dictionaries, types in their spelling, arrays left out."""
    match value:
        case Fixed():
            return str(value)
        case tuple():
            return [_describe(item) for item in value]
        case None | str() | bool() | int() | float():
            return value
    return {
        name: _describe(item)
        for name, item in vars(value).items()
        if name in value.__match_args__ and not isinstance(item, np.ndarray) and (item or name not in OPTIONAL)
    }


def _types(description: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a dataclass, with types and tuples read back."""
    return {
        name: Fixed.parse(item) if name.endswith("type") and item else tuple(item) if isinstance(item, list) else item
        for name, item in description.items()
    }
