"""What the register bank in SystemVerilog does, clock by clock. Runs inside the simulation of bench.sv.

Inputs change at the falling edge of the clock and outputs are read there, so each step is one clock.
"""

import random
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

N_REGISTERS, N_WORDS, LATENCY, CAPACITY = 5, 13, 6, 4
IMAGE = tuple(range(100, 100 + N_WORDS))
OTHER = tuple(range(5000, 5000 + 10 * N_WORDS, 10))
SELECTIVE = ((1 << 32) - 272, 0, 0, 150, 250, *range(8))
"""With these the codes of events are 0 to some 500, about the cuts."""
MODEL_ID = "0123456789abcdef1123456789abcdef2123456789abcdef3123456789abcdef"

N_WORDS_REGISTER, ACTIVE_BANK, GENERATION, LATCHED_LS, ACTIVE_CRC, SHADOW_CRC = range(0x08, 0x0E)
ARM_GENERATION, ARM_TARGET, ARM_CRC, ARM_COMMAND, ARM_STATUS = range(0x10, 0x15)
PRESCALE, PREVIEW_EVENTS, PREVIEW_CLEAR, PREVIEW_ACCEPTS = 0x18, 0x19, 0x1A, 0x20
COUNTERS, COUNTERS_ACCEPTS, SHADOW, ACTIVE = 0x40, 0x50, 0x1000, 0x8000
PLAY_CAPACITY, PLAY_COUNT, PLAY_COMMAND, PLAY_STATUS = range(0x10000, 0x10004)
PLAY_CODES, PLAY_EVENTS = 0x10100, 0x10800
IDLE, ARMED, REFUSED_CRC, REFUSED_LATE, REFUSED_GENERATION = range(5)

Event = tuple[int, int, int]
Words = Sequence[int]


class RefusedByBus(Exception):
    pass


def crc(words: Words) -> int:
    return zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words))


def code(words: Words, event: Event) -> int:
    """What bench.sv makes of an event with the registers of a bank."""
    return (sum(words[:N_REGISTERS]) + words[N_REGISTERS + event[0] % 8] + sum(event)) % (1 << 32)


def accepts(words: Words, event: Event) -> list[bool]:
    return [code(words, event) >= words[N_REGISTERS - 1 - k] for k in range(2)]


def draw(n: int, seed: int = 1) -> list[Event]:
    rng = random.Random(seed)
    return [(rng.randrange(-64, 64), rng.randrange(32), rng.randrange(256)) for _ in range(n)]


