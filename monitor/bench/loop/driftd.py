"""The daemon's own loop, statistics and fit as a controller of a simulated fill, without sockets or a board."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from firmware.board.board import BoardState
from firmware.board.register_map import ArmStatus
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.stream import Sampling
from firmware.wire import Batch, EventHeader, Header
from monitor.bench.arrays import Codes
from monitor.config import PushSettings, RecalibrateSettings, StreamSettings, WaitSettings
from monitor.daemon.run.collected import Collected
from monitor.daemon.run.fitter import Fitter
from monitor.daemon.run.loaded import LoadedStream
from monitor.daemon.run.parts import Parts
from monitor.daemon.run.payloads import Payloads
from monitor.daemon.run.runner import Runner
from monitor.daemon.run.steerer import Steerer
from monitor.loop.events import Armed, BoardSeen, Event, Latched, Previewed, Staged
from monitor.stats.count.reference import Reference
from monitor.store.ledger import Ledger
from monitor.watch.detectors import make_detectors
from monitor.watch.settings import DetectSettings, IngestSettings
from monitor.watch.stream import StreamMonitor
from recalib.arrays import Events
from recalib.fit.engine import Engine
from recalib.judge import judge
from recalib.proposal import Judgement, Proposal, Step
from recalib.request import FitRequest, JudgeRequest

MESSAGE = 50_000
"""Scores in a message."""
ZERO_BIAS = 8_000
"""Events of a lumi section that are published whatever their score."""
EPOCH = 1


class InProcess:
    """The fit's worker in this process."""

    def __init__(self, package: Package) -> None:
        self.engine = Engine(package)

    def warm_up(self, cache: Path, deadline: float) -> str:
        """There is nothing to wait for."""
        return "NumPy emulator alone"

    def propose(self, request: FitRequest, deadline: float, progress: Callable[[Step], None]) -> Proposal:
        """Fit, however long it takes."""
        return self.engine.propose(request, progress)

    def judge(self, request: JudgeRequest, deadline: float) -> Judgement:
        """Judge, however long it takes."""
        engine = self.engine
        return judge(engine.emulator, engine.package.model, engine.edges, request)


class InstantBoard:
    """Takes every payload, and swaps at the lumi section after the next."""

    def __init__(self, payload: Payload) -> None:
        self.ls = 0
        self.active, self.generation, self.latched = payload, 0, 1
        self.coming, self.target = payload, 0

    def use(self, settings: PushSettings, rate_tolerance: float) -> None:
        """There are no settings."""

    async def end_unfinished(self) -> None:
        """There is nothing unfinished."""

    async def read(self) -> tuple[BoardState, Payload]:
        """What the board says of itself, and what it holds."""
        armed = ArmStatus.ARMED if self.target > self.ls else ArmStatus.IDLE
        return BoardState(
            epoch=EPOCH,
            run=1,
            ls=self.ls,
            generation=self.generation,
            latched_ls=self.latched,
            active_crc=self.active.crc,
            shadow_crc=self.coming.crc,
            arm_status=armed,
            arm_generation=self.generation + 1,
            arm_target_ls=self.target,
        ), self.active

    async def stage(self, task: int, payload: Payload, active: int) -> Event:
        """Take the payload into the shadow bank."""
        self.coming = payload
        return Staged(task, active + 1)

    async def start_preview(self, task: int) -> Event:
        """Every preview passes."""
        return Previewed(task, True, "")

    async def poll_preview(self, task: int, last: bool, promised: Any) -> Event | None:
        """There is nothing to wait for."""
        return None

    async def arm(self, task: int) -> Event:
        """For the lumi section after the next."""
        self.target = self.ls + 2
        return Armed(task, self.target)

    async def poll_latch(self, task: int) -> Event | None:
        """The latch, once its lumi section is the next one."""
        if self.ls + 1 < self.target:
            return None
        self.active, self.generation, self.latched = self.coming, self.generation + 1, self.target
        return Latched(task, (1, self.target), EPOCH)

    async def abort(self) -> None:
        """Forget what was staged."""
        self.coming = self.active


