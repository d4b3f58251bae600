"""The daemon's own loop, statistics and fit as a controller of a simulated fill, without sockets or a board."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Histogram

from firmware.board.board import ArmStatus, BoardState
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.stream import Sampling
from firmware.wire import Batch, EventHeader, Header
from monitor.bench.arrays import Codes
from monitor.config import Recalibrate, Stream, Waits
from monitor.daemon.run.boards import StreamBoards
from monitor.daemon.run.control import StreamControl
from monitor.loop import loop
from monitor.stats.count.reference import Reference
from monitor.store.ledger import Ledger
from monitor.watch.settings import Detect, Ingest
from recalib.arrays import Events
from recalib.fit.engine import Engine
from recalib.judge import judge

MESSAGE = 50_000
"""Scores in a message."""
ZERO_BIAS = 8_000
"""Events of a lumi section that are published whatever their score."""
EPOCH = 1


class InProcess:
    """The fit's worker in this process."""

    def __init__(self, package: Package) -> None:
        self.engine = Engine(package)

    def call(self, method: str, request: Any, deadline: float, on_progress: Callable[[Any], None] | None = None) -> Any:
        """As the worker's process would answer."""
        engine = self.engine
        if method == "propose":
            return engine.propose(request, on_progress or (lambda stage: None))
        return judge(engine.emulator, engine.package.model, engine.edges, request)


class Board:
    """Takes every payload, and swaps at the lumi section after the next."""

    def __init__(self, payload: Payload) -> None:
        self.ls = 0
        self.active, self.generation, self.latched = payload, 0, 1
        self.coming, self.target = payload, 0

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

    async def stage(self, task: int, payload: Payload, active: int) -> loop.Event:
        """Take the payload into the shadow bank."""
        self.coming = payload
        return loop.Staged(task, active + 1)

    async def start_preview(self, task: int) -> loop.Event:
        """Every preview passes."""
        return loop.Previewed(task, True, "")

    async def arm(self, task: int) -> loop.Event:
        """For the lumi section after the next."""
        self.target = self.ls + 2
        return loop.ArmedAt(task, self.target)

    async def poll_latch(self, task: int) -> loop.Event | None:
        """The latch, once its lumi section is the next one."""
        if self.ls + 1 < self.target:
            return None
        self.active, self.generation, self.latched = self.coming, self.generation + 1, self.target
        return loop.Latched(task, (1, self.target), EPOCH)

    async def abort(self) -> None:
        """Forget what was staged."""
        self.coming = self.active


class Driftd:
    """The shipped loop on one stream that holds its rates; one lumi section a chunk.

    Args:
        payload: in force at the start.
        folder: for the ledger.
    """

    name = "driftd"

    def __init__(self, package: Package, payload: Payload, folder: Path) -> None:
        settings = Stream(
            package=folder / "unused",
            board=("board",),
            addresses=("inproc://unused",),
            hold="rate",
            detect=Detect(),
            recalibrate=Recalibrate(min_events=30_000),
            waits=Waits(warm_ls=1),
        )
        self._board = Board(payload)
        self._tail = Sampling().tail_code(package)
        self._random = np.random.default_rng(1)
        self._seq = 0
        folder.mkdir(parents=True, exist_ok=True)
        self._control = StreamControl(
            package.model.name,
            settings,
            Ingest(),
            package,
            Reference.from_bytes(package.reference),
            boards=StreamBoards([]),
            worker=InProcess(package),  # type: ignore[arg-type]
            ledger=Ledger(folder / "ledger.sqlite"),
            cache=folder,
            fit_seconds=Histogram("fit_seconds", "", registry=CollectorRegistry()),
            close=lambda name, report: self._control.on_ls(report),
        )
        self._control.push = self._board  # type: ignore[assignment]
        self._control.payloads[payload.id] = payload
        self._control.ledger.add_payload(package.model.name, payload, "start")
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._begin(payload))

    @property
    def payload(self) -> Payload:
        """What is in force, or will be at the next swap."""
        return self._board.coming if self._board.target > self._board.ls else self._board.active

    @property
    def history(self) -> list[str]:
        """What the loop said, oldest first."""
        events = self._control.ledger.events(stream=self._control.name, limit=10_000)
        return [event.text for event in reversed(events) if event.kind == "announcement"]

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """Count a lumi section under the payload in force, and let the loop act on it."""
        self._loop.run_until_complete(self._see(pileup, events, codes))

    async def _begin(self, payload: Payload) -> None:
        self._control.feed(loop.BoardSeen(EPOCH, 0, payload.id, (1, 1)))
        await self._control.idle()

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
            self._control.monitor.add(Batch(header, codes[rows], part, index.astype(np.uint32), inclusion[rows][index]))
        self._control.monitor.add(Batch(self._header("begin", 0, None, None, 1), codes[:0]))
        await self._control.idle()

    def _header(self, kind: str, n: int, pileup: float | None, events: EventHeader | None, later: int = 0) -> Header:
        self._seq += 1
        return Header(
            kind=kind,
            stream=self._control.name,
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
