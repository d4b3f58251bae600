"""A stream at work without a process, a socket or a database: plain fakes at every seam of its runner."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from firmware.board.board import ArmStatus, BoardState
from firmware.model.payload import Payload
from monitor.config import StreamSettings
from monitor.daemon.run.collected import Collected
from monitor.daemon.run.fitter import Fitter
from monitor.daemon.run.loaded import LoadedStream
from monitor.daemon.run.payloads import Payloads
from monitor.daemon.run.runner import Parts, Runner
from monitor.daemon.run.steerer import Steerer
from monitor.loop.events import Armed, Event, Latched, Previewed, Staged
from monitor.stats.compare.divergence import compare
from monitor.stats.count.reference import Reference
from monitor.stats.count.window import Window
from monitor.store.ledger import LedgerError
from monitor.watch.report import Expectation, Key, LsReport
from recalib.proposal import Judgement, Proposal, Step
from recalib.request import FitRequest, JudgeRequest
from tests.support.tiny import tiny_package

EPOCH = 3
SCORES_PER_LS = 50_000


@dataclass
class Happened:
    """A row of the fake record."""

    kind: str
    level: str
    text: str
    data: Mapping[str, Any]
    time: int = 0


@dataclass
class FakeRecord:
    """Keeps everything in lists, newest last."""

    happened: list[Happened] = field(default_factory=list)
    payloads: dict[str, Payload] = field(default_factory=dict)
    stored: dict[str, Any] = field(default_factory=dict)
    decided: list[tuple[str, str, str, str]] = field(default_factory=list)
    iovs: list[tuple[int, int, str, int, int]] = field(default_factory=list)

    def add_event(self, stream: str | None, kind: str, level: str, text: str, data: Any = None) -> None:
        self.happened.append(Happened(kind, level, text, data or {}))

    def events(self, since: int = 0, limit: int = 100, stream: str | None = None) -> Any:
        return self.happened[::-1][:limit]

    def add_payload(self, stream: str, payload: Payload, origin: str) -> Any:
        self.payloads[payload.id] = payload
        return self.payload(payload.id)

    def payload(self, id: str, stream: str | None = None) -> Any:
        found = [payload for name, payload in self.payloads.items() if name.startswith(id)]
        if len(found) != 1:
            raise LedgerError(f"{len(found)} payloads")

        class Stored:
            id = found[0].id

            @staticmethod
            def unpack(layout: object) -> Payload:
                return found[0]

        return Stored()

    def add_proposal(self, id: str, stream: str, data: Any) -> None:
        self.stored[id] = data

    def proposal(self, id: str) -> Any:
        return next(each for each in self.proposals("") if each.id == id)

    def proposals(self, stream: str, limit: int = 100) -> Any:
        class Stored:
            def __init__(self, id: str, data: Any) -> None:
                self.id, self.data = id, data

        return [Stored(*each) for each in reversed(self.stored.items())][:limit]

    def decide(self, proposal_id: str, decision: str, by: str, reason: str = "") -> None:
        self.decided.append((proposal_id, decision, by, reason))

    def record_iov(self, stream: str, run: int, ls: int, payload_id: str, generation: int, epoch: int) -> Any:
        self.iovs.append((run, ls, payload_id, generation, epoch))

    def texts(self, kind: str) -> list[str]:
        return [each.text for each in self.happened if each.kind == kind]


class FakePusher:
    """A board that takes every payload and swaps when `latch` is called; raises what it is told to."""

    def __init__(self, active: Payload) -> None:
        self.active, self.coming, self.generation = active, active, 0
        self.ls = 1
        self.did: list[str] = []
        self.raises: dict[str, Exception] = {}

    def use(self, settings: object, rate_tolerance: float) -> None:
        self._say("use")

    async def read(self) -> tuple[BoardState, Payload]:
        self._say("read")
        crc = self.active.crc
        return BoardState(EPOCH, 1, self.ls, self.generation, 1, crc, crc, ArmStatus.IDLE, 0, 0), self.active

    async def stage(self, task: int, payload: Payload, active: int) -> Event:
        self._say("stage")
        self.coming = payload
        return Staged(task, active + 1)

    async def start_preview(self, task: int) -> Event | None:
        self._say("start_preview")
        return None

    async def poll_preview(self, task: int, last: bool, promised: Any) -> Event | None:
        self._say("poll_preview")
        return Previewed(task, True, "as promised")

    async def arm(self, task: int) -> Event:
        self._say("arm")
        return Armed(task, self.ls + 2)

    async def poll_latch(self, task: int) -> Event | None:
        self._say("poll_latch")
        if self.active is not self.coming:
            return None
        self.generation += 1
        return Latched(task, (1, self.ls), EPOCH)

    async def abort(self) -> None:
        self._say("abort")

    async def end_unfinished(self) -> None:
        self._say("end_unfinished")

    def latch(self) -> None:
        self.active = self.coming

    def _say(self, what: str) -> None:
        self.did.append(what)
        if what in self.raises:
            raise self.raises[what]


class FakeWorker:
    """Proposes what it is told to; `step` is called on the way, in the worker's thread."""

    def __init__(self) -> None:
        self.proposal: Callable[[FitRequest], Proposal] | None = None
        self.judgement = Judgement(False, "the rates are back", 0.0, 0.0, 0.0, (), ())
        self.steps: list[Step] = []
        self.asked: list[FitRequest | JudgeRequest] = []
        self.warmed = 0
        self.raises: Exception | None = None

    def warm_up(self, cache: Path, deadline: float) -> str:
        self.warmed += 1
        return "warm"

    def propose(self, request: FitRequest, deadline: float, progress: Callable[[Step], None]) -> Proposal:
        self.asked.append(request)
        for step in self.steps:
            progress(step)
        if self.raises is not None:
            raise self.raises
        assert self.proposal is not None
        return self.proposal(request)

    def judge(self, request: JudgeRequest, deadline: float) -> Judgement:
        self.asked.append(request)
        return self.judgement