class Unheard:
    """Nobody is told."""

    def changed(self, stream: str, judged: bool) -> None:
        """Nothing is shown."""

    def annotate(self, stream: str, kind: str, text: str) -> None:
        """Nothing is plotted."""


class Driftd:
    """The shipped loop on one stream that holds its rates; one lumi section a chunk.

    Args:
        payload: in force at the start.
        folder: for the ledger.
    """

    name = "driftd"

    def __init__(self, package: Package, payload: Payload, folder: Path) -> None:
        settings = StreamSettings(
            package=folder / "unused",
            board=("board",),
            addresses=("inproc://unused",),
            hold="rate",
            detect=DetectSettings(),
            recalibrate=RecalibrateSettings(min_events=30_000),
            waits=WaitSettings(warm_ls=1),
        )
        self._board = InstantBoard(payload)
        self._tail = Sampling().tail_code(package)
        self._random = np.random.default_rng(1)
        self._seq = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._begin(package, settings, payload, folder))

    @property
    def payload(self) -> Payload:
        """What is in force, or will be at the next swap."""
        return self._board.coming if self._board.target > self._board.ls else self._board.active

    @property
    def history(self) -> list[str]:
        """What the loop said, oldest first."""
        events = self._ledger.events(stream=self._runner.name, limit=10_000)
        return [event.text for event in reversed(events) if event.kind == "announcement"]

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """Count a lumi section under the payload in force, and let the loop act on it."""
        self._loop.run_until_complete(self._see(pileup, events, codes))

    async def _begin(self, package: Package, settings: StreamSettings, payload: Payload, folder: Path) -> None:
        loaded = LoadedStream(package.model.name, settings, package, Reference.from_bytes(package.reference))
        ledger = self._ledger = Ledger(folder / "ledger.sqlite")
        collected, payloads = Collected(loaded), Payloads(loaded.name, package, ledger)
        steerer = Steerer(loaded)
        seconds = Histogram("fit_seconds", "", registry=CollectorRegistry())
        self._monitor = StreamMonitor(
            loaded.name,
            loaded.reference,
            [int(cut) for cut in package.nominal.raw("cuts")],
            make_detectors(settings.detect, loaded.reference),
            IngestSettings(),
            close=lambda report: self._runner.on_ls(report),
            sample=collected.keep,
            pileup_error=settings.detect.pileup_error,
        )
        fitter = Fitter(loaded, InProcess(package), collected, payloads, steerer, ledger, folder, seconds)
        parts = Parts(self._monitor, ledger, payloads, collected, fitter, self._board, steerer)
        self._runner = Runner(loaded, parts, Unheard())
        payloads.keep(payload, "start")
        self._runner.feed(BoardSeen(EPOCH, 0, payload.id, (1, 1)))
        await self._runner.idle()

    async def _see(self, pileup: float, events: Events, codes: Codes) -> None:
        self._board.ls += 1
        chance = min(1.0, ZERO_BIAS / len(codes))
        picked = (codes >= self._tail) | (self._random.random(len(codes)) < chance)
        inclusion = np.where(codes >= self._tail, 1.0, chance).astype(np.float32)
        for start in range(0, len(codes), MESSAGE):
            rows = slice(start, start + MESSAGE)
            index = np.flatnonzero(picked[rows])
            part = events[rows][index]
            header = self._header("batch", len(codes[rows]), pileup, EventHeader(len(index), events.shape[1], "i2"))
            self._monitor.add(Batch(header, codes[rows], part, index.astype(np.uint32), inclusion[rows][index]))
        self._monitor.add(Batch(self._header("begin", 0, None, None, 1), codes[:0]))
        await self._runner.idle()

    def _header(self, kind: str, n: int, pileup: float | None, events: EventHeader | None, later: int = 0) -> Header:
        self._seq += 1
        return Header(
            kind=kind,
            stream=self._runner.name,
            source="fill",
            seq=self._seq,
            run=1,
            ls=self._board.ls + later,
            orbit=0,
            n=n,
            dtype="u4",
            epoch=EPOCH,
            generation=self._board.generation,
            t_ns=0,
            pileup=pileup,
            bx_class="colliding",
            events=events,
        )
