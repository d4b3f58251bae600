"""The simulated board: crossings, trigger decisions, score publisher and registers in one process."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import zmq

from firmware.board.addresses import address_table
from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.errors import FirmwareError, PackageError
from firmware.model.package import Package
from firmware.sim.ipbus import Server
from firmware.sim.registers import BoardRegisters
from firmware.sim.rtl_bank import RtlBank
from firmware.sim.stream import DecidingBank, EmulatedBank, Sampling, Stream
from firmware.sim.world.beam import Fill, bunch_mask
from firmware.sim.world.detector import NOMINAL
from firmware.sim.world.drifts import Drift, Drifts
from firmware.sim.world.events import VIEWS, Generator
from firmware.wire import CROSSINGS, Batch, EventHeader, Header, encode

__all__ = ["BoardSettings", "Fill", "Sampling", "SimBoard", "run_board"]

ATTENTION_SECONDS = 0.1
LINGER_MS = 1000
REQUESTS = ("condition <text>", "clear [kind]", "fill [start, decay, floor]", "reboot", "stop", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSettings:
    """How a simulated board runs.

    Addresses are ZeroMQ endpoints to bind; `*` as a port takes a free one, as does `ipbus_port` 0.
    `ls_seconds` 0 runs as fast as it can, `duration_ls` 0 until it is stopped. A lumi section has
    `orbits_per_ls` orbits instead of 2^18, with 2556 colliding crossings each. `pileup_error` is the
    relative error of the published pile-up; `parent_pid` ends the board with that process. The same
    `seed` gives the same scores, but other crossings than a `Generator` of that seed. `execution` is how the
    streams decide: by the emulator, by its C++ twin, or, registers and all, as SystemVerilog in Verilator; what
    that takes to be built is kept in `cache`.
    """

    packages: tuple[Path, ...] = ()
    publish: tuple[str, ...] = ("tcp://127.0.0.1:*",)
    pattern: Literal["push", "pub"] = "push"
    ipbus_host: str = "127.0.0.1"
    ipbus_port: int = 0
    control: str = "tcp://127.0.0.1:*"
    source: str = "board"
    run: int = 1
    seed: int = 1
    orbits_per_ls: int = 40
    ls_seconds: float = 0.0
    duration_ls: int = 0
    orbits_per_message: int = 4
    bx_class: Literal["all", "colliding"] = "all"
    sampling: Sampling = field(default_factory=Sampling)
    fill: Fill = field(default_factory=Fill)
    pileup_error: float = 0.0
    conditions: tuple[str, ...] = ()
    execution: Literal["numpy", "compiled", "rtl"] = "numpy"
    cache: Path = Path("var/datapath")
    parent_pid: int | None = None

    def __post_init__(self) -> None:
        if self.orbits_per_message < 1 or self.orbits_per_ls % self.orbits_per_message:
            raise FirmwareError(
                f"orbits_per_ls = {self.orbits_per_ls} is no multiple of orbits_per_message = {self.orbits_per_message}"
            )


class SimBoard:
    """A board with one stream per package, from its construction until `close`.

    `run` makes crossings, decides and publishes in the thread that calls it; the registers are served
    from a thread of their own. The control socket stands for the world around the board. It takes JSON
    requests ``{"do": "condition", "text": "ageing=0.3 ramp=20"}``, ``clear`` (one ``kind``, or all),
    ``fill`` (any of ``start``, ``decay``, ``floor``), ``reboot``, ``stop`` and ``status``, and answers
    each with the status. Drifts and fills change at the next lumi section, a reboot happens at once.

    Raises:
        FirmwareError: for packages that cannot run here, or conditions that cannot be.
    """

    def __init__(self, packages: Sequence[Package], settings: BoardSettings) -> None:
        models = [package.model for package in packages]
        address_table([(model.name, model.layout, model.n_cuts) for model in models])
        for model in models:
            if model.n_features not in VIEWS:
                has = " or ".join(map(str, VIEWS))
                raise PackageError(f"{model.name} takes {model.n_features} inputs, a crossing has {has}")
        self._settings = settings
        crossings, errors, *samples = np.random.SeedSequence(settings.seed).spawn(2 + len(packages))
        self._generator = Generator(crossings)
        self._random = np.random.Generator(np.random.PCG64(errors))
        self._streams = [
            Stream(package, _bank(package, settings), settings.sampling, seed)
            for package, seed in zip(packages, samples, strict=True)
        ]
        self._registers = BoardRegisters([s.bank for s in self._streams], settings.run, settings.orbits_per_ls)
        self._mask = bunch_mask()
        self._colliding = np.flatnonzero(np.tile(self._mask, settings.orbits_per_message))
        self._fill = settings.fill
        self._drifts = Drifts(tuple(Drift.parse(text, since=1) for text in settings.conditions))
        self._response = NOMINAL
        self._pileup = self._measured_pileup = 0.0
        self._rebooted = False
        self._stopping = False
        self._context = zmq.Context()
        self._publisher = self._context.socket(zmq.PUSH if settings.pattern == "push" else zmq.PUB)
        self._control = self._context.socket(zmq.REP)
        self._endpoints = [_bind(self._publisher, address) for address in settings.publish]
        self._control_endpoint = _bind(self._control, settings.control)
        self._server = Server(self._registers, settings.ipbus_host, settings.ipbus_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self) -> None:
        """Take data until `stop`, or for the lumi sections of the settings; ends the run."""
        settings = self._settings
        seconds = settings.ls_seconds / settings.orbits_per_ls
        start = time.monotonic()
        for orbit in count(0, settings.orbits_per_message):
            self._attend_until(start + orbit * seconds)
            if self._stopping:
                break
            self._registers.orbit = orbit
            ls, orbit_of_ls = divmod(orbit, settings.orbits_per_ls)
            if orbit_of_ls == 0:
                self._end_ls(ls)
                if settings.duration_ls and ls == settings.duration_ls:
                    break
                self._begin_ls(ls + 1)
            self._cross()
        self._end_run()

    def stop(self) -> None:
        """Let `run` return within one message; fit for a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """End; what peers have not taken by then has `LINGER_MS`.

        For a peer that goes away meanwhile libzmq may wait for ever: such a context is left to the end of the process.
        """
        self._server.close()
        ending = threading.Thread(target=self._context.destroy, args=(LINGER_MS,), daemon=True)
        ending.start()
        ending.join(2 * LINGER_MS / 1000)

    def status(self) -> dict[str, Any]:
        """Where the board is and can be reached, and what its streams have done in this run."""
        return {
            "source": self._settings.source,
            "publish": self._endpoints,
            "control": self._control_endpoint,
            "ipbus": self._server.uri,
            "run": self._registers.run,
            "epoch": self._registers.epoch,
            "ls": self._registers.ls,
            "pileup": self._pileup,
            "conditions": [str(condition) for condition in self._drifts.drifts],
            "streams": {
                stream.name: {
                    "generation": stream.bank.generation,
                    "payload": stream.bank.active.id,
                    "messages": stream.messages,
                    "dropped": stream.dropped,
                    "events": stream.events,
                    "accepts": stream.accepts.tolist(),
                }
                for stream in self._streams
            },
        }

    def _begin_ls(self, ls: int) -> None:
        self._registers.begin_ls(ls)
        self._response = self._drifts.at(ls)
        self._pileup = self._drifts.pileup(ls, self._fill.pileup(ls))
        error = self._settings.pileup_error * self._random.standard_normal()
        self._measured_pileup = max(0.0, self._pileup * (1 + error))
        self._rebooted = False
        for stream in self._streams:
            stream.begin_ls()
        self._announce()

    def _end_ls(self, ls: int) -> None:
        if ls and not self._rebooted:
            with self._registers.lock:
                for stream in self._streams:
                    stream.end_ls(ls)

    def _announce(self) -> None:
        filled = int(self._mask.sum())
        for stream in self._streams:
            header = self._header(stream, "begin", filled=filled, ls_orbits=self._settings.orbits_per_ls)
            self._send(stream, Batch(header, np.empty(0), mask=self._mask))

    def _cross(self) -> None:
        """One message of every stream, all of the same crossings, each as its algorithm sees them."""
        truth = self._generator.draw(len(self._colliding), self._pileup)
        views = {width: VIEWS[width](truth, self._response) for width in {s.width for s in self._streams}}
        for stream in self._streams:
            events = views[stream.width]
            codes, empty = stream.decide(events, self._registers.lock)
            index, inclusion = stream.sample(codes)
            scores, position = codes, index
            if self._settings.bx_class == "all":
                scores = np.full(self._settings.orbits_per_message * CROSSINGS, empty, codes.dtype)
                scores[self._colliding] = codes
                position = self._colliding[index]
            header = self._header(stream, "batch", n=len(scores), events=EventHeader(len(index), stream.width))
            self._send(stream, Batch(header, scores, events[index], position.astype(np.uint32), inclusion))

    def _end_run(self) -> None:
        for stream in self._streams:
            accepts = {f"accepts_{k}": n for k, n in enumerate(stream.accepts.tolist())}
            totals = {"messages": stream.messages + 1, "dropped": stream.dropped, "events": stream.events}
            self._send(stream, Batch(self._header(stream, "end", totals=totals | accepts), np.empty(0)))

    def _header(self, stream: Stream, kind: str, n: int = 0, **own: Any) -> Header:
        registers = self._registers
        return Header(
            kind=kind,
            stream=stream.name,
            source=self._settings.source,
            seq=stream.messages,
            run=registers.run,
            ls=registers.ls,
            orbit=registers.orbit,
            n=n,
            dtype=stream.dtype,
            epoch=registers.epoch,
            generation=stream.bank.generation,
            t_ns=time.time_ns(),
            pileup=self._measured_pileup,
            bx_class=self._settings.bx_class,
            **own,
        )

    def _send(self, stream: Stream, batch: Batch) -> None:
        stream.messages += 1
        try:
            self._publisher.send_multipart(encode(batch), zmq.NOBLOCK)
        except zmq.Again:
            stream.dropped += 1

    def _attend_until(self, due: float) -> None:
        """Answer the control socket until it is time to go on, at least once."""
        parent = self._settings.parent_pid
        while not self._stopping:
            wait = min(max(0.0, due - time.monotonic()), ATTENTION_SECONDS)
            if self._control.poll(int(1000 * wait)):
                self._control.send_json(self._answer(self._control.recv()))
            if parent is not None and os.getppid() != parent:
                self.stop()
            if time.monotonic() >= due:
                return

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            self._obey(json.loads(request))
        except (ValueError, TypeError, FirmwareError) as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, **self.status()}

    def _obey(self, request: Any) -> None:
        coming = self._registers.ls + 1
        match request:
            case {"do": "condition", "text": str(text)}:
                self._drifts = self._drifts.adding(Drift.parse(text, since=coming))
            case {"do": "clear", "kind": str(kind)}:
                self._drifts = self._drifts.without(kind)
            case {"do": "clear"}:
                self._drifts = Drifts()
            case {"do": "fill"}:
                values = {name: value for name, value in request.items() if name != "do"}
                self._fill = replace(self._fill, since=coming, **values)
            case {"do": "reboot"}:
                self._reboot()
            case {"do": "stop"}:
                self.stop()
            case {"do": "status"}:
                pass
            case _:
                raise ValueError(f"{request!r:.80} is no request, expected one of {', '.join(REQUESTS)}")

    def _reboot(self) -> None:
        self._registers.boot()
        self._rebooted = True
        if self._registers.ls:
            self._announce()


def run_board(settings: BoardSettings, ready: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Run a simulated board until SIGTERM, SIGINT, ``stop`` or its last lumi section.

    `ready` gets the status, with all addresses, once the board can be reached.
    """
    with SimBoard([Package.load(path) for path in settings.packages], settings) as board:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: board.stop())
        if ready is not None:
            ready(board.status())
        board.run()


def _bank(package: Package, settings: BoardSettings) -> DecidingBank:
    model, nominal = package.model, package.nominal
    match settings.execution:
        case "rtl":
            return RtlBank(model, nominal, settings.cache)
        case "compiled":
            return EmulatedBank(model, nominal, CompiledDatapath(model, settings.cache).run)
        case _:
            return EmulatedBank(model, nominal, Emulator(model).run)


def _bind(socket: "zmq.Socket[bytes]", address: str) -> str:
    """Bind and return the endpoint as it became."""
    socket.bind(address)
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
