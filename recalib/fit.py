"""From a sample of drifted events to a proposal: fit every knob, choose one, let the gates decide."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from firmware.emulator import Emulator
from firmware.hls import CompiledDatapath
from firmware.package import Package
from firmware.payload import Payload
from monitor.stats.reference import Reference
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target, quantile_map
from recalib.gates import Subject, verdicts
from recalib.inputs import InputReference
from recalib.knobs import mapped_lut, moved_cuts, scale_knob
from recalib.objective import Bins
from recalib.proposal import Candidate, Proposal
from recalib.request import FitRequest, FitSettings
from recalib.sample import EventSample, Split
from recalib.solver import Part, Problem, Solution, solve
from recalib.surrogate import CHUNK, Surrogate

Floats = NDArray[np.float64]
Progress = Callable[[str], None]

MOVE_SHARE = 0.95
MOVE_SLACK = 2.0
"""δ is this multiple of the move that the given share of the events needs at least (monotone map to p_ref)."""

PILEUP_WIDTH = 2.0
"""Reference events count by how near their pile-up is to that of the sample, with this Gaussian width."""

KL_LEFT = 0.5
"""A knob restores p(s) if at most this share of the KL above its floor is left."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A payload that one knob gives, with what it does to the choice split."""

    knob: str
    payload: Payload
    moves: dict[str, float]
    evidence: Evidence
    passes: float = 0.0
    beta: float = 0.0
    turns_inputs: bool = False
    explained: float = 0.0

    @property
    def restores(self) -> bool:
        """Whether it acts on p(s) and not on the cuts alone."""
        return self.knob != "threshold"


@dataclass(frozen=True, eq=False)
class Task:
    """One request, prepared: the parts of its sample and what the deployed payload gives on them."""

    base: Payload
    target: Target
    settings: FitSettings
    split: Split
    fit: Evidence
    choice: Evidence
    inputs: InputReference
    mismatch: float
    delta: float


