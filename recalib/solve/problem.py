"""One knob on one sample: the scores that it gives, and their slopes in its parameters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.knobs.knobs import Knob
from recalib.solve.objective import Bins, kl
from recalib.surrogate.surrogate import CACHED_EVENTS, Surrogate


class Part(NamedTuple):
    """Events of one split as tensors, where the surrogate runs.

    Args:
        x: inputs (n, n_features), or where these stay what the knob's registers get of them, (n, k).
        rings: (n, ringed features), `Surrogate.ring_index` of the inputs.
        weights: (n,).
        deployed: scores (n,) of the deployed payload.
        anchor: scores (n,) from which the objective counts moves.
    """

    x: Tensor
    rings: Tensor
    weights: Tensor
    deployed: Tensor
    anchor: Tensor

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and rings of as many events as stay in the cache."""
        for x, rings in zip(torch.split(self.x, CACHED_EVENTS), torch.split(self.rings, CACHED_EVENTS), strict=True):
            yield x.double(), rings


class Linear(NamedTuple):
    """Scores (n,) and their slopes (n, K) at one θ."""

    scores: Tensor
    slopes: Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """One knob on one sample.

    Args:
        floor: the KL that statistics alone give on the events of the fit.
        n_eff: equally weighted events of the fit.
    """

    surrogate: Surrogate
    base: Payload
    knob: Knob
    fit: Part
    choice: Part
    p_ref: Tensor
    smooth: Bins
    sharp: Bins
    floor: float
    n_eff: float
    delta: float
    beta: float | None
    form: str
    max_share_moved: float

    def scores(self, theta: Floats, part: Part) -> Tensor:
        """Of a part (n,) at θ, without gradients."""
        registers = self._registers() | self.surrogate.registers(self.knob.values(theta, self.base))
        with torch.no_grad():
            return torch.cat([self._run(x, rings, registers) for x, rings in part.chunks()])

    @property
    def has_steps(self) -> bool:
        """Whether the knob turns what a forest is given, or the forest: no slope at a point tells anything then."""
        return self.surrogate.model.forest is not None and self.knob.acts_on == "inputs"

    @property
    def linear_passes(self) -> float:
        """What `linear` takes, in forward-backward passes."""
        return (2 * len(self.knob.spread) + 1) / 3 if self.has_steps else 1.0

    def linear(self, theta: Floats) -> Linear:
        """The scores at θ and their slopes; where there are steps, over the prior's spread to both sides."""
        if not self.has_steps:
            return self._tangent(theta)
        slopes = [
            (self.scores(theta + step, self.fit) - self.scores(theta - step, self.fit)) / (2 * step.sum())
            for step in np.diag(self.knob.spread)
        ]
        return Linear(self.scores(theta, self.fit), torch.stack(slopes, dim=1))

    def _tangent(self, theta: Floats) -> Linear:
        """One forward-backward pass: each event's own slope, as the registers are repeated per event."""
        values = self.surrogate.registers(self.knob.values(theta, self.base))
        registers = self._registers() | values
        ties = self.surrogate.registers(self.knob.ties)
        scores, slopes = [], []
        for x, rings in self.fit.chunks():
            if self.knob.inputs:
                scale = _repeated(self.surrogate.effective_scale(x, registers, rings), len(x))
                added = {name: _repeated(registers[name], len(x)) for name in ties if name == "input_offset"}
                own = dict.fromkeys(ties, scale) | added
                score = self._run(x, rings, registers | added, scale)
            else:
                own = {field: _repeated(value, len(x)) for field, value in values.items()}
                score = self._run(x, rings, registers | own)
            gradients = torch.autograd.grad(score.sum(), list(own.values()))
            scores.append(score.detach())
            along = [
                self._along(self.knob.per_move(field, value.detach(), slope), rings, field, ties[field])
                for (field, value), slope in zip(own.items(), gradients, strict=True)
            ]
            slopes.append(torch.stack(along).sum(dim=0))
        return Linear(torch.cat(scores), torch.cat(slopes))

    def _along(self, per_move: Tensor, rings: Tensor, field: str, tie: Tensor) -> Tensor:
        """∂s/∂θ (n, K) from the slopes in the moves of each event's own registers."""
        if field != "ring_scale":
            return per_move @ tie
        return torch.einsum("nj,njk->nk", per_move[:, self.surrogate.ringed], tie[rings.long()])

    def share_moved(self, scores: Tensor) -> float:
        """Of the weights of the fit, where the score moves by more than δ."""
        far = (scores - self.fit.deployed).abs() > self.delta
        return float((self.fit.weights * far).sum() / self.fit.weights.sum())

    def divergence(self, scores: Tensor, part: Part) -> float:
        """The KL of a part with these scores, by the ordinary histogram."""
        return float(kl(self.sharp.probabilities(scores, part.weights), self.p_ref))

    def prior(self, theta: Floats) -> float:
        """The KL's worth of −ln prior: the likelihood's own weight is N."""
        return float((((theta - self.knob.centre) / self.knob.spread) ** 2).sum() / (2 * self.n_eff))

    def _registers(self) -> dict[str, Tensor]:
        return self.surrogate.registers({field.name: self.base.value(field.name) for field in self.base.layout.fields})

    def _run(self, x: Tensor, rings: Tensor, registers: dict[str, Tensor], scale: Tensor | None = None) -> Tensor:
        surrogate = self.surrogate
        if self.knob.acts_on == "inputs":
            scale = surrogate.effective_scale(x, registers, rings) if scale is None else scale
            x = surrogate.core(x, registers, scale)
        elif self.knob.acts_on == "hidden":
            x = surrogate.latent(x, registers)
        return surrogate.score(x, registers)


def _repeated(registers: Tensor, n: int) -> Tensor:
    """For each of n events its own, to be differentiated in."""
    return registers.expand(n, -1).clone().requires_grad_()
