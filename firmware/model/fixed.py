"""Fixed-point types with the arithmetic of Xilinx `ap_fixed`."""

import re
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware.errors import FixedPointError

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint32]
"""Words of 32 bits, as registers hold and a bus carries them."""

ROUNDINGS = ("TRN", "TRN_ZERO", "RND", "RND_CONV", "RND_ZERO", "RND_INF", "RND_MIN_INF")
OVERFLOWS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM")
MAX_WIDTH = 62
WORD_BITS = 32
WORD_MASK = (1 << WORD_BITS) - 1

_SPELLING = re.compile(r"(?:ap_)?(u?)(fixed|int)<([^<>]*)>")


@dataclass(frozen=True)
class Fixed:
    """A fixed-point type: `width` bits, of which `integer` stand before the binary point.

    A *raw* is the integer that the hardware holds, always in int64 here; its value is raw · 2^-frac.
    `rounding` and `overflow` say what happens when a number is cast into the type.

    Raises:
        FixedPointError: for a width outside 1 to 62 bits or an unknown mode.

    >>> score = Fixed.parse("ap_ufixed<18,14,AP_RND_CONV,AP_SAT>")
    >>> score.lsb, score.max_raw
    (0.0625, 262143)
    >>> score.quantize([1.03125, -3.0, 1e9])
    array([    16,      0, 262143])
    """

    width: int
    integer: int
    signed: bool = True
    rounding: str = "TRN"
    overflow: str = "WRAP"

    def __post_init__(self) -> None:
        if not 1 <= self.width <= MAX_WIDTH:
            raise FixedPointError(f"width {self.width} is outside 1 to {MAX_WIDTH} bits")
        if self.rounding not in ROUNDINGS:
            raise FixedPointError(f"rounding {self.rounding!r} is none of {', '.join(ROUNDINGS)}")
        if self.overflow not in OVERFLOWS:
            raise FixedPointError(f"overflow {self.overflow!r} is none of {', '.join(OVERFLOWS)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the `ap_types` spelling.

        >>> print(Fixed.parse("ufixed<18,14,RND_CONV>"), Fixed.parse("ap_int<8>"))
        ap_ufixed<18,14,AP_RND_CONV> ap_int<8>
        """
        match = _SPELLING.fullmatch(text.replace(" ", ""))
        if match is None:
            raise FixedPointError(f"{text!r} is no fixed-point type such as 'ap_fixed<18,13,AP_RND,AP_SAT>'")
        unsigned, kind, inside = match.groups()
        sizes, modes = inside.split(","), []
        if kind == "fixed":
            sizes, modes = sizes[:2], [mode.removeprefix("AP_") for mode in sizes[2:]]
        try:
            width, integer = int(sizes[0]), int(sizes[-1])
        except ValueError:
            raise FixedPointError(f"{text!r} has a size that is no integer") from None
        if len(sizes) != (2 if kind == "fixed" else 1) or len(modes) > 2:
            raise FixedPointError(f"{text!r} has the wrong number of arguments")
        return cls(width, integer, not unsigned, *modes)

    def __str__(self) -> str:
        u = "" if self.signed else "u"
        modes = ["AP_" + self.rounding, "AP_" + self.overflow]
        if self.overflow == "WRAP":
            modes.pop()
            if self.rounding == "TRN":
                modes.pop()
        if self.width == self.integer and not modes:
            return f"ap_{u}int<{self.width}>"
        return f"ap_{u}fixed<{','.join([str(self.width), str(self.integer), *modes])}>"

    @property
    def frac(self) -> int:
        """Bits behind the binary point; negative where the lowest bit is worth more than 1."""
        return self.width - self.integer

    @property
    def lsb(self) -> float:
        """The value of the lowest bit, 2^-frac."""
        return float(2.0**-self.frac)

    @property
    def min_raw(self) -> int:
        """The lowest raw that the width holds."""
        return -(1 << self.width - 1) if self.signed else 0

    @property
    def max_raw(self) -> int:
        """The highest raw that the width holds."""
        return (1 << self.width - self.signed) - 1

    @property
    def magnitude(self) -> int:
        """The largest of a raw."""
        return max(self.max_raw, -self.min_raw)

    def __add__(self, other: "Fixed") -> "Fixed":
        """The type that holds every sum of the two without loss."""
        signed = self.signed or other.signed
        integer = max(t.integer + (signed and not t.signed) for t in (self, other)) + 1
        return Fixed(integer + max(self.frac, other.frac), integer, signed)

    def __mul__(self, other: "Fixed") -> "Fixed":
        """The type that holds every product of the two without loss."""
        return Fixed(self.width + other.width, self.integer + other.integer, self.signed or other.signed)

    def holds(self, other: "Fixed") -> bool:
        """True if every number of `other` is a number of this type."""
        up = self.frac - other.frac
        return up >= 0 and self.min_raw <= other.min_raw << up and other.max_raw << up <= self.max_raw

    def cast(self, raw: Integers, frac: int) -> Integers:
        """Cast raws with `frac` fractional bits into this type, exactly as `ap_fixed` does.

        Raises:
            FixedPointError: if the binary point moves by more than 62 bits.
        """
        shift = self.frac - frac
        if abs(shift) > MAX_WIDTH:
            raise FixedPointError(f"a cast from {frac} to {self.frac} fractional bits is out of reach")
        if shift >= 0:
            if shift and self.overflow != "WRAP":
                limit = (1 << MAX_WIDTH) >> shift
                raw = np.clip(raw, -limit, limit)
            return self._overflow(raw << shift)
        whole = raw >> -shift
        if self.rounding == "TRN":
            return self._overflow(whole)
        rest = raw & ((1 << -shift) - 1)
        return self._overflow(whole + self._carry(raw, whole, rest, 1 << (-shift - 1)))

    def quantize(self, value: ArrayLike) -> Integers:
        """Cast floats into this type; exact for every finite double.

        Raises:
            FixedPointError: for a NaN or an infinity.
        """
        scaled = np.ldexp(np.asarray(value, dtype=np.float64), self.frac)
        if not np.isfinite(scaled).all():
            raise FixedPointError(f"{self} cannot hold a value that is not finite")
        whole = np.floor(scaled)
        rest = scaled - whole
        reach = float(1 << MAX_WIDTH)
        near = np.fmod(whole, reach) if self.overflow == "WRAP" else np.clip(whole, -reach, reach)
        raw = near.astype(np.int64)
        return self._overflow(raw + self._carry(scaled, raw, rest, 0.5))

    def value(self, raw: ArrayLike) -> Floats:
        """The values raw · 2^-frac of raws, in their shape."""
        return np.ldexp(np.asarray(raw, dtype=np.float64), -self.frac)

    def pack(self, raw: ArrayLike) -> Words:
        """Two's complement 32-bit words.

        Raises:
            FixedPointError: if the type is wider than a word or a raw is out of range.
        """
        if self.width > WORD_BITS:
            raise FixedPointError(f"{self} does not fit a word of {WORD_BITS} bits")
        raw = np.asarray(raw, dtype=np.int64)
        outside = (raw < self.min_raw) | (raw > self.max_raw)
        if outside.any():
            raise FixedPointError(f"raw {raw[outside][0]} is outside {self.min_raw} to {self.max_raw} of {self}")
        return (raw & WORD_MASK).astype(np.uint32)

    def unpack(self, words: ArrayLike) -> Integers:
        """The raws of 32-bit words; bits above the width are ignored."""
        return self._wrap(np.asarray(words).astype(np.int64))

    def _carry(self, number: NDArray[Any], whole: Integers, rest: NDArray[Any], half: float) -> NDArray[Any]:
        """Whether a number, floored to `whole` with `rest` cut off, rounds up instead."""
        match self.rounding:
            case "TRN":
                return np.zeros(np.shape(whole), dtype=np.int64)
            case "TRN_ZERO":
                return (number < 0) & (rest > 0)
            case "RND":
                return rest >= half
            case "RND_MIN_INF":
                return rest > half
            case "RND_CONV":
                tie_up = (whole & 1) == 1
            case "RND_ZERO":
                tie_up = number < 0
            case _:
                tie_up = number >= 0
        return np.asarray((rest > half) | ((rest == half) & tie_up))

    def _overflow(self, raw: Integers) -> Integers:
        match self.overflow:
            case "WRAP":
                return self._wrap(raw)
            case "SAT":
                return np.clip(raw, self.min_raw, self.max_raw)
            case "SAT_SYM":
                return np.clip(raw, -self.max_raw if self.signed else 0, self.max_raw)
            case _:
                return np.where((raw < self.min_raw) | (raw > self.max_raw), 0, raw)

    def _wrap(self, raw: Integers) -> Integers:
        return ((raw - self.min_raw) & ((1 << self.width) - 1)) + self.min_raw
