"""Networks with weights, conditions and rings in registers, on the whole board: each word that of NumPy integers."""

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from firmware.board.addresses import address_table
from firmware.board.board import RemoteBoard
from firmware.board.register_map import SHADOW, STREAM_SPAN
from firmware.board.uhal import UhalBoard
from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.datapath.validation import Validation
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from firmware.sim import rtl_bank
from firmware.sim.ipbus import Server
from firmware.sim.registers import BoardRegisters
from firmware.sim.rtl_bank import RtlBank
from firmware.sim.stream import DecidingBank, EmulatedBank
from firmware.tools.compiler import compiler
from monitor.store.ledger import Ledger
from tests.firmware.rtl.test_agreement import Pair
from tests.support.networks import registered_models
from tests.support.rig import RUN, STREAM

NETWORK = ("ring_scale", "conditioning", "weights", "biases")
ALL_BITS = 0xFFFFFFFF
CROSSING = Path(__file__).with_name("crossing.cpp")

Events = np.ndarray
Drawn = Callable[[Model, int, int], Events]
DrawnPayload = Callable[[Model, int], Payload]


class CrossingBank(RtlBank):
    """The hardware, in which a lumi section can begin while events are on their way."""

    def cross(
        self, events: Events, spacing: int, boundary: int, ls: int, address: int, word: int
    ) -> tuple[Events, Events, Events]:
        """Codes (n,), accept bits (n, n_cuts) and banks (n,), as `driftd_cross` of crossing.cpp gives them."""
        n = len(events)
        codes, accepts, banks = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint8)
        events = np.ascontiguousarray(events, np.int32)
        sizes, words = map(ctypes.c_size_t, (n, spacing, boundary)), map(ctypes.c_uint32, (ls, address, word))
        arrays = (ctypes.c_void_p(array.ctypes.data) for array in (codes, accepts, banks))
        with self._lock:
            self._hardware.driftd_cross(self._stream, ctypes.c_void_p(events.ctypes.data), *sizes, *words, *arrays)
        return codes, (accepts[:, None] >> np.arange(self._model.n_cuts) & 1).astype(np.bool_), banks


@dataclass(frozen=True)
class Stand:
    """A stream behind a real IPbus port, the real client that talks to it, and a machine clock that the test turns."""

    model: Model
    nominal: Payload
    bank: DecidingBank
    registers: BoardRegisters
    board: RemoteBoard
    cache: Path

    @cached_property
    def emulator(self) -> Emulator:
        return Emulator(self.model)

    @cached_property
    def validation(self) -> Validation:
        """Golden events whose codes compiled C++ must give as well."""
        low, high = self.model.limits
        events = np.random.default_rng(8).integers(low, high + 1, (20, self.model.n_features))
        return Validation(self.model, events, self.cache)

    def power_on(self) -> None:
        self.registers.boot()
        self.registers.begin_ls(10)

    def check(self, events: Events, payload: Payload) -> None:
        """The board decides on events as NumPy integers do under a payload."""
        codes, accepts = self.bank.decide(events, self.registers.lock)
        expected = self.emulator.run(events, payload)
        np.testing.assert_array_equal(codes, expected.codes)
        np.testing.assert_array_equal(accepts, expected.accepts)


@pytest.fixture(scope="module", params=registered_models())
def model(request: pytest.FixtureRequest) -> Model:
    return registered_models()[request.param]


def standing(model: Model, nominal: Payload, bank: DecidingBank, cache: Path) -> Iterator[Stand]:
    registers = BoardRegisters([bank], RUN, ls_orbits=40)
    server = Server(registers)
    board = RemoteBoard(UhalBoard, server.uri, address_table([(STREAM, model.layout, model.n_cuts)]), deadline=10)
    yield Stand(model, nominal, bank, registers, board, cache)
    board.close()
    server.close()


@pytest.fixture(scope="module")
def hardware(model: Model, rtl_cache: Path) -> Iterator[Stand]:
    """The stream in SystemVerilog."""
    nominal = Payload.nominal(model, np.full(model.n_cuts, 300))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtl_bank, "CLOCK", CROSSING)
        bank = CrossingBank(model, nominal, rtl_cache)
    yield from standing(model, nominal, bank, rtl_cache)


@pytest.fixture(scope="module")
def compiled(model: Model, built_datapaths: Path) -> Iterator[Stand]:
    """Emulated registers around the datapath in C++."""
    if compiler() is None:
        pytest.skip("no C++ compiler")
    nominal = Payload.nominal(model, np.full(model.n_cuts, 300))
    bank = EmulatedBank(model, nominal, CompiledDatapath(model, built_datapaths).run)
    yield from standing(model, nominal, bank, built_datapaths)


@pytest.fixture(params=["hardware", "compiled"])
def stand(request: pytest.FixtureRequest, model: Model) -> Stand:
    found: Stand = request.getfixturevalue(request.param)
    found.power_on()
    return found


def redrawn(nominal: Payload, seed: int, *, ends: bool) -> Payload:
    """All else nominal, each register of the network is anywhere in its range, or at one of its `ends`."""
    random, raws = np.random.default_rng(seed), {}
    for field in nominal.layout.fields:
        if field.name in NETWORK:
            limits = field.type.min_raw, field.type.max_raw
            raws[field.name] = (
                random.choice(limits, field.size) if ends else random.integers(*limits, field.size, endpoint=True)
            )
    return nominal.replace(**raws)


