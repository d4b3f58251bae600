"""Gauss–Newton on the bin probabilities, within a trust region."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recalib.arrays import TINY, Floats
from recalib.errors import Unfit
from recalib.progress import Progress, silent
from recalib.solve.objective import Objective
from recalib.solve.problem import Linear, Problem

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


@dataclass(frozen=True, eq=False)
class Solution:
    """`passes` are forward-backward passes over the events of the fit; a forward one counts a third.

    `errors` (K,) are the standard errors of theta, from the curvature of the KL and the prior.
    """

    theta: Floats
    errors: Floats
    beta: float
    passes: float


def solve(problem: Problem, progress: Progress = silent) -> Solution:
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
    theta, now, passes = _start(problem, theta)
    beta = problem.beta or _beta(problem, now, ridge)
    fit = problem.fit
    objective = Objective(problem.sharp, problem.p_ref, fit.anchor, fit.weights, beta, problem.delta, problem.form)
    value = float(objective(now.scores)) + beta * problem.prior(theta)
    # Leaving everything as it is is a candidate too: a start that is worse on the unseen events is not taken.
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


def _start(problem: Problem, theta: Floats) -> tuple[Floats, Linear, float]:
    """θ or the nearest point to it, on the way to 0, from which few enough events move; its slopes; the passes."""
    now, passes = problem.linear(theta), problem.linear_passes
    if problem.share_moved(now.scores) <= problem.max_share_moved:
        return theta, now, passes
    while problem.share_moved(problem.scores(theta, problem.fit)) > problem.max_share_moved:
        theta, passes = NEARER * theta, passes + 1 / 3
    return theta, problem.linear(theta), passes + problem.linear_passes


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
    return float(np.sqrt(max(cost, TINY) / (PULL * problem.floor)))
