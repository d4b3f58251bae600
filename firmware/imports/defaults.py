"""What an imported model is given where its author says nothing: registers, rings, the type of its code."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from firmware.model.fixed import Fixed
from firmware.model.parts import ENERGIES, Dense, Feature, Registers, Rings

SCALE = Fixed(16, 2, signed=False)
OUTPUT_SCALE = Fixed(18, 2, signed=False)
OFFSET_BITS = 16
INPUT_FRAC = 5
"""Fractional bits behind the input registers, so that a scale moves a small integer too."""
CODE_BITS = 18
LUT_BITS = 12
N_RINGS = 32


def input_registers(given: Fixed) -> Registers:
    """For features that `given` holds: offsets over an eighth of its range."""
    result = Fixed(given.width + INPUT_FRAC, given.integer, given.signed, "RND_CONV", "SAT")
    return Registers(SCALE, Fixed(OFFSET_BITS, given.integer - 3), result)


def latent_registers(given: Fixed) -> Registers:
    """For latent values of the type `given`: signed offsets over its range."""
    signed = Fixed(given.width + (not given.signed), given.integer + (not given.signed))
    offset = Fixed(min(signed.width, OFFSET_BITS), signed.integer)
    return Registers(SCALE, offset, replace(given, rounding="RND_CONV", overflow="SAT"))


def output_registers(code: Fixed) -> Registers:
    """For codes of the type `code`: offsets over twice its range, either way."""
    offset = Fixed(code.width + 2, code.integer + 2)
    return Registers(OUTPUT_SCALE, offset, Fixed(code.width, code.integer, False, "RND", "SAT"))


def rings(features: Sequence[Feature], name: str) -> Rings | None:
    """Rings over the whole range of η of an object; None unless it has one signed η for each energy."""
    own = [feature for feature in features if feature.object == name]
    etas = [feature.type for feature in own if feature.kind == "eta"]
    energies = [feature for feature in own if feature.kind in ENERGIES]
    if not energies or len(etas) != len(energies) or not all(eta.signed for eta in etas):
        return None
    width = max(eta.width for eta in etas)
    size = min(N_RINGS, 1 << width)
    return Rings(name, width - size.bit_length() + 1, size)


def code(kind: str, latent: Fixed, n: int) -> Fixed:
    """Of a score of n latent values: reaches as far as it can, with what is left of `CODE_BITS` behind the point."""
    reach = latent.integer - latent.signed + (kind == "squared_distance" and latent.signed)
    times = 1 if kind == "linear" else 2
    integer = times * reach + (n - 1).bit_length()
    return Fixed(min(CODE_BITS, max(1, integer + times * latent.frac)), integer, False, "TRN", "SAT")


def accumulator(given: Fixed, weight: Fixed, bias: Fixed, n_in: int) -> Fixed:
    """The type that holds every sum of n_in products and a bias."""
    exact = given * weight + bias
    more = n_in.bit_length()
    return Fixed(exact.width + more, exact.integer + more, exact.signed)


def lifted(n: int, given: Fixed) -> Dense:
    """A layer that adds to n values of a signed type what makes zero of the lowest."""
    half = Fixed(1, given.integer, signed=False)
    unsigned = Fixed(given.width, given.integer, signed=False)
    ones = np.ones(n, np.int64)
    return Dense.elementwise(ones, ones, Fixed(2, 2), half, given, unsigned)
