"""A family of registers that a fit turns, as a function of few parameters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.knobs.names import KnobName

ActsOn = Literal["inputs", "hidden", "latent"]
"""What registers act on: the inputs, what the last layer gets, or the latent values."""


@dataclass(frozen=True, eq=False)
class Knob(ABC):
    """Turns the registers of some fields; register j moves by Σ_k tie_jk θ_k.

    θ = 0 is the identity. The result is rounded to the registers' grid by the payload.

    Args:
        ties: by name of the register field (registers, K), which register follows which parameter.
        labels: of the K parameters.
        spread, centre: (K,), the prior's standard deviations and means.
        max_move: of a parameter, and of a register that is multiplied.
        acts_on: what the first of its registers act on.
        inputs: whether it corrects the inputs, so that these can be compared with the reference's.
    """

    name: KnobName
    ties: dict[str, Floats]
    labels: tuple[str, ...]
    spread: Floats
    centre: Floats
    max_move: float
    acts_on: ActsOn = "latent"
    inputs: bool = False

    @abstractmethod
    def values(self, theta: Floats, base: Payload) -> dict[str, Floats]:
        """Not yet rounded, by field."""

    @abstractmethod
    def per_move(self, field: str, value: Tensor, slope: Tensor) -> Tensor:
        """Slopes in the moves of a field's registers from those in their values."""

    def payload(self, theta: Floats, base: Payload) -> Payload:
        """The deployed payload with the turned registers, each on its grid and within its range."""
        values = self.values(theta, base)
        kinds = {field: base.layout[field].type for field in values}
        return base.replace_values(
            **{
                f: np.clip(v, kinds[f].value(kinds[f].min_raw), kinds[f].value(kinds[f].max_raw))
                for f, v in values.items()
            }
        )

    def moves(self, theta: Floats) -> dict[str, float]:
        """By label, how far each parameter is moved."""
        return dict(zip(self.labels, theta.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class LinearKnob(Knob):
    """Adds to some fields, deployed_j + Σ_k tie_jk θ_k, and multiplies others, deployed_j · exp(Σ_k tie_jk θ_k).

    Args:
        added: the fields of the first sort.
        limits: lowest and highest values of the registers of a field.
    """

    added: tuple[str, ...] = ()
    limits: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)

    def values(self, theta: Floats, base: Payload) -> dict[str, Floats]:
        """Moved along the ties, within the trust region and the limits."""
        most = self.max_move
        found = {}
        for name, tie in self.ties.items():
            if name in self.added:
                found[name] = base.value(name) + tie @ np.clip(theta, -most, most)
            else:
                found[name] = base.value(name) * np.exp(np.clip(tie @ theta, -most, most))
        return found | {name: np.clip(found[name], *ends) for name, ends in self.limits.items()}

    def per_move(self, field: str, value: Tensor, slope: Tensor) -> Tensor:
        """An added register moves by itself, a multiplied one by its own share."""
        return slope if field in self.added else slope * value
