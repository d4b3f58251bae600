"""A board behind IPbus, through the uHAL library."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np

from firmware.board import BankName, BoardState, Counters, Identity, Words
from firmware.errors import BoardError, BoardUnreachable

ARM, DISARM = 1, 2

_SILENCE = re.compile(r"time(d )?out|connect|resolve", re.IGNORECASE)


class UhalBoard:
    """The streams of an address table at a uHAL URI (`ipbusudp-2.0://`, `ipbustcp-2.0://`, `chtcp-2.0://`).

    uHAL keeps the interpreter lock while it waits for a reply, so in a program with other things to do
    this belongs behind a RemoteBoard. After an error a reply may still be under way: the connection is
    given up, and the next call makes a new one.

    Raises:
        BoardUnreachable: by every method, if no connection or no reply is had within the timeout.
        BoardError: if the board or the address table refuses the access.
    """

    def __init__(self, uri: str, address_table: str, timeout_ms: int = 1000) -> None:
        import uhal

        uhal.setLogLevelTo(uhal.LogLevel.FATAL)
        self.uri = uri
        self._timeout_ms = timeout_ms
        self._address_table = address_table
        self._file = Path(gettempdir(), f"driftd-board-{secrets.token_hex(8)}.xml")
        self._device: Any = None

    def identify(self, stream: str) -> Identity:
        with self._connected() as device:
            info = _read(device, "info", "magic", "version", "epoch")
            model_id = device.getNode(f"{stream}.model_id").readBlock(8)
            (n_words,) = _read(device, stream, "n_words")
            device.dispatch()
        magic, version, epoch = map(int, info)
        return Identity(magic, version, epoch, "".join(f"{word:08x}" for word in model_id), int(n_words))

    def state(self, stream: str) -> BoardState:
        """In one transfer, `arm` first: a swap in its midst shows as armed or as done, never as neither."""
        with self._connected() as device:
            info = _read(device, "info", "epoch", "run", "ls")
            arm = _read(device, f"{stream}.arm", "status", "generation", "target_ls")
            bank = _read(device, stream, "shadow_crc", "generation", "latched_ls", "active_crc")
            device.dispatch()
        epoch, run, ls = map(int, info)
        status, arm_generation, target_ls = map(int, arm)
        shadow_crc, generation, latched_ls, active_crc = map(int, bank)
        return BoardState(
            epoch, run, ls, generation, latched_ls, active_crc, shadow_crc, status, arm_generation, target_ls
        )

    def write_shadow(self, stream: str, words: Words) -> None:
        with self._connected() as device:
            fields = _fields(device, stream, "shadow")
            size = sum(field.getSize() for field in fields)
            if size != len(words):
                raise BoardError(f"{len(words)} words for {stream}.shadow, which has {size}")
            rest = words.tolist()
            for field in fields:
                field.writeBlock(rest[: field.getSize()])
                rest = rest[field.getSize() :]
            device.dispatch()

    def read_bank(self, stream: str, bank: BankName) -> Words:
        with self._connected() as device:
            blocks = [field.readBlock(field.getSize()) for field in _fields(device, stream, bank)]
            device.dispatch()
            return np.concatenate([np.array(block.value(), dtype=np.uint32) for block in blocks])

    def preview(self, stream: str, prescale: int) -> None:
        self._write(f"{stream}.preview", prescale=prescale, clear=1)

    def previewed(self, stream: str) -> tuple[int, tuple[int, ...]]:
        with self._connected() as device:
            (events,) = _read(device, f"{stream}.preview", "events")
            accepts = _read_all(device, f"{stream}.preview.accepts")
            device.dispatch()
            return int(events), tuple(accepts)

    def arm(self, stream: str, generation: int, target_ls: int, crc: int) -> None:
        self._write(f"{stream}.arm", generation=generation, target_ls=target_ls, crc=crc, command=ARM)

    def disarm(self, stream: str) -> None:
        self._write(f"{stream}.arm", command=DISARM)

    def counters(self, stream: str) -> Counters:
        with self._connected() as device:
            scalars = _read(device, f"{stream}.counters", "ls", "generation", "events", "dropped")
            accepts = _read_all(device, f"{stream}.counters.accepts")
            device.dispatch()
            ls, generation, events, dropped = map(int, scalars)
            return Counters(ls, generation, events, tuple(accepts), dropped)

    def close(self) -> None:
        self._device = None

    def _write(self, node: str, **registers: int) -> None:
        with self._connected() as device:
            for register, word in registers.items():
                device.getNode(f"{node}.{register}").write(word)
            device.dispatch()

    def _connect(self) -> Any:
        """A new connection. uHAL takes the table from a file, but keeps one table for ever per file name."""
        import uhal

        with self._file.open("x") as file:
            file.write(self._address_table)
        try:
            device = uhal.getDevice("board", self.uri, f"file://{self._file}")
        finally:
            self._file.unlink()
        device.setTimeoutPeriod(self._timeout_ms)
        return device

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        import uhal

        try:
            if self._device is None:
                self._device = self._connect()
            yield self._device
        except BaseException as error:
            self._device = None
            if not isinstance(error, (uhal.exception, RuntimeError)):
                raise
            kind = BoardUnreachable if _SILENCE.search(f"{type(error)} {error}") else BoardError
            raise kind(f"{self.uri}: {str(error).strip()}") from error


def _read(device: Any, node: str, *registers: str) -> list[Any]:
    return [device.getNode(f"{node}.{register}").read() for register in registers]


def _read_all(device: Any, node: str) -> Any:
    block = device.getNode(node)
    return block.readBlock(block.getSize())


def _fields(device: Any, stream: str, bank: str) -> list[Any]:
    top = device.getNode(f"{stream}.{bank}")
    return sorted((top.getNode(name) for name in top.getNodes()), key=lambda field: int(field.getAddress()))
