"""The registers of one stream: an active bank, a shadow bank, and the swap between them."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from firmware.board.register_map import (
    ACTIVE,
    ARM,
    ARM_COMMAND,
    ARM_CRC,
    ARM_GENERATION,
    ARM_STATUS,
    ARM_TARGET,
    COUNTERS,
    COUNTERS_ACCEPTS,
    DISARM,
    PLAY_ACTIVE,
    PLAY_COMMAND,
    PLAY_COUNT,
    PLAY_REFUSED,
    PLAY_SHADOW,
    PLAY_STATUS,
    PLAYBACK,
    PLAYBACK_CODES,
    PLAYBACK_EVENTS,
    PLAYED,
    PREVIEW_ACCEPTS,
    PREVIEW_CLEAR,
    PREVIEW_PRESCALE,
    SHADOW,
    ArmStatus,
    playback_capacity,
)
from firmware.datapath.emulator import Emulator
from firmware.errors import BusError
from firmware.model.fixed import Words
from firmware.model.model import Model
from firmware.model.payload import Payload


@dataclass(frozen=True, slots=True)
class Counts:
    """What a lumi section counted, of colliding crossings; `dropped` counts the run's messages."""

    ls: int
    generation: int
    events: int
    dropped: int
    accepts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """Which events to try on the shadow bank, as it was at `revision`."""

    picks: slice
    payload: Payload
    revision: int


