"""Which of the knobs to propose, and what there is to say on each."""

from collections.abc import Iterator

import numpy as np

from recalib.arrays import Floats
from recalib.evidence import SIGMAS, Evidence
from recalib.fit.task import Task
from recalib.fit.trials import Trial, is_off
from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Candidate
from recalib.request import FitSettings

KL_LEFT = 0.5
"""A knob restores p(s) if at most this share of the KL above its floor is left."""

ALIKE, EXPLAINED_ALIKE = 0.1, 0.02
"""Knobs are as good as each other if what they leave of the KL, and of the inputs' mismatch, differs by less than
these shares of what there was."""

ESTIMATED = 0.02
"""Error of an overlap that is estimated from the energies, as `driftd bench recalibrate` finds it."""


def rates_hold(settings: FitSettings, evidence: Evidence) -> bool:
    """Whether every rate is within the tolerance, or one standard error beyond it."""
    off = np.abs(evidence.rate_ratios - 1)
    return bool((off <= settings.rate_tolerance + evidence.rate_errors).all())


def choose(
    task: Task, trials: list[Trial], failures: list[Candidate]
) -> tuple[Trial | None, tuple[Candidate, ...], str]:
    """The trial to propose, what there is to say on each, and the reason.

    A knob that acts on p(s) must bring the KL to at most half, the rates into their tolerance, and must
    be where the drift is: by the data-processing inequality a drift of the inputs shows more in them
    than in the score, so that a mismatch of the inputs beyond the score's KL is a matter for the input
    scales, if they explain it, and for no knob behind them; a smaller one is none for the input scales.
    With these it must decide as the undrifted trigger would, about as well as moved cuts do or better.
    A network that is told what it was not told before is as it was trained, and comes before them all.
    Of those that pass and leave about as little of the KL and of the inputs' mismatch as the best, first those
    whose rates need no cut, then the one with the fewest parameters; where none passes, the cuts alone, if a
    rate is off.
    """
    cuts = next((trial for trial in trials if not trial.restores), None)
    verdict = {trial.knob: "; ".join([*_objections(task, trial), *_less_alike(task, trial, cuts)]) for trial in trials}
    passed = [trial for trial in trials if not verdict[trial.knob]]
    restoring = [trial for trial in passed if trial.restores]
    if restoring:
        least = min(trial.evidence.kl for trial in restoring)
        most = max((trial.explained for trial in restoring if trial.turns_inputs), default=0.0)
        room = EXPLAINED_ALIKE + task.inputs.resolution(task.seen) / max(task.mismatch, 1e-12)
        told = [trial for trial in restoring if trial.tells_network]
        good = told or [
            trial
            for trial in restoring
            if trial.evidence.kl <= least + max(task.choice.kl_floor, ALIKE * task.excess)
            and (trial.turns_weights or trial.explained >= most - room)
            and _latent_alike(trial, restoring)
        ]
        chosen: Trial | None = min(good, key=lambda t: (is_off(t.known) and not t.knob.moves_cuts, len(t.moves)))
    else:
        chosen = passed[0] if passed else None
    for trial in passed:
        verdict[trial.knob] = "chosen" if trial is chosen else "not needed"
    candidates = (*(_candidate(task, trial, verdict[trial.knob]) for trial in trials), *failures)
    if chosen is None:
        return None, candidates, "no knob helps: " + "; ".join(f"{c.knob}: {c.verdict}" for c in candidates)
    text = f"{chosen.knob}: KL {task.choice.kl:.4f} → {chosen.evidence.kl:.4f} (floor {task.choice.kl_floor:.4f})"
    text += f", rates {_ratios(chosen)} of target"
    if chosen.turns_inputs:
        text += f", {chosen.explained:.0%} of the inputs' mismatch explained"
    if chosen is cuts:
        text += _more_alike(task, trials, chosen)
    return chosen, candidates, text


def _latent_alike(trial: Trial, others: list[Trial]) -> bool:
    """Whether it explains about as much of the latent values' mismatch as weights do that could be turned instead."""
    most = max((t.latent_explained or 0.0 for t in others if t.turns_weights), default=0.0)
    return trial.latent_explained is None or trial.latent_explained >= most - ALIKE


