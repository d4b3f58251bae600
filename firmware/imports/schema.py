"""The tables of a specification file, and what may stand in each of them; see IMPORT.md in the package's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from firmware.model.fixed import Fixed


def _parsed(spelling: Any) -> Fixed:
    return Fixed.parse(str(spelling))


Type = Annotated[Fixed, BeforeValidator(_parsed)]
Numbers = str | float | tuple[float, ...]
"""An array by its name, one number for all, or the numbers."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RingsPart(_Part):
    """Rings of an object by the signed integer η: (η >> shift) + size/2, clipped."""

    shift: int
    size: int


class ObjectPart(_Part):
    """`count` objects of one name, each with the same features in their order."""

    name: str
    count: int = Field(1, ge=1)
    features: dict[str, Type] = Field(min_length=1)
    rings: RingsPart | bool = True
    ring: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _ring_each(self) -> Self:
        if self.ring and len(self.ring) != self.count:
            raise ValueError(f"{len(self.ring)} rings for {self.count} objects")
        return self


class NormalisationPart(_Part):
    """What is subtracted from the features, and the power of two that divides them."""

    shift: Numbers = 0
    offset: Numbers = 0
    subtract_type: Type | None = None
    shift_type: Type | None = None
    result_type: Type


class LayerPart(_Part):
    """A dense layer of weights, or one factor for each input (`scale`)."""

    weight: str | None = None
    scale: str | None = None
    bias: str | None = None
    weight_type: Type
    bias_type: Type | None = None
    accum_type: Type | None = None
    sum_type: Type | None = None
    result_type: Type
    activation: Literal["linear", "relu"] = "linear"
    reconfigurable: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if self.scale is not None and (self.weight is not None or self.accum_type is not None or self.reconfigurable):
            raise ValueError("a layer with a scale has no weight and no accum_type, and is not reconfigurable")
        return self


class ConditionPart(_Part):
    """What a register tells the first layer, in values."""

    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    type: Type
    nominal: float
    low: float
    high: float
    centre: float = 0.0
    unit: float = 1.0


class ScorePart(_Part):
    """How the last layer's values become one code."""

    kind: Literal["sum_of_squares", "squared_distance", "linear"] = "sum_of_squares"
    center: Numbers | None = None
    type: Type | None = None
    term_type: Type | None = None
    lift: bool = True


class CutsPart(_Part):
    """Cuts as codes, or as the rates that they are to have."""

    codes: tuple[int, ...] = ()
    target_rates: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.codes) == bool(self.target_rates):
            raise ValueError("give codes or target_rates")
        return self


class RegistersPart(_Part):
    """Types of a pair of scale and offset registers, in place of their defaults."""

    scale_type: Type | None = None
    offset_type: Type | None = None
    result_type: Type | None = None


class SpecificationFile(_Part):
    """The whole file."""

    name: str = Field(pattern=r"^[A-Za-z_]\w*$")
    weights: Path | None = None
    hls4ml: Path | None = None
    objects: tuple[ObjectPart, ...] = ()
    normalisation: NormalisationPart | None = None
    layers: tuple[LayerPart, ...] = ()
    conditions: tuple[ConditionPart, ...] = ()
    score: ScorePart = ScorePart()
    cuts: CutsPart
    registers: dict[Literal["input", "latent", "output"], RegistersPart] = {}
    lut_bits: int | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.hls4ml is not None and (self.layers or self.normalisation or self.weights or self.conditions):
            raise ValueError("hls4ml: the project holds layers, normalisation and weights, and has no conditions")
        if self.hls4ml is None and not (self.layers and self.objects and self.weights):
            raise ValueError("give objects, layers and weights, or an hls4ml project")
        return self
