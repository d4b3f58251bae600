"""What there is to judge: the engine's choice and every knob of its, and what one would do without an engine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from monitor.bench.recalibrate.scenarios import JET_DOWN, Scenario, Trigger, crossings
from monitor.bench.recalibrate.twins import Ratio, Twins
from recalib.evidence import Evidence
from recalib.fit.choice import estimated_overlap
from recalib.fit.engine import Engine
from recalib.fit.task import Task
from recalib.fit.trials import Trial
from recalib.knobs.direct import mapped_lut, moved_cuts
from recalib.proposal import Candidate, FitProgress
from recalib.request import FitRequest
from recalib.sample import SHARES
from recalib.training import encoder

RETRAINED = (JET_DOWN,)
RETRAIN_EPOCHS = 80
"""The first of those tried whose loss is within 1 % of the best: 4.39, 4.25, 4.16, 4.11 after 10, 20, 40, 80."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A payload on its datapath, and what it took.

    Args:
        passes: forward-backward equivalents over the whole sample.
        beta: weight of the KL.
        comparable: whether its p(s) could be p_ref.
        estimated_overlap: at the first cut, as the engine has it; None where that has none.
    """

    trigger: Trigger
    seconds: float
    passes: float = 0.0
    beta: float = 0.0
    comparable: bool = True
    estimated_overlap: float | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """One scenario of one model, drawn: what the engine may see, and what it may not."""

    engine: Engine
    scenario: Scenario
    request: FitRequest
    twins: Twins
    seed: int

    @property
    def deployed(self) -> Trigger:
        """The nominal payload."""
        return self.trigger(self.engine.package.nominal)

    def trigger(self, payload: Payload) -> Trigger:
        """Any payload on the model's datapath."""
        return Trigger(self.engine.emulator, payload)

    def evidence(self, trigger: Trigger) -> Evidence:
        """On the whole sample of the fit."""
        sample = self.request.sample
        return Evidence.of(trigger.run(sample.events), sample.weights, self.twins.target)


def engines_choice(case: Case) -> tuple[Fitted, dict[str, Any], dict[str, Fitted]]:
    """What it proposes, what it says of that, and every knob by itself.

    A proposal that waits for a person counts by its payload, one that is rejected by the payload that stays.
    """
    engine = Watched(case.engine.package)
    proposal = engine.propose(case.request)
    payload = engine.package.nominal
    if proposal.accepted:
        payload = Payload(payload.model_id, payload.layout, proposal.words)
    said = {
        "knob": str(proposal.knob),
        "accepted": proposal.accepted,
        "needs_approval": proposal.accepted and bool(proposal.attention),
        "reason": "; ".join(filter(None, (proposal.reason, proposal.attention))),
        "verdicts": {str(candidate.knob): candidate.verdict for candidate in proposal.candidates},
    }
    return Fitted(case.trigger(payload), proposal.seconds, proposal.passes * SHARES[0]), said, engine.fits


class Watched(Engine):
    """An engine of which one knows what each knob gave, whatever it chooses, and how long that took.

    What knobs share is in the time of the first of them.

    Attributes:
        fits: by knob, each by itself, and with the cuts after it where it needs them.
    """

    def __init__(self, package: Package) -> None:
        super().__init__(package)
        self.fits: dict[str, Fitted] = {}

    def trials(self, task: Task, progress: FitProgress = lambda step: None) -> tuple[list[Trial], list[Candidate]]:
        """As the engine's own, and kept."""
        found, failures = super().trials(task, progress)
        for trial in found:
            trigger = Trigger(self.emulator, trial.payload)
            estimated = next(iter(estimated_overlap(task, trial).tolist()), None)
            fit = Fitted(trigger, trial.seconds, trial.passes * SHARES[0], trial.beta, estimated_overlap=estimated)
            self.fits[str(trial.knob)] = fit
        return found, failures


def baselines(case: Case) -> dict[str, Fitted]:
    """What one does without an engine, with all events of the same sample and their weights.

    Only an encoder of the objects is trained again.
    """
    base, target = case.engine.package.nominal, case.twins.target
    found = {"fixed_cut": Fitted(case.deployed, 0.0)}
    began = time.monotonic()
    seen = case.evidence(case.deployed)
    found["moved_cut"] = Fitted(case.trigger(moved_cuts(seen, base)), time.monotonic() - began)
    if base.raw("lut").size:
        began = time.monotonic()
        found["lut_map"] = Fitted(case.trigger(mapped_lut(seen, base, target)), time.monotonic() - began)
    model = case.engine.package.model
    if case.scenario.name in RETRAINED and model.layers and model.n_features == encoder.SIZES[0]:
        found["retrain"] = retrained(case)
    return found


def retrained(case: Case) -> Fitted:
    """A new model from as many drifted crossings, its cuts where the sample has the target rates."""
    model, n = case.engine.package.model, len(case.request.sample)
    events = crossings(case.scenario, case.seed, n)
    began = time.monotonic()
    new = encoder.train(case.seed, events, model.n_cuts, epochs=RETRAIN_EPOCHS, progress=lambda text: None)
    unused = Trigger(Emulator(new), Payload.nominal(new, np.zeros(new.n_cuts, np.int64)))
    payload = moved_cuts(case.evidence(unused), unused.payload)
    seconds = time.monotonic() - began
    return Fitted(Trigger(unused.emulator, payload), seconds, float(RETRAIN_EPOCHS), comparable=False)


def sampling_error(case: Case, moved_cut: Trigger) -> float:
    """Relative error of the first cut's rate from the sample's statistics."""
    sample = case.request.sample
    accepts = moved_cut.run(sample.events).accepts[:, 0]
    rate = Ratio.of(sample.weights * accepts, sample.weights)
    return rate.error / rate.value