class Bank:
    """The register space of one stream and its behaviour, without I/O.

    Addresses are word offsets from the stream's base. The host writes the shadow bank and arms it
    for a lumi section; `begin_ls` swaps the banks at the first section that is not before the target.
    Arming takes a copy of generation and target, so that these registers may be written again. Any
    shadow write disarms, and so does an arm command that is refused. A play command runs the events of the
    playback memory, each word cut to the type of its feature, through a bank; they count nowhere.
    """

    _phase: int
    _preview_events: int
    _preview_accepts: npt.NDArray[np.int64]

    def __init__(self, model: Model, nominal: Payload) -> None:
        self._identity = np.frombuffer(bytes.fromhex(model.id), ">u4").tolist()
        self._n_cuts = model.n_cuts
        self._nominal = nominal
        self._emulator = Emulator(model)
        self._capacity = playback_capacity(model.n_features)
        self._revision = 0
        self.ls = 0
        self.boot()

    def boot(self) -> None:
        """Power on: nominal registers in both banks, generation 0, counters cleared."""
        self._banks = [self._nominal.words.copy(), self._nominal.words.copy()]
        self._crcs: list[int | None] = [None, None]
        self.active = self._nominal
        self.active_bank = 0
        self.generation = 0
        self.latched_ls = 0
        self.counts = Counts(0, 0, 0, 0, (0,) * self._n_cuts)
        self._arm = dict.fromkeys((ARM_GENERATION, ARM_TARGET, ARM_CRC), 0)
        self._armed = (0, 0)
        self._status = ArmStatus.IDLE
        self._prescale = 0
        self._clear_preview()
        self._play_count = 0
        self._play_status = PLAYED
        self._play_events = np.zeros(self._capacity * self._emulator.model.n_features, np.uint32)
        self._play_codes = np.zeros(self._capacity, np.uint32)

    def begin_ls(self, ls: int) -> None:
        """Start lumi section `ls`, with the armed registers if their time has come."""
        self.ls = ls
        generation, target = self._armed
        if self._status != ArmStatus.ARMED or ls < target:
            return
        # One flip of the index, as in the hardware: no register of the new bank can be active without the others.
        self.active_bank = 1 - self.active_bank
        self.active = self._payload(self._banks[self.active_bank])
        self.generation = generation
        self.latched_ls = ls
        self._status = ArmStatus.IDLE
        self._revision += 1

    def trial(self, n: int) -> Trial | None:
        """Which of the next n events to try on the shadow bank; None without preview."""
        if not self._prescale:
            return None
        picks = slice(-self._phase % self._prescale, n, self._prescale)
        self._phase = (self._phase + n) % self._prescale
        return Trial(picks, self._payload(self._shadow), self._revision)

    def count_trial(self, trial: Trial, accepts: npt.NDArray[np.bool_]) -> None:
        """Count the accept bits (n, n_cuts) of a trial, unless shadow or counters changed meanwhile."""
        if trial.revision == self._revision:
            self._preview_events += len(accepts)
            self._preview_accepts += accepts.sum(axis=0)

    def read(self, offset: int, n: int) -> Sequence[int]:
        """n words from `offset` on.

        Raises:
            BusError: if one of them is no readable register.
        """
        start, block = next((start, block) for start, block in _READABLE if start <= offset)
        words = block(self)
        if offset + n > start + len(words):
            raise BusError(f"{n} words at {offset:#x} are not readable")
        part = words[offset - start : offset - start + n]
        return part.tolist() if isinstance(part, np.ndarray) else [*part]

    def write(self, offset: int, words: Sequence[int]) -> None:
        """Write words from `offset` on; all of them or none.

        Raises:
            BusError: if one of them is no writable register.
        """
        end = offset + len(words)
        if offset >= PLAYBACK_EVENTS and end <= PLAYBACK_EVENTS + self._play_events.size:
            self._play_events[offset - PLAYBACK_EVENTS : end - PLAYBACK_EVENTS] = words
        elif offset >= SHADOW and end <= SHADOW + self._shadow.size:
            self._shadow[offset - SHADOW : end - SHADOW] = words
            self._crcs[1 - self.active_bank] = None
            self._revision += 1
            if self._status == ArmStatus.ARMED:
                self._status = ArmStatus.IDLE
        elif _WRITABLE.issuperset(range(offset, end)):
            for register, word in zip(range(offset, end), words, strict=True):
                self._write_register(register, word)
        else:
            raise BusError(f"{len(words)} words at {offset:#x} are not writable")

    def _write_register(self, register: int, word: int) -> None:
        if register == ARM_COMMAND:
            self._command(word)
        elif register == PREVIEW_PRESCALE:
            self._prescale, self._phase = word, 0
        elif register == PREVIEW_CLEAR:
            self._clear_preview()
        elif register == PLAY_COUNT:
            self._play_count = word
        elif register == PLAY_COMMAND:
            self._play(word)
        else:
            self._arm[register] = word

    def _command(self, word: int) -> None:
        if word == ARM:
            self._status = self._judge()
            self._armed = self._arm[ARM_GENERATION], self._arm[ARM_TARGET]
        elif word == DISARM:
            self._status = ArmStatus.IDLE

    def _judge(self) -> ArmStatus:
        if self._arm[ARM_CRC] != self._crc(1 - self.active_bank):
            return ArmStatus.REFUSED_CRC
        if self._arm[ARM_TARGET] <= self.ls:
            return ArmStatus.REFUSED_LATE
        if self._arm[ARM_GENERATION] <= self.generation:
            return ArmStatus.REFUSED_GENERATION
        return ArmStatus.ARMED

    def _play(self, word: int) -> None:
        if word not in (PLAY_SHADOW, PLAY_ACTIVE):
            return
        if self._play_count > self._capacity:
            self._play_status = PLAY_REFUSED
            return
        self._play_status = PLAYED
        model = self._emulator.model
        low, high = model.limits
        words = self._play_events.reshape(self._capacity, -1)[: self._play_count].astype(np.int64)
        events = (words - low) % (high - low + 1) + low
        payload = self._payload(self._shadow) if word == PLAY_SHADOW else self.active
        self._play_codes[: self._play_count] = self._emulator.codes(events, payload)

    def _clear_preview(self) -> None:
        self._revision += 1
        self._phase = 0
        self._preview_events = 0
        self._preview_accepts = np.zeros(self._n_cuts, np.int64)

    @property
    def _shadow(self) -> Words:
        return self._banks[1 - self.active_bank]

    def _payload(self, words: Words) -> Payload:
        return Payload.from_registers(self._nominal.layout, self._nominal.model_id, words)

    def _state(self) -> list[int]:
        crcs = self._crc(self.active_bank), self._crc(1 - self.active_bank)
        return [*self._identity, self._shadow.size, self.active_bank, self.generation, self.latched_ls, *crcs]

    def _crc(self, bank: int) -> int:
        """Of a bank as it was last written."""
        crc = self._crcs[bank]
        if crc is None:
            crc = self._crcs[bank] = zlib.crc32(self._banks[bank].astype("<u4").tobytes())
        return crc

    def _counters(self) -> list[int]:
        counts = self.counts
        return [counts.ls, counts.generation, counts.events, counts.dropped]


_READABLE: tuple[tuple[int, Callable[[Bank], Words | Sequence[int]]], ...] = (
    (PLAYBACK_EVENTS, lambda bank: bank._play_events),
    (PLAYBACK_CODES, lambda bank: bank._play_codes),
    (PLAY_STATUS, lambda bank: (bank._play_status,)),
    (PLAYBACK, lambda bank: (bank._capacity, bank._play_count)),
    (ACTIVE, lambda bank: bank._banks[bank.active_bank]),
    (SHADOW, lambda bank: bank._shadow),
    (COUNTERS_ACCEPTS, lambda bank: bank.counts.accepts),
    (COUNTERS, Bank._counters),
    (PREVIEW_ACCEPTS, lambda bank: bank._preview_accepts.tolist()),
    (PREVIEW_PRESCALE, lambda bank: (bank._prescale, bank._preview_events)),
    (ARM_STATUS, lambda bank: (bank._status,)),
    (ARM_GENERATION, lambda bank: tuple(bank._arm.values())),
    (0, Bank._state),
)
_WRITABLE = {
    ARM_GENERATION,
    ARM_TARGET,
    ARM_CRC,
    ARM_COMMAND,
    PREVIEW_PRESCALE,
    PREVIEW_CLEAR,
    PLAY_COUNT,
    PLAY_COMMAND,
}