class Engine:
    """Proposes payloads for one model package.

    It sees the package and what came over the wire, nothing else.

    Args:
        datapath: compiled, to be held against the integer emulator where there is one.
    """

    def __init__(self, package: Package, datapath: CompiledDatapath | None = None) -> None:
        self.package = package
        self.datapath = datapath
        self.emulator = Emulator(package.model)
        self.reference = Reference.from_bytes(package.reference)
        self.edges = self.reference.binning.edges
        self.surrogate = Surrogate(package.model)

    def evidence(self, payload: Payload, sample: EventSample, target: Target) -> Evidence:
        return Evidence.of(self.emulator.run(sample.events, payload), sample.weights, target)

    def propose(self, request: FitRequest, progress: Progress = lambda stage: None) -> Proposal:
        """The payload that should follow on `request.words`, or a rejection that says why not.

        Deterministic but for the time it takes.
        """
        began = time.monotonic()
        progress("fitting")
        empty = self._rejection(request)
        try:
            task = self.prepare(request)
            trials, failures = self.trials(task, progress)
            chosen, candidates, reason = choose(task, trials, failures)
        except Unfit as error:
            return replace(empty, reason=str(error), seconds=time.monotonic() - began)
        progress("gating")
        passes = sum(trial.passes for trial in trials)
        if chosen is None:
            proposal = replace(empty, reason=reason, candidates=candidates, passes=passes, delta=task.delta)
        else:
            proposal = self._judged(task, request.sample, chosen, reason)
            proposal = replace(proposal, candidates=candidates, passes=passes)
        return replace(proposal, seconds=time.monotonic() - began)

    def prepare(self, request: FitRequest) -> Task:
        """Split the sample and say what the deployed payload makes of it.

        Raises:
            Unfit: if nothing can be fitted to that sample; the text says why.
        """
        base = Payload(self.package.model.id, self.package.model.layout, request.words)
        target = Target(self.edges, request.p_ref, request.m, request.rates)
        sample, settings = request.sample, request.settings
        if len(sample) < settings.min_events:
            raise Unfit(f"{len(sample)} events in the sample, {settings.min_events} are needed")
        if not (np.isfinite(target.p).all() and np.isfinite(target.rates).all()):
            raise Unfit("the reference distribution holds a value that is no number")
        if (sample.codes == sample.codes[0]).all():
            raise Unfit(f"every score in the sample is {sample.codes[0]}")
        split = sample.split(settings.seed)
        fit, choice = (self.evidence(base, part, target) for part in (split.fit, split.choice))
        for part, evidence in ((split.fit, fit), (split.choice, choice)):
            wrong = np.count_nonzero(part.codes != evidence.codes)
            if wrong:
                raise Unfit(
                    f"{wrong} of {len(part)} published codes are not those of payload {base.id[:12]}: "
                    "the board does not run what it is thought to run"
                )
        inputs = self._inputs_at(request.pileup)
        mismatch = inputs.mismatch(split.choice.events, split.choice.weights, base)
        delta = settings.delta or self._delta(fit, target)
        return Task(base, target, settings, split, fit, choice, inputs, mismatch, delta)

    def _delta(self, fit: Evidence, target: Target) -> float:
        moved = np.abs(quantile_map(fit.codes, fit.p, target) - fit.codes)
        order = np.argsort(moved)
        place = np.searchsorted(np.cumsum(fit.weights[order]), MOVE_SHARE)
        needed = moved[order][min(int(place), len(moved) - 1)]
        return float(max(1.0, MOVE_SLACK * needed) * self.package.model.lsb)

    def _inputs_at(self, pileup: float | None) -> InputReference:
        """The reference's inputs around a pile-up."""
        reference = self.reference
        weights = 1 / reference.event_inclusion.astype(np.float64)
        if pileup is not None and reference.event_pileup is not None:
            weights = weights * np.exp(-0.5 * ((reference.event_pileup - pileup) / PILEUP_WIDTH) ** 2)
        return InputReference(self.package.model, reference.events, weights)

    def trials(self, task: Task, progress: Progress = lambda stage: None) -> tuple[list[Trial], list[Candidate]]:
        """What each knob of the settings can do, and the knobs that can do nothing."""
        trials, failures = [], []
        for name in task.settings.knobs:
            try:
                found = self._trial(name, task, progress)
            except Unfit as error:
                failures.append(_no_candidate(name, str(error)))
                continue
            trials.append(found)
            if found.restores and "threshold" in task.settings.knobs and not rates_hold(task, found.evidence):
                trials.append(self._with_cuts(found, task))
        return trials, failures

    def _trial(self, name: str, task: Task, progress: Progress) -> Trial:
        if name == "threshold":
            payload = moved_cuts(task.fit, task.base)
            return Trial(name, payload, _cut_moves(task.base, payload), self._on_choice(payload, task))
        if name == "lut":
            payload = mapped_lut(task.fit, task.base, task.target)
            step = np.abs(payload.raw("lut") - task.base.raw("lut")).max()
            return Trial(name, payload, {"lut": float(step)}, self._on_choice(payload, task))
        problem = self._problem(name, task)
        solution: Solution = solve(problem, lambda: progress("fitting"))
        if not solution.theta.any():
            raise Unfit(f"{name}: no step lowers the KL of the events kept for the choice")
        payload = problem.knob.payload(solution.theta, task.base)
        explained = 0.0
        if problem.knob.inputs and task.mismatch > 0:
            part = task.split.choice
            explained = 1 - task.inputs.mismatch(part.events, part.weights, payload) / task.mismatch
        return Trial(
            name,
            payload,
            problem.knob.moves(solution.theta),
            self._on_choice(payload, task),
            solution.passes,
            solution.beta,
            problem.knob.inputs,
            explained,
        )

    def _problem(self, name: str, task: Task) -> Problem:
        part = task.split.fit

        def seen(name: str) -> tuple[float, float]:
            return task.inputs.scale(part.events, part.weights, task.base, name)

        knob = scale_knob(name, self.package.model, seen)
        settings = task.settings
        behind_core = not knob.inputs
        return Problem(
            surrogate=self.surrogate,
            base=task.base,
            knob=knob,
            fit=self._part(task.split.fit, task.fit, task.base, behind_core),
            choice=self._part(task.split.choice, task.choice, task.base, behind_core),
            p_ref=torch.from_numpy(task.target.p.copy()),
            smooth=Bins.of(self.edges, self.package.model.lsb),
            sharp=Bins.of(self.edges, self.package.model.lsb, ramp=0.0),
            floor=task.fit.kl_floor,
            n_eff=task.fit.n_eff,
            delta=task.delta,
            beta=settings.beta,
            form=settings.form,
            max_move=settings.max_move,
            max_share_moved=settings.max_share_moved,
            behind_core=behind_core,
        )

    def _part(self, sample: EventSample, evidence: Evidence, base: Payload, behind_core: bool) -> Part:
        x = torch.from_numpy(sample.events.astype(np.float64))
        if behind_core:
            registers = {f.name: torch.from_numpy(base.value(f.name)) for f in base.layout.fields}
            with torch.no_grad():
                x = torch.cat([self.surrogate.core(part, registers) for part in torch.split(x, CHUNK)])
        deployed = torch.from_numpy(evidence.codes * self.package.model.lsb)
        return Part(x, torch.from_numpy(evidence.weights), deployed)

    def _with_cuts(self, trial: Trial, task: Task) -> Trial:
        payload = moved_cuts(self.evidence(trial.payload, task.split.fit, task.target), trial.payload)
        return replace(
            trial,
            knob=f"{trial.knob}+threshold",
            payload=payload,
            moves=trial.moves | _cut_moves(task.base, payload),
            evidence=self._on_choice(payload, task),
            passes=0.0,
        )

    def _on_choice(self, payload: Payload, task: Task) -> Evidence:
        return self.evidence(payload, task.split.choice, task.target)

    def _judged(self, task: Task, sample: EventSample, chosen: Trial, reason: str) -> Proposal:
        """The chosen trial on the events that neither fit nor choice has seen, and on all for what it promises."""
        held_out = task.split.gates
        before, after = (self.evidence(p, held_out, task.target) for p in (task.base, chosen.payload))
        all_before, all_after = (self.evidence(p, sample, task.target) for p in (task.base, chosen.payload))
        subject = Subject(
            self.package,
            self.surrogate,
            self.emulator,
            self.datapath,
            task.settings,
            task.base,
            chosen.payload,
            held_out,
            before,
            after,
            len(sample),
            chosen.restores,
        )
        gates = verdicts(subject)
        failed = [gate.text for gate in gates if not gate.passed]
        return Proposal(
            stream=self.package.model.name,
            knob=chosen.knob,
            base_id=task.base.id,
            payload_id=chosen.payload.id,
            words=chosen.payload.words,
            accepted=not failed,
            reason=f"{chosen.knob}: " + "; ".join(failed) if failed else reason,
            restores=chosen.restores,
            p_ref=task.target.p,
            predicted=all_after.p,
            events=len(sample),
            n_eff=all_after.n_eff,
            kl_before=before.kl,
            kl_after=after.kl,
            kl_floor=after.kl_floor,
            rates_before=tuple(all_before.rates.tolist()),
            rates_after=tuple(all_after.rates.tolist()),
            rates_target=tuple(task.target.rates.tolist()),
            rate_errors=tuple(all_after.rate_errors.tolist()),
            retention=tuple(all_after.retention(all_before).tolist()),
            move=subject.move,
            beta=chosen.beta,
            delta=task.delta,
            gates=gates,
        )

    def _rejection(self, request: FitRequest) -> Proposal:
        """A proposal to leave everything as it is."""
        sample, name = request.sample, Payload(self.package.model.id, self.package.model.layout, request.words).id
        nothing = (float("nan"),) * len(request.rates)
        return Proposal(
            stream=self.package.model.name,
            knob="none",
            base_id=name,
            payload_id=name,
            words=request.words,
            accepted=False,
            reason="",
            restores=False,
            p_ref=request.p_ref,
            predicted=request.p_ref,
            events=len(sample),
            n_eff=sample.n_eff,
            kl_before=float("nan"),
            kl_after=float("nan"),
            kl_floor=float("nan"),
            rates_before=nothing,
            rates_after=nothing,
            rates_target=tuple(request.rates.tolist()),
            rate_errors=nothing,
            retention=nothing,
            move=0.0,
            beta=0.0,
            delta=0.0,
        )


