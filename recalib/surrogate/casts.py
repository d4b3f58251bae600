"""Casts into fixed-point types that a gradient passes, and which of them can be left out."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from firmware.model.fixed import Fixed
from recalib.arrays import Floats

_ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "TRN": torch.floor,
    "TRN_ZERO": torch.trunc,
    "RND": lambda x: torch.floor(x + 0.5),
    "RND_CONV": torch.round,
    "RND_MIN_INF": lambda x: torch.ceil(x - 0.5),
    "RND_INF": lambda x: torch.sign(x) * torch.floor(x.abs() + 0.5),
    "RND_ZERO": lambda x: torch.sign(x) * torch.ceil(x.abs() - 0.5),
}


class _Straight(torch.autograd.Function):
    """Any function forwards, the identity backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _straight(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    found: Tensor = _Straight.apply(x, function)  # type: ignore[no-untyped-call]
    return found


class Span(NamedTuple):
    """The values that a step may meet: multiples of 2^-frac between low and high, one bound or one per column."""

    frac: int
    low: Floats
    high: Floats

    @classmethod
    def of(cls, kind: Fixed) -> Self:
        """All values of a type."""
        return cls(kind.frac, np.asarray(kind.value(kind.min_raw)), np.asarray(kind.value(kind.max_raw)))

    def times(self, other: "Span") -> "Span":
        """Of products of one value each."""
        ends = np.stack([a * b for a in (self.low, self.high) for b in (other.low, other.high)])
        return Span(self.frac + other.frac, ends.min(axis=0), ends.max(axis=0))

    def plus(self, other: "Span") -> "Span":
        """Of sums of one value each."""
        return Span(max(self.frac, other.frac), self.low + other.low, self.high + other.high)

    @property
    def magnitude(self) -> Floats:
        """The largest."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def bits(self) -> float:
        """That hold every value."""
        return float(np.log2(self.magnitude.max() + 1) + self.frac)


ANYTHING = Span(1 << 10, np.asarray(-np.inf), np.asarray(np.inf))


class Cast:
    """A cast into a fixed-point type of numbers in units of its lsb, without the work that is not needed.

    The gradient passes unchanged, save where the type saturates. Without `exact` nothing is rounded or
    wrapped, so that the function is continuous.

    Args:
        given: what may come.
    """

    def __init__(self, into: Fixed, given: Span, exact: bool) -> None:
        full = Span.of(into)
        under, over = bool((given.low < full.low).any()), bool((given.high > full.high).any())
        self._into = into
        self._rounding = _ROUND[into.rounding] if exact and given.frac > into.frac else None
        self._outside = (under or over) and (exact or into.overflow != "WRAP")
        self.idle = self._rounding is None and not self._outside
        frac = min(given.frac, into.frac) if exact else given.frac
        if into.overflow == "WRAP" and (under or over):
            self.span = Span(frac, *full[1:])
        else:
            self.span = Span(
                frac, np.maximum(given.low - into.lsb, full.low), np.minimum(given.high + into.lsb, full.high)
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Cast x, in units of the type's lsb."""
        if self._rounding is not None:
            x = _straight(x, self._rounding)
        if not self._outside:
            return x
        low, high = self._into.min_raw, self._into.max_raw
        match self._into.overflow:
            case "SAT":
                return x.clamp(low, high)
            case "SAT_SYM":
                return x.clamp(max(low, -high), high)
            case "SAT_ZERO":
                return torch.where((x < low) | (x > high), 0.0, x)
        return _straight(x, lambda v: torch.remainder(v - low, high + 1 - low) + low)


def cast(x: Tensor, into: Fixed) -> Tensor:
    """Round as the fixed-point type does; the gradient passes unchanged, save where the type saturates.

    >>> x = torch.tensor([-1.0, 0.3, 9.0], dtype=torch.float64, requires_grad=True)
    >>> y = cast(x, Fixed(4, 2, signed=False, overflow="SAT"))
    >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([0.0, 0.25, 3.75], [0.0, 1.0, 0.0])
    """
    return Cast(into, ANYTHING, exact=True)(x / into.lsb) * into.lsb


def tensor(values: ArrayLike, device: torch.device) -> Tensor:
    """Values in double precision on a device."""
    return torch.tensor(np.asarray(values), dtype=torch.float64, device=device)
