"""A stream at work without a process, a socket or a database: plain fakes at every seam of its runner."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from firmware.board.board import ArmStatus, BoardState
from firmware.model.payload import Payload
from firmware.wire import Batch, EventHeader, Header
from monitor.config import StreamSettings
from monitor.daemon.run.collected import Collected
from monitor.daemon.run.fitter import Fitter
from monitor.daemon.run.loaded import LoadedStream
from monitor.daemon.run.parts import Parts
from monitor.daemon.run.payloads import Payloads
from monitor.daemon.run.runner import Runner
from monitor.daemon.run.steerer import Steerer
from monitor.loop.events import Armed, Event, Latched, Previewed, Staged
from monitor.stats.compare.divergence import compare
from monitor.stats.count.reference import Reference
from monitor.stats.count.window import Slice, Window
from monitor.store.errors import LedgerError
from monitor.watch.report import Expectation, Key, LsReport
from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Judgement, Proposal, Step
from recalib.request import FitRequest, JudgeRequest
from tests.support.tiny import tiny_codes, tiny_events, tiny_package

EPOCH = 3


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
        self.judgement = Judgement(0.1, 0.0, 0.0, (), (), (), False, "the rates are back")
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
        parts = Parts(self.monitor, self.record, self.payloads, self.collected, self.fitter, self.pusher, self.steerer)
        self.runner = Runner(self.loaded, parts, self.listener)

    @property
    def nominal(self) -> Payload:
        return self.loaded.package.nominal

    def state(self, **changes: Any) -> None:
        """Put the loop into a state, on the nominal payload."""
        base = replace(self.runner.state, payload=self.nominal.id, generation=0, epoch=EPOCH)
        self.runner.state = replace(base, **changes)

    def report(self, ls: int, scale: float = 1.0, generation: int = 0) -> LsReport:
        """A lumi section of scores as the reference has them, times a scale."""
        reference = self.loaded.reference
        codes = np.rint(tiny_codes() * scale).astype(np.int64)
        cuts = tuple(int(cut) for cut in reference.binning.cuts)
        cells, base = reference.cells.count(codes), reference.expected(None)
        above = np.array([(codes >= cut).sum() for cut in cuts])
        counts = base.bins(cells)
        since = self.collected.in_force.scores_since
        return LsReport(
            key=Key(1, ls, EPOCH, generation),
            window=Window({None: Slice(cells)}, above, (1, ls), (1, ls)),
            counts=counts,
            cuts=cuts,
            scores_since=since if 0 <= since <= generation else generation,
            expected=base,
            expected_rates=reference.rates_of(base.p),
            divergence=compare(counts, base.p, base.m),
            to_reference=compare(counts, base.p, base.m),
            alarms=(),
            t_ns=ls,
        )

    def offer(self, ls: int, n: int = 2000, generation: int = 0) -> None:
        """Sampled events of a lumi section, all of them kept."""
        events = tiny_events(n, seed=ls)
        header = Header(
            kind="batch", stream=self.loaded.name, source="gt", seq=ls, run=1, ls=ls, orbit=0, n=n, dtype="u4",
            epoch=EPOCH, generation=generation, t_ns=ls, pileup=None, bx_class="colliding",
            events=EventHeader(n, events.shape[1], "i2"),
        )  # fmt: skip
        codes = tiny_codes()[:n]
        self.collected.keep(Batch(header, codes, events, np.arange(n, dtype=np.uint32), np.ones(n, dtype=np.float32)))

    def proposal(self, **changes: Any) -> Proposal:
        """A proposal that moves the cuts by one code, and promises the target rates."""
        reference = self.loaded.reference
        payload = self.nominal.replace(cuts=self.nominal.raw("cuts") + 1)
        rates = tuple(reference.target_rates.tolist())
        arrays = {"words": payload.words, "p_ref": reference.p, "predicted": reference.p}
        before = {"rates_before": rates, "rates_after": rates, "rates_target": rates, "rate_errors": (0.01, 0.01)}
        numbers = {"events": 1000, "n_eff": 1000.0, "kl_before": 0.1, "kl_after": 0.0, "kl_floor": 0.0, "move": 0.001}
        base: dict[str, Any] = {
            "stream": self.loaded.name,
            "knob": Turned(KnobName.THRESHOLD),
            "base_id": self.nominal.id,
            "payload_id": payload.id,
            "accepted": True,
            "reason": "the rates are back",
            "restores": True,
            "retention": (1.0, 1.0),
            "beta": 1.0,
            "delta": 1.0,
        }
        return Proposal(**arrays | before | numbers | base | changes)