def test_every_word_is_that_of_numpy_integers_on_the_way_into_the_active_bank_and_there(
    stand: Stand, random_events: Drawn, random_payload: DrawnPayload, tmp_path: Path
) -> None:
    """Proven in C++, written, read back, played, previewed, armed and latched, one payload after the other."""
    model, board, emulator, active, changed = stand.model, stand.board, stand.emulator, stand.nominal, 0
    payloads = [random_payload(model, seed) for seed in range(6)]
    payloads += [redrawn(stand.nominal, seed, ends=ends) for seed in range(4) for ends in (False, True)]
    with Ledger(tmp_path / "ledger.db") as ledger:
        for seed, payload in enumerate(payloads):
            events = random_events(model, 400, seed)
            expected = emulator.run(events, payload)
            ledger.add_payload(STREAM, payload, "test")
            way = Transaction({"gt": board}, ledger, STREAM, payload, stand.validation, frozen=lambda: False)
            way.stage()
            assert board.read_bank(STREAM, "shadow").tolist() == payload.words.tolist()
            assert board.play(STREAM, events[:64], "shadow").tolist() == expected.codes[:64].tolist()
            way.preview_start(prescale=3)
            stand.check(events, active)
            preview, tried = way.preview_stop(), expected.accepts[:-1:3]
            assert (preview.events, preview.accepts) == (len(tried), tuple(tried.sum(axis=0)))
            stand.registers.begin_ls(way.arm().ls)
            assert way.confirm().outcome is Outcome.LATCHED
            assert board.read_bank(STREAM, "active").tolist() == payload.words.tolist()
            stand.check(events, payload)
            assert board.play(STREAM, events[:64], "active").tolist() == expected.codes[:64].tolist()
            changed += (emulator.codes(events, active) != expected.codes).mean() > 0.3
            active = payload
    assert changed > 6


def test_no_event_sees_registers_of_both_banks(hardware: Stand, random_events: Drawn) -> None:
    """Swapped between events of any distance, with a write on its heels into the bank that those before still need.

    What is written is any register, or the one that the last of these events needs last: the other side of its cut.
    """
    hardware.power_on()
    bank, board, registers, emulator = hardware.bank, hardware.board, hardware.registers, hardware.emulator
    assert isinstance(bank, CrossingBank)
    model, active, random, changed = hardware.model, hardware.nominal, np.random.default_rng(4), 0
    events = random_events(model, 60, 5)
    before = np.zeros((0, model.n_cuts), np.bool_)
    for generation, (spacing, boundary) in enumerate(product((1, 2, 3), range(40, 44)), 1):
        payload = redrawn(hardware.nominal, generation, ends=generation % 2 == 1)
        board.write_shadow(STREAM, payload.words)
        board.preview(STREAM, int(spacing > 1))
        assert board.arm(STREAM, generation, registers.ls + 1, payload.crc).armed
        old, new = (emulator.run(events, each) for each in (active, payload))
        behind = np.arange(len(events)) * spacing >= boundary
        at, word = int(random.integers(len(payload.words))), int(random.integers(1 << 32))
        if boundary % 2:
            at, word = model.layout["cuts"].address, ALL_BITS if old.accepts[~behind][-1, 0] else 0
        with registers.lock:
            registers.ls += 1
            codes, accepts, banks = bank.cross(events, spacing, boundary, registers.ls, SHADOW + at, word)
        np.testing.assert_array_equal(codes, np.where(behind, new.codes, old.codes))
        np.testing.assert_array_equal(accepts, np.where(behind[:, None], new.accepts, old.accepts))
        np.testing.assert_array_equal(banks, behind == generation % 2)
        counted, counters = np.concatenate([before, accepts[~behind]]), board.counters(STREAM)
        assert (counters.generation, counters.events) == (generation - 1, len(counted))
        assert counters.accepts == tuple(counted.sum(axis=0))
        shadow = active.words.copy()
        shadow[at] = word
        assert board.read_bank(STREAM, "shadow").tolist() == shadow.tolist()
        changed += (old.codes != new.codes).mean() > 0.5
        active, before = payload, accepts[behind]
    assert changed > 8


def test_both_banks_say_the_same_whatever_is_done_to_them(hardware: Stand) -> None:
    """The same operations drawn for the hardware and for emulated registers around NumPy integers."""
    assert isinstance(hardware.bank, RtlBank)
    emulated = EmulatedBank(hardware.model, hardware.nominal, hardware.emulator.run)
    Pair(hardware.bank, emulated, seed=1).run(300)


def test_a_bank_that_is_written_in_part_or_again_after_it_was_armed_decides_nothing(
    stand: Stand, random_events: Drawn
) -> None:
    events, payload = random_events(stand.model, 100, 2), redrawn(stand.nominal, 1, ends=False)
    assert (stand.emulator.codes(events, payload) != stand.emulator.codes(events, stand.nominal)).mean() > 0.5
    shadow = STREAM_SPAN + SHADOW
    for n in np.linspace(1, len(payload.words) - 1, 8).astype(int):
        stand.registers.write(shadow, payload.words[:n].tolist())
        stand.registers.begin_ls(stand.registers.ls + 1)
        stand.check(events, stand.nominal)
    for name in set(NETWORK).intersection(field.name for field in payload.layout.fields):
        stand.board.write_shadow(STREAM, payload.words)
        assert stand.board.arm(STREAM, 1, stand.registers.ls + 1, payload.crc).armed
        address = stand.model.layout[name].address
        stand.registers.write(shadow + address, payload.words[address : address + 1].tolist())
        stand.registers.begin_ls(stand.registers.ls + 1)
        stand.check(events, stand.nominal)
