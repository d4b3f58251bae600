"""One stream's loop at work: feeds it what happens and carries out what it says."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from prometheus_client import Histogram

from firmware.datapath.validation import Validation
from firmware.errors import BoardError, FirmwareError
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.process import ProcessError, Remote
from firmware.wire import Batch
from monitor.config import Stream
from monitor.daemon.http.views import distances, summary
from monitor.daemon.ingest.receiver import Receiver
from monitor.daemon.run.boards import StreamBoards
from monitor.daemon.run.pushing import Push
from monitor.loop import loop
from monitor.loop.loop import Phase
from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import Detector, make_detector
from monitor.stats.steering import Steering
from monitor.store.ledger import Ledger, LedgerError
from monitor.terms import NEVER, Moment
from monitor.watch.detectors import detector_settings, make_detectors
from monitor.watch.policy import Policy, Verdict
from monitor.watch.settings import Ingest
from monitor.watch.stream import Expectation, LsReport, StreamMonitor
from recalib.errors import Abandoned, RecalibError
from recalib.proposal import Proposal, Step
from recalib.request import FitRequest, FitSettings, JudgeRequest
from recalib.sample import EventSample, Sampler

log = structlog.get_logger()

HISTORY_LS = 2000
STEER_LS = 1
"""Lumi sections after the swap for which the cuts are made."""


def _shown(state: loop.State) -> tuple[Phase, int, str]:
    """What people are told of at once when it changes."""
    return state.phase, state.generation, state.proposal


class StreamControl:
    """Runs the loop of one stream. Everything but the counting happens in the event loop's thread."""

    def __init__(
        self,
        name: str,
        settings: Stream,
        ingest: Ingest,
        package: Package,
        reference: Reference,
        boards: StreamBoards,
        worker: Remote,
        ledger: Ledger,
        cache: Path,
        fit_seconds: Histogram,
        close: Callable[[str, LsReport], None],
        streams: int = 1,
        annotate: Callable[[str, str, str], None] = lambda stream, kind, text: None,
        changed: Callable[[StreamControl, bool], None] = lambda control, judged: None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.package = package
        self.reference = reference
        self.rules = settings.waits.rules()
        self.state = loop.State(mode=settings.mode)
        self.last: dict[str, Any] = {}
        self.ls_closed = 0
        self.judged_at = self.entered_at = time.time()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.proposals: Counter[tuple[str, str]] = Counter()
        self.entries: Counter[Phase] = Counter()
        self.datapath = "not built yet"
        self.boards = boards
        self._worker = worker
        self.ledger = ledger
        self._cache = cache
        self._streams = streams
        self._fit_seconds = fit_seconds
        self._annotate = annotate
        self._changed = changed
        self._policy = Policy(settings.detect, settings.hold, reference)
        self._steering: Steering | None = None
        if settings.hold == "rate":
            self._steering = Steering(reference, reference.target_rates, settings.recalibrate.steer_band)
        self._expected = Expectation(())
        self._alike_since = NEVER
        self._sampler = Sampler(settings.recalibrate.memory_events, settings.recalibrate.seed)
        self.reports: deque[tuple[LsReport, Verdict]] = deque(maxlen=HISTORY_LS)
        self.payloads: dict[str, Payload] = {package.nominal.id: package.nominal}
        self.push = Push(
            name,
            self._validation(settings),
            boards,
            ledger,
            settings.push,
            settings.detect.rate_tolerance,
            frozen=lambda: self.state.phase is Phase.FROZEN,
        )
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._log = structlog.get_logger(stream=name)
        ledger.add_payload(name, package.nominal, "nominal")
        self.monitor = StreamMonitor(
            name,
            reference,
            [int(cut) for cut in package.nominal.raw("cuts")],
            make_detectors(settings.detect, reference, streams),
            ingest,
            close=lambda report: close(name, report),
            sample=self._keep,
            pileup_error=settings.detect.pileup_error,
        )

    async def startup(self) -> None:
        """Read the board, and have the worker ready before it is needed."""
        frozen_at = self._frozen_since()
        if frozen_at is not None:
            self.feed(loop.Freeze())
            self.entered_at = frozen_at
        try:
            await self.push.end_unfinished()
        except FirmwareError as error:
            self._log.error("unfinished transaction not taken back", why=str(error))
        self._begin("reconcile", self._reconcile, poll=True)
        await self._warm_up()

    def detectors_for(self, settings: Stream) -> dict[str, Detector]:
        """Those of other settings: the running ones where nothing changes, new ones elsewhere.

        Raises:
            StatsError: an unknown detector, or settings it does not take.
        """
        old, new = (detector_settings(each.detect, self._streams) for each in (self.settings, settings))
        return {
            name: self.monitor.detectors[name]
            if old.get(name) == wanted
            else make_detector(name, self.reference, **wanted)
            for name, wanted in new.items()
        }

    def turn(self, settings: Stream, detectors: Mapping[str, Detector], receiver: Receiver) -> None:
        """Go by other settings from now on, as far as they may change in a running daemon."""
        pileup_error = settings.detect.pileup_error
        receiver.between_messages(lambda: self.monitor.turn(detectors, pileup_error))
        self.settings = settings
        self.rules = settings.waits.rules()
        self._policy.turn(settings.detect)
        self.push.turn(self._validation(settings), settings.push, settings.detect.rate_tolerance)
        self._sampler.resize(settings.recalibrate.memory_events)
        if self._steering is not None:
            self._steering.band = settings.recalibrate.steer_band
        self.feed(loop.ModeSet(settings.mode))

    def _validation(self, settings: Stream) -> Validation:
        playback = settings.push.require_playback
        return Validation(self.package.model, self.package.golden_events, self._cache, require_playback=playback)

    async def _warm_up(self) -> None:
        """Have the fit's worker start, with the compiled datapath in hand."""
        try:
            self.datapath = await asyncio.to_thread(
                self._worker.call, "warm_up", self._cache, deadline=self.settings.recalibrate.deadline_s
            )
        except (FirmwareError, RecalibError) as error:
            self.datapath = f"the fit's worker did not start: {error}"
            self._log.error("no worker", why=str(error))

    async def idle(self) -> None:
        """Until nothing is under way."""
        while running := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.gather(*running)

    async def shutdown(self) -> None:
        """Leave no swap armed behind."""
        for task in self._tasks.values():
            task.cancel()
        if self.state.phase in loop.WRITING:
            await self.push.abort()

    def feed(self, event: loop.Event) -> str:
        """Move the loop; the reason if ``event`` was a command that is refused, else nothing."""
        before = self.state
        self.state, commands = loop.step(before, event, self.rules)
        if self.state.phase is not before.phase:
            self.entered_at = time.time()
            self.entries[self.state.phase] += 1
            run, ls = self.state.at
            phases = {"phase": str(self.state.phase), "was": str(before.phase)}
            self._log.info("phase", run=run, ls=ls, **phases, why=self.state.reason)
            data = {"was": before.phase, "event": type(event).__name__, "reason": self.state.reason}
            self.ledger.add_event(self.name, "phase", "info", str(self.state.phase), data)
        if self.state.generation != before.generation and not before.steering:
            kind = {Phase.ROLLED_BACK: "rollback", Phase.WARMING: "found"}.get(self.state.phase, "push")
            self._annotate(self.name, kind, self.state.reason)
        if _shown(self.state) != _shown(before):
            self._changed(self, False)
        refused = ""
        for command in commands:
            if isinstance(command, loop.Refuse):
                refused = command.reason
            else:
                self._carry_out(command)
        return refused

    def why_not(self, event: loop.Operator) -> str:
        """Why an operator's command would be refused now; nothing if it would not."""
        _, commands = loop.step(self.state, event, self.rules)
        return next((command.reason for command in commands if isinstance(command, loop.Refuse)), "")

    def order(self, event: loop.Operator, reason: str, by: str) -> str:
        """An operator's command; the reason if it is refused, else nothing."""
        proposal = self.state.proposal
        refused = self.feed(event)
        word = type(event).__name__.lower()
        level = "warning" if refused else "info"
        text = f"{word} refused: {refused}" if refused else word
        self.ledger.add_event(self.name, f"order {word}", level, text, {"reason": reason, "by": by, **asdict(event)})
        if isinstance(event, loop.Approve | loop.Reject) and not refused:
            self.ledger.decide(proposal, word, by, reason)
        return refused

    def on_ls(self, report: LsReport) -> None:
        """Judge a closed lumi section and tell the loop."""
        self.ls_closed += 1
        self._begin("reconcile", self._reconcile, poll=True)
        verdict = self._policy.assess(report)
        self.reports.append((report, verdict))
        key = report.key
        steer = self._steer(report)
        if verdict.level == "drift" != self.last.get("level"):
            self._annotate(self.name, "drift", verdict.text)
        self.last = summary(report, verdict) | distances(report, self.reference)
        self.last["targets"] = self._targets(report).tolist()
        self.judged_at = time.time()
        if verdict.level in ("watch", "drift"):
            self._log.warning(verdict.text, run=key.run, ls=key.ls, verdict=verdict.level, details=verdict.details)
        if verdict.level != "thin":
            self._alike_since = verdict.alike_since
        onset = verdict.onset if self.state.phase is Phase.WATCHING else self.state.onset
        confirming = self.state.phase is Phase.CONFIRMING
        since = self.state.latched if confirming else self._collected_since(onset)
        self.feed(
            loop.LsClosed(
                at=(key.run, key.ls),
                level=verdict.level,
                epoch=key.epoch,
                generation=key.generation,
                onset=verdict.onset,
                sample_ready=self._enough(since),
                text=verdict.text,
                steer=steer,
                by_cuts=self._steering is not None and verdict.drift is not None and verdict.drift.kind == "rate only",
            )
        )
        self._changed(self, True)

    def _targets(self, report: LsReport) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(n_cuts,) the rates that are to be held."""
        return self.reference.target_rates if self.settings.hold == "rate" else report.expected_rates

    @property
    def sampled(self) -> int:
        """Events kept whose scores mean what those of the active payload mean."""
        return self._sampler.count(self._generations, self.state.epoch)

    def _steer(self, report: LsReport) -> str:
        """The active payload with the cuts that will hold the rates when they can be active, if they are others."""
        if self._steering is None or not self._is_active(report):
            return ""
        self._steering.update(report.window.counts, report.expected, report.pileup)
        pileup = self._pileup_ahead()
        if not self.reference.covers(pileup) or self.state.phase not in loop.STEERED:
            return ""
        payload = self.payload(self.state.payload)
        cuts = self._steering.cuts(self._expected.on(self.reference.expected(pileup)), payload.raw("cuts"))
        moved = payload.replace(cuts=cuts)
        if moved.id == payload.id:
            return ""
        self.payloads[moved.id] = moved
        self.ledger.add_payload(self.name, moved, "steering")
        return moved.id

    def _pileup_ahead(self) -> float | None:
        """The pile-up when a payload that is made now decides."""
        assert self._steering is not None
        return self._steering.ahead(self.settings.push.arm_margin_ls + STEER_LS)

    def _is_active(self, report: LsReport) -> bool:
        """Whether its scores mean what those of the active payload mean."""
        return (report.key.epoch, report.scores_since) == (self.state.epoch, self._expected.scores_since)

    def find_payload(self, name: str) -> str | None:
        """The id of a payload of the ledger by any unique beginning of it, or of ``nominal``."""
        if name == "nominal":
            return self.package.nominal.id
        try:
            return self.ledger.payload(name, self.name).id
        except LedgerError:
            return None

    def _keep(self, batch: Batch) -> None:
        """Called in the receiver thread."""
        header = batch.header
        assert batch.events is not None
        assert batch.inclusion is not None
        self._sampler.add(
            batch.events,
            batch.inclusion,
            batch.codes[batch.index],
            header.ls,
            header.generation,
            header.epoch,
            header.run,
        )

    def _collected_since(self, onset: Moment) -> Moment:
        """Where the events for a fit begin: at the onset or the last change, never before the active payload."""
        return max(onset, self.state.latched, self._alike_since)

    def _enough(self, since: Moment) -> bool:
        """Whether events and accepts since then suffice for a fit or a judgement."""
        wanted = self.settings.recalibrate
        accepts = sum(
            (
                report.above
                for report, _ in self.reports
                if (report.key.run, report.key.ls) >= since and self._is_active(report)
            ),
            start=np.zeros(self.package.model.n_cuts, np.int64),
        )
        events = self._sampler.count(self._generations, self.state.epoch, since)
        return events >= wanted.min_events and int(accepts.min()) >= wanted.min_accepts

    def _carry_out(self, command: loop.Command) -> None:
        match command:
            case loop.Announce():
                run, ls = self.state.at
                getattr(self._log, command.level)(command.text, run=run, ls=ls)
                self.ledger.add_event(self.name, "announcement", command.level, command.text)
            case loop.Adopt():
                self._adopt(command)
            case loop.Reconcile():
                self._begin("reconcile", self._reconcile, poll=True)
            case loop.Abort():
                self._begin("work", self.push.abort)
            case loop.PollPreview() | loop.PollLatch() | loop.Judge():
                self._begin("work", partial(self._work, command), poll=True)
            case loop.Fit() | loop.Stage() | loop.StartPreview() | loop.Arm():
                self._begin("work", partial(self._work, command))

    def _begin(self, slot: str, work: Callable[[], Coroutine[Any, Any, None]], poll: bool = False) -> None:
        """Start a piece of work; one that runs is dropped for it, but a poll rather lets that one end."""
        running = self._tasks.get(slot)
        if running is not None and not running.done() and running is not asyncio.current_task():
            if poll:
                return
            running.cancel()
        self._tasks[slot] = asyncio.get_running_loop().create_task(work())

    async def _work(self, command: loop.Work) -> None:
        """Carry a command of a task out; a failure goes back to the loop."""
        operation = type(command).__name__.lower()
        writes = isinstance(command, loop.Arm | loop.PollLatch)
        try:
            event = await self._perform(command)
        except Abandoned as error:
            self.outcomes[operation, "abandoned"] += 1
            self._log.info("abandoned", operation=operation, why=str(error))
        except (FirmwareError, RecalibError) as error:
            self.outcomes[operation, "failed"] += 1
            self.feed(loop.Failed(command.task, f"{operation}: {error}", writes and isinstance(error, BoardError)))
        except Exception as error:
            self._log.exception("operation broke", operation=operation)
            self.outcomes[operation, "failed"] += 1
            self.feed(loop.Failed(command.task, f"{operation}: {error!r}", writes))
        else:
            if event is not None:
                self._count(event)
                self.feed(event)

    def _count(self, event: loop.Event) -> None:
        match event:
            case loop.FitDone():
                self.outcomes["fit", "accepted" if event.accepted else "rejected"] += 1
            case loop.Previewed():
                self.outcomes["preview", "good" if event.good else "bad"] += 1
            case loop.ArmedAt():
                self.outcomes["push", "armed"] += 1
            case loop.Latched():
                self.outcomes["push", "latched"] += 1
            case loop.Judged():
                self.outcomes["push", event.outcome] += 1

    async def _perform(self, command: loop.Work) -> loop.Event | None:
        match command:
            case loop.Fit():
                return await self._fit(command)
            case loop.Judge():
                return await self._judge(command)
            case loop.Stage():
                payload = self.payload(command.payload)
                return await self.push.stage(command.task, payload, self.state.generation)
            case loop.StartPreview():
                return await self.push.start_preview(command.task)
            case loop.PollPreview():
                promised = Proposal.from_dict(self.ledger.proposal(self.state.proposal).data).rates_after
                return await self.push.poll_preview(command.task, command.last, promised)
            case loop.Arm():
                return await self.push.arm(command.task)
            case loop.PollLatch():
                return await self.push.poll_latch(command.task)

    async def _reconcile(self) -> None:
        """Find out what the board runs; whatever was armed by no transaction of this loop is disarmed."""
        try:
            state, payload = await self.push.read()
        except FirmwareError as error:
            if self.state.reason != str(error):
                self.state = replace(self.state, reason=str(error))
                self._log.warning("board not read", why=str(error))
                self.ledger.add_event(self.name, "board", "warning", str(error))
            return
        if payload.id not in self.payloads:
            self.payloads[payload.id] = payload
            self.ledger.add_payload(self.name, payload, "found on the board")
        since = (state.run, state.latched_ls)
        self.feed(loop.BoardSeen(state.epoch, state.generation, payload.id, since))

    def _adopt(self, command: loop.Adopt) -> None:
        payload = self.payload(command.payload)
        run, ls = command.since
        steered = command.steered and replace(self._expected, cuts=tuple(payload.raw("cuts").tolist()))
        self._expected = steered or replace(self._expectation(payload), scores_since=command.generation)
        if self._steering is not None and not steered:
            self._steering.turn(payload.replace(cuts=np.zeros_like(payload.raw("cuts"))).id)
        self.monitor.expect(command.epoch, command.generation, self._expected)
        self.ledger.record_iov(self.name, run, ls, payload.id, command.generation, command.epoch)

    def _expectation(self, payload: Payload) -> Expectation:
        """What p(s) the payload should give: p_ref, unless its proposal predicted something else."""
        cuts = tuple(int(cut) for cut in payload.raw("cuts"))
        for stored in self.ledger.proposals(self.name):
            proposal = Proposal.from_dict(stored.data)
            if proposal.payload_id == payload.id and proposal.accepted:
                if proposal.restores:
                    break
                return Expectation(cuts, proposal.predicted / proposal.p_ref, proposal.n_eff)
        return Expectation(cuts)

    def payload(self, name: str) -> Payload:
        """The words of a payload of the ledger, by its whole id."""
        if name not in self.payloads:
            self.payloads[name] = self.ledger.payload(name, self.name).unpack(self.package.model.layout)
        return self.payloads[name]

    def _frozen_since(self) -> float | None:
        """Unix time of the order by which the stream is frozen, if it is."""
        for event in self.ledger.events(stream=self.name, limit=1000):
            if event.kind in ("order freeze", "order unfreeze") and event.level == "info":
                return event.time / 1e9 if event.kind == "order freeze" else None
        return None

    def _sample(self, since: Moment) -> EventSample:
        return self._sampler.sample(self._generations, self.state.epoch, since)

    @property
    def _generations(self) -> range:
        """Those whose scores mean what the active payload's mean."""
        since = self._expected.scores_since
        return range(self.state.generation if since is None else since, self.state.generation + 1)

    def _reference_for(self, since: Moment) -> tuple[Any, float, Any, float | None]:
        """p_ref (B,), its events, and the rates to hold (n_cuts,), at the pile-up seen since then; and that."""
        seen = [
            report for report, _ in self.reports if (report.key.run, report.key.ls) >= since and self._is_active(report)
        ]
        weights = [report.n for report in seen]
        pileups = [report.pileup for report in seen]
        pileup = None if not seen or None in pileups else float(np.average(pileups, weights=weights))  # type: ignore[arg-type]
        expected = self.reference.expected(pileup)
        rates = self.reference.rates_of(expected.p)
        if self.settings.hold == "rate":
            rates = self.reference.target_rates
        return expected.p, expected.m, rates, pileup

    async def _fit(self, command: loop.Fit) -> loop.Event:
        since = self._collected_since(self.state.onset)
        p_ref, m, rates, pileup = self._reference_for(since)
        active = self.payload(self.state.payload)
        if self._steering is not None and pileup is not None:
            now, then = (self.reference.expected(mu) for mu in (pileup, self._pileup_ahead()))
            rates = rates / self._steering.change(now, then, active.raw("cuts"))
        wanted = self.settings.recalibrate
        settings = FitSettings(
            knobs=wanted.knobs,
            rate_tolerance=self.settings.detect.rate_tolerance,
            max_move=wanted.max_move,
            max_lipschitz=wanted.max_lipschitz,
            min_events=wanted.min_events,
            min_effective=wanted.min_effective,
            min_retention=wanted.min_retention,
            seed=wanted.seed,
        )
        request = FitRequest(active.words, self._sample(since), p_ref, m, rates, pileup, settings)
        running = asyncio.get_running_loop()

        def progress(step: Step) -> None:
            """Called in another thread; what it raises ends the worker's process, and with it the fit."""
            if self.state.task != command.task:
                raise Abandoned(f"the loop has gone on to {self.state.phase} while the fit was at {step.text}")
            running.call_soon_threadsafe(self.feed, loop.FitProgress(command.task, *step))

        with self._fit_seconds.time():
            try:
                proposal: Proposal = await asyncio.to_thread(
                    self._worker.call, "propose", request, deadline=wanted.deadline_s, on_progress=progress
                )
            except (Abandoned, ProcessError):
                self._begin("warm up", self._warm_up)
                raise
        self.proposals[str(proposal.knob.alone), "accepted" if proposal.accepted else "rejected"] += 1
        payload = Payload(self.package.model.id, self.package.model.layout, proposal.words)
        self.payloads[payload.id] = payload
        self.ledger.add_payload(self.name, payload, f"proposal {proposal.id}")
        self.ledger.add_proposal(proposal.id, self.name, proposal.to_dict())
        return loop.FitDone(
            command.task, proposal.id, payload.id, proposal.accepted, proposal.reason, proposal.attention
        )

    async def _judge(self, command: loop.Judge) -> loop.Event:
        p_ref, m, rates, pileup = self._reference_for(command.since)
        steered = self._steering is not None and pileup is not None and self.state.mode is loop.Mode.AUTO
        request = JudgeRequest(
            old=self.payload(command.old).words,
            new=self.payload(command.new).words,
            sample=self._sample(command.since),
            p_ref=p_ref,
            m_ref=m,
            rates=rates,
            rate_tolerance=self.settings.detect.rate_tolerance,
            hold="steered" if steered else self.settings.hold,
        )
        judgement = await asyncio.to_thread(
            self._worker.call, "judge", request, deadline=self.settings.recalibrate.deadline_s
        )
        self.ledger.add_event(self.name, "judgement", "info", judgement.reason, judgement.to_dict())
        return loop.Judged(command.task, "harmful" if judgement.harmful else "good", judgement.reason)
