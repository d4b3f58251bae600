"""The simulated board: crossings, trigger decisions, score publisher and registers in one process."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Self

import numpy as np
import zmq

from firmware.board.addresses import address_table
from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.errors import FirmwareError, PackageError
from firmware.model.package import Package
from firmware.sim.ipbus import Server
from firmware.sim.publisher import Publisher, bound
from firmware.sim.registers import BoardRegisters
from firmware.sim.rtl_bank import RtlBank
from firmware.sim.settings import BoardSettings
from firmware.sim.stream import DecidingBank, EmulatedBank, Stream
from firmware.sim.world.beam import bunch_mask
from firmware.sim.world.detector import NOMINAL
from firmware.sim.world.drifts import Drift, Drifts
from firmware.sim.world.events import VIEWS, Generator

ATTENTION_SECONDS = 0.1
LINGER_MS = 1000
REQUESTS = ("condition <text>", "clear [kind]", "fill [start, decay, floor]", "reboot", "stop", "status")


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
        mask = bunch_mask()
        self._colliding = np.flatnonzero(np.tile(mask, settings.orbits_per_message))
        self._fill = settings.fill
        self._drifts = Drifts(tuple(Drift.parse(text, since=1) for text in settings.conditions))
        self._response = NOMINAL
        self._pileup = 0.0
        self._rebooted = False
        self._stopping = False
        self._context = zmq.Context()
        publisher = self._context.socket(zmq.PUSH if settings.pattern == "push" else zmq.PUB)
        self._control = self._context.socket(zmq.REP)
        self._endpoints = [bound(publisher, address) for address in settings.publish]
        self._control_endpoint = bound(self._control, settings.control)
        self._publisher = Publisher(publisher, self._registers, settings, mask)
        # Last: from here on the bus reaches the registers from a thread of its own.
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
        self._publisher.end(self._streams)

    def stop(self) -> None:
        """Let `run` return within one message; fit for a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """End; what peers have not taken by then has `LINGER_MS`.

        For a peer that goes away meanwhile libzmq may wait for ever: such a context is left to the end of the process.
        """
        # The bus first, as its thread must not reach registers of a board that has ended.
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
        self._publisher.pileup = max(0.0, self._pileup * (1 + error))
        self._rebooted = False
        for stream in self._streams:
            stream.begin_ls()
        self._publisher.begin(self._streams)

    def _end_ls(self, ls: int) -> None:
        # A lumi section with a reboot in it has lost its first counts: it publishes none.
        if ls and not self._rebooted:
            with self._registers.lock:
                for stream in self._streams:
                    stream.end_ls(ls)

    def _cross(self) -> None:
        """Decide on the colliding crossings of one message, in every stream, each as its algorithm sees them."""
        truth = self._generator.draw(len(self._colliding), self._pileup)
        views = {width: VIEWS[width](truth, self._response) for width in {s.width for s in self._streams}}
        for stream in self._streams:
            events = views[stream.width]
            codes, empty = stream.decide(events, self._registers.lock)
            self._publisher.batch(stream, events, codes, empty)

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
            self._publisher.begin(self._streams)


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
