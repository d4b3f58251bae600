"""A calorimeter trigger like CMS's CICADA: 252 regions to one score, by a small network that a larger one taught.

Sizes and types are near those of its first student (github Princeton-AD/cicada, `CicadaV1`: 252 → 16 → 1, weights of
8 and 12 bits, hidden values of 10 with 6 before the point, a score of 16 with 8). Ours differ in that a region is a
quarter of its code before it meets the weights, that there are biases, and that the score's code keeps four of the
score's eight fractional bits: 4096 codes, all within reach of a LUT.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Dense, Feature, Normalisation, Registers, Score

N_PHI, N_ETA = 18, 14
N_HIDDEN = 16

_fixed = Fixed.parse

REGION = Fixed(10, 10, signed=False)
FEATURES = tuple(
    Feature(f"region_{phi}_{eta}", "region", "energy", REGION, ring=eta) for phi in range(N_PHI) for eta in range(N_ETA)
)

WEIGHTS = (_fixed("fixed<8,2,RND_CONV,SAT>"), _fixed("fixed<12,4,RND_CONV,SAT>"))
BIASES = (_fixed("fixed<10,6,RND_CONV,SAT>"), _fixed("fixed<14,10,RND_CONV,SAT>"))
ACTIVATION, SCORE_VALUE = _fixed("ufixed<10,6,RND_CONV,SAT>"), _fixed("ufixed<16,8,RND_CONV,SAT>")
LAYERS = ((_fixed("fixed<28,18>"), ACTIVATION), (_fixed("fixed<28,16>"), SCORE_VALUE))
CODE = _fixed("ufixed<12,8,RND,SAT>")

INPUT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<16,12>"), _fixed("ufixed<14,12,RND_CONV,SAT>"))
LATENT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<16,10>"), SCORE_VALUE)
SCORE = Score("linear", None, CODE, CODE)
OUTPUT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<16,10>"), CODE)

_QUARTER = 2


def normalisation() -> Normalisation:
    """A quarter of each region's code."""
    between, n = _fixed("fixed<18,14>"), len(FEATURES)
    return Normalisation(
        np.full(n, _QUARTER), np.zeros(n, np.int64), between, between, _fixed("ufixed<12,8,RND_CONV,SAT>")
    )


def layers(weights: Sequence[ArrayLike], biases: Sequence[ArrayLike]) -> tuple[Dense, ...]:
    """Both with a ReLU: no score is negative."""
    return tuple(
        Dense(weight_type.quantize(w), bias_type.quantize(b), weight_type, bias_type, accum, result, relu=True)
        for w, b, weight_type, bias_type, (accum, result) in zip(weights, biases, WEIGHTS, BIASES, LAYERS, strict=True)
    )


def model(
    name: str,
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    lut_bits: int = 12,
    n_cuts: int = 2,
) -> Model:
    """A model with the inputs and about the types of CMS's CICADA, from float weights of its two layers.

    Weights (252, k), (k, 1) and biases are rounded to the grid. Inputs are the transverse energies of 18 φ × 14 η
    calorimeter regions, each in a fixed η ring.
    """
    return Model(
        name,
        FEATURES,
        (),
        INPUT,
        normalisation(),
        layers(weights, biases),
        LATENT,
        SCORE,
        OUTPUT,
        lut_bits,
        n_cuts,
    )
