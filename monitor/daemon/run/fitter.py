"""One stream's way to its fits: what is asked of the worker, and what becomes of its answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog
from prometheus_client import Histogram

from firmware.errors import FirmwareError
from firmware.model.payload import Payload
from monitor.config import StreamSettings
from monitor.daemon.run.collected import Collected
from monitor.daemon.run.loaded import LoadedStream
from monitor.daemon.run.payloads import Payloads
from monitor.daemon.run.record import Record
from monitor.daemon.run.steerer import Steerer
from monitor.loop.events import FitEnded, PushJudged
from monitor.store.kinds import JUDGEMENT
from monitor.terms import Moment
from recalib.errors import RecalibError
from recalib.proposal import Judgement, Proposal, Step
from recalib.request import FitRequest, FitSettings, JudgeRequest


class Worker(Protocol):
    """Where the fits are computed, each call within a deadline in seconds.

    Raises:
        RecalibError, ProcessError: by every method, where there is no answer.
    """

    def warm_up(self, cache: Path, deadline: float) -> str:
        """Get ready for the next fit; which executions stand behind a payload, for people."""

    def propose(self, request: FitRequest, deadline: float, progress: Callable[[Step], None]) -> Proposal:
        """Fit every knob, choose one, and let the gates decide. What ``progress`` raises ends the fit."""

    def judge(self, request: JudgeRequest, deadline: float) -> Judgement:
        """Hold the payload in force against the one before."""


class Fitter:
    """Fits and judges in the worker; nothing here decides."""

    def __init__(
        self,
        loaded: LoadedStream,
        worker: Worker,
        collected: Collected,
        payloads: Payloads,
        steerer: Steerer | None,
        record: Record,
        cache: Path,
        seconds: Histogram,
    ) -> None:
        self.datapath = "not built yet"
        self.proposals: Counter[tuple[str, str]] = Counter()
        self._loaded = loaded
        self._settings = loaded.settings
        self._worker = worker
        self._collected = collected
        self._payloads = payloads
        self._steerer = steerer
        self._record = record
        self._cache = cache
        self._seconds = seconds
        self._log = structlog.get_logger(stream=loaded.name)

    def use(self, settings: StreamSettings) -> None:
        """Go by other settings from the next call on."""
        self._settings = settings

    async def warm_up(self) -> None:
        """Have the worker start, with the compiled datapath in hand."""
        try:
            self.datapath = await asyncio.to_thread(
                self._worker.warm_up, self._cache, self._settings.recalibrate.deadline_s
            )
        except (FirmwareError, RecalibError) as error:
            self.datapath = f"the fit's worker did not start: {error}"
            self._log.error("no worker", why=str(error))

    async def fit(self, task: int, since: Moment, active: Payload, progress: Callable[[Step], None]) -> FitEnded:
        """Fit the events since then, and keep the proposal with its payload."""
        request = self._fit_request(since, active)
        with self._seconds.time():
            proposal = await asyncio.to_thread(
                self._worker.propose, request, self._settings.recalibrate.deadline_s, progress
            )
        model, name = self._loaded.package.model, self._loaded.name
        self.proposals[str(proposal.knob.alone), "accepted" if proposal.accepted else "rejected"] += 1
        payload = self._payloads.keep(Payload(model.id, model.layout, proposal.words), f"proposal {proposal.id}")
        self._record.add_proposal(proposal.id, name, proposal.to_dict())
        return FitEnded(task, proposal.id, payload.id, proposal.accepted, proposal.reason, proposal.attention)

    async def judge(self, task: int, since: Moment, old: Payload, new: Payload, steered: bool) -> PushJudged:
        """Hold two payloads against each other on the events since then; ``steered``: cuts follow by themselves."""
        wanted = self._collected.wanted(since)
        follows = steered and self._steerer is not None and wanted.pileup is not None
        request = JudgeRequest(
            old=old.words,
            new=new.words,
            sample=self._collected.sample(since),
            p_ref=wanted.p_ref,
            m_ref=wanted.m,
            rates=wanted.rates,
            rate_tolerance=self._settings.detect.rate_tolerance,
            hold="steered" if follows else self._settings.hold,
        )
        judgement = await asyncio.to_thread(self._worker.judge, request, self._settings.recalibrate.deadline_s)
        self._record.add_event(self._loaded.name, JUDGEMENT, "info", judgement.reason, judgement.to_dict())
        return PushJudged(task, judgement.harmful, judgement.reason)

    def _fit_request(self, since: Moment, active: Payload) -> FitRequest:
        wanted, settings = self._collected.wanted(since), self._settings.recalibrate
        rates = wanted.rates
        if self._steerer is not None and wanted.pileup is not None:
            rates = self._steerer.rates(rates, wanted.pileup, active)
        return FitRequest(
            active.words,
            self._collected.sample(since),
            wanted.p_ref,
            wanted.m,
            rates,
            wanted.pileup,
            FitSettings(
                knobs=settings.knobs,
                rate_tolerance=self._settings.detect.rate_tolerance,
                max_move=settings.max_move,
                max_lipschitz=settings.max_lipschitz,
                min_events=settings.min_events,
                min_effective=settings.min_effective,
                min_retention=settings.min_retention,
                seed=settings.seed,
            ),
        )