def rates_hold(task: Task, evidence: Evidence) -> bool:
    """Whether every rate is within the tolerance, or one standard error beyond it."""
    off = np.abs(evidence.rate_ratios - 1)
    return bool((off <= task.settings.rate_tolerance + evidence.rate_errors).all())


def choose(
    task: Task, trials: list[Trial], failures: list[Candidate]
) -> tuple[Trial | None, tuple[Candidate, ...], str]:
    """The trial to propose, what there is to say on each, and the reason.

    A knob that acts on p(s) must bring the KL to at most half, the rates into their tolerance, and must
    be where the drift is: by the data-processing inequality a drift of the inputs shows more in them
    than in the score, so that a mismatch of the inputs beyond the score's KL is a matter for the input
    scales, if they explain it, and for no knob behind them; a smaller one is none for the input scales.
    Of those that pass, the one with the fewest parameters whose KL is not far above the best; where none
    passes, the cuts alone, if a rate is off.
    """
    floor = task.choice.kl_floor
    excess = max(task.choice.kl - floor, 0.0)
    verdict = {trial.knob: "; ".join(_objections(task, trial, excess)) for trial in trials}
    passed = [trial for trial in trials if not verdict[trial.knob]]
    restoring = [trial for trial in passed if trial.restores]
    if restoring:
        least = min(trial.evidence.kl for trial in restoring)
        good = [trial for trial in restoring if trial.evidence.kl <= least + max(floor, 0.1 * excess)]
        chosen: Trial | None = min(good, key=lambda trial: len(trial.moves))
    else:
        chosen = passed[0] if passed else None
    for trial in passed:
        verdict[trial.knob] = "chosen" if trial is chosen else "not needed"
    candidates = tuple(_candidate(task, trial, verdict[trial.knob]) for trial in trials)
    if chosen is None:
        return (
            None,
            (*candidates, *failures),
            "no knob helps: " + "; ".join(f"{c.knob}: {c.verdict}" for c in (*candidates, *failures)),
        )
    e = chosen.evidence
    ratios = ", ".join(f"× {ratio:.2f}" for ratio in e.rate_ratios)
    text = f"{chosen.knob}: KL {task.choice.kl:.4f} → {e.kl:.4f} (floor {floor:.4f}), rates {ratios} of target"
    if chosen.turns_inputs:
        text += f", {chosen.explained:.0%} of the inputs' mismatch explained"
    return chosen, (*candidates, *failures), text


