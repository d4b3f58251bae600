"""The features and types of CMS's AXOL1TL v4, for which our own networks are trained too."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Condition, Dense, Feature, Normalisation, Registers, Rings, Score

_fixed = Fixed.parse

WEIGHT, BIAS = _fixed("fixed<6,3,RND_CONV,SAT>"), _fixed("fixed<10,7,RND_CONV,SAT>")
HIDDEN, MEAN = _fixed("ufixed<10,6,RND_CONV,SAT>"), _fixed("fixed<10,7,RND_CONV,SAT>")
LAYERS = (
    (_fixed("fixed<29,16>"), HIDDEN, True),
    (_fixed("fixed<22,15>"), HIDDEN, True),
    (_fixed("fixed<21,14>"), MEAN, False),
)
FINE_WEIGHT, FINE_BIAS = _fixed("fixed<12,3,RND_CONV,SAT>"), _fixed("fixed<14,7,RND_CONV,SAT>")
"""Of a last layer whose weights are registers, which are to move by little."""
FINE_ACCUM = _fixed("fixed<27,14>")
CODE = _fixed("ufixed<18,14>")

INPUT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<16,10>"), _fixed("fixed<18,13,RND_CONV,SAT>"))
LATENT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<10,7>"), MEAN)
SCORE = Score("sum_of_squares", None, CODE, CODE)
OUTPUT = Registers(_fixed("ufixed<18,2>"), _fixed("fixed<20,16>"), _fixed("ufixed<18,14,RND,SAT>"))

RINGS = (Rings("eg", 3, 32), Rings("mu", 4, 32), Rings("jet", 3, 32))

_OBJECTS = (("met", 1, 12), ("eg", 4, 9), ("mu", 4, 9), ("jet", 10, 11))

FEATURES = tuple(
    Feature(f"{name}{i if n > 1 else ''}_{kind}", name, kind, type)
    for name, n, pt_bits in _OBJECTS
    for i in range(n)
    for kind, type in (
        ("pt", Fixed(pt_bits, pt_bits, signed=False)),
        ("eta", Fixed(9, 9)),
        ("phi", Fixed(10, 10, signed=False)),
    )
)


def normalisation(shift: ArrayLike, offset: ArrayLike) -> Normalisation:
    """From a shift and an offset for each feature (57,); the firmware floors the offsets."""
    between = _fixed("fixed<18,13>")
    return Normalisation(
        np.asarray(shift).astype(np.int64),
        np.floor(offset).astype(np.int64),
        between,
        between,
        _fixed("fixed<8,6,RND_CONV,SAT>"),
    )


def layers(
    weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], reconfigurable: bool = False
) -> tuple[Dense, ...]:
    """The three layers from float weights; the last one with finer weights where these are registers."""
    found = [
        Dense(WEIGHT.quantize(weight), BIAS.quantize(bias), WEIGHT, BIAS, accum, result, relu)
        for weight, bias, (accum, result, relu) in zip(weights, biases, LAYERS, strict=True)
    ]
    if reconfigurable:
        weight, bias = FINE_WEIGHT.quantize(weights[-1]), FINE_BIAS.quantize(biases[-1])
        _, result, relu = LAYERS[-1]
        found[-1] = Dense(weight, bias, FINE_WEIGHT, FINE_BIAS, FINE_ACCUM, result, relu, reconfigurable=True)
    return tuple(found)


def model(
    name: str,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    shift: ArrayLike,
    offset: ArrayLike,
    lut_bits: int = 12,
    n_cuts: int = 5,
    reconfigurable: bool = False,
    conditions: tuple[Condition, ...] = (),
) -> Model:
    """A model with the types of CMS's AXOL1TL v4, from float weights of its three layers.

    Inputs are MET, 4 e/γ, 4 µ and 10 jets, each with pt, η and φ as global-trigger integers; the scales of e/γ, µ and
    jets have 32 η rings each.

    Args:
        name: of the stream.
        weights: of the layers (n_in, n_out), rounded to the grid; the first has a row more for each condition.
        biases: likewise (n_out,).
        shift: of the input normalisation (57,).
        offset: of the input normalisation (57,), which the firmware floors.
        lut_bits: the LUT has 2^lut_bits entries.
        n_cuts: how many cuts there are.
        reconfigurable: whether registers hold the weights of the last layer.
        conditions: numbers that the first layer gets from registers.
    """
    return Model(
        name,
        FEATURES,
        RINGS,
        INPUT,
        normalisation(shift, offset),
        layers(weights, biases, reconfigurable),
        LATENT,
        SCORE,
        OUTPUT,
        lut_bits,
        n_cuts,
        conditions,
    )
