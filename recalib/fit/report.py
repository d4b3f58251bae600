"""What the engine says of a request: a proposal with its evidence, or a rejection with its reason."""

import numpy as np

from firmware.datapath.compiled import CompiledDatapath
from firmware.model.payload import Payload
from recalib.evidence import Evidence, Target
from recalib.fit.gates import Subject, verdicts, vetoes
from recalib.fit.task import Task
from recalib.fit.trials import Trial
from recalib.knobs.names import Turned
from recalib.loaded import LoadedModel
from recalib.proposal import Proposal
from recalib.request import FitRequest


def judged(loaded: LoadedModel, datapath: CompiledDatapath | None, task: Task, chosen: Trial, reason: str) -> Proposal:
    """The chosen trial, judged on the events that neither fit nor choice has seen; what it promises is told on all.

    Args:
        loaded: the model.
        datapath: compiled, to be held against the integer emulator where there is one.
        task: whose trial it is.
        chosen: the trial.
        reason: why it was chosen, if no gate speaks against it.
    """
    subject = _subject(loaded, datapath, task, chosen)
    gates = verdicts(subject)
    failed = vetoes(gates)
    all_before = Evidence.of_codes(task.sample.codes, task.base.raw("cuts"), task.sample.weights, task.target)
    all_after = loaded.evidence(chosen.payload, task.sample, task.target)
    return Proposal(
        stream=loaded.package.model.name,
        knob=chosen.knob,
        base_id=task.base.id,
        payload_id=chosen.payload.id,
        words=chosen.payload.words,
        accepted=not failed,
        reason=f"{chosen.knob}: " + "; ".join(failed) if failed else reason,
        restores=chosen.restores,
        p_ref=task.target.p,
        predicted=all_after.p,
        events=len(task.sample),
        n_eff=all_after.n_eff,
        kl_before=subject.before.kl,
        kl_after=subject.after.kl,
        kl_floor=subject.after.kl_floor,
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
        edges=loaded.edges,
        m=task.target.m,
        cuts_before=tuple(task.base.raw("cuts").tolist()),
        cuts_after=tuple(chosen.payload.raw("cuts").tolist()),
    )


def _subject(loaded: LoadedModel, datapath: CompiledDatapath | None, task: Task, chosen: Trial) -> Subject:
    """The chosen payload on the events that neither fit nor choice has seen."""
    held_out = task.gates
    before = Evidence.of(loaded.emulator.run(held_out.events, task.base), held_out.weights, task.target)
    after = Evidence.of(loaded.emulator.run(held_out.events, chosen.payload), held_out.weights, task.target)
    return Subject(
        loaded,
        datapath,
        task.settings,
        task.base,
        chosen.payload,
        held_out,
        before,
        after,
        len(task.sample),
        task.sample.n_eff,
        chosen.restores,
        task.locality,
        task.inputs.typical,
        chosen.moves,
        chosen.errors,
    )


def rejection(loaded: LoadedModel, request: FitRequest) -> Proposal:
    """A proposal to leave everything as it is, with what the published codes say, if there are any."""
    sample, base = request.sample, Payload(loaded.package.model.id, loaded.package.model.layout, request.words)
    cuts = base.raw("cuts")
    nothing, none = (float("nan"),) * len(request.rates), np.zeros(0)
    seen = None
    if len(sample):
        target = Target(loaded.edges, request.p_ref, request.m, request.rates)
        seen = Evidence.of_codes(sample.codes, cuts, sample.weights, target)
    rates = nothing if seen is None else tuple(seen.rates.tolist())
    kl = float("nan") if seen is None else seen.kl
    return Proposal(
        stream=loaded.package.model.name,
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
        edges=loaded.edges,
        m=request.m,
        cuts_before=tuple(cuts.tolist()),
        cuts_after=tuple(cuts.tolist()),
    )
