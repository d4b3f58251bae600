"""From a sample of drifted events to a proposal: fit every knob, choose one, let the gates decide."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from monitor.stats.count.reference import Reference
from recalib.choice import Task, Trial, believed, choose, is_off, no_candidate
from recalib.errors import Unfit
from recalib.evidence import Evidence, Target, quantile_map
from recalib.gates import Subject, verdicts, vetoes
from recalib.inputs.hidden import HiddenReference, HiddenTell
from recalib.inputs.inputs import InputReference, Pedestal, Tell
from recalib.inputs.locality import locality
from recalib.knobs.forest import as_scales, forest_knob
from recalib.knobs.knobs import (
    Knob,
    Stage,
    condition_knob,
    mapped_lut,
    moved_cuts,
    offset_knob,
    scale_knob,
    weight_knob,
)
from recalib.knobs.names import KnobName, Turned
from recalib.objective import Bins
from recalib.proposal import Candidate, Proposal, Step
from recalib.request import FitRequest
from recalib.sample import EventSample
from recalib.solver import Part, Problem, Solution, solve
from recalib.surrogate import Surrogate

Floats = NDArray[np.float64]
Progress = Callable[[Step], None]

MOVE_SHARE = 0.95
MOVE_SLACK = 2.0
"""δ is this multiple of the move that the given share of the events needs at least (monotone map to p_ref)."""

PILEUP_WIDTH = 3.0
"""Reference events count by how near their pile-up is to that of the sample, with this Gaussian width;"""
FAR = 3.5
"""beyond so many widths they do not count."""


class Engine:
    """Proposes payloads for one model package.

    It sees the package and what came over the wire, nothing else.

    Args:
        datapath: compiled, to be held against the integer emulator where there is one.
        device: where the fits run; a GPU where torch finds one.
    """

    def __init__(self, package: Package, datapath: CompiledDatapath | None = None, device: str | None = None) -> None:
        self.package = package
        self.datapath = datapath
        self.emulator = Emulator(package.model)
        self.reference = Reference.from_bytes(package.reference)
        self.edges = self.reference.binning.edges
        self.surrogate = Surrogate(package.model, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def evidence(self, payload: Payload, sample: EventSample, target: Target) -> Evidence:
        codes = self.surrogate.codes(sample.events, payload)
        return Evidence.of_codes(codes, payload.raw("cuts"), sample.weights, target)

    def propose(self, request: FitRequest, progress: Progress = lambda step: None) -> Proposal:
        """The payload that should follow on `request.words`, or a rejection that says why not.

        Deterministic but for the time it takes. It ends with whatever `progress` raises.
        """
        began = time.monotonic()
        progress(Step("fitting", f"{len(request.sample):,} events"))
        empty = self._rejection(request)
        try:
            task = self.prepare(request)
            trials, failures = self.trials(task, progress)
            chosen, candidates, reason = choose(task, trials, failures)
        except Unfit as error:
            return replace(empty, reason=str(error), seconds=time.monotonic() - began)
        progress(Step("gating", "no knob helps" if chosen is None else str(chosen.knob)))
        passes = sum(trial.passes for trial in trials)
        if chosen is None:
            proposal = replace(
                empty,
                reason=reason,
                attention=task.locality.excess,
                candidates=candidates,
                passes=passes,
                delta=task.delta,
            )
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
        if sample.n_eff < settings.min_effective:
            raise Unfit(
                f"the sample is as precise as {sample.n_eff:.0f} equally weighted events, "
                f"{settings.min_effective:g} are needed"
            )
        if not (np.isfinite(target.p).all() and np.isfinite(target.rates).all()):
            raise Unfit("the reference distribution holds a value that is no number")
        if (sample.codes == sample.codes[0]).all():
            raise Unfit(f"every score in the sample is {sample.codes[0]}")
        split = sample.split(settings.seed)
        known = split.fit.joined(split.choice)
        deployed = self.evidence(base, known, target)
        if wrong := np.count_nonzero(known.codes != deployed.codes):
            raise Unfit(
                f"{wrong} of {len(known)} published codes are not those of payload {base.id[:12]}: "
                "the board does not run what it is thought to run"
            )
        fit, choice = deployed.take(slice(0, len(split.fit))), deployed.take(slice(len(split.fit), None))
        near = self._near(request.pileup)
        events, weights = self.reference.events[near > 0], near[near > 0]
        inputs = InputReference(self.package.model, events, weights)
        told, seen = (inputs.observe(part.events, part.weights) for part in (split.fit, split.choice))
        return Task(
            base=base,
            target=target,
            settings=settings,
            known=known,
            gates=split.gates,
            fit=fit,
            choice=choice,
            deployed=deployed,
            pileup=request.pileup,
            reference=events,
            reference_weights=weights,
            inputs=inputs,
            told=told,
            seen=seen,
            mismatch=inputs.mismatch(seen, as_scales(self.package.model, base)),
            undrifted=self._undrifted(inputs, known, base, deployed),
            delta=settings.delta or self._delta(fit, target),
            locality=locality(
                self.package.model, self.reference, near, sample, base, target.p, target.rates, request.pileup
            ),
        )

    def _undrifted(
        self, inputs: InputReference, known: EventSample, base: Payload, deployed: Evidence
    ) -> NDArray[np.bool_] | None:
        """What the nominal model would accept (n, n_cuts) at the target's rates of the events without their drift."""
        nominal = self.package.nominal
        if not self.package.model.is_energy.any():
            return None
        events = inputs.undrifted(inputs.observe(known.events, known.weights), known.events)
        if self.package.model.conditions:
            nominal = nominal.replace(conditioning=base.raw("conditioning"))
        codes = self.surrogate.codes(events, nominal)
        twins = Evidence.of_codes(codes, nominal.raw("cuts"), deployed.weights, deployed.target)
        return np.asarray(codes[:, None] >= moved_cuts(twins, nominal).raw("cuts"))

    def _delta(self, fit: Evidence, target: Target) -> float:
        moved = np.abs(quantile_map(fit.codes, fit.p, target) - fit.codes)
        order = np.argsort(moved)
        place = np.searchsorted(np.cumsum(fit.weights[order]), MOVE_SHARE)
        needed = moved[order][min(int(place), len(moved) - 1)]
        return float(max(1.0, MOVE_SLACK * needed) * self.package.model.lsb)

    def _near(self, pileup: float | None) -> Floats:
        """Weights (k,) of the reference's events around a pile-up, 0 far from it."""
        reference = self.reference
        weights = 1 / reference.event_inclusion.astype(np.float64)
        if pileup is not None and reference.event_pileup is not None:
            away = np.abs(reference.event_pileup - pileup) / PILEUP_WIDTH
            weights = np.where(away < FAR, weights * np.exp(-0.5 * away**2), 0.0)
        return weights

    def trials(self, task: Task, progress: Progress = lambda step: None) -> tuple[list[Trial], list[Candidate]]:
        """What each knob of the settings can do, and the knobs that can do nothing."""
        trials, failures = [], []
        parts = _Parts(self.surrogate, task, self.package.nominal)
        for name in task.settings.knobs:
            began = time.monotonic()
            progress(Step("fitting", name))
            try:
                found = self._trial(name, task, parts, progress)
            except Unfit as error:
                failures.append(no_candidate(name, str(error)))
                continue
            trials.append(replace(found, seconds=time.monotonic() - began))
            if found.restores and KnobName.THRESHOLD in task.settings.knobs and is_off(found.known):
                trials.append(self._with_cuts(found, task))
        return trials, failures

    def _trial(self, name: KnobName, task: Task, parts: "_Parts", progress: Progress) -> Trial:
        if name is KnobName.THRESHOLD:
            return self._with_cuts(Trial(Turned(name), task.base, {}, task.choice, task.deployed), task)
        if name is KnobName.LUT:
            payload = mapped_lut(task.fit, task.base, task.target)
            step = np.abs(payload.raw("lut") - task.base.raw("lut")).max()
            return self._with_payload(
                Trial(Turned(name), payload, {"lut": float(step)}, task.choice, task.deployed), task
            )
        problem = self._problem(name, task, parts)
        solution: Solution = solve(problem, lambda text: progress(Step("fitting", f"{name}: {text}")))
        if not solution.theta.any():
            raise Unfit(f"{name}: no step lowers the KL of the events kept for the choice")
        turned = problem.knob
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
        trial = self._with_payload(trial, task)
        if KnobName.WEIGHTS in task.settings.knobs and self.package.model.has_weights:
            trial = replace(trial, latent_explained=parts.latent_explained(trial.payload))
        return trial

    def _with_payload(self, trial: Trial, task: Task) -> Trial:
        """With what its payload does to the events of fit and choice, and to their inputs."""
        known = self.evidence(trial.payload, task.known, task.target)
        explained = 0.0
        if trial.turns_inputs and task.mismatch > 0:
            scaled = as_scales(self.package.model, trial.payload)
            explained = 1 - task.inputs.mismatch(task.seen, scaled) / task.mismatch
        return replace(trial, known=known, evidence=known.take(slice(len(task.fit.codes), None)), explained=explained)

    def _with_cuts(self, trial: Trial, task: Task) -> Trial:
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

    def _knob(self, name: KnobName, task: Task, parts: "_Parts") -> Knob:
        model, most = self.package.model, task.settings.max_move
        if name is KnobName.WEIGHTS:
            return weight_knob(model, task.base, parts.tell_hidden, most)
        if name is KnobName.CONDITIONING:
            return condition_knob(model, task.base, task.pileup)
        if name is KnobName.INPUT_OFFSET:
            return offset_knob(model, parts.tell, parts.pedestal, most)
        if name is KnobName.FOREST:
            return forest_knob(model, parts.tell, most)
        return scale_knob(name, model, parts.tell, most)

    def _problem(self, name: KnobName, task: Task, parts: "_Parts") -> Problem:
        settings, surrogate, lsb = task.settings, self.surrogate, self.package.model.lsb
        turned = self._knob(name, task, parts)
        fit, choice = parts.at(turned.stage)
        return Problem(
            surrogate=surrogate,
            base=task.base,
            knob=turned,
            fit=fit,
            choice=choice,
            p_ref=surrogate.tensor(task.target.p),
            smooth=Bins.of(self.edges, lsb, device=surrogate.device),
            sharp=Bins.of(self.edges, lsb, ramp=0.0, device=surrogate.device),
            floor=task.fit.kl_floor,
            n_eff=task.fit.n_eff,
            delta=task.delta,
            beta=settings.beta,
            form=settings.form,
            max_share_moved=settings.max_share_moved,
        )

    def _judged(self, task: Task, sample: EventSample, chosen: Trial, reason: str) -> Proposal:
        """The chosen trial on the events that neither fit nor choice has seen, and on all for what it promises."""
        held_out = task.gates
        before = Evidence.of(self.emulator.run(held_out.events, task.base), held_out.weights, task.target)
        after = Evidence.of(self.emulator.run(held_out.events, chosen.payload), held_out.weights, task.target)
        all_before = Evidence.of_codes(sample.codes, task.base.raw("cuts"), sample.weights, task.target)
        all_after = self.evidence(chosen.payload, sample, task.target)
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
            sample.n_eff,
            chosen.restores,
            task.locality,
            task.inputs.typical,
            chosen.moves,
            chosen.errors,
        )
        gates = verdicts(subject)
        failed = vetoes(gates)
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
            attention=task.locality.excess,
            gates=gates,
            seen=all_before.p,
            squares=all_after.squares,
            edges=self.edges,
            m=task.target.m,
            cuts_before=tuple(task.base.raw("cuts").tolist()),
            cuts_after=tuple(chosen.payload.raw("cuts").tolist()),
        )

    def _rejection(self, request: FitRequest) -> Proposal:
        """A proposal to leave everything as it is, with what the published codes say, if there are any."""
        sample, base = request.sample, Payload(self.package.model.id, self.package.model.layout, request.words)
        cuts = base.raw("cuts")
        nothing, none = (float("nan"),) * len(request.rates), np.zeros(0)
        seen = None
        if len(sample):
            target = Target(self.edges, request.p_ref, request.m, request.rates)
            seen = Evidence.of_codes(sample.codes, cuts, sample.weights, target)
        rates = nothing if seen is None else tuple(seen.rates.tolist())
        kl = float("nan") if seen is None else seen.kl
        return Proposal(
            stream=self.package.model.name,
            knob=Turned(),
            base_id=base.id,
            payload_id=base.id,
            words=request.words,
            accepted=False,
            reason="",
            restores=False,
            p_ref=request.p_ref,
            predicted=none if seen is None else seen.p,
            events=len(sample),
            n_eff=sample.n_eff,
            kl_before=kl,
            kl_after=kl,
            kl_floor=float("nan") if seen is None else seen.kl_floor,
            rates_before=rates,
            rates_after=rates,
            rates_target=tuple(request.rates.tolist()),
            rate_errors=nothing if seen is None else tuple(seen.rate_errors.tolist()),
            retention=nothing if seen is None else (1.0,) * len(rates),
            move=0.0,
            beta=0.0,
            delta=0.0,
            seen=none if seen is None else seen.p,
            squares=none if seen is None else seen.squares,
            edges=self.edges,
            m=request.m,
            cuts_before=tuple(cuts.tolist()),
            cuts_after=tuple(cuts.tolist()),
        )


