"""What a recalibration may do to a forest, and what that means for its inputs."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from firmware.errors import ForestError
from firmware.model.forest import Forest
from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.errors import Unfit
from recalib.inputs.estimates import Scale
from recalib.knobs.knobs import Knob
from recalib.knobs.names import KnobName
from recalib.knobs.scales import scale_knob

GAIN_SPREAD = 0.02
"""Prior spread of ln(gain) of the trees' scores."""

FIELD = "forest"
"""Of the registers that hold the nodes."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ForestKnob(Knob):
    """Divides the thresholds on an object type's energies by exp(θ), and multiplies every tree's scores by exp(θ_gain).

    For one object type that is what an input scale of exp(θ) does, on hardware that has none. θ = 0 is the identity.
    The last parameter is the gain; `ties["input_scale"]` says which feature's thresholds follow which of the others.
    """

    model: Model

    def values(self, theta: Floats, base: Payload) -> dict[str, Floats]:
        """The nodes, as words."""
        return {FIELD: self._forest(theta, base).words.astype(np.float64)}

    def payload(self, theta: Floats, base: Payload) -> Payload:
        """The deployed payload with the turned forest."""
        return base.replace(**{FIELD: self._forest(theta, base).words})

    def per_move(self, field: str, value: Tensor, slope: Tensor) -> Tensor:
        """There is none."""
        raise NotImplementedError("a forest has steps, and no slope at a point")

    def _forest(self, theta: Floats, base: Payload) -> Forest:
        """What the deployed forest becomes.

        Raises:
            Unfit: if the trees' scores would add up to more than the unit holds.
        """
        move = np.clip(theta, -self.max_move, self.max_move)
        try:
            return forest_of(self.model, base).scaled(np.exp(-self.ties["input_scale"] @ move), float(np.exp(move[-1])))
        except ForestError as error:
            raise Unfit(f"{FIELD}: {error}") from error


def forest_knob(model: Model, scale_of: Callable[[str], Scale], max_move: float) -> ForestKnob:
    """The knob for the parameters of `input_scale`, and a gain.

    Args:
        scale_of: as of `scale_knob`.

    Raises:
        Unfit: if the model is no forest.
    """
    if model.forest is None:
        raise Unfit(f"{FIELD}: the model is a network")
    scales = scale_knob(KnobName.INPUT_SCALE, model, scale_of, max_move)
    tied = scales.ties["input_scale"]
    return ForestKnob(
        name=KnobName.FOREST,
        ties={"input_scale": np.hstack([tied, np.zeros((len(tied), 1))])},
        labels=(*scales.labels, "gain"),
        spread=np.append(scales.spread, GAIN_SPREAD),
        centre=np.append(scales.centre, 0.0),
        max_move=max_move,
        acts_on="inputs",
        inputs=True,
        model=model,
    )


def forest_of(model: Model, payload: Payload) -> Forest:
    """The forest that a payload holds for a model that has one."""
    assert model.forest is not None
    return Forest(model.forest.shape, payload.words[payload.layout[FIELD].words])


def as_scales(model: Model, payload: Payload) -> Payload:
    """The payload with the input scales that do what its forest's thresholds on energies do beside the model's own.

    They are by object type; a network's payload is returned as it is.
    """
    if model.forest is None:
        return payload
    old, new = model.forest.nodes, forest_of(model, payload).nodes
    scale = payload.value("input_scale").copy()
    for name in {feature.object for feature in model.features if feature.kind in ENERGIES}:
        columns = model.energies(name)
        on = old.inner & np.isin(old.feature, columns)
        if (total := new.value[on].sum()) > 0:
            scale[columns] *= old.value[on].sum() / total
    kind = payload.layout["input_scale"].type
    return payload.replace_values(input_scale=np.minimum(scale, kind.value(kind.max_raw)))


def move(model: Model, base: Payload, payload: Payload) -> float:
    """The largest |ln| by which a threshold or a score differs beyond its rounding; infinite for another structure."""
    old, new = (forest_of(model, each).nodes for each in (base, payload))
    if any((a != b).any() for a, b in zip(old[1:], new[1:], strict=True)):
        return np.inf
    beyond = np.maximum(np.abs(new.value - old.value) - 1, 0)
    return float(np.log1p(beyond / np.maximum(np.minimum(np.abs(old.value), np.abs(new.value)), 1)).max())