class Bench:
    """The simulated stream behind its pins; what comes out is collected: (code, bank), and the accept bits."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.codes: list[tuple[int, int]] = []
        self.accepted: list[int] = []
        self.ready: list[bool] = []

    async def start(self) -> None:
        Clock(self.dut.clk, 2, "ns").start()
        for name in ("strobe", "write", "ls_end", "ls_start", "event_valid", "event_counted", "dropped"):
            getattr(self.dut, name).value = 0
        self.dut.ls.value = 10
        await self.reset()
        cocotb.start_soon(self._watch())

    async def reset(self) -> None:
        self.dut.reset.value = 1
        await self.wait(1)
        self.dut.reset.value = 0
        await self.wait(1)

    async def booted(self) -> int:
        """Clocks until the boot is done."""
        clocks = 0
        while not self.dut.ready.value:
            await self.wait(1)
            clocks += 1
        return clocks

    async def _watch(self) -> None:
        while True:
            await self.wait(1)
            if self.dut.out_valid.value:
                self.codes.append((int(self.dut.out_code.value), int(self.dut.out_bank.value)))
                self.accepted.append(int(self.dut.out_accept.value))

    async def wait(self, clocks: int) -> None:
        for _ in range(clocks):
            await FallingEdge(self.dut.clk)

    async def transact(self, write: bool, address: int, data: int) -> int:
        dut = self.dut
        dut.strobe.value, dut.write.value, dut.address.value, dut.wdata.value = 1, int(write), address, data
        await self.wait(1)
        while not dut.ack.value and not dut.err.value:
            await self.wait(1)
        dut.strobe.value = 0
        if dut.err.value:
            raise RefusedByBus(f"{address:#x}")
        return int(dut.rdata.value)

    async def write(self, address: int, *words: int) -> None:
        for i, word in enumerate(words):
            await self.transact(True, address + i, word)

    async def read(self, address: int, n: int = 1) -> list[int]:
        return [await self.transact(False, address + i, 0) for i in range(n)]

    async def cycle(self, event: Event | None = None, *, counted: bool = True, ls: int | None = None) -> None:
        """One clock, in which an event may enter and a lumi section begin."""
        dut = self.dut
        dut.event_valid.value = int(event is not None)
        if event is not None:
            dut.event_in.value = event[0] % 256 | event[1] << 8 | event[2] << 16
            dut.event_counted.value = int(counted)
            self.ready.append(bool(dut.event_ready.value))
        if ls is not None:
            dut.ls.value, dut.ls_start.value, dut.ls_end.value = ls, 1, 1
        await self.wait(1)
        dut.event_valid.value = dut.ls_start.value = dut.ls_end.value = 0

    async def send(self, events: Sequence[Event], *, gap: int = 1, counted: bool = True) -> None:
        for event in events:
            await self.cycle(event, counted=counted)
            await self.wait(gap)

    async def arm(self, generation: int, target: int, crc: int) -> int:
        await self.write(ARM_GENERATION, generation, target, crc)
        await self.write(ARM_COMMAND, 1)
        return (await self.read(ARM_STATUS))[0]

    async def stage(self, words: Words, generation: int = 1, target: int = 11) -> None:
        await self.write(SHADOW, *words)
        assert await self.arm(generation, target, crc(words)) == ARMED

    async def drain(self) -> list[tuple[int, int]]:
        await self.wait(LATENCY + 2)
        codes, self.codes = self.codes, []
        return codes


Case = Callable[[Bench], Any]


def case(function: Case) -> Any:
    """A cocotb test that starts behind the boot."""

    async def run(dut: Any) -> None:
        bench = Bench(dut)
        await bench.start()
        await bench.booted()
        await function(bench)

    run.__name__ = run.__qualname__ = function.__name__
    run.__doc__ = function.__doc__
    return cocotb.test(timeout_time=2, timeout_unit="ms")(run)


@case
async def boot_puts_the_image_into_both_banks(bench: Bench) -> None:
    assert await bench.read(0, 8) == [int(MODEL_ID[i : i + 8], 16) for i in range(0, 64, 8)]
    assert await bench.read(N_WORDS_REGISTER, 6) == [N_WORDS, 0, 0, 0, crc(IMAGE), crc(IMAGE)]
    assert await bench.read(ACTIVE, N_WORDS) == await bench.read(SHADOW, N_WORDS) == list(IMAGE)
    assert await bench.read(ARM_GENERATION, 3) == [0, 0, 0]
    events = draw(10)
    await bench.send(events)
    assert await bench.drain() == [(code(IMAGE, event), 0) for event in events]


@case
async def while_it_boots_the_bus_waits_and_no_event_is_taken(bench: Bench) -> None:
    await bench.reset()
    reading = cocotb.start_soon(bench.read(ACTIVE + N_WORDS - 1))
    await bench.cycle((1, 2, 3))
    assert 2 * N_WORDS - 4 < await bench.booted() <= 2 * N_WORDS
    assert await reading == [IMAGE[-1]]
    assert bench.ready == [False]
    assert await bench.drain() == []


@case
async def all_registers_change_between_two_events(bench: Bench) -> None:
    """For each position of the boundary between and on events, and each spacing of them."""
    generation, active = 0, 0
    banks = {0: IMAGE, 1: IMAGE}
    events = draw(24)
    for gap in (0, 1, 2):
        for boundary in range(8, 8 + 2 * (gap + 1)):
            words = [word + 1000 * generation for word in OTHER]
            generation += 1
            await bench.stage(words, generation, 10 + generation)
            banks[1 - active] = tuple(words)
            expected = []
            for clock in range(len(events) * (gap + 1)):
                here = clock == boundary
                active ^= here
                event = events[clock // (gap + 1)] if clock % (gap + 1) == 0 else None
                if event is not None:
                    expected.append((code(banks[active], event), active))
                await bench.cycle(event, ls=10 + generation if here else None)
            assert await bench.drain() == expected
            assert await bench.read(ACTIVE_BANK, 5) == [
                active,
                generation,
                10 + generation,
                crc(banks[active]),
                crc(banks[1 - active]),
            ]
            assert await bench.read(ACTIVE, N_WORDS) == list(banks[active])
            assert await bench.read(SHADOW, N_WORDS) == list(banks[1 - active])


@case
async def the_swap_waits_for_its_lumi_section(bench: Bench) -> None:
    await bench.stage(OTHER, target=13)
    for ls in (11, 12):
        await bench.cycle(ls=ls)
        assert await bench.read(ACTIVE_BANK, 3) == [0, 0, 0]
    await bench.write(ARM_GENERATION, 9, 99, 0)
    await bench.cycle(ls=15)
    assert await bench.read(ACTIVE_BANK, 3) == [1, 1, 15]
    assert await bench.read(ARM_STATUS) == [IDLE]


@case
async def an_interrupted_write_leaves_the_active_bank_alone(bench: Bench) -> None:
    events = draw(3)
    for n in range(1, N_WORDS):
        await bench.write(SHADOW, *OTHER[:n])
        await bench.cycle(ls=10 + n)
        await bench.send(events)
        assert await bench.drain() == [(code(IMAGE, event), 0) for event in events]
    assert await bench.read(ACTIVE, N_WORDS) == list(IMAGE)
    assert await bench.read(ACTIVE_BANK, 4) == [0, 0, 0, crc(IMAGE)]


@case
async def a_write_at_the_boundary_comes_before_it_or_behind_it(bench: Bench) -> None:
    """The bank that becomes active holds what was armed, or else does not become active."""
    swapped = 0
    for generation, lead in enumerate(range(8), 1):
        ls = 10 + generation
        active = (await bench.read(ACTIVE_BANK))[0]
        before = await bench.read(ACTIVE, N_WORDS)
        words = [word + 1000 * generation for word in OTHER]
        await bench.stage(words, generation, ls)
        writing = cocotb.start_soon(bench.write(SHADOW + 2, 7))
        for _ in range(lead):
            await bench.cycle()
        await bench.cycle((1, 2, 3), ls=ls)
        await writing
        now, held = (await bench.read(ACTIVE_BANK))[0], await bench.read(ACTIVE, N_WORDS)
        assert held == (words if now != active else before)
        assert await bench.drain() == [(code(held, (1, 2, 3)), now)]
        assert (await bench.read(SHADOW + 2)) == [7]
        swapped += now != active
    assert 0 < swapped < 8


@case
async def a_bank_is_not_written_before_its_last_event_has_left(bench: Bench) -> None:
    events = draw(2 * LATENCY)
    await bench.stage(OTHER)
    await bench.send(events, gap=0)
    await bench.cycle(ls=11)
    await bench.write(SHADOW + N_REGISTERS - 1, 0xFFFFFFFF)
    assert await bench.drain() == [(code(IMAGE, event), 0) for event in events]
    assert bench.accepted == [0b11] * len(events)


@case
async def arming_is_refused_with_its_reason(bench: Bench) -> None:
    await bench.stage(OTHER, generation=5)
    await bench.cycle(ls=11)
    good = crc(IMAGE)
    for generation, target, given, expected in (
        (6, 12, good ^ 1, REFUSED_CRC),
        (6, 12, crc(OTHER), REFUSED_CRC),
        (6, 11, good, REFUSED_LATE),
        (6, 3, good, REFUSED_LATE),
        (5, 12, good, REFUSED_GENERATION),
        (4, 12, good, REFUSED_GENERATION),
        (5, 11, good ^ 1, REFUSED_CRC),
        (5, 11, good, REFUSED_LATE),
    ):
        assert await bench.arm(6, 12, good) == ARMED
        assert await bench.arm(generation, target, given) == expected
    await bench.cycle(ls=20)
    assert await bench.read(ACTIVE_BANK, 3) == [1, 5, 11]
    assert await bench.arm(0xFFFFFFFF, 0x80000000, good) == ARMED


@case
async def the_crc_is_that_of_zlib(bench: Bench) -> None:
    rng = random.Random(3)
    words = [rng.getrandbits(32) for _ in range(N_WORDS)]
    await bench.write(SHADOW, *words)
    for _ in range(20):
        assert await bench.read(SHADOW_CRC) == [crc(words)]
        i = rng.randrange(N_WORDS)
        words[i] = rng.choice([rng.getrandbits(32), words[i] ^ 1 << rng.randrange(32)])
        await bench.write(SHADOW + i, words[i])
    assert await bench.read(ACTIVE_CRC) == [crc(IMAGE)]


@case
async def the_crc_is_waited_for_and_no_longer(bench: Bench) -> None:
    await bench.write(SHADOW, *OTHER)
    reading = cocotb.start_soon(bench.read(SHADOW_CRC))
    await bench.wait(N_WORDS - 2)
    assert not reading.done()
    await bench.wait(5)
    assert reading.done()
    assert await reading == [crc(OTHER)]
    await bench.write(SHADOW, *IMAGE)
    assert await bench.read(ACTIVE_CRC) == [crc(IMAGE)]
    assert await bench.arm(1, 11, crc(IMAGE)) == ARMED


@case
async def reading_a_bank_does_not_spoil_the_crc(bench: Bench) -> None:
    for i in range(3 * N_WORDS):
        await bench.write(SHADOW, i)
        await bench.wait(i % (N_WORDS + 4))
        assert await bench.read(ACTIVE + 1, 2) == [101, 102]
        assert await bench.read(SHADOW_CRC) == [crc([i, *IMAGE[1:]])]


@case
async def a_shadow_write_a_disarm_a_refused_arm_and_a_reset_disarm(bench: Bench) -> None:
    async def reset() -> None:
        await bench.reset()
        await bench.booted()

    for interfere in (
        lambda: bench.write(SHADOW + N_WORDS - 1, OTHER[-1]),
        lambda: bench.write(SHADOW, OTHER[0]),
        lambda: bench.write(ARM_COMMAND, 2),
        lambda: bench.arm(1, 11, 0),
        reset,
    ):
        await bench.stage(OTHER)
        await interfere()
        assert await bench.read(ARM_STATUS) != [ARMED]
        await bench.cycle(ls=11)
        assert await bench.read(ACTIVE_BANK, 3) == [0, 0, 0]
        bench.dut.ls.value = 10
    await bench.stage(OTHER)
    await bench.write(ARM_COMMAND, 3)
    assert await bench.read(ARM_STATUS) == [ARMED]


@case
async def a_reset_is_a_power_cycle(bench: Bench) -> None:
    await bench.stage(OTHER, generation=3)
    await bench.write(PRESCALE, 1)
    await bench.send(draw(5))
    await bench.cycle(ls=11)
    await bench.write(SHADOW, *OTHER)
    await bench.write(PREVIEW_CLEAR, 1)
    await bench.send(draw(5))
    await bench.drain()
    assert await bench.read(COUNTERS, 3) == [10, 0, 5]
    assert await bench.read(PREVIEW_EVENTS) == [5]
    await bench.send(draw(3), gap=0)
    await bench.reset()
    bench.codes.clear()
    await bench.booted()
    assert await bench.read(N_WORDS_REGISTER, 6) == [N_WORDS, 0, 0, 0, crc(IMAGE), crc(IMAGE)]
    assert await bench.read(ACTIVE, N_WORDS) == await bench.read(SHADOW, N_WORDS) == list(IMAGE)
    assert await bench.read(ARM_GENERATION, 3) == [0, 0, 0]
    assert await bench.read(PRESCALE, 2) == [0, 0]
    assert await bench.read(PREVIEW_ACCEPTS, 2) == [0, 0]
    assert await bench.read(COUNTERS, 4) == [0] * 4
    assert await bench.read(COUNTERS_ACCEPTS, 2) == [0, 0]
    assert await bench.read(PLAY_COUNT) == [0]
    await bench.send([(1, 2, 3)])
    assert await bench.drain() == [(code(IMAGE, (1, 2, 3)), 0)]
    assert await bench.read(PREVIEW_EVENTS) == [0]


@case
async def the_preview_counts_every_kth_counted_event_with_the_shadow_bank(bench: Bench) -> None:
    assert 0 < sum(accepts(SELECTIVE, event)[0] for event in draw(60)) < 60
    await bench.write(SHADOW, *SELECTIVE)
    for prescale in (1, 2, 3, 7):
        for gap in (1, 2):
            await bench.write(PREVIEW_CLEAR, 1)
            await bench.write(PRESCALE, prescale)
            events = draw(60, seed=prescale)
            bench.ready.clear()
            for i, event in enumerate(events):
                await bench.send([event], gap=gap)
                if i % 5 == 0:
                    await bench.send([event], gap=gap, counted=False)
            codes = await bench.drain()
            tried = events[::prescale]
            assert await bench.read(PREVIEW_EVENTS) == [len(tried)]
            assert await bench.read(PREVIEW_ACCEPTS, 2) == [
                sum(accepts(SELECTIVE, e)[k] for e in tried) for k in range(2)
            ]
            assert all(bench.ready)
            assert len(codes) == 72
            assert {bank for _, bank in codes} == {0}
    await bench.write(PRESCALE, 0)
    await bench.send(draw(20))
    await bench.drain()
    assert await bench.read(PREVIEW_EVENTS) == [len(tried)]


@case
async def without_a_spare_clock_the_source_is_held_for_one(bench: Bench) -> None:
    await bench.write(PRESCALE, 3)
    for event in draw(12):
        await bench.cycle(event)
    assert bench.ready == ([True, False, True, True] * 3)[:12]
    assert len(await bench.drain()) == 9
    assert await bench.read(PREVIEW_EVENTS) == [3]


@case
async def a_preview_that_the_shadow_bank_or_its_counters_leave_behind_is_not_counted(bench: Bench) -> None:
    for interfere in (lambda: bench.write(SHADOW + 1, 101), lambda: bench.write(PREVIEW_CLEAR, 1)):
        await bench.write(PREVIEW_CLEAR, 1)
        await bench.write(PRESCALE, 1)
        await bench.send(draw(3))
        await interfere()
        await bench.write(PRESCALE, 0)
        await bench.drain()
        assert await bench.read(PREVIEW_EVENTS) == [0]
    await bench.stage(OTHER)
    await bench.write(PRESCALE, 1)
    await bench.send(draw(3))
    await bench.cycle(ls=11)
    await bench.drain()
    assert await bench.read(PREVIEW_EVENTS) == [0]


@case
async def the_counters_are_those_of_the_section_that_ended(bench: Bench) -> None:
    """An event in the clock in which a section begins belongs to it; what is not counted is in none."""
    await bench.stage(SELECTIVE, generation=4)
    sections = [draw(n, seed=n) for n in (7, 12, 1, 5)]
    read = []
    for i, events in enumerate(sections):
        bench.dut.dropped.value = 10 + i
        await bench.cycle(events[0], ls=11 + i)
        await bench.send(events[1:], gap=i % 2)
        await bench.send(events[:3], counted=False)
        await bench.wait(LATENCY)
        read.append((await bench.read(COUNTERS, 4), await bench.read(COUNTERS_ACCEPTS, 2)))
    assert read[0] == ([10, 0, 0, 10], [0, 0])
    for i, events in enumerate(sections[:-1]):
        passed = [sum(accepts(SELECTIVE, e)[k] for e in events) for k in range(2)]
        assert read[i + 1] == ([11 + i, 4, len(events), 11 + i], passed)


@case
async def a_section_that_has_no_end_leaves_no_counts(bench: Bench) -> None:
    await bench.send(draw(5))
    bench.dut.ls.value, bench.dut.ls_start.value = 11, 1
    await bench.wait(1)
    bench.dut.ls_start.value = 0
    await bench.send(draw(4))
    await bench.drain()
    assert await bench.read(COUNTERS, 4) == [0] * 4
    await bench.cycle(ls=12)
    await bench.drain()
    assert await bench.read(COUNTERS, 3) == [11, 0, 4]


@case
async def played_events_give_the_codes_of_the_bank_that_was_asked_for(bench: Bench) -> None:
    await bench.write(SHADOW, *OTHER)
    events = draw(CAPACITY)
    words = [word for a, b, c in events for word in (a % 128 | 0x5A00, b | 0xFFFFFFE0, c | 0xA500)]
    assert min(event[0] for event in events) < 0
    await bench.write(PLAY_EVENTS, *words)
    assert await bench.read(PLAY_EVENTS, len(words)) == words
    assert await bench.read(PLAY_CAPACITY) == [CAPACITY]
    await bench.write(PRESCALE, 1)
    for command, held in ((1, OTHER), (2, IMAGE)):
        for count in (CAPACITY, 1, 0):
            await bench.write(PLAY_COUNT, count)
            await bench.write(PLAY_COMMAND, command)
            assert await bench.read(PLAY_STATUS) == [int(count > 0)]
            await bench.wait(count * (3 + 4) + LATENCY + 4)
            assert await bench.read(PLAY_STATUS) == [0]
            assert await bench.read(PLAY_CODES, count) == [code(held, event) for event in events[:count]]
        assert await bench.read(PLAY_CODES, CAPACITY) == [code(held, event) for event in events]
    assert await bench.drain() == []
    assert await bench.read(PREVIEW_EVENTS) == [0]
    await bench.cycle(ls=11)
    await bench.drain()
    assert await bench.read(COUNTERS, 3) == [10, 0, 0]


@case
async def events_are_played_between_those_of_the_trigger(bench: Bench) -> None:
    """Also behind previews, across a swap, and asked again: the bank stays the one that was asked for first."""
    events, played = draw(60, seed=7), draw(CAPACITY, seed=8)
    await bench.stage(OTHER)
    await bench.write(PRESCALE, 2)
    await bench.write(PLAY_EVENTS, *[word % 256 for event in played for word in event])
    await bench.write(PLAY_COUNT, CAPACITY)
    await bench.write(PLAY_COMMAND, 1)
    await bench.write(PLAY_COMMAND, 2)
    await bench.send(events[:5])
    await bench.cycle(events[5], ls=11)
    await bench.send(events[6:])
    expected = [(code(OTHER if i > 4 else IMAGE, event), int(i > 4)) for i, event in enumerate(events)]
    assert await bench.drain() == expected
    assert await bench.read(PLAY_STATUS) == [0]
    assert await bench.read(PLAY_CODES, CAPACITY) == [code(OTHER, event) for event in played]


@case
async def more_events_than_there_is_room_for_are_not_played(bench: Bench) -> None:
    await bench.write(PLAY_EVENTS, 1, 2, 3)
    await bench.write(PLAY_COUNT, 1)
    await bench.write(PLAY_COMMAND, 2)
    await bench.wait(20)
    await bench.write(PLAY_COUNT, CAPACITY + 1)
    for command, expected in ((1, 2), (2, 2), (3, 2)):
        await bench.write(PLAY_COMMAND, command)
        assert await bench.read(PLAY_STATUS) == [expected]
    assert await bench.read(PLAY_CODES) == [code(IMAGE, (1, 2, 3))]
    await bench.write(PLAY_COUNT, 1)
    await bench.write(PLAY_COMMAND, 2)
    await bench.wait(20)
    assert await bench.read(PLAY_STATUS) == [0]


@case
async def each_address_is_readable_writable_or_an_error(bench: Bench) -> None:
    readable = {
        *range(0x0E),
        *range(0x10, 0x13),
        *(ARM_STATUS, PRESCALE, PREVIEW_EVENTS, PREVIEW_ACCEPTS, PREVIEW_ACCEPTS + 1),
        *(*range(COUNTERS, COUNTERS + 4), COUNTERS_ACCEPTS, COUNTERS_ACCEPTS + 1),
        *(*range(SHADOW, SHADOW + N_WORDS), *range(ACTIVE, ACTIVE + N_WORDS)),
        *(PLAY_CAPACITY, PLAY_COUNT, PLAY_STATUS, *range(PLAY_CODES, PLAY_CODES + CAPACITY)),
        *range(PLAY_EVENTS, PLAY_EVENTS + 3 * CAPACITY),
    }
    writable = {
        *range(ARM_GENERATION, ARM_COMMAND + 1),
        *(PRESCALE, PREVIEW_CLEAR, PLAY_COUNT, PLAY_COMMAND),
        *range(SHADOW, SHADOW + N_WORDS),
        *range(PLAY_EVENTS, PLAY_EVENTS + 3 * CAPACITY),
    }
    near = {start + i for start in (0, SHADOW, ACTIVE, PLAY_CAPACITY, PLAY_CODES, PLAY_EVENTS) for i in range(-4, 32)}
    for address in sorted(near | set(range(0x80)) | {0xFFFF, 0x1FFFF, 0x2000, 0x9000}):
        if address < 0:
            continue
        for write, allowed in ((False, readable), (True, writable)):
            try:
                await bench.transact(write, address, 0)
            except RefusedByBus:
                assert address not in allowed, f"{address:#x} is refused, write = {write}"
            else:
                assert address in allowed, f"{address:#x} is answered, write = {write}"
            await bench.wait(1)
