"""The whole register space of the simulated board: the info block and one bank per stream."""

import secrets
import threading
from collections.abc import Sequence
from typing import Protocol

from firmware.board.register_map import MAGIC, MAP_VERSION, STREAM_SPAN
from firmware.errors import BusError
from firmware.sim.ipbus import RegisterSpace


class RegisterBank(RegisterSpace, Protocol):
    """The registers of one stream, at word offsets from its base."""

    def boot(self) -> None:
        """Power on: nominal registers, generation 0, counters cleared."""

    def begin_ls(self, ls: int) -> None:
        """Start lumi section `ls`, with the armed registers if their time has come."""


class BoardRegisters:
    """Shared by the bus and the trigger: whoever touches the banks holds `lock`."""

    def __init__(self, banks: Sequence[RegisterBank], run: int, ls_orbits: int) -> None:
        self.lock = threading.RLock()
        self.run = run
        self.ls_orbits = ls_orbits
        self.ls = 0
        self.orbit = 0
        self.epoch = _new_epoch()
        self._banks = banks

    def boot(self) -> None:
        """Power cycle: a new epoch, nominal registers, and the clock of the machine goes on."""
        with self.lock:
            self.epoch = _new_epoch()
            for bank in self._banks:
                bank.boot()

    def begin_ls(self, ls: int) -> None:
        """Start lumi section `ls` in every stream."""
        with self.lock:
            self.ls = ls
            for bank in self._banks:
                bank.begin_ls(ls)

    def read(self, address: int, n: int) -> Sequence[int]:
        """n words from `address` on, of the info block or of one stream; a BusError if they are not readable."""
        with self.lock:
            if address >= STREAM_SPAN:
                return self._bank(address).read(address % STREAM_SPAN, n)
            info = (
                MAGIC,
                MAP_VERSION,
                self.epoch,
                self.run,
                self.ls,
                self.orbit,
                self.ls_orbits,
                len(self._banks),
            )
            if address + n > len(info):
                raise BusError(f"{n} words at {address:#x} are not readable")
            return info[address : address + n]

    def write(self, address: int, words: Sequence[int]) -> None:
        """Write words of one stream from `address` on; a BusError if they are not writable."""
        with self.lock:
            if address < STREAM_SPAN:
                raise BusError(f"{address:#x} is not writable")
            self._bank(address).write(address % STREAM_SPAN, words)

    def _bank(self, address: int) -> RegisterBank:
        stream = address // STREAM_SPAN - 1
        if stream >= len(self._banks):
            raise BusError(f"{address:#x} is beyond the last stream")
        return self._banks[stream]


def _new_epoch() -> int:
    return secrets.randbits(31)
