"""Specifications: a model as a file of a few lines, beside the arrays or the hls4ml project that hold its weights.

See IMPORT.md in the folder of the package.
"""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from firmware.errors import ModelError, SpecificationError
from firmware.imports import defaults
from firmware.imports.hls_project import HlsProject
from firmware.imports.schema import (
    ConditionPart,
    CutsPart,
    LayerPart,
    Numbers,
    RegistersPart,
    RingsPart,
    SpecificationFile,
)
from firmware.model.fixed import Fixed, Integers
from firmware.model.model import Model
from firmware.model.parts import ENERGIES, Condition, Dense, Feature, Normalisation, Registers, Rings, Score


@dataclass(frozen=True, eq=False)
class Specification:
    """What is to be imported.

    Args:
        folder: that the paths in the file start from.
    """

    file: SpecificationFile
    folder: Path

    @classmethod
    def load(cls, path: Path, given: Mapping[str, Any]) -> Self:
        """A specification file, or a folder with an hls4ml project, whose features then have no names.

        Args:
            given: what is put in place of the entries of the file, tables merged.

        Raises:
            SpecificationError: if the file cannot be read or has faults, of which all are named.
        """
        try:
            if path.is_dir():
                written: dict[str, Any] = {"hls4ml": ".", "name": HlsProject.open(path).name}
            else:
                written = tomllib.loads(path.read_text())
            folder = path if path.is_dir() else path.parent
            return cls(SpecificationFile.model_validate(_merged(written, given)), folder)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SpecificationError(f"{path}: no specification can be read: {error}") from error
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc'])) or 'all'}: {fault['msg']}" for fault in error.errors()]
            raise SpecificationError(f"{path}: " + "; ".join(faults)) from None

    @property
    def cuts(self) -> CutsPart:
        """The cuts' codes, or the rates that they are to have."""
        return self.file.cuts

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is specified and of the weights or the project."""
        source = self._project.digest if self._project else hashlib.sha256(self._weights_path.read_bytes()).hexdigest()
        said = self.file.model_dump_json(exclude={"weights", "hls4ml"})
        return hashlib.sha256(f"{said} {source}".encode()).hexdigest()

    @cached_property
    def model(self) -> Model:
        """What is specified.

        Raises:
            SpecificationError: if an array is missing or has another shape.
            ModelError: if the parts do not fit together.
        """
        file = self.file
        features = self._features
        holding = _holding([feature.type for feature in features])
        given = self._registers("input", defaults.input_registers(holding))
        if self._project:
            normalisation, layers = self._project.normalisation(given.result_type), self._project.layers
        else:
            normalisation = self._normalisation(given.result_type, holding, len(features))
            layers = self._layers(normalisation.result_type, len(features) + len(file.conditions))
        layers = self._lifted(layers)
        latent = layers[-1].result_type
        registers = self._registers("latent", defaults.latent_registers(latent))
        score = self._score(registers.result_type, layers[-1].bias.size)
        return Model(
            name=file.name,
            features=features,
            rings=self._rings(features),
            input=given,
            normalisation=normalisation,
            layers=layers,
            latent=registers,
            score=score,
            output=self._registers("output", defaults.output_registers(score.sum_type)),
            lut_bits=min(defaults.LUT_BITS, score.sum_type.width) if file.lut_bits is None else file.lut_bits,
            n_cuts=len(file.cuts.codes or file.cuts.target_rates),
            conditions=tuple(map(_condition, file.conditions)),
        )

    def _lifted(self, layers: tuple[Dense, ...]) -> tuple[Dense, ...]:
        """With a layer that makes zero of the lowest value, where a signed value is the score."""
        last, score = layers[-1], self.file.score
        if score.kind != "linear" or not score.lift or not last.result_type.signed or last.relu:
            return layers
        if last.reconfigurable:
            raise SpecificationError(
                f"layers.{len(layers) - 1}: reconfigurable, but what lifts a linear score is a layer behind it: "
                "give score.lift = false, or an unsigned result_type"
            )
        return (*layers, defaults.lifted(last.bias.size, last.result_type))

    @cached_property
    def _project(self) -> HlsProject | None:
        return None if self.file.hls4ml is None else HlsProject.open(self.folder / self.file.hls4ml)

    @property
    def _weights_path(self) -> Path:
        assert self.file.weights is not None
        return self.folder / self.file.weights

    @cached_property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        try:
            with np.load(self._weights_path, allow_pickle=False) as archive:
                return dict(archive)
        except (OSError, ValueError) as error:
            raise SpecificationError(f"{self._weights_path}: no npz file of arrays: {error}") from error

    @cached_property
    def _features(self) -> tuple[Feature, ...]:
        named = tuple(
            Feature(
                f"{part.name}{i if part.count > 1 else ''}_{kind}",
                part.name,
                kind,
                type,
                part.ring[i] if part.ring and kind in ENERGIES else None,
            )
            for part in self.file.objects
            for i in range(part.count)
            for kind, type in part.features.items()
        )
        project = self._project
        if project is None:
            return named
        given, n = project.feature_type, project.n_inputs
        if not named:
            return tuple(Feature(f"x{i}", "x", "input", given) for i in range(n))
        if len(named) != n:
            raise SpecificationError(f"objects: {len(named)} features, but the project has {n} inputs")
        for feature in named:
            if not given.holds(feature.type):
                raise SpecificationError(
                    f"objects: {feature.name} is {feature.type}, but an input of the project is {given}"
                )
        return named

    def _rings(self, features: Sequence[Feature]) -> tuple[Rings, ...]:
        wanted = {part.name: part.rings for part in self.file.objects if part.rings is not True}
        found = []
        for name in dict.fromkeys(feature.object for feature in features):
            match wanted.get(name, True):
                case RingsPart() as part:
                    found.append(Rings(name, part.shift, part.size))
                case True:
                    rings = defaults.rings(features, name)
                    found += [rings] if rings else []
        return tuple(found)

    def _registers(self, name: Literal["input", "latent", "output"], given: Registers) -> Registers:
        part = self.file.registers.get(name, RegistersPart())
        return replace(given, **{key: type for key, type in part if type is not None})

    def _normalisation(self, given: Fixed, holding: Fixed, n: int) -> Normalisation:
        part = self.file.normalisation
        if part is None:
            result = Fixed(holding.width, holding.integer, holding.signed, "RND_CONV", "SAT")
            plain = Fixed(given.width, given.integer, given.signed)
            return Normalisation(np.zeros(n, np.int64), np.zeros(n, np.int64), plain, plain, result)
        shift = self._numbers(part.shift, (n,), "normalisation.shift")
        if (shift != np.floor(shift)).any():
            raise SpecificationError("normalisation.shift: expected whole numbers, powers of two to divide by")
        offset = np.floor(self._numbers(part.offset, (n,), "normalisation.offset")).astype(np.int64)
        draft = Normalisation(shift.astype(np.int64), offset, part.result_type, part.result_type, part.result_type)
        subtract = part.subtract_type or given + draft.offset_type
        return replace(draft, subtract_type=subtract, shift_type=part.shift_type or subtract * draft.scale_type)

    def _layers(self, given: Fixed, n_in: int) -> tuple[Dense, ...]:
        layers: list[Dense] = []
        for i, part in enumerate(self.file.layers):
            layer = self._dense(i, part, given, n_in) if part.scale is None else self._scaling(i, part, given, n_in)
            layers.append(replace(layer, relu=part.activation == "relu", sum_type=part.sum_type))
            given, n_in = part.result_type, layer.bias.size
        return tuple(layers)

    def _dense(self, i: int, part: LayerPart, given: Fixed, n_in: int) -> Dense:
        """A layer of weights (n_in, n_out)."""
        weight = self._raw(part.weight or f"weight{i}", part.weight_type, f"layers.{i}.weight")
        if weight.ndim != 2 or weight.shape[0] != n_in:
            raise SpecificationError(f"layers.{i}.weight has shape {weight.shape}, expected ({n_in}, n_out)")
        bias, bias_type = self._bias(i, part, weight.shape[-1])
        accum = part.accum_type or defaults.accumulator(given, part.weight_type, bias_type, n_in)
        layer = Dense(weight, bias, part.weight_type, bias_type, accum, part.result_type, False)
        return replace(layer, reconfigurable=part.reconfigurable)

    def _scaling(self, i: int, part: LayerPart, given: Fixed, n_in: int) -> Dense:
        """A layer of one factor for each input (n_in,)."""
        assert part.scale is not None
        scale = self._raw(part.scale, part.weight_type, f"layers.{i}.scale")
        bias, bias_type = self._bias(i, part, scale.shape[-1])
        if scale.shape != (n_in,):
            raise SpecificationError(f"layers.{i}.scale has shape {scale.shape}, expected ({n_in},)")
        return Dense.elementwise(scale, bias, part.weight_type, bias_type, given, part.result_type)

    def _bias(self, i: int, part: LayerPart, n_out: int) -> tuple[Integers, Fixed]:
        """The biases (n_out,) of a layer, zeros where none are given, and their type."""
        kind = part.bias_type or part.weight_type
        name = part.bias or (f"bias{i}" if f"bias{i}" in self._arrays else None)
        bias = self._raw(name, kind, f"layers.{i}.bias") if name else np.zeros(n_out, np.int64)
        if bias.shape != (n_out,):
            raise SpecificationError(f"layers.{i}.bias has shape {bias.shape}, expected ({n_out},)")
        return bias, kind

    def _score(self, latent: Fixed, n: int) -> Score:
        part = self.file.score
        code = part.type or defaults.code(part.kind, latent, n)
        center = None
        if part.center is not None:
            center = tuple(latent.quantize(self._numbers(part.center, (n,), "score.center")).tolist())
        return Score(part.kind, center, part.term_type or code, code)

    def _numbers(self, given: Numbers, shape: tuple[int, ...], where: str) -> NDArray[np.float64]:
        values = np.asarray(self._array(given, where) if isinstance(given, str) else given, dtype=np.float64)
        if values.shape not in ((), shape):
            raise SpecificationError(f"{where} has shape {values.shape}, expected {shape}")
        return np.broadcast_to(values, shape)

    def _raw(self, name: str, type: Fixed, where: str) -> Integers:
        """The raws of an array of integers, or of floats that the type is to hold."""
        array = self._array(name, where)
        return array.astype(np.int64) if array.dtype.kind in "iu" else type.quantize(array)

    def _array(self, name: str, where: str) -> NDArray[Any]:
        try:
            array = self._arrays[name]
        except KeyError:
            there = ", ".join(sorted(self._arrays))
            raise SpecificationError(f"{where}: no array {name!r} in {self._weights_path}: there are {there}") from None
        if array.dtype.kind not in "iuf":
            raise SpecificationError(f"{where}: {name} holds {array.dtype}, expected numbers")
        return array


def _condition(part: ConditionPart) -> Condition:
    kind = part.type
    nominal, low, high = (round(value / kind.lsb) for value in (part.nominal, part.low, part.high))
    return Condition(part.name, kind, nominal, low, high, part.centre, part.unit)


def _holding(types: Sequence[Fixed]) -> Fixed:
    """The smallest integer type that holds every feature."""
    for type in types:
        if type.frac:
            raise ModelError(f"objects: {type} is no integer type; put the point by normalisation.shift")
    signed = any(type.signed for type in types)
    width = max(type.width + (signed and not type.signed) for type in types)
    return Fixed(width, width, signed)


def _merged(written: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` over `written`, tables merged."""
    tables = {
        key: {**written[key], **value}
        for key, value in given.items()
        if isinstance(value, Mapping) and isinstance(written.get(key), Mapping)
    }
    return {**written, **given, **tables}
