"""The register families that a recalibration can turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware.model import Model
from firmware.parts import ENERGIES
from firmware.payload import Payload
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target

Floats = NDArray[np.float64]

SPREAD = 0.1
"""Prior spread of ln(scale) for one object type, and for a scale behind the inputs."""

INPUT_SPREAD = 0.02
"""How far ln(scale) of an object type may be from what its energies alone tell, beyond statistics."""

FEATURE_SPREAD = 0.02
"""Prior spread of one feature's ln(scale) about that of its object type."""


@dataclass(frozen=True, eq=False)
class ScaleKnob:
    """Multiplies the registers of one field: value_j = deployed_j · exp(Σ_k tie_jk θ_k).

    θ = 0 is the identity. The result is rounded to the registers' grid by the payload.

    Args:
        field: name of the register field.
        labels: of the K parameters.
        tie: (registers, K), which register follows which parameter.
        spread, centre: (K,), the prior's standard deviations and means.
        inputs: whether it corrects the inputs, so that these can be compared with the reference's.
    """

    name: str
    field: str
    labels: tuple[str, ...]
    tie: Floats
    spread: Floats
    centre: Floats
    inputs: bool = False

    def values(self, theta: Floats, base: Payload) -> Floats:
        return base.value(self.field) * np.exp(self.tie @ theta)

    def payload(self, theta: Floats, base: Payload) -> Payload:
        """The deployed payload with the turned registers, each on its grid and within its range."""
        kind = base.layout[self.field].type
        values = np.clip(self.values(theta, base), kind.value(kind.min_raw), kind.value(kind.max_raw))
        return base.replace_values(**{self.field: values})

    def moves(self, theta: Floats) -> dict[str, float]:
        return dict(zip(self.labels, theta.tolist(), strict=True))


def scale_knob(name: str, model: Model, seen: Callable[[str], tuple[float, float]]) -> ScaleKnob:
    """The knob of that name on a model.

    Args:
        seen: ln(scale) of an object type and its error as its energies alone tell; the prior of the
            scales of the inputs is centred there.

    Raises:
        Unfit: if the model has no such registers.
    """
    if name in ("output_scale", "latent_scale"):
        size = model.layout[name].size
        labels = tuple(f"{name.removesuffix('_scale')}{i}" for i in range(size))
        return ScaleKnob(name, name, labels, np.eye(size), np.full(size, SPREAD), np.zeros(size))
    energies = [i for i, feature in enumerate(model.features) if feature.kind in ENERGIES]
    objects = sorted({model.features[i].object for i in energies})
    if not objects:
        raise Unfit(f"{name}: the model has no input of kind {' or '.join(ENERGIES)}")
    tied = _columns(model, [[i for i in energies if model.features[i].object == o] for o in objects])
    found, errors = np.array([seen(o) for o in objects]).T
    known = errors < SPREAD
    centre = np.where(known, found, 0.0)
    spread = np.where(known, np.hypot(errors, INPUT_SPREAD), SPREAD)
    if name == "input_scale":
        return ScaleKnob(name, name, tuple(objects), tied, spread, centre, inputs=True)
    tie = np.hstack([tied, _columns(model, [[i] for i in energies])])
    labels = (*objects, *(model.features[i].name for i in energies))
    spread = np.append(spread, np.full(len(energies), FEATURE_SPREAD))
    centre = np.append(centre, np.zeros(len(energies)))
    return ScaleKnob(name, "input_scale", labels, tie, spread, centre, inputs=True)


def moved_cuts(evidence: Evidence, base: Payload) -> Payload:
    """Each cut where the weighted rate at and above it comes nearest to its target."""
    order = np.argsort(evidence.codes)[::-1]
    codes, first = np.unique(evidence.codes[order][::-1], return_index=True)
    at_least = np.cumsum(evidence.weights[order])[::-1][first]
    best = np.abs(at_least[:, None] - evidence.target.rates).argmin(axis=0)
    return base.replace(cuts=codes[best].astype(np.int64))


def mapped_lut(evidence: Evidence, base: Payload, target: Target) -> Payload:
    """The LUT that gives the codes the distribution p_ref, by a monotone map of its present contents.

    Raises:
        Unfit: if the board has no LUT.
    """
    lut = base.raw("lut")
    if not lut.size:
        raise Unfit("lut: the board has none")
    order = np.argsort(evidence.codes)
    codes, below = evidence.codes[order], np.cumsum(evidence.weights[order])
    shares = np.append(0.0, below)
    middle = (shares[np.searchsorted(codes, lut)] + shares[np.searchsorted(codes, lut, side="right")]) / 2
    wanted = np.append(0.0, np.cumsum(target.p))
    mapped = np.rint(np.interp(middle, wanted, target.edges) - 0.5).astype(np.int64)
    return base.replace(lut=np.maximum.accumulate(np.clip(mapped, 0, int(lut.size))))


def _columns(model: Model, groups: Sequence[Sequence[int]]) -> Floats:
    """(n_features, groups), 1 where the feature is in the group."""
    columns = np.zeros((model.n_features, len(groups)))
    for k, group in enumerate(groups):
        columns[list(group), k] = 1.0
    return columns
