"""What the energies of an object type alone tell of its scale, and of an offset."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.inputs.inputs import InputReference, Observed

SCALES = np.linspace(-0.4, 0.4, 41)
"""ln of the scales that are tried on an object type."""

CURVATURE_STEP = 0.02
"""Of ln(scale), and of an offset in units of a typical energy: over which a curvature is told."""

SEEN = 5.0
"""Standard errors by which a scale must differ from none to be taken from the energies."""


@dataclass(frozen=True, eq=False)
class Scale:
    """ln of the factors that bring an object type's energies nearest to the reference's, with their errors.

    Args:
        scale, error: of all its objects.
        rings, ring_errors: (rings,) of those in one η ring; the error is infinite where nothing can be told.
        spread: how far the rings are from having one scale, in standard deviations of what chance would do.
    """

    scale: float
    error: float
    rings: Floats
    ring_errors: Floats
    spread: float = 0.0


@dataclass(frozen=True, eq=False)
class Pedestal:
    """ln of a scale and an offset that together bring an object type's energies nearest to the reference's.

    Args:
        offset: what is added behind the scale, in units of `unit`.
        unit: the typical energy of such an object, in codes.
    """

    scale: float
    offset: float
    scale_error: float
    offset_error: float
    unit: float


def scale_of(inputs: InputReference, observed: Observed, payload: Payload, name: str) -> Scale:
    """What the energies alone tell of an object type's scale behind the payload's registers.

    The minimum of n·KL over the factor, an estimate of maximum likelihood, and from its curvature the
    error of the two samples. 0 where the gain over it is chance; an error of infinity where the reference
    has no such objects.
    """
    kind = inputs.type_of(name)
    if kind is None:
        return Scale(0.0, np.inf, np.zeros(0), np.zeros(0))
    filled = inputs.filled(observed, kind, payload, np.exp(SCALES))
    noise = inputs.noise(observed)
    expected = inputs.expected[name]
    together = inputs.divergence(kind.shared(filled.sum(axis=1)), kind.shared(expected.sum(axis=0)))
    scale, error = _minimum(together, noise)
    scale = scale if abs(scale) > SEEN * error else 0.0
    if kind.n_rings == 1:
        return Scale(scale, error, np.zeros(0), np.zeros(0))
    each = inputs.divergence(kind.shared(filled), kind.shared(expected)).T
    rings, errors = np.array([_minimum(distances, noise) for distances in each]).T
    heard = np.isfinite(errors)
    gain = 2 * (each.sum(axis=0).min() - each.min(axis=1).sum()) / noise
    return Scale(scale, error, rings, errors, float((gain - heard.sum()) / np.sqrt(2 * max(heard.sum(), 1))))


def pedestal_of(inputs: InputReference, observed: Observed, payload: Payload, name: str) -> Pedestal | None:
    """What the energies alone tell of an object type's scale and offset behind the payload's registers.

    The estimate of maximum likelihood, as in `scale_of`; None where a scale alone is as good within statistics.
    """
    kind = inputs.type_of(name)
    if kind is None:
        return None
    noise, unit = inputs.noise(observed), float(inputs.typical[kind.energies[0]])
    expected = kind.shared(inputs.expected[name].sum(axis=0))

    def surprise(move: Floats) -> float:
        filled = inputs.filled(observed, kind, payload, np.exp(move[0]), move[1] * unit)
        return float(inputs.divergence(kind.shared(filled.sum(axis=0)), expected)) / noise

    ends = SCALES[0], SCALES[-1]
    alone = minimize_scalar(lambda scale: surprise(np.array([scale, 0.0])), bounds=ends, method="bounded")
    simplex = np.array([alone.x, 0.0]) + CURVATURE_STEP * np.array([[0, 0], [1, 0], [0, 1]])
    best = minimize(surprise, simplex[0], method="Nelder-Mead", options={"initial_simplex": simplex})
    if 2 * (alone.fun - best.fun) < SEEN**2:
        return None
    curvature = _hessian(surprise, best.x)
    if np.linalg.eigvalsh(curvature)[0] <= 0:
        return None
    errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
    (scale, offset), (scale_error, offset_error) = best.x.tolist(), errors.tolist()
    return Pedestal(scale, offset, scale_error, offset_error, unit)


def _minimum(distances: Floats, noise: float) -> tuple[float, float]:
    """Where the distances over `SCALES` are least, and its error; (0, inf) where nothing can be told."""
    best = int(np.clip(np.argmin(distances), 3, len(SCALES) - 4))
    around = slice(best - 3, best + 4)
    curve, slope, _ = np.polyfit(SCALES[around], distances[around], 2)
    if curve <= noise:
        return 0.0, np.inf
    top = float(np.clip(-slope / (2 * curve), SCALES[0], SCALES[-1]))
    return top, float(np.sqrt(noise / (2 * curve)))


def _hessian(function: Callable[[Floats], float], at: Floats) -> Floats:
    """Second derivatives (k, k) by differences over `CURVATURE_STEP`."""
    steps = CURVATURE_STEP * np.eye(len(at))
    found = [
        [function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b) for a in steps]
        for b in steps
    ]
    return np.array(found) / (2 * CURVATURE_STEP) ** 2