class FakeMonitor:
    """Remembers what it is to expect."""

    filled = None

    def __init__(self) -> None:
        self.expected: dict[tuple[int, int], Expectation] = {}

    def expect(self, epoch: int, generation: int, expectation: Expectation) -> None:
        self.expected[epoch, generation] = expectation


class FakeListener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def changed(self, stream: str, judged: bool) -> None:
        self.told.append(("judged" if judged else "changed", stream))

    def annotate(self, stream: str, kind: str, text: str) -> None:
        self.told.append((kind, text))


class Scene:
    """A runner and all the fakes around it."""

    def __init__(self, **settings: Any) -> None:
        package = tiny_package()
        chosen = StreamSettings(package=Path("unused"), board="gt", addresses=("inproc://unused",), **settings)
        reference = Reference.from_bytes(package.reference)
        self.loaded = LoadedStream(package.model.name, chosen, package, reference)
        self.record, self.worker, self.monitor = FakeRecord(), FakeWorker(), FakeMonitor()
        self.pusher, self.listener = FakePusher(package.nominal), FakeListener()
        self.collected = Collected(self.loaded)
        self.payloads = Payloads(self.loaded.name, package, self.record)
        self.steerer = Steerer(self.loaded) if chosen.hold == "rate" else None
        seconds = Histogram("fit_seconds", "", registry=CollectorRegistry())
        self.fitter = Fitter(
            self.loaded, self.worker, self.collected, self.payloads, self.steerer, self.record, Path("unused"), seconds
        )
        parts = Parts(
            self.monitor, self.record, self.payloads, self.collected, self.fitter, self.pusher, self.steerer
        )
        self.runner = Runner(self.loaded, parts, self.listener)

    @property
    def nominal(self) -> Payload:
        return self.loaded.package.nominal

    def state(self, **changes: Any) -> None:
        """Put the loop into a state, on the nominal payload."""
        base = replace(self.runner.state, payload=self.nominal.id, generation=0, epoch=EPOCH)
        self.runner.state = replace(base, **changes)

    def report(self, ls: int, rate: float = 1.0, generation: int = 0) -> LsReport:
        """A lumi section whose scores are the reference's, but for the rate at the cuts."""
        reference = self.loaded.reference
        cells = np.asarray(reference.cell_p, dtype=float).copy()
        first_cut = int(reference.binning.cuts[0])
        above = np.asarray(reference.cells.edges[:-1]) >= first_cut
        moved = cells[above].sum() * (rate - 1)
        cells[above] *= rate
        cells[~above] *= 1 - moved / cells[~above].sum()
        counts = np.rint(cells * SCORES_PER_LS).astype(np.int64)
        cuts = tuple(int(cut) for cut in reference.binning.cuts)
        edges = np.asarray(reference.cells.edges)
        passed = np.array([counts[edges[:-1] >= cut].sum() for cut in cuts], dtype=np.int64)
        window = Window({None: counts} if False else _window(counts), passed, (1, ls), (1, ls))
        base = window.expected(reference)
        bins = base.bins(counts)
        return LsReport(
            key=Key(1, ls, EPOCH, generation),
            window=window,
            counts=bins,
            cuts=cuts,
            scores_since=generation,
            expected=base,
            expected_rates=reference.rates_of(base.p),
            divergence=compare(bins, base.p, base.m),
            to_reference=compare(bins, base.p, base.m),
            alarms=(),
            t_ns=ls,
        )