def _objections(task: Task, trial: Trial, excess: float) -> Iterator[str]:
    """Why not to take it."""
    e, before = trial.evidence, task.choice
    if not rates_hold(task, e):
        ratios = ", ".join(f"× {ratio:.2f}" for ratio in e.rate_ratios)
        yield f"rates at {ratios} of target"
    if not trial.restores:
        if (np.abs(before.rate_ratios - 1) <= task.settings.rate_tolerance).all():
            yield "the rates are in their tolerance as it is"
        return
    if e.kl - e.kl_floor > KL_LEFT * excess:
        yield f"KL {before.kl:.4f} → {e.kl:.4f}"
    if task.mismatch > excess and not trial.turns_inputs:
        yield f"the inputs have drifted ({task.mismatch:.4f} nats, the score {excess:.4f})"
    if task.mismatch <= excess and trial.turns_inputs:
        yield f"the inputs have not drifted ({task.mismatch:.4f} nats, the score {excess:.4f})"
    elif trial.turns_inputs and trial.explained < task.settings.min_explained:
        yield f"explains {trial.explained:.0%} of the inputs' mismatch of {task.mismatch:.4f} nats"


def _candidate(task: Task, trial: Trial, verdict: str) -> Candidate:
    e = trial.evidence
    return Candidate(
        knob=trial.knob,
        kl=e.kl,
        kl_error=e.kl_change(task.choice)[1],
        rates=tuple(e.rates.tolist()),
        retention=float(e.retention(task.choice).min()),
        explained=trial.explained,
        moves=trial.moves,
        passes=trial.passes,
        verdict=verdict,
    )


def _no_candidate(knob: str, why: str) -> Candidate:
    return Candidate(knob, float("nan"), float("nan"), (), float("nan"), 0.0, {}, 0.0, why)


def _cut_moves(base: Payload, payload: Payload) -> dict[str, float]:
    moved = payload.raw("cuts") - base.raw("cuts")
    return {f"cut{i}": float(step) for i, step in enumerate(moved)}
