"""Trying one knob: the payload that it gives, and what that does to the events of fit and choice."""

from dataclasses import dataclass, field, replace

import numpy as np

from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.errors import Unfit
from recalib.evidence import SIGMAS, Evidence
from recalib.fit.staged import Staged
from recalib.fit.task import Task
from recalib.knobs.conditions import condition_knob
from recalib.knobs.direct import mapped_lut, moved_cuts
from recalib.knobs.forest import as_scales, forest_knob
from recalib.knobs.knobs import Knob
from recalib.knobs.names import KnobName, Turned
from recalib.knobs.scales import offset_knob, scale_knob
from recalib.knobs.weights import weight_knob
from recalib.loaded import LoadedModel
from recalib.progress import Progress, silent
from recalib.solve.objective import Bins
from recalib.solve.problem import Problem
from recalib.solve.solver import solve

TRUSTED = 0.02
"""Relative error of a rate that a restored p(s) is trusted with, before it is measured."""
TRIM = 0.005
"""From this relative change on a cut is moved."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A payload that one knob gives.

    Args:
        moves, errors: of the knob's parameters, and the standard errors of those that were fitted.
        evidence: on the events of choice.
        known: on those of fit and choice.
        explained: share of the inputs' mismatch that is gone.
        latent_explained: share of the latent values' mismatch that is gone, where weights can be turned.
    """

    knob: Turned
    payload: Payload
    moves: dict[str, float]
    evidence: Evidence
    known: Evidence
    passes: float = 0.0
    beta: float = 0.0
    turns_inputs: bool = False
    explained: float = 0.0
    latent_explained: float | None = None
    seconds: float = 0.0
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def turns_weights(self) -> bool:
        """Whether it turns the last layer."""
        return self.knob.name is KnobName.WEIGHTS

    @property
    def tells_network(self) -> bool:
        """Whether it tells the network what the crossings are like."""
        return self.knob.name is KnobName.CONDITIONING

    @property
    def restores(self) -> bool:
        """Whether it acts on p(s) and not on the cuts alone."""
        return self.knob.name is not KnobName.THRESHOLD


def try_knob(loaded: LoadedModel, task: Task, staged: Staged, name: KnobName, progress: Progress = silent) -> Trial:
    """What one knob can do.

    Raises:
        Unfit: if it can do nothing; the text says why.
    """
    if name is KnobName.THRESHOLD:
        return with_cuts(Trial(Turned(name), task.base, {}, task.choice, task.deployed), task)
    if name is KnobName.LUT:
        payload = mapped_lut(task.fit, task.base, task.target)
        step = np.abs(payload.raw("lut") - task.base.raw("lut")).max()
        return _with_payload(
            loaded, Trial(Turned(name), payload, {"lut": float(step)}, task.choice, task.deployed), task
        )
    turning = problem(loaded, task, staged, name)
    solution = solve(turning, progress)
    if not solution.theta.any():
        raise Unfit(f"{name}: no step lowers the KL of the events kept for the choice")
    turned = turning.knob
    trial = Trial(
        Turned(name),
        turned.payload(solution.theta, task.base),
        turned.moves(solution.theta),
        task.choice,
        task.deployed,
        solution.passes,
        solution.beta,
        turned.inputs,
        errors=turned.moves(solution.errors),
    )
    trial = _with_payload(loaded, trial, task)
    if KnobName.WEIGHTS in task.settings.knobs and loaded.model.has_weights:
        trial = replace(trial, latent_explained=staged.latent_explained(trial.payload))
    return trial


def problem(loaded: LoadedModel, task: Task, staged: Staged, name: KnobName) -> Problem:
    """What is to be solved for a knob that a fit turns."""
    settings, surrogate, lsb = task.settings, loaded.surrogate, loaded.model.lsb
    turned = _knob(loaded, task, staged, name)
    fit, choice = staged.at(turned.acts_on)
    return Problem(
        surrogate=surrogate,
        base=task.base,
        knob=turned,
        fit=fit,
        choice=choice,
        p_ref=surrogate.tensor(task.target.p),
        smooth=Bins.of(loaded.edges, lsb, device=surrogate.device),
        sharp=Bins.of(loaded.edges, lsb, ramp=0.0, device=surrogate.device),
        floor=task.fit.kl_floor,
        n_eff=task.fit.n_eff,
        delta=task.delta,
        beta=settings.beta,
        form=settings.form,
        max_share_moved=settings.max_share_moved,
    )


def with_cuts(trial: Trial, task: Task) -> Trial:
    """With its cuts moved as far as its rates are believed to be off their targets."""
    known = trial.known
    rates = known.rates / believed(known) if trial.restores else None
    payload = moved_cuts(known, trial.payload, rates)
    known = Evidence.of_codes(trial.known.codes, payload.raw("cuts"), trial.known.weights, task.target)
    return replace(
        trial,
        knob=replace(trial.knob, with_cuts=trial.restores),
        payload=payload,
        moves=trial.moves | _cut_moves(task.base, payload),
        known=known,
        evidence=known.take(slice(len(task.fit.codes), None)),
        passes=0.0,
    )


def believed(evidence: Evidence) -> Floats:
    """(n_cuts,) rates over their targets under a payload that restores p(s).

    As measured, drawn towards 1 by how well that is known: the posterior mean under a normal prior of width
    `TRUSTED` around 1, unless the two contradict each other by more than three standard deviations.
    """
    off, both = evidence.rate_ratios - 1, TRUSTED**2 + evidence.rate_errors**2
    weight = np.where(np.abs(off) > SIGMAS * np.sqrt(both), 1.0, TRUSTED**2 / both)
    return np.asarray(1 + weight * off)


def is_off(evidence: Evidence) -> bool:
    """Whether a cut brings some rate nearer to its target."""
    return bool((np.abs(believed(evidence) - 1) > TRIM).any())


def _with_payload(loaded: LoadedModel, trial: Trial, task: Task) -> Trial:
    """With what its payload does to the events of fit and choice, and to their inputs."""
    known = loaded.evidence(trial.payload, task.known, task.target)
    explained = 0.0
    if trial.turns_inputs and task.mismatch > 0:
        scaled = as_scales(loaded.model, trial.payload)
        explained = 1 - task.inputs.mismatch(task.seen, scaled) / task.mismatch
    return replace(trial, known=known, evidence=known.take(slice(len(task.fit.codes), None)), explained=explained)


def _knob(loaded: LoadedModel, task: Task, staged: Staged, name: KnobName) -> Knob:
    model, most = loaded.model, task.settings.max_move
    if name is KnobName.WEIGHTS:
        return weight_knob(model, task.base, staged.hidden_estimate, most)
    if name is KnobName.CONDITIONING:
        return condition_knob(model, task.base, task.pileup)
    if name is KnobName.INPUT_OFFSET:
        return offset_knob(model, staged.scale_of, staged.pedestal_of, most)
    if name is KnobName.FOREST:
        return forest_knob(model, staged.scale_of, most)
    return scale_knob(name, model, staged.scale_of, most)


def _cut_moves(base: Payload, payload: Payload) -> dict[str, float]:
    moved = payload.raw("cuts") - base.raw("cuts")
    return {f"cut{i}": float(step) for i, step in enumerate(moved)}
