"""The hardware in Verilator against the emulated bank, over whatever a host and the machine may do."""

from itertools import chain
from pathlib import Path
from threading import RLock

import numpy as np
import pytest

from firmware.datapath.emulator import Emulator
from firmware.errors import BusError
from firmware.model.payload import Payload
from firmware.sim.bank import Counts
from firmware.sim.rtl_bank import RtlBank
from firmware.sim.stream import EmulatedBank
from tests.support.rig import tiny_model

SHADOW, ACTIVE, SHADOW_CRC, ARM, ARM_COMMAND = 0x1000, 0x8000, 0x0D, 0x10, 0x13
PRESCALE, PREVIEW_CLEAR = 0x18, 0x1A
PLAY_COUNT, PLAY_CODES, PLAY_EVENTS = 0x10001, 0x10100, 0x10800
REGISTERS = (
    (0x00, 14),
    (ARM, 3),
    (0x14, 1),
    (PRESCALE, 2),
    (0x40, 4),
    (PLAY_COUNT, 1),
    (0x10003, 1),
)
PREVIEW_ACCEPTS, COUNTERS_ACCEPTS = 0x20, 0x50


class Pair:
    """One operation at a time, drawn and done to both banks."""

    def __init__(self, hardware: RtlBank, emulated: EmulatedBank, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.banks = (hardware, emulated)
        self.emulated = emulated
        self.model = emulated._emulator.model
        self.swaps = self.previewed = 0
        self.boot()

    def boot(self) -> None:
        for bank in self.banks:
            bank.boot()
        self.ls = 9
        self.counts = np.zeros(1 + self.model.n_cuts, np.int64)
        self.begin_ls()

    def write(self, offset: int, words: list[int]) -> None:
        for bank in self.banks:
            bank.write(offset, words)

    def stage(self) -> None:
        layout = self.model.layout
        near = self.emulated.read(ACTIVE, layout.n_words)
        start, n = int(self.random.integers(layout.n_words)), int(self.random.integers(1, 12))
        words = [word + int(self.random.integers(-3, 4)) & 0xFFFFFFFF for word in near[start : start + n]]
        self.write(SHADOW + start, words)

    def garble(self) -> None:
        self.write(SHADOW + int(self.random.integers(self.model.layout.n_words)), [int(self.random.integers(1 << 32))])

    def arm(self) -> None:
        (crc,) = self.emulated.read(SHADOW_CRC, 1)
        generation = self.emulated.generation + int(self.random.integers(0, 4))
        target, error = self.ls + int(self.random.integers(0, 4)), int(self.random.random() < 0.1)
        self.write(ARM, [generation, target, crc ^ error, int(self.random.choice([1, 1, 1, 1, 2, 3]))])

    def preview(self) -> None:
        self.write(PRESCALE, [int(self.random.integers(0, 5))])

    def clear(self) -> None:
        self.write(PREVIEW_CLEAR, [1])

    def draw(self, n: int) -> np.ndarray:
        low, high = self.model.limits
        events = self.random.integers(low, high + 1, (n, self.model.n_features))
        return (events * self.random.random((n, 1)) ** 4).astype(np.int64)

    def decide(self) -> None:
        events = self.draw(int(self.random.integers(1, 60)))
        (codes, accepts), (expected, wanted) = (bank.decide(events, RLock()) for bank in self.banks)
        np.testing.assert_array_equal(codes, expected)
        np.testing.assert_array_equal(accepts, wanted)
        self.counts += [len(events) - 1, *wanted[:-1].sum(axis=0)]
        self.previewed += self.emulated.read(PRESCALE, 2)[1] > 0

    def begin_ls(self) -> None:
        self.ls += 1
        generation = self.emulated.generation
        for bank in self.banks:
            bank.begin_ls(self.ls)
        self.counts[:] = 0
        self.swaps += self.emulated.generation != generation

    def next_ls(self) -> None:
        events, *accepts = self.counts.tolist()
        dropped = int(self.random.integers(10))
        for bank in self.banks:
            bank.end_ls(Counts(self.ls, self.emulated.generation, events, dropped, tuple(accepts)))
        self.begin_ls()

    def play(self) -> None:
        n, command = int(self.random.integers(1, 6)), int(self.random.integers(1, 3))
        self.write(PLAY_EVENTS, self.random.integers(1 << 32, size=n * self.model.n_features).tolist())
        self.write(PLAY_COUNT, [n, command])
        hardware, emulated = (list(bank.read(PLAY_CODES, n)) for bank in self.banks)
        assert hardware == emulated

    def compare(self) -> None:
        sizes = self.model.n_cuts, self.model.n_cuts, *2 * [self.model.layout.n_words]
        blocks = zip((PREVIEW_ACCEPTS, COUNTERS_ACCEPTS, SHADOW, ACTIVE), sizes, strict=True)
        for offset, size in chain(REGISTERS, blocks):
            hardware, emulated = (list(bank.read(offset, size)) for bank in self.banks)
            assert hardware == emulated, f"{offset:#x}"

    def run(self, steps: int) -> None:
        """Whatever a host and the machine may do, so many times."""
        operations = (
            self.stage,
            self.garble,
            self.arm,
            self.preview,
            self.clear,
            self.decide,
            self.next_ls,
            self.play,
            self.boot,
        )
        weights = np.array([3, 1, 8, 2, 1, 8, 8, 2, 0.3])
        for step in self.random.choice(len(operations), steps, p=weights / weights.sum()):
            operations[step]()
            self.compare()
        assert self.swaps >= steps / 100
        assert self.previewed > steps / 50


@pytest.mark.parametrize("seed", range(4))
def test_both_banks_say_the_same_whatever_is_done_to_them(rtl_cache: Path, seed: int) -> None:
    model = tiny_model()
    nominal = Payload.nominal(model, [100, 200])
    pair = Pair(RtlBank(model, nominal, rtl_cache), EmulatedBank(model, nominal, Emulator(model).run), seed)
    pair.run(500)


def test_a_block_is_written_up_to_the_word_that_the_hardware_refuses(rtl_cache: Path) -> None:
    model = tiny_model()
    nominal = Payload.nominal(model, [100, 200])
    bank = RtlBank(model, nominal, rtl_cache)
    last = SHADOW + model.layout.n_words - 1
    with pytest.raises(BusError):
        bank.write(last, [1, 2])
    assert bank.read(last, 1) == [1]
