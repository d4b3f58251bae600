"""The knob of the last layer's weights."""

from collections.abc import Callable

import numpy as np

from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.arrays import TINY, Floats
from recalib.errors import Unfit
from recalib.inputs.hidden import HiddenEstimate
from recalib.knobs.knobs import LinearKnob
from recalib.knobs.names import KnobName

HIDDEN_SPREAD = 0.01
"""How far the gain of what the last layer gets, and the shift of what it gives, may be from what these numbers tell."""

COARSE = 8
"""In units of their lsb: smaller weights, root mean square, have no gain."""


def weight_knob(model: Model, base: Payload, tell: Callable[[], HiddenEstimate], max_move: float) -> LinearKnob:
    """How much each number counts that the last layer gets, and a shift of each that it gives.

    w_ij moves by g_i w⁰_ij, w⁰ as trained, and b_j by s_j times the norm of a column of random weights: the matrix
    keeps its signs, and what the network has learnt to look at. Numbers that do not vary, or hardly count, are left
    alone. The prior is centred where the others have the mean and the spread that they had in the reference.

    Args:
        scale_of: what brings them there.
        max_move: of a gain and of a shift, with what the rounding of the weights adds.

    Raises:
        Unfit: if no register holds the weights.
    """
    if not model.has_weights:
        raise Unfit("weights: the model's last layer is frozen")
    last = model.layers[-1]
    told, (weight, bias) = tell(), trained_weights(model)
    squares, n_out = (weight**2).sum(axis=1), weight.shape[1]
    alive = np.flatnonzero((told.error > 0) & (squares > n_out * (COARSE * last.weight_type.lsb) ** 2))
    unit, n = bias_unit(model), len(alive)
    gains = np.zeros((*weight.shape, n + n_out))
    gains[alive, :, np.arange(n)] = weight[alive]
    shifts = np.hstack([np.zeros((n_out, n)), unit * np.eye(n_out)])
    deployed = (base.value("weights").reshape(weight.shape) * weight).sum(axis=1) / np.maximum(squares, TINY)
    most = max_move - last.weight_type.lsb / 2 * np.sqrt(n_out / squares[alive].min(initial=np.inf))
    back = np.zeros(len(weight))
    back[alive] = np.clip(told.gain - deployed, -most, most)[alive]
    shift = (bias + (told.then - (deployed + back) * told.now) @ weight - base.value("biases")) / unit
    return LinearKnob(
        KnobName.WEIGHTS,
        {"weights": gains.reshape(weight.size, -1), "biases": shifts},
        (*(f"hidden{i}" for i in alive), *(f"latent{j}" for j in range(n_out))),
        np.append(np.hypot(told.error[alive], HIDDEN_SPREAD), np.full(n_out, HIDDEN_SPREAD)),
        np.append(back[alive], shift),
        most,
        acts_on="hidden",
        added=("weights", "biases"),
    )


def trained_weights(model: Model) -> tuple[Floats, Floats]:
    """Of the last layer, (n_in, n_out) and (n_out,)."""
    last = model.layers[-1]
    return last.weight_type.value(last.weight), last.bias_type.value(last.bias)


def bias_unit(model: Model) -> float:
    """The norm of a column of the last layer's trained weights, root mean square over the columns."""
    weight, _ = trained_weights(model)
    return float(np.sqrt((weight**2).sum() / weight.shape[1]))