def _cut_moves(base: Payload, payload: Payload) -> dict[str, float]:
    moved = payload.raw("cuts") - base.raw("cuts")
    return {f"cut{i}": float(step) for i, step in enumerate(moved)}


class _Parts:
    """What all knobs need, made once: the events of fit and choice where the surrogate runs, what the inputs say.

    Args:
        nominal: the payload from which the objective counts moves where its anchor is the nominal one.
    """

    def __init__(self, surrogate: Surrogate, task: Task, nominal: Payload) -> None:
        self._surrogate = surrogate
        self._task = task
        self._nominal = nominal
        self._told: dict[str, Tell] = {}

    def tell(self, name: str) -> Tell:
        """What the energies of an object type alone say of its scale."""
        if name not in self._told:
            base = as_scales(self._surrogate.model, self._task.base)
            self._told[name] = self._task.inputs.tell(self._task.told, base, name)
        return self._told[name]

    def pedestal(self, name: str) -> Pedestal | None:
        """What they say of its scale and an offset together."""
        return self._task.inputs.pedestal(self._task.told, as_scales(self._surrogate.model, self._task.base), name)

    def tell_hidden(self) -> HiddenTell:
        """What the numbers alone tell that the last layer gets."""
        fit, _ = self.hidden
        return self._hidden_reference.tell(fit.x.double().cpu().numpy(), fit.weights.cpu().numpy())

    def latent_explained(self, payload: Payload) -> float:
        """The share of the latent values' mismatch that is gone under a payload, but for its latent registers."""
        before, (_, choice) = self._latent_mismatch, self.inputs
        choice = self._behind(choice, self._surrogate.core, self._surrogate.of(payload))
        return 1 - self._mismatch(choice) / before if before > 0 else 0.0

    @cached_property
    def _latent_mismatch(self) -> float:
        _, choice = self.latent
        return self._mismatch(choice)

    def _mismatch(self, latent: Part) -> float:
        return self._hidden_reference.mismatch(latent.x.cpu().numpy(), latent.weights.cpu().numpy())

    @cached_property
    def _hidden_reference(self) -> HiddenReference:
        return HiddenReference(self._surrogate, self._nominal, self._task.reference, self._task.reference_weights)

    @cached_property
    def inputs(self) -> tuple[Part, Part]:
        surrogate, task = self._surrogate, self._task
        lsb = surrogate.model.lsb
        deployed = task.deployed.codes
        anchor = deployed if task.settings.anchor == "deployed" else surrogate.codes(task.known.events, self._nominal)
        whole = Part(
            torch.tensor(task.known.events, device=surrogate.device),
            surrogate.ring_index(task.known.events),
            surrogate.tensor(task.known.weights),
            surrogate.tensor(deployed * lsb),
            surrogate.tensor(anchor * lsb),
        )
        n = len(task.fit.codes)
        return Part(*(column[:n] for column in whole)), Part(*(column[n:] for column in whole))

    @cached_property
    def hidden(self) -> tuple[Part, Part]:
        """With what the last layer gets in place of the inputs."""
        registers = self._surrogate.of(self._task.base)
        fit, choice = (self._behind(part, self._surrogate.hidden, registers) for part in self.inputs)
        return fit, choice

    @cached_property
    def latent(self) -> tuple[Part, Part]:
        """With the latent values in place of the inputs."""
        registers = self._surrogate.of(self._task.base)
        with torch.no_grad():
            fit, choice = (part._replace(x=self._surrogate.latent(part.x, registers)) for part in self.hidden)
        return fit, choice

    def _behind(self, part: Part, run: Callable[..., Tensor], registers: dict[str, Tensor]) -> Part:
        """With what a part of the surrogate makes of the inputs in their place."""
        scale = self._surrogate.effective_scale
        with torch.no_grad():
            found = [run(x, registers, scale(x, registers, rings)) for x, rings in part.chunks()]
        return part._replace(x=torch.cat(found))

    def at(self, stage: Stage) -> tuple[Part, Part]:
        """With what the registers of that stage act on."""
        match stage:
            case "inputs":
                return self.inputs
            case "hidden":
                return self.hidden
        return self.latent
