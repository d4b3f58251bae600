"""Gauss–Newton on the bin probabilities, within a trust region."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firmware.model.payload import Payload
from recalib.errors import Unfit
from recalib.knobs.knobs import Knob
from recalib.objective import Bins, Objective, kl
from recalib.surrogate import CHUNK, Surrogate

Floats = NDArray[np.float64]

PULL = 0.1
"""The move term may cost at most this share of the KL's statistical floor: that sets β."""

EMPTY = 1e-3
"""The least p/p_ref that the gradient sees: an empty bin has no slope of its own."""

HARDER, STUCK = 30.0, 1e3
"""By which the damping grows at every step that does not help, and from where on none will."""

NEARER = 0.9
"""By which a start that moves too many events is drawn back to where nothing moves."""

STEPS = 12
PATIENCE = 1
GAIN = 1e-3
"""A step that lowers the objective by less than this share of β times the floor is the last one."""


class Part(NamedTuple):
    """Events of one split as tensors, where the surrogate runs.

    Args:
        x: inputs (n, n_features), or where these stay what the knob's stage gets of them, (n, k).
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
        for x, rings in zip(torch.split(self.x, CHUNK), torch.split(self.rings, CHUNK), strict=True):
            yield x.double(), rings


class Linear(NamedTuple):
    """Scores (n,) and their slopes (n, K) at one θ."""

    scores: Tensor
    slopes: Tensor


@dataclass(frozen=True, eq=False)
class Solution:
    """`passes` are forward-backward passes over the events of the fit; a forward one counts a third.

    `errors` (K,) are the standard errors of theta, from the curvature of the KL and the prior.
    """

    theta: Floats
    errors: Floats
    beta: float
    passes: float


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
        registers = self._registers() | self.surrogate.registers(self.knob.values(theta, self.base))
        with torch.no_grad():
            return torch.cat([self._run(x, rings, registers) for x, rings in part.chunks()])

    @property
    def has_steps(self) -> bool:
        """Whether the knob turns what a forest is given, or the forest: no slope at a point tells anything then."""
        return self.surrogate.model.forest is not None and self.knob.stage == "inputs"

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
        far = (scores - self.fit.deployed).abs() > self.delta
        return float((self.fit.weights * far).sum() / self.fit.weights.sum())

    def divergence(self, scores: Tensor, part: Part) -> float:
        return float(kl(self.sharp.probabilities(scores, part.weights), self.p_ref))

    def prior(self, theta: Floats) -> float:
        """The KL's worth of −ln prior: the likelihood's own weight is N."""
        return float((((theta - self.knob.centre) / self.knob.spread) ** 2).sum() / (2 * self.n_eff))

    def _registers(self) -> dict[str, Tensor]:
        return self.surrogate.registers({field.name: self.base.value(field.name) for field in self.base.layout.fields})

    def _run(self, x: Tensor, rings: Tensor, registers: dict[str, Tensor], scale: Tensor | None = None) -> Tensor:
        surrogate = self.surrogate
        if self.knob.stage == "inputs":
            scale = surrogate.effective_scale(x, registers, rings) if scale is None else scale
            x = surrogate.core(x, registers, scale)
        elif self.knob.stage == "hidden":
            x = surrogate.latent(x, registers)
        return surrogate.score(x, registers)


def _repeated(registers: Tensor, n: int) -> Tensor:
    """For each of n events its own, to be differentiated in."""
    return registers.expand(n, -1).clone().requires_grad_()


def solve(problem: Problem, progress: Callable[[str], None] = lambda text: None) -> Solution:
    """Minimise mean ρ_δ + β·(KL + prior) over the knob, stopping where the KL of the choice split is least.

    The Hessian is β·(Jᵀ diag(1/p_ref) J + prior) with J = ∂p/∂θ, damped after Levenberg and Marquardt. J is
    that of the smooth histogram; whether a step helps is told by the ordinary histogram of exact scores.
    Bounds on |θ| and on the share of events that move by more than δ hold at every step.

    It starts at the prior's centre, or as far on the way there as the bounds allow. Without a given β it is the
    smallest for which the pull of ρ there costs a tenth of the KL's floor: β² = gᵀH⁻¹g/(2·0.1·floor), g = ∂ mean ρ/∂θ
    and H the KL's Hessian.

    Raises:
        Unfit: if the scores do not depend on the knob, or a gradient is not a number.
    """
    k = problem.knob
    bound = np.full(len(k.spread), k.max_move)
    ridge = np.diag(1 / k.spread**2) / problem.n_eff
    theta = np.clip(k.centre, -bound, bound)
    now = problem.linear(theta)
    passes = problem.linear_passes
    if problem.share_moved(now.scores) > problem.max_share_moved:
        while problem.share_moved(problem.scores(theta, problem.fit)) > problem.max_share_moved:
            theta, passes = NEARER * theta, passes + 1 / 3
        now = problem.linear(theta)
        passes += problem.linear_passes
    beta = problem.beta or _beta(problem, now, ridge)
    fit = problem.fit
    objective = Objective(problem.sharp, problem.p_ref, fit.anchor, fit.weights, beta, problem.delta, problem.form)
    value = float(objective(now.scores)) + beta * problem.prior(theta)
    best, best_kl = np.zeros_like(theta), problem.divergence(problem.choice.deployed, problem.choice)
    if (start := problem.divergence(problem.scores(theta, problem.choice), problem.choice)) < best_kl:
        best, best_kl = theta, start
    damping, stale = 1e-3, 0
    for number in range(1, STEPS + 1):
        progress(f"step {number}, KL {best_kl:.5f}")
        gradient, hessian = _model(problem, now, objective.pull(now.scores), beta, ridge, theta)
        errors = np.sqrt(np.diag(np.linalg.inv(hessian)) * beta / problem.n_eff)
        while True:
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), -gradient)
            trial = np.clip(theta + step, -bound, bound)
            scores = problem.scores(trial, problem.fit)
            passes += 1 / 3
            trial_value = float(objective(scores)) + beta * problem.prior(trial)
            if trial_value < value and problem.share_moved(scores) <= problem.max_share_moved:
                break
            damping *= HARDER
            if damping > STUCK:
                return Solution(best, errors, beta, passes)
        gain, value, theta, damping = value - trial_value, trial_value, trial, damping / HARDER
        held_out = problem.divergence(problem.scores(theta, problem.choice), problem.choice)
        passes += 1 / 6
        stale = 0 if held_out < best_kl else stale + 1
        if held_out < best_kl:
            best, best_kl = theta, held_out
        if stale >= PATIENCE or gain < GAIN * beta * problem.floor:
            break
        now = problem.linear(theta)
        passes += problem.linear_passes
    return Solution(best, errors, beta, passes)


def _model(
    problem: Problem, now: Linear, pull: Tensor, beta: float, ridge: Floats, theta: Floats
) -> tuple[Floats, Floats]:
    """Gradient and Gauss–Newton Hessian of the objective in θ."""
    p_ref = problem.p_ref.cpu().numpy()
    change = problem.smooth.tangent(now.scores, now.slopes, problem.fit.weights).cpu().numpy()
    p = problem.sharp.probabilities(now.scores, problem.fit.weights).cpu().numpy()
    slope = change.T @ np.log(np.maximum(p / p_ref, EMPTY))
    gradient = (pull @ now.slopes).cpu().numpy() + beta * (slope + ridge @ (theta - problem.knob.centre))
    hessian = beta * (change.T @ (change / p_ref[:, None]) + ridge)
    if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
        raise Unfit(f"{problem.knob.name}: the gradient is not a number")
    if not change.any():
        raise Unfit(f"{problem.knob.name}: the scores do not depend on it")
    return gradient, hessian


def _beta(problem: Problem, now: Linear, ridge: Floats) -> float:
    p_ref = problem.p_ref.cpu().numpy()
    change = problem.smooth.tangent(now.scores, now.slopes, problem.fit.weights).cpu().numpy()
    weights = problem.fit.weights / problem.fit.weights.sum()
    g = (weights @ now.slopes).cpu().numpy()
    curvature = change.T @ (change / p_ref[:, None]) + ridge
    cost = float(g @ np.linalg.solve(curvature, g)) / 2
    return float(np.sqrt(max(cost, 1e-12) / (PULL * problem.floor)))
