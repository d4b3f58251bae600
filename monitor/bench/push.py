"""How long a transaction takes beside bare register access: the figures of `driftd bench push`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from firmware.board.addresses import address_table
from firmware.board.board import Board, RemoteBoard
from firmware.board.register_map import SHADOW, STREAM_SPAN
from firmware.board.uhal import UhalBoard
from firmware.datapath.validation import Validation
from firmware.model import axol1tl
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.process import Remote
from firmware.push.journal import StepNote
from firmware.push.transaction import MARGIN_LS, Transaction
from firmware.sim.bank import Bank
from firmware.sim.ipbus import Server
from firmware.sim.registers import BoardRegisters
from monitor.bench.working_point import GOLDEN
from monitor.store.ledger import Ledger

STREAM = "bench"
LUT_BITS = 12
CUTS = (100, 200, 300)
CALL_S = 10.0
SETTLE_S = 0.01
"""Before each part, so that none pays for the processor time that the one before has used."""


@dataclass(frozen=True)
class Settings:
    """Sizes of a run; `cache` keeps what was compiled."""

    rounds: int
    seed: int
    cache: Path


class BoardProcess:
    """A simulated board without crossings."""

    def __init__(self, model: Model, nominal: Payload) -> None:
        self._registers = BoardRegisters([Bank(model, nominal)], run=1, ls_orbits=1)
        self._registers.begin_ls(1)
        self._server = Server(self._registers)

    def uri(self) -> str:
        """Where it is reached."""
        return self._server.uri

    def begin_ls(self, n: int) -> None:
        """Let so many lumi sections begin."""
        for _ in range(n):
            self._registers.begin_ls(self._registers.ls + 1)


class TimedLedger(Ledger):
    """Says how long its steps took to be on disk."""

    seconds = 0.0

    def record_steps(self, stream: str, generation: int, payload_id: str, steps: Sequence[StepNote]) -> None:
        """As the ledger does, and count the seconds."""
        began = time.perf_counter()
        super().record_steps(stream, generation, payload_id, steps)
        self.seconds += time.perf_counter() - began


class BareAccess:
    """What a script would do: one block write and one block read of the whole shadow bank."""

    def __init__(self, uri: str) -> None:
        import uhal

        uhal.setLogLevelTo(uhal.LogLevel.FATAL)
        self._client = uhal.buildClient("bare", uri)

    def write_and_read(self, words: list[int]) -> list[int]:
        """The words as they are read back."""
        address = STREAM_SPAN + SHADOW
        self._client.writeBlock(address, words)
        self._client.dispatch()
        answer = self._client.readBlock(address, len(words))
        self._client.dispatch()
        read: list[int] = answer.value()
        return read


@dataclass(frozen=True)
class PushBench:
    """What the rounds share; `next_ls` begins the lumi sections until an armed payload has latched."""

    validation: Validation
    ledger: TimedLedger
    bare: BareAccess
    next_ls: Callable[[], object]


def push(settings: Settings) -> dict[str, Any]:
    """Milliseconds of each part of a transaction, and of bare access to the same words: the fastest of all rounds.

    `ratio` is the bare time over that of identifying, staging with its read-back, and arming with its checks;
    the proof of the golden vectors before, the playback on the board and the confirmation after the boundary
    stand on lines of their own. `ratio_bus` leaves out the time in which the ledger's steps reach the disk.
    """
    random = np.random.default_rng(settings.seed)
    model = _model(random)
    nominal = Payload.nominal(model, CUTS)
    validation = Validation(
        model, random.integers(*model.limits, (GOLDEN, model.n_features), endpoint=True), settings.cache
    )
    remote = Remote(BoardProcess, model, nominal)
    with TemporaryDirectory() as folder, TimedLedger(Path(folder) / "ledger.sqlite") as ledger:
        uri = remote.call("uri", deadline=CALL_S)
        addresses = address_table([(STREAM, model.layout, model.n_cuts)])
        next_ls = partial(remote.call, "begin_ls", MARGIN_LS, deadline=CALL_S)
        driver = RemoteBoard(UhalBoard, uri, addresses)
        bench = PushBench(validation, ledger, BareAccess(uri), next_ls)
        payloads = [
            nominal.replace(lut=random.integers(0, 1 << LUT_BITS, 1 << LUT_BITS)) for _ in range(settings.rounds)
        ]
        times = _rounds(bench, UhalBoard(uri, addresses), payloads)
        daemon = _rounds(bench, driver, payloads)
        driver.close()
    remote.close()
    ms = {name: round(1000 * min(spent), 3) for name, spent in times.items()}
    return {
        "words": int(nominal.words.size),
        "rounds": settings.rounds,
        "ms": ms,
        "ratio": round(ms["bare"] / ms["transaction"], 2),
        "ratio_bus": round(ms["bare"] / (ms["transaction"] - ms["ledger"]), 2),
        "ms_through_driver_process": round(1000 * min(daemon["transaction"]), 3),
        "vectors": len(validation.vectors(nominal).events),
        "executions": list(validation.vectors(nominal).executions),
        "seed": settings.seed,
    }


def _rounds(bench: PushBench, board: Board, payloads: Sequence[Payload]) -> dict[str, list[float]]:
    """Seconds of each part with each payload."""
    times: dict[str, list[float]] = defaultdict(list)
    ledger = bench.ledger
    for payload in payloads:
        ledger.add_payload(STREAM, payload, "bench")
        transaction = Transaction({"board": board}, ledger, STREAM, payload, bench.validation, frozen=lambda: False)
        times["proof"].append(_seconds(transaction.prove))
        times["bare"].append(_seconds(partial(bench.bare.write_and_read, payload.words.tolist())))
        ledger.seconds = 0.0
        stage = _seconds(transaction.write)
        disk = ledger.seconds
        times["playback"].append(_seconds(transaction.play))
        ledger.seconds = 0.0
        times["transaction"].append(stage + _seconds(transaction.arm))
        times["ledger"].append(disk + ledger.seconds)
        bench.next_ls()
        times["confirmation"].append(_seconds(transaction.confirm))
    return times


def _seconds(step: Callable[[], object]) -> float:
    time.sleep(SETTLE_S)
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _model(random: np.random.Generator) -> Model:
    """The shape of AXOL1TL, with weights that mean nothing."""
    shapes = list(pairwise((57, 28, 15, 8)))
    weights = [random.normal(0, 0.3, shape) for shape in shapes]
    biases = [random.normal(0, 0.3, n_out) for _, n_out in shapes]
    return axol1tl.model(STREAM, weights, biases, np.full(57, 4), np.zeros(57), lut_bits=LUT_BITS, n_cuts=len(CUTS))


def table(found: dict[str, Any]) -> list[str]:
    """The figures as lines of text."""
    ms = found["ms"]
    return [
        f"bare write and read of {found['words']} words: {ms['bare']:.2f} ms",
        f"identify, stage, read back, arm: {ms['transaction']:.2f} ms, {ms['ledger']:.2f} of them the ledger's disk; "
        f"{found['ms_through_driver_process']:.2f} ms through a driver process",
        f"bare over transaction: {found['ratio']:.2f}, without the ledger's disk {found['ratio_bus']:.2f}",
        f"proof: {found['vectors']} golden vectors on {' and '.join(found['executions'])} in {ms['proof']:.2f} ms",
        f"playback: the same on the board in {ms['playback']:.2f} ms",
        f"confirmation: {ms['confirmation']:.2f} ms after the boundary",
    ]
