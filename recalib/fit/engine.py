"""From a sample of drifted events to a proposal: fit every knob, choose one, let the gates decide."""

import time
from dataclasses import replace

from firmware.datapath.compiled import CompiledDatapath
from firmware.model.package import Package
from recalib.errors import Unfit
from recalib.fit.choice import choose, no_candidate
from recalib.fit.report import judged, rejection
from recalib.fit.staged import Staged
from recalib.fit.task import Task, prepare
from recalib.fit.trials import Trial, is_off, try_knob, with_cuts
from recalib.knobs.names import KnobName
from recalib.loaded import LoadedModel
from recalib.progress import Progress
from recalib.proposal import Candidate, FitProgress, Proposal, Step
from recalib.request import FitRequest


class Engine:
    """Proposes payloads for one model package.

    It sees the package and what came over the wire, nothing else.

    Args:
        package: of the model.
        datapath: compiled, to be held against the integer emulator where there is one.
        device: where the fits run; a GPU where torch finds one.
    """

    def __init__(self, package: Package, datapath: CompiledDatapath | None = None, device: str | None = None) -> None:
        self.loaded = LoadedModel.of(package, device)
        self.datapath = datapath
        self.package = package
        self.emulator = self.loaded.emulator
        self.reference = self.loaded.reference
        self.edges = self.loaded.edges

    def propose(self, request: FitRequest, progress: FitProgress = lambda step: None) -> Proposal:
        """The payload that should follow on `request.words`, or a rejection that says why not.

        Deterministic but for the time it takes. It ends with whatever `progress` raises.
        """
        began = time.monotonic()
        progress(Step("fitting", f"{len(request.sample):,} events"))
        empty = rejection(self.loaded, request)
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
            proposal = judged(self.loaded, self.datapath, task, chosen, reason)
            proposal = replace(proposal, candidates=candidates, passes=passes)
        return replace(proposal, seconds=time.monotonic() - began)

    def prepare(self, request: FitRequest) -> Task:
        """Split the sample and say what the deployed payload makes of it.

        Raises:
            Unfit: if nothing can be fitted to that sample; the text says why.
        """
        return prepare(self.loaded, request)

    def trials(self, task: Task, progress: FitProgress = lambda step: None) -> tuple[list[Trial], list[Candidate]]:
        """What each knob of the settings can do, and the knobs that can do nothing."""
        trials, failures = [], []
        staged = Staged(self.loaded.surrogate, task, self.package.nominal)
        for name in task.settings.knobs:
            began = time.monotonic()
            progress(Step("fitting", str(name)))
            try:
                found = try_knob(self.loaded, task, staged, name, _of_knob(name, progress))
            except Unfit as error:
                failures.append(no_candidate(name, str(error)))
                continue
            trials.append(replace(found, seconds=time.monotonic() - began))
            if found.restores and KnobName.THRESHOLD in task.settings.knobs and is_off(found.known):
                trials.append(with_cuts(found, task))
        return trials, failures


def _of_knob(name: KnobName, progress: FitProgress) -> Progress:
    return lambda text: progress(Step("fitting", f"{name}: {text}"))
