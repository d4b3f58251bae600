"""The two banks of a stream: what a host can write, when it takes effect, and what is refused."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.board.addresses import address_table
from firmware.board.nodes import parse_table
from firmware.board.register_map import STREAM_SPAN
from firmware.datapath.emulator import Emulator
from firmware.errors import BusError
from firmware.model import axol1tl
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.sim.bank import Bank, Counts
from firmware.sim.rtl_bank import RtlBank

ACTIVE_BANK, GENERATION, LATCHED_LS, ACTIVE_CRC, SHADOW_CRC = range(0x09, 0x0E)
ARM_GENERATION, ARM_TARGET, ARM_CRC, ARM_COMMAND, ARM_STATUS = range(0x10, 0x15)
PRESCALE, PREVIEW_EVENTS, PREVIEW_CLEAR, PREVIEW_ACCEPTS = 0x18, 0x19, 0x1A, 0x20
SHADOW, ACTIVE = 0x1000, 0x8000
IDLE, ARMED, BAD_CRC, LATE, BAD_GENERATION = range(5)


AnyBank = Bank | RtlBank


@pytest.fixture(scope="module")
def model() -> Model:
    random = np.random.default_rng(5)
    shapes = ((57, 6), (6, 4), (4, 8))
    return axol1tl.model(
        "axol1tl",
        [random.normal(0, 0.3, shape) for shape in shapes],
        [random.normal(0, 0.3, shape[1]) for shape in shapes],
        np.full(57, 4),
        np.zeros(57),
        lut_bits=6,
        n_cuts=2,
    )


@pytest.fixture
def nominal(model: Model) -> Payload:
    return Payload.nominal(model, [100, 200])


@pytest.fixture
def other(nominal: Payload) -> Payload:
    return nominal.replace(cuts=[90, 190])


@pytest.fixture
def emulated(model: Model, nominal: Payload) -> Bank:
    bank = Bank(model, nominal)
    bank.begin_ls(10)
    return bank


@pytest.fixture(scope="module")
def hardware(model: Model, rtl_cache: Path) -> RtlBank:
    return RtlBank(model, Payload.nominal(model, [100, 200]), rtl_cache)


@pytest.fixture(params=["emulated", "hardware"])
def bank(request: pytest.FixtureRequest) -> AnyBank:
    bank: AnyBank = request.getfixturevalue(request.param)
    bank.boot()
    bank.begin_ls(10)
    return bank


def status(bank: AnyBank) -> int:
    return bank.read(ARM_STATUS, 1)[0]


def stage(bank: AnyBank, payload: Payload) -> None:
    bank.write(SHADOW, payload.words.tolist())


def arm(bank: AnyBank, generation: int, target: int, crc: int) -> int:
    bank.write(ARM_GENERATION, [generation, target, crc])
    bank.write(ARM_COMMAND, [1])
    return status(bank)


def test_at_boot_the_nominal_registers_are_active(bank: AnyBank, model: Model, nominal: Payload) -> None:
    assert bytes.fromhex(model.id) == b"".join(word.to_bytes(4, "big") for word in bank.read(0, 8))
    assert bank.read(0x08, 6) == [nominal.layout.n_words, 0, 0, 0, nominal.crc, nominal.crc]
    assert bank.read(ACTIVE, nominal.layout.n_words) == nominal.words.tolist()
    assert bank.active.id == nominal.id


def test_an_armed_payload_becomes_active_at_its_lumi_section_and_not_before(
    bank: AnyBank, nominal: Payload, other: Payload
) -> None:
    stage(bank, other)
    assert arm(bank, 1, 13, other.crc) == ARMED
    for ls in (11, 12):
        bank.begin_ls(ls)
        assert (bank.active.id, bank.generation, status(bank)) == (nominal.id, 0, ARMED)
    bank.begin_ls(13)
    assert (bank.active.id, bank.generation, status(bank)) == (other.id, 1, IDLE)
    assert bank.read(ACTIVE_BANK, 5) == [1, 1, 13, other.crc, nominal.crc]
    assert bank.read(SHADOW, nominal.layout.n_words) == nominal.words.tolist()


def test_a_missed_target_swaps_at_the_next_lumi_section_and_says_which(bank: AnyBank, other: Payload) -> None:
    stage(bank, other)
    arm(bank, 1, 12, other.crc)
    bank.begin_ls(15)
    assert bank.read(LATCHED_LS, 1) == [15]


def test_the_banks_swap_back_and_forth(bank: AnyBank, nominal: Payload, other: Payload) -> None:
    for generation, payload in enumerate((other, nominal, other), 1):
        stage(bank, payload)
        arm(bank, generation, 10 + generation, payload.crc)
        bank.begin_ls(10 + generation)
        assert (bank.active.id, bank.generation) == (payload.id, generation)


@pytest.mark.parametrize(
    ("generation", "target", "crc_error", "expected"),
    [(1, 12, 1, BAD_CRC), (1, 10, 0, LATE), (1, 9, 0, LATE), (0, 12, 0, BAD_GENERATION)],
)
def test_arming_is_refused_with_its_reason(
    bank: AnyBank, other: Payload, generation: int, target: int, crc_error: int, expected: int
) -> None:
    stage(bank, other)
    assert arm(bank, generation, target, other.crc ^ crc_error) == expected
    bank.begin_ls(20)
    assert bank.generation == 0


def test_arming_the_same_again_changes_nothing(bank: AnyBank, other: Payload) -> None:
    stage(bank, other)
    assert [arm(bank, 1, 12, other.crc) for _ in range(3)] == [ARMED] * 3
    bank.begin_ls(12)
    assert (bank.generation, status(bank)) == (1, IDLE)
    assert arm(bank, 1, 12, other.crc) != ARMED
    bank.begin_ls(13)
    assert (bank.generation, bank.active.id) == (1, other.id)


def test_a_refused_arm_takes_back_the_one_before(bank: AnyBank, other: Payload) -> None:
    stage(bank, other)
    arm(bank, 1, 12, other.crc)
    assert arm(bank, 1, 12, other.crc ^ 1) == BAD_CRC
    bank.begin_ls(12)
    assert bank.generation == 0


def test_registers_written_after_arming_do_not_move_the_target(bank: AnyBank, other: Payload) -> None:
    stage(bank, other)
    arm(bank, 1, 12, other.crc)
    bank.write(ARM_GENERATION, [7, 99, 0])
    bank.begin_ls(12)
    assert bank.generation == 1


@pytest.mark.parametrize(
    "interfere",
    [
        lambda bank: bank.write(SHADOW + 3, [5]),
        lambda bank: bank.write(SHADOW, bank.read(SHADOW, 1)),
        lambda bank: bank.write(ARM_COMMAND, [2]),
        lambda bank: bank.boot(),
    ],
)
def test_a_shadow_write_a_disarm_and_a_boot_disarm(
    bank: AnyBank, other: Payload, interfere: Callable[[AnyBank], None]
) -> None:
    stage(bank, other)
    arm(bank, 1, 12, other.crc)
    interfere(bank)
    assert status(bank) == IDLE
    bank.begin_ls(12)
    assert bank.generation == 0


def test_an_interrupted_write_leaves_the_active_bank_untouched(bank: AnyBank, nominal: Payload, other: Payload) -> None:
    bank.write(SHADOW, other.words[:70].tolist())
    for ls in range(11, 20):
        bank.begin_ls(ls)
    assert bank.active.id == nominal.id
    assert bank.read(ACTIVE, nominal.layout.n_words) == nominal.words.tolist()


def test_the_shadow_crc_is_that_of_the_words_as_written(bank: AnyBank, nominal: Payload) -> None:
    bank.write(SHADOW, [0xFFFFFFFF])
    words = [0xFFFFFFFF, *nominal.words.tolist()[1:]]
    expected = zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words))
    assert bank.read(SHADOW_CRC, 1) == [expected]


def test_bits_above_a_register_are_read_back_but_not_executed(bank: AnyBank, nominal: Payload) -> None:
    cut = SHADOW + nominal.layout["cuts"].address
    bank.write(cut, [0xFFF00000 | 77])
    (crc,) = bank.read(SHADOW_CRC, 1)
    assert arm(bank, 1, 11, crc) == ARMED
    bank.begin_ls(11)
    assert bank.active.raw("cuts").tolist() == [77, 200]
    assert bank.read(ACTIVE + nominal.layout["cuts"].address, 1) == [0xFFF0004D]


def accepts(*rows: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.array(rows, np.bool_)


def test_preview_tries_every_kth_event_over_any_split(emulated: Bank) -> None:
    emulated.write(PRESCALE, [7])
    tried, at = [], 0
    for n in (1, 3, 20, 6, 0, 11):
        trial = emulated.trial(n)
        assert trial is not None
        tried += [at + i for i in range(n)[trial.picks]]
        at += n
    assert tried == list(range(0, at, 7))


def test_preview_counts_the_shadow_bank_until_cleared(emulated: Bank, other: Payload) -> None:
    assert emulated.trial(5) is None
    stage(emulated, other)
    emulated.write(PRESCALE, [1])
    trial = emulated.trial(3)
    assert trial is not None
    assert trial.payload.id == other.id
    emulated.count_trial(trial, accepts((1, 0), (1, 1), (0, 0)))
    emulated.count_trial(trial, accepts((1, 1)))
    assert emulated.read(PREVIEW_EVENTS, 1) == [4]
    assert emulated.read(PREVIEW_ACCEPTS, 2) == [3, 2]
    emulated.write(PREVIEW_CLEAR, [1])
    assert emulated.read(PREVIEW_EVENTS, 1) == [0]
    assert emulated.read(PREVIEW_ACCEPTS, 2) == [0, 0]


@pytest.mark.parametrize("change", [(SHADOW, [1]), (PREVIEW_CLEAR, [1])])
def test_a_trial_overtaken_by_a_write_is_not_counted(emulated: Bank, change: tuple[int, list[int]]) -> None:
    emulated.write(PRESCALE, [1])
    trial = emulated.trial(1)
    assert trial is not None
    emulated.write(*change)
    emulated.count_trial(trial, accepts((1, 1)))
    assert emulated.read(PREVIEW_EVENTS, 1) == [0]


def test_the_counters_are_those_of_the_last_lumi_section(emulated: Bank) -> None:
    emulated.counts = Counts(ls=9, generation=3, events=1000, dropped=4, accepts=(20, 10))
    assert emulated.read(0x40, 4) == [9, 3, 1000, 4]
    assert emulated.read(0x50, 2) == [20, 10]


@pytest.mark.parametrize(
    ("offset", "n"),
    [
        (0x0E, 1),
        (0x00, 15),
        (0x13, 1),
        (0x15, 1),
        (0x22, 1),
        (0x54, 1),
        (0xFFFF, 1),
        (0x10002, 1),
        (0x10004, 1),
        (0x10800, 64 * 57 + 1),
    ],
)
def test_unreadable_addresses_are_bus_errors(bank: AnyBank, offset: int, n: int) -> None:
    with pytest.raises(BusError):
        bank.read(offset, n)


@pytest.mark.parametrize(
    "offset", [0x00, 0x09, ARM_STATUS, PREVIEW_EVENTS, 0x40, ACTIVE, 0xFFFF, 0x10000, 0x10003, 0x10100]
)
def test_unwritable_addresses_are_bus_errors(bank: AnyBank, offset: int) -> None:
    with pytest.raises(BusError):
        bank.write(offset, [1])


def test_a_write_that_leaves_the_bank_writes_nothing(emulated: Bank, nominal: Payload) -> None:
    for start, words in ((SHADOW + nominal.layout.n_words - 1, [1, 2]), (ARM_CRC, [1, 1, 1])):
        before = emulated.read(start, 1)
        with pytest.raises(BusError):
            emulated.write(start, words)
        assert emulated.read(start, 1) == before


def test_every_node_of_the_address_table_is_served(bank: AnyBank, model: Model) -> None:
    nodes = parse_table(address_table([("s", model.layout, model.n_cuts)]))
    leaves = {path: node for path, node in nodes.items() if path.startswith("s.") and node.mode != "hierarchical"}
    assert len(leaves) > 30
    for node in leaves.values():
        offset = node.address - STREAM_SPAN
        if "r" in node.permission:
            bank.read(offset, node.size)
        else:
            with pytest.raises(BusError):
                bank.read(offset, node.size)
        if "w" in node.permission:
            bank.write(offset, [0] * node.size)
        else:
            with pytest.raises(BusError):
                bank.write(offset, [0] * node.size)


PLAY, PLAY_COUNT, PLAY_COMMAND, PLAY_STATUS, PLAY_CODES, PLAY_EVENTS = (
    0x10000,
    0x10001,
    0x10002,
    0x10003,
    0x10100,
    0x10800,
)
PLAYED, PLAY_REFUSED = 0, 2


def play(bank: AnyBank, words: NDArray[np.int64], command: int) -> list[int]:
    """The codes that the board gives the words (n, features)."""
    bank.write(PLAY_EVENTS, (words.ravel() & 0xFFFFFFFF).tolist())
    bank.write(PLAY_COUNT, [len(words), command])
    assert bank.read(PLAY_STATUS, 1) == [PLAYED]
    return list(bank.read(PLAY_CODES, len(words)))


@pytest.fixture
def events(model: Model) -> NDArray[np.int64]:
    return np.random.default_rng(3).integers(*model.limits, (10, model.n_features), endpoint=True)


def test_played_events_get_the_codes_of_the_bank_that_is_asked_and_count_nowhere(
    bank: AnyBank, model: Model, nominal: Payload, events: NDArray[np.int64]
) -> None:
    other = nominal.replace(latent_offset=np.arange(8) - 4)
    stage(bank, other)
    bank.write(PRESCALE, [1])
    emulator = Emulator(model)
    assert play(bank, events, 1) == emulator.codes(events, other).tolist()
    assert play(bank, events, 2) == emulator.codes(events, nominal).tolist()
    assert emulator.codes(events, other).tolist() != emulator.codes(events, nominal).tolist()
    assert bank.read(PREVIEW_EVENTS, 1) == [0]
    assert bank.read(0x40, 4) == [0, 0, 0, 0]


def test_bits_above_an_inputs_width_are_not_played(
    bank: AnyBank, model: Model, nominal: Payload, events: NDArray[np.int64]
) -> None:
    above = -1 << model.input_type.width
    assert play(bank, events ^ above, 2) == Emulator(model).codes(events, nominal).tolist()


def test_more_events_than_the_memory_holds_are_refused_and_leave_the_codes(
    bank: AnyBank, events: NDArray[np.int64]
) -> None:
    (capacity,) = bank.read(PLAY, 1)
    codes = play(bank, events, 2)
    bank.write(PLAY_COUNT, [capacity + 1, 1])
    assert bank.read(PLAY_STATUS, 1) == [PLAY_REFUSED]
    assert bank.read(PLAY_CODES, len(codes)) == codes
    assert play(bank, events[:1], 2) == codes[:1]


def test_a_play_disarms_nothing_and_an_unknown_command_does_nothing(
    bank: AnyBank, other: Payload, events: NDArray[np.int64]
) -> None:
    stage(bank, other)
    arm(bank, 1, 12, other.crc)
    codes = play(bank, events, 1)
    bank.write(PLAY_EVENTS, [0] * events.size)
    bank.write(PLAY_COMMAND, [7])
    assert bank.read(PLAY_CODES, len(codes)) == codes
    assert status(bank) == ARMED
