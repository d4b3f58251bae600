"""A forest on the inputs of AXOL1TL, in the types and sizes of a Forest Processing Unit of conifer.

The unit that it fits is built with one tree engine for each tree, a root and 64 nodes in each, 57 features, thresholds
and scores of 16 bits and without its dynamic scaler: inputs are integers already, and saturated.
"""

import numpy as np

from firmware.model import axol1tl
from firmware.model.fixed import Fixed
from firmware.model.forest import Forest, Shape
from firmware.model.model import Model
from firmware.model.parts import Normalisation, Registers, Score

_fixed = Fixed.parse

UNIT_INPUT = _fixed("fixed<16,13,RND_CONV,SAT>")
"""An eighth of a code, so that a scale moves a small energy too."""
SCORE_VALUE = _fixed("fixed<16,10,RND_CONV,SAT>")
CODE = _fixed("ufixed<12,8,RND,SAT>")

SHAPE = Shape(64, 64, 5, len(axol1tl.FEATURES), UNIT_INPUT, SCORE_VALUE)

LATENT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<16,10>"), SCORE_VALUE)
SCORE = Score("linear", None, CODE, CODE)
OUTPUT = Registers(_fixed("ufixed<16,2>"), _fixed("fixed<16,10>"), CODE)


def normalisation() -> Normalisation:
    """None but the saturation into the unit's type."""
    between, n = axol1tl.INPUT.result_type, SHAPE.n_features
    return Normalisation(np.zeros(n, np.int64), np.zeros(n, np.int64), between, between, UNIT_INPUT)


def model(name: str, forest: Forest, lut_bits: int = 12, n_cuts: int = 2) -> Model:
    """A forest of this unit on the inputs of AXOL1TL."""
    return Model(
        name,
        axol1tl.FEATURES,
        axol1tl.RINGS,
        axol1tl.INPUT,
        normalisation(),
        (),
        LATENT,
        SCORE,
        OUTPUT,
        lut_bits,
        n_cuts,
        forest=forest,
    )
