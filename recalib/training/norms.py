"""How much an encoder can amplify a change of its inputs, and matrices held below such a bound."""

from math import prod

import torch
from torch import Tensor

from firmware.model.fixed import Fixed
from firmware.model.model import Model
from recalib.surrogate.casts import cast

SHRINK = 0.995
"""A matrix whose rounding is beyond the bound is scaled down by this at least, until it is not."""


def norms(model: Model) -> tuple[float, ...]:
    """The operator norm of each layer's weights as the firmware holds them, 2-norm to 2-norm."""
    return tuple(spectral(torch.from_numpy(layer.weight_type.value(layer.weight))) for layer in model.layers)


def gain(model: Model) -> float:
    """The product of the layers' norms: ‖µ(x) − µ(x′)‖₂ is at most this times ‖x − x′‖₂.

    x are the normalised inputs, µ the latent values; ReLU and saturation raise no difference, and the roundings
    of the results are left out. Where the score is Σ µ², its root changes by no more than that either.
    """
    return prod(norms(model))


def spectral(weight: Tensor) -> float:
    """The largest singular value."""
    return float(torch.linalg.matrix_norm(weight, 2))


def limited(weight: Tensor, most: float, kind: Fixed) -> Tensor:
    """The nearest matrix whose operator norm is at most `most`, smaller by as much as its rounding to `kind` needs.

    The nearest (in the sum of squares) has its singular values cut off there: H. Sedghi, V. Gupta, P. Long,
    arXiv:1805.10408, section 3.
    """
    u, values, v = torch.linalg.svd(weight, full_matrices=False)
    found: Tensor = (u * values.clamp(max=most)) @ v if values[0] > most else weight
    while (rounded := spectral(cast(found, kind))) > most:
        found = found * min(most / rounded, SHRINK)
    return found