def no_candidate(knob: KnobName, why: str) -> Candidate:
    """What there is to say on a knob that gives no payload."""
    return Candidate(Turned(knob), float("nan"), float("nan"), (), float("nan"), 0.0, {}, 0.0, why)


def _shares(values: Floats) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _ratios(trial: Trial) -> str:
    return ", ".join(f"× {ratio:.2f}" for ratio in trial.known.rate_ratios)


def _objections(task: Task, trial: Trial) -> Iterator[str]:
    """Why not to take it."""
    kl, before, excess = trial.evidence.kl, task.choice.kl, task.excess
    if not rates_hold(task.settings, trial.known):
        yield f"rates at {_ratios(trial)} of target"
    if not trial.restores:
        if (np.abs(task.deployed.rate_ratios - 1) <= task.settings.rate_tolerance).all():
            yield "the rates are in their tolerance as it is"
        return
    if task.locality.excess:
        yield "a local excess is not to be calibrated away"
    if excess <= task.choice.kl_floor:
        yield f"the KL of {before:.4f} is at its floor as it is"
    if kl - trial.evidence.kl_floor > KL_LEFT * excess:
        yield f"KL {before:.4f} → {kl:.4f}"
    if trial.turns_weights:
        if (trial.latent_explained or 0.0) < task.settings.min_explained:
            yield f"explains {trial.latent_explained:.0%} of the latent values' mismatch"
        return
    if task.mismatch > excess and not trial.turns_inputs:
        yield f"the inputs have drifted ({task.mismatch:.4f} nats, the score {excess:.4f})"
    if task.mismatch <= excess and trial.turns_inputs:
        yield f"the inputs have not drifted ({task.mismatch:.4f} nats, the score {excess:.4f})"
    elif trial.turns_inputs and trial.explained < task.settings.min_explained:
        yield f"explains {trial.explained:.0%} of the inputs' mismatch of {task.mismatch:.4f} nats"


def estimated_overlap(task: Task, trial: Trial) -> Floats:
    """With what the undrifted trigger would accept, (n_cuts,), as it is estimated; (0,) where it cannot be."""
    return np.zeros(0) if task.undrifted is None else trial.known.overlap(task.undrifted)


def _less_alike(task: Task, trial: Trial, cuts: Trial | None) -> Iterator[str]:
    """Whether cuts that are moved by themselves decide more like the undrifted trigger."""
    if cuts is not None and trial.turns_inputs and _alike(task, trial, cuts) < 0:
        mine, its = (_shares(estimated_overlap(task, t)) for t in (trial, cuts))
        yield f"decides less like the undrifted trigger than moved cuts: overlaps about {mine}, with these {its}"


def _more_alike(task: Task, trials: list[Trial], cuts: Trial) -> str:
    """What to say of a correction of the inputs that would decide more like the undrifted trigger than moved cuts."""
    better = [trial for trial in trials if trial.turns_inputs and _alike(task, trial, cuts) > 0]
    if not better:
        return ""
    best = max(better, key=lambda trial: estimated_overlap(task, trial).mean())
    mine, its = (_shares(estimated_overlap(task, t)) for t in (best, cuts))
    return f"; {best.knob} would decide more like the undrifted trigger (overlaps about {mine} against {its})"


def _alike(task: Task, trial: Trial, cuts: Trial) -> float:
    """By how much its overlap is larger than that of moved cuts, on average over the cuts; 0 within errors."""
    assert task.undrifted is not None, "only energies have input scales"
    change, error = (float(each.mean()) for each in trial.known.overlap_change(cuts.known, task.undrifted))
    return change if abs(change) > max(ESTIMATED, SIGMAS * error) else 0.0


def _candidate(task: Task, trial: Trial, verdict: str) -> Candidate:
    e = trial.evidence
    return Candidate(
        knob=trial.knob,
        kl=e.kl,
        kl_error=e.kl_change(task.choice)[1],
        rates=tuple(trial.known.rates.tolist()),
        retention=float(e.retention(task.choice).min()),
        explained=trial.explained,
        estimated_overlap=tuple(estimated_overlap(task, trial).tolist()),
        moves=trial.moves,
        passes=trial.passes,
        verdict=verdict,
        errors=trial.errors,
    )
