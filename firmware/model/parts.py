"""The parts of a model: features, registers, normalisation, layers and score."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from firmware.errors import ModelError
from firmware.model.fixed import Fixed, Integers

ENERGIES = ("pt", "energy")
"""Kinds of feature that an energy scale acts on; angles are left alone.

Code 0 of such a feature says that there is no object.
"""


@dataclass(frozen=True)
class Feature:
    """One input of the network; features of the same `object` are calibrated together.

    `ring` is the η ring of an energy that is measured at a fixed place.
    """

    name: str
    object: str
    kind: str
    type: Fixed
    ring: int | None = None


@dataclass(frozen=True)
class Rings:
    """Energy scales of one `object` by the η ring that it is in, `size` of them.

    The k-th energy of the object belongs to its k-th η; its ring is
    clip((η >> shift) + size/2, 0, size - 1), η being the signed hardware integer.
    """

    object: str
    shift: int
    size: int


@dataclass(frozen=True)
class Registers:
    """A reconfigurable step: y = result_type(x · scale + offset)."""

    scale_type: Fixed
    offset_type: Fixed
    result_type: Fixed

    def exact(self, given: Fixed) -> Fixed:
        """The type that holds every x · scale + offset without loss, for x of the type `given`."""
        return given * self.scale_type + self.offset_type

    @property
    def effective_type(self) -> Fixed:
        """Of the product of two scales: a number that a scale register can hold, rounded and saturating."""
        return replace(self.scale_type, rounding="RND", overflow="SAT")


@dataclass(frozen=True)
class Condition:
    """A number that the first layer gets from a register, not from the event.

    `nominal` is what the register holds until another raw is written, `low` and `high` limit what it was trained on.
    A value stands for `centre` + `unit` · value of the quantity of this name.
    """

    name: str
    type: Fixed
    nominal: int
    low: int
    high: int
    centre: float = 0.0
    unit: float = 1.0

    def value(self, quantity: float) -> float:
        """That stands for a quantity, within what was trained on."""
        low, high = self.type.value([self.low, self.high])
        return float(np.clip((quantity - self.centre) / self.unit, low, high))

    def quantity(self, raw: int) -> float:
        """What a raw stands for."""
        return self.centre + self.unit * float(self.type.value(raw))


@dataclass(frozen=True, eq=False)
class Normalisation:
    """The frozen step behind the input registers, in three casts and one value per feature.

    t = subtract_type(x - offset), u = shift_type(t · 2^-shift), y = result_type(u).
    """

    shift: Integers
    offset: Integers
    subtract_type: Fixed
    shift_type: Fixed
    result_type: Fixed

    def __post_init__(self) -> None:
        _freeze(self, "shift", "offset")

    @property
    def scale_type(self) -> Fixed:
        """The smallest type that holds every 2^-shift."""
        integer = 1 - int(self.shift.min())
        return Fixed(integer + int(self.shift.max()), integer, signed=False)

    @property
    def offset_type(self) -> Fixed:
        """The smallest signed type that holds every -offset."""
        width = int(np.abs(self.offset).max()).bit_length() + 1
        return Fixed(width, width)


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense layer of raw `weight` (n_in, n_out) and `bias` (n_out,).

    Each product and the bias are cast into `accum_type`, as are the partial sums, bias first. The sum is then cast
    into `sum_type`, where there is one; `relu` puts zero in place of what is negative; `result_type` takes the rest.
    Where it is `reconfigurable`, registers hold weights and biases, which are these until others are written.
    """

    weight: Integers
    bias: Integers
    weight_type: Fixed
    bias_type: Fixed
    accum_type: Fixed
    result_type: Fixed
    relu: bool
    sum_type: Fixed | None = None
    reconfigurable: bool = False

    def __post_init__(self) -> None:
        _freeze(self, "weight", "bias")

    @classmethod
    def elementwise(
        cls, scale: Integers, bias: Integers, scale_type: Fixed, bias_type: Fixed, given: Fixed, result_type: Fixed
    ) -> Self:
        """Raws (n,) that each input of type `given` is multiplied by and that are added, exact but for the result."""
        exact = given * scale_type + bias_type
        return cls(np.diag(scale), bias, scale_type, bias_type, exact, result_type, relu=False)

    @property
    def linear_type(self) -> Fixed:
        """Of the sums as they are activated."""
        return self.sum_type or self.accum_type

    def conditioned_bias_type(self, conditions: Sequence[Condition]) -> Fixed:
        """Of every sum of the bias and the weighted conditions, which is exact."""
        exact = self.bias_type
        for condition in conditions:
            exact = exact + condition.type * self.weight_type
        return exact

    def conditioned(self, conditions: Sequence[Condition], raws: Integers) -> "Dense":
        """The layer on its features alone, with conditions, its last inputs, at `raws` (n_conditions,) in the bias."""
        n_features, exact = len(self.weight) - len(conditions), self.conditioned_bias_type(conditions)
        up = exact.frac - conditions[0].type.frac - self.weight_type.frac
        added = raws @ self.weight[n_features:] << up
        bias = (self.bias << (exact.frac - self.bias_type.frac)) + added
        return replace(self, weight=self.weight[:n_features], bias=bias, bias_type=exact)

    def reach(self, given: Fixed) -> int:
        """The largest magnitude of a sum of inputs of type `given` times weights, as a raw of their product.

        Weights in registers may be any of their type.
        """
        largest = self.weight_type.magnitude
        weights = len(self.weight) * largest if self.reconfigurable else int(np.abs(self.weight).sum(axis=0).max())
        return weights * given.magnitude

    def wraps(self, given: Fixed) -> bool:
        """Whether accum_type loses but whole turns of any weighted sum, and nothing of its fraction."""
        return self.accum_type.overflow == "WRAP" and self.accum_type.frac >= given.frac + self.weight_type.frac

    def lossless(self, given: Fixed) -> bool:
        """Whether no cast into accum_type loses more than whole turns of it, so that one behind the sum will do."""
        accum = self.accum_type
        up = accum.frac - given.frac - self.weight_type.frac
        if up < 0 or accum.overflow == "WRAP":
            return up >= 0
        bias = int(np.abs(accum.cast(self.bias, self.bias_type.frac)).max())
        never_below = accum.signed or (given.min_raw == 0 and bool((self.weight >= 0).all()))
        return never_below and (self.reach(given) << up) + bias <= accum.max_raw


@dataclass(frozen=True)
class Score:
    """How the calibrated latent values become one unsigned code, the raw of `sum_type`.

    The terms z_j², (z_j - center_j)² or z_j are cast into `term_type` and summed in `sum_type`.
    `center` holds raws of the latent result type, for `squared_distance` alone.
    """

    kind: str
    center: tuple[int, ...] | None
    term_type: Fixed
    sum_type: Fixed


def _freeze(part: object, *names: str) -> None:
    """Put read-only int64 copies in place of the named arrays."""
    for name in names:
        array = np.array(getattr(part, name))
        if array.dtype.kind not in "iu":
            raise ModelError(f"{type(part).__name__}.{name} must hold integers, not {array.dtype}")
        array = array.astype(np.int64)
        array.flags.writeable = False
        object.__setattr__(part, name, array)
