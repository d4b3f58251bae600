"""A frozen network, or a forest that is written like a register, and the registers around it, in firmware integers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firmware.errors import ModelError
from firmware.model import checks, description
from firmware.model.fixed import WORD_BITS, Fixed, Integers
from firmware.model.forest import Forest
from firmware.model.inputs import Inputs
from firmware.model.layout import Layout
from firmware.model.parts import Condition, Dense, Normalisation, Registers, Score
from firmware.model.payload import Payload

WORD = Fixed(WORD_BITS, WORD_BITS, signed=False)


@dataclass(frozen=True, eq=False)
class Model(Inputs):
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
        super().__post_init__()
        for feature in self.features:
            checks.check_registers("input", self.input, feature.type)
        if self.rings:
            checks.check_ring_scales(self.input)
        checks.check_normalisation(self.normalisation, self.input.result_type, self.n_features)
        checks.check_conditions(self.conditions, self.layers[0] if self.layers else None)
        self._check_core()
        checks.check_registers("latent", self.latent, self.core_type)
        checks.check_score(self.score, self.latent.result_type, self.n_latent)
        checks.check_output(self.output, self.score, self.lut_bits, self.n_cuts)

    def _check_core(self) -> None:
        given = self.normalisation.result_type
        if bool(self.layers) == (self.forest is not None):
            raise ModelError("a model needs at least one dense layer, or a forest")
        if self.forest is not None:
            checks.check_forest(self.forest.shape, given, self.n_features)
            if self.conditions:
                raise ModelError("conditions: a forest is told nothing but its features")
        n_in = self.n_features + len(self.conditions)
        checks.check_layers(self.layers, given, n_in, bool(self.conditions))

    @property
    def n_latent(self) -> int:
        """Numbers that come to the latent registers."""
        return 1 if self.forest is not None else int(self.layers[-1].weight.shape[1])

    @property
    def core_type(self) -> Fixed:
        """Of what comes to the latent registers."""
        return self.layers[-1].result_type if self.forest is None else self.forest.shape.score_type

    @property
    def code_type(self) -> Fixed:
        """Of the score code."""
        return self.output.result_type

    @property
    def lsb(self) -> float:
        """The score of one code."""
        return self.code_type.lsb

    @cached_property
    def layout(self) -> Layout:
        """The registers of a bank: which there are, of which types, and where."""
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
            layers[0] = layers[0].conditioned(self.conditions, payload.raw("conditioning"))
        if self.has_weights:
            weight = payload.raw("weights").reshape(layers[-1].weight.shape)
            layers[-1] = replace(layers[-1], weight=weight, bias=payload.raw("biases"))
        return tuple(layers)

    @cached_property
    def wired(self) -> tuple[Dense, ...]:
        """The layers on the features alone, with the trained weights and the nominal conditions."""
        if not self.conditions:
            return self.layers
        return (self.layers[0].conditioned(self.conditions, self.trained["conditioning"]), *self.layers[1:])

    @property
    def condition_weight(self) -> Integers:
        """Raw weights (n_conditions, n_out) in the first layer."""
        return self.layers[0].weight[self.n_features :]

    @cached_property
    def id(self) -> str:
        """SHA-256 of architecture, types, weights and the definition of the datapath."""
        described, arrays = self.to_arrays()
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
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
        if self.forest is not None:
            arrays["forest.words"] = self.forest.words
        return description.described(self) | {"definition": description.DEFINITION}, arrays

    @classmethod
    def from_arrays(cls, described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The model that `to_arrays` described.

        Raises:
            ModelError: if a part is missing or does not fit, or the model is of another definition of the datapath.
        """
        return cls(**description.parts(described, arrays))
