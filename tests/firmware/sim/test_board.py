"""The simulated board, met as the rest of the system meets it: on the wire, over uHAL, by signals."""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uhal
import zmq

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.errors import AddressTableError, FirmwareError
from firmware.model import axol1tl, cicada
from firmware.model.fixed import Fixed
from firmware.model.package import Package
from firmware.model.parts import Condition
from firmware.model.payload import Payload
from firmware.process import Remote
from firmware.sim.board import SimBoard, run_board
from firmware.sim.settings import BoardSettings
from firmware.sim.stream import Sampling
from firmware.sim.world.beam import Fill, bunch_mask
from firmware.sim.world.events import Generator, digitise, regions
from firmware.wire import Batch, decode

QUICK = BoardSettings(
    orbits_per_ls=4, orbits_per_message=2, duration_ls=3, fill=Fill(start=50), sampling=Sampling(prescale=20)
)
MASK = bunch_mask()
FILLED = int(MASK.sum())
PATIENCE_MS = 20_000


def make_package(name: str, seed: int) -> Package:
    """A network of random weights, some of them and a condition in registers, with cuts at 5 % and 1 %."""
    random = np.random.default_rng(seed)
    shapes = ((58, 8), (8, 6), (6, 8))
    model = axol1tl.model(
        name,
        [random.normal(0, 0.4, shape) for shape in shapes],
        [random.normal(0, 0.3, shape[1]) for shape in shapes],
        np.tile([3, 5, 6], 19),
        np.zeros(57),
        lut_bits=6,
        n_cuts=2,
        reconfigurable=True,
        conditions=(Condition("pileup", Fixed(10, 4), nominal=0, low=-128, high=128),),
    )
    events = digitise(Generator(seed).draw(4000, 50))
    codes = Emulator(model).codes(events, Payload.nominal(model, [0, 0]))
    nominal = Payload.nominal(model, np.quantile(codes, [0.95, 0.99]).astype(int))
    table = address_table([(name, model.layout, model.n_cuts)])
    return Package(model, nominal, table, b"", events[:10], codes[:10], {})


@pytest.fixture(scope="module")
def package() -> Package:
    return make_package("axol1tl", 3)


@pytest.fixture(scope="module", params=["numpy", "rtl"])
def quick(request: pytest.FixtureRequest) -> BoardSettings:
    """A short run, decided by the emulator or by the verilated hardware."""
    cache = request.getfixturevalue("rtl_cache") if request.param == "rtl" else Path()
    return replace(QUICK, execution=request.param, cache=cache)


@pytest.fixture
def paced(quick: BoardSettings) -> BoardSettings:
    return replace(quick, ls_seconds=0.25, duration_ls=100)


class Tap:
    """A receiver of everything that a board publishes."""

    def __init__(self, endpoint: str, pattern: int = zmq.PULL) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(pattern)
        if pattern == zmq.SUB:
            self.socket.subscribe(b"")
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.connect(endpoint)

    def next(self) -> Batch:
        if not self.socket.poll(PATIENCE_MS):
            raise TimeoutError("the board publishes nothing")
        return decode(self.socket.recv_multipart())

    def until(self, wanted: Callable[[Batch], bool]) -> list[Batch]:
        """The messages up to the first wanted one."""
        messages = [self.next()]
        while not wanted(messages[-1]):
            messages.append(self.next())
        return messages

    def rest(self) -> list[Batch]:
        return self.until(lambda batch: batch.header.kind == "end")


@dataclass
class Running:
    board: SimBoard
    tap: Tap

    def ask(self, **request: Any) -> dict[str, Any]:
        socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        with socket:
            socket.linger = 0
            socket.connect(self.board.status()["control"])
            socket.send_json(request)
            assert socket.poll(PATIENCE_MS)
            answer = socket.recv_json()
        assert isinstance(answer, dict)
        return answer


@contextmanager
def running(packages: list[Package], settings: BoardSettings) -> Iterator[Running]:
    with SimBoard(packages, settings) as board:
        pattern = zmq.PULL if settings.pattern == "push" else zmq.SUB
        tap = Tap(board.status()["publish"][0], pattern)
        assert board._publisher._socket.poll(PATIENCE_MS, zmq.POLLOUT)
        thread = threading.Thread(target=board.run)
        thread.start()
        try:
            yield Running(board, tap)
        finally:
            board.stop()
            thread.join()
            tap.socket.close(0)


class Client:
    """The real uHAL client, in a process of its own because it keeps the interpreter lock while it waits."""

    def __init__(self, table: str) -> None:
        uhal.disableLogging()
        self.table = f"file://{table}"

    def open(self, uri: str) -> None:
        self.board = uhal.getDevice("board", uri, self.table)
        self.board.setTimeoutPeriod(5000)

    def read(self, *paths: str) -> list[Any]:
        nodes = [self.board.getNode(path) for path in paths]
        incremental = [node.getMode() == uhal.BlockReadWriteMode.INCREMENTAL for node in nodes]
        values = [
            node.readBlock(node.getSize()) if block else node.read()
            for node, block in zip(nodes, incremental, strict=True)
        ]
        self.board.dispatch()
        return [list(v) if block else int(v) for v, block in zip(values, incremental, strict=True)]

    def write(self, values: dict[str, int | list[int]]) -> None:
        for path, value in values.items():
            node = self.board.getNode(path)
            _ = node.writeBlock(value) if isinstance(value, list) else node.write(value)
        self.board.dispatch()

    def stage(self, stream: str, fields: dict[str, list[int]]) -> None:
        self.write({f"{stream}.shadow.{name}": words for name, words in fields.items()})


@pytest.fixture(scope="module")
def client(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    table = tmp_path_factory.mktemp("board") / "table.xml"
    table.write_text(package.address_table)
    remote = Remote(Client, str(table))
    yield remote
    remote.close()


def call(client: Remote, method: str, *args: Any) -> Any:
    return client.call(method, *args, deadline=30)


def fields(payload: Payload) -> dict[str, list[int]]:
    return {field.name: payload.words[field.words].tolist() for field in payload.layout.fields}


def batches(messages: list[Batch]) -> list[Any]:
    """The batches, each with its event block."""
    found = [message for message in messages if message.header.kind == "batch"]
    assert all(batch.events is not None for batch in found)
    return found


def colliding(batch: Any) -> Any:
    return batch.codes.reshape(-1, 3564)[:, MASK].ravel()


@pytest.fixture(scope="module")
def quick_run(package: Package, client: Remote, quick: BoardSettings) -> tuple[list[Batch], list[Any]]:
    """All messages of a short run and the registers after it."""
    with running([package], quick) as board:
        messages = board.tap.rest()
        call(client, "open", board.board.status()["ipbus"])
        counters = call(client, "read", *(f"axol1tl.counters.{n}" for n in ("ls", "events", "dropped", "accepts")))
    return messages, counters


def test_a_run_is_begin_and_batches_for_each_lumi_section_then_end(quick_run: Any) -> None:
    headers = [message.header for message in quick_run[0]]
    assert [(h.kind, h.ls) for h in headers] == [
        *((kind, ls) for ls in (1, 2, 3) for kind in ("begin", "batch", "batch")),
        ("end", 3),
    ]
    assert [h.seq for h in headers] == list(range(10))
    assert [h.orbit for h in headers] == [0, 0, 2, 4, 4, 6, 8, 8, 10, 12]
    assert {(h.stream, h.source, h.run, h.generation) for h in headers} == {("axol1tl", "board", 1, 0)}
    assert len({h.epoch for h in headers}) == 1


def test_the_begin_message_carries_the_bunch_mask(quick_run: Any) -> None:
    begin = quick_run[0][0]
    np.testing.assert_array_equal(begin.mask, MASK)
    assert (begin.header.filled, begin.header.ls_orbits) == (FILLED, 4)
    assert 45 < begin.header.pileup < 55


def test_crossings_without_collision_carry_the_code_of_an_empty_event(quick_run: Any, package: Package) -> None:
    empty = Emulator(package.model).codes(np.zeros((1, 57), np.int16), package.nominal)[0]
    for batch in batches(quick_run[0]):
        assert (batch.codes.reshape(-1, 3564)[:, ~MASK] == empty).all()


def test_the_counters_are_those_of_the_last_lumi_section_on_the_wire(quick_run: Any, package: Package) -> None:
    messages, (ls, events, dropped, accepts) = quick_run
    codes = np.concatenate([colliding(b) for b in batches(messages) if b.header.ls == 3])
    assert (ls, events, dropped) == (3, 4 * FILLED, 0)
    assert codes.size == events
    assert accepts == [(codes >= cut).sum() for cut in package.nominal.raw("cuts")]
    assert 0 < accepts[1] < accepts[0]


def test_the_totals_cover_the_run(quick_run: Any, package: Package) -> None:
    messages, _ = quick_run
    codes = np.concatenate([colliding(batch) for batch in batches(messages)])
    loose, tight = package.nominal.raw("cuts")
    assert messages[-1].header.totals == {
        "messages": 10,
        "dropped": 0,
        "events": 12 * FILLED,
        "accepts_0": (codes >= loose).sum(),
        "accepts_1": (codes >= tight).sum(),
    }


def test_published_events_give_their_codes(quick_run: Any, package: Package) -> None:
    emulator = Emulator(package.model)
    for batch in batches(quick_run[0]):
        assert MASK[batch.index % 3564].all()
        np.testing.assert_array_equal(emulator.codes(batch.events, package.nominal), batch.codes[batch.index])


def test_the_sample_is_all_of_the_tail_and_a_known_share_of_the_rest(quick_run: Any, package: Package) -> None:
    loose = Sampling().tail_code(package)
    bulk_events = bulk_sampled = 0
    for batch in batches(quick_run[0]):
        tail = batch.codes[batch.index] >= loose
        assert tail.sum() == (colliding(batch) >= loose).sum() > 0
        assert (batch.inclusion[tail] == 1).all()
        np.testing.assert_allclose(batch.inclusion[~tail], 1 / 20)
        bulk_sampled += (~tail).sum()
        bulk_events += (colliding(batch) < loose).sum()
    assert abs(bulk_sampled - bulk_events / 20) < 5 * np.sqrt(bulk_events / 20)


def test_the_same_seed_gives_the_same_scores_and_another_does_not(quick_run: Any, package: Package) -> None:
    def codes(seed: int) -> bytes:
        with running([package], replace(QUICK, seed=seed, duration_ls=1)) as board:
            return b"".join(batch.codes.tobytes() for batch in batches(board.tap.rest()))

    first = b"".join(batch.codes.tobytes() for batch in batches(quick_run[0])[:2])
    assert codes(1) == first != codes(2)


def test_what_is_sampled_has_nothing_to_do_with_what_collides(package: Package) -> None:
    with SimBoard([package, make_package("other", 4)], replace(QUICK, seed=1)) as board:
        sources: list[Any] = [Generator(1), board._generator, board, *board._streams]
        assert len({source._random.random() for source in sources}) == 5


def test_colliding_only_messages_leave_the_empty_crossings_out(quick_run: Any, package: Package) -> None:
    with running([package], replace(QUICK, duration_ls=1, bx_class="colliding")) as board:
        slim = batches(board.tap.rest())
    for batch, full in zip(slim, batches(quick_run[0]), strict=False):
        np.testing.assert_array_equal(batch.codes, colliding(full))
        np.testing.assert_array_equal(batch.codes[batch.index], full.codes[full.index])


def test_two_streams_see_the_same_crossings(package: Package) -> None:
    other = make_package("other", 4)
    with running([package, other], replace(QUICK, duration_ls=1)) as board:
        messages = [board.tap.next() for _ in range(8)]
    events = {
        batch.header.stream: digest
        for batch in batches(messages)
        if (digest := dict(zip(batch.index.tolist(), batch.events.tolist(), strict=True)))
    }
    common = events["axol1tl"].keys() & events["other"].keys()
    assert len(common) > 5
    assert all(events["axol1tl"][i] == events["other"][i] for i in common)


def test_an_algorithm_of_objects_and_one_of_regions_see_the_same_crossings(package: Package) -> None:
    """Each in its own inputs, and with its own codes of them; the truth is that of the board's generator."""
    regions_package = make_regions_package("cicada", 5)
    with running([package, regions_package], replace(QUICK, duration_ls=1)) as board:
        messages = [board.tap.next() for _ in range(4)]
    crossings, *_ = np.random.SeedSequence(QUICK.seed).spawn(4)
    truth = Generator(crossings).draw(2 * FILLED, 50.0)
    colliding_at = np.flatnonzero(np.tile(MASK, 2))
    seen = {batch.header.stream: batch for batch in batches(messages)}
    assert set(seen) == {"axol1tl", "cicada"}
    for name, made, view in (("axol1tl", package, digitise), ("cicada", regions_package, regions)):
        batch = seen[name]
        expected = view(truth)[np.searchsorted(colliding_at, batch.index)]
        assert len(expected) > 20
        np.testing.assert_array_equal(batch.events, expected)
        np.testing.assert_array_equal(batch.codes[batch.index], Emulator(made.model).codes(expected, made.nominal))


def make_regions_package(name: str, seed: int) -> Package:
    random = np.random.default_rng(seed)
    model = cicada.model(name, [random.normal(0.05, 0.1, (252, 8)), np.ones((8, 1))], [np.zeros(8), np.zeros(1)])
    events = regions(Generator(seed).draw(2000, 50))
    codes = Emulator(model).codes(events, Payload.nominal(model, [0, 0]))
    nominal = Payload.nominal(model, np.quantile(codes, [0.95, 0.99]).astype(int))
    table = address_table([(name, model.layout, model.n_cuts)])
    return Package(model, nominal, table, b"", events[:10], codes[:10], {})


def test_an_algorithm_of_other_inputs_is_refused(package: Package) -> None:
    first, *others = package.model.layers
    model = replace(
        package.model,
        features=package.model.features[:56],
        rings=(),
        normalisation=replace(
            package.model.normalisation,
            shift=package.model.normalisation.shift[:56],
            offset=package.model.normalisation.offset[:56],
        ),
        layers=(replace(first, weight=np.delete(first.weight, 56, axis=0)), *others),
    )
    narrow = replace(
        package,
        model=model,
        nominal=Payload.nominal(model, [1, 2]),
        golden_events=package.golden_events[:, :56],
    )
    with pytest.raises(FirmwareError, match="takes 56 inputs, a crossing has 57 or 252"):
        SimBoard([narrow], QUICK)


PACED = replace(QUICK, ls_seconds=0.25, duration_ls=100)


def test_an_armed_payload_swaps_at_its_lumi_section(package: Package, client: Remote, paced: BoardSettings) -> None:
    payload, random = package.nominal.replace_values(output_scale=1.5), np.random.default_rng(6)
    payload = payload.replace(
        ring_scale=random.integers(1 << 14, 1 << 15, payload.layout["ring_scale"].size),
        conditioning=[-97],
        weights=payload.raw("weights") + random.integers(-64, 64, payload.layout["weights"].size),
        biases=-payload.raw("biases"),
        cuts=payload.raw("cuts") + 5,
    )
    with running([package], paced) as board:
        call(client, "open", board.board.status()["ipbus"])
        call(client, "stage", "axol1tl", fields(payload))
        ls, crc = call(client, "read", "info.ls", "axol1tl.shadow_crc")
        assert crc == payload.crc
        target = ls + 6
        arm = {"generation": 1, "target_ls": target, "crc": crc, "command": 1}
        call(client, "write", {f"axol1tl.arm.{name}": value for name, value in arm.items()})
        assert call(client, "read", "axol1tl.arm.status") == [1]
        messages = board.tap.until(lambda batch: batch.header.ls == target + 2)
        state = call(
            client,
            "read",
            *(f"axol1tl.{n}" for n in ("generation", "latched_ls", "active_crc", "arm.status")),
        )
    assert state == [1, target, payload.crc, 0]
    assert {m.header.ls for m in messages if m.header.generation == 0} == set(range(1, target))
    assert {m.header.ls for m in messages if m.header.generation == 1} == set(range(target, target + 3))
    emulator = Emulator(package.model)
    for batch in batches(messages):
        active = payload if batch.header.generation else package.nominal
        np.testing.assert_array_equal(emulator.codes(batch.events, active), batch.codes[batch.index])
        assert (batch.codes[batch.index] != emulator.codes(batch.events, package.nominal)).any() == (active is payload)


def test_preview_counts_what_the_shadow_bank_would_accept(
    package: Package, client: Remote, paced: BoardSettings
) -> None:
    everything = package.nominal.replace(cuts=[0, 0])
    with running([package], paced) as board:
        call(client, "open", board.board.status()["ipbus"])
        call(client, "stage", "axol1tl", fields(everything))
        call(client, "write", {"axol1tl.preview.clear": 1, "axol1tl.preview.prescale": 10})
        (ls,) = call(client, "read", "info.ls")
        messages = board.tap.until(lambda batch: batch.header.ls == ls + 2)
        events, accepts = call(client, "read", "axol1tl.preview.events", "axol1tl.preview.accepts")
    assert events >= 4 * FILLED // 10
    assert accepts == [events, events]
    assert {message.header.generation for message in messages} == {0}


def test_a_reboot_is_a_new_epoch_with_nominal_registers(package: Package, client: Remote, paced: BoardSettings) -> None:
    payload = package.nominal.replace(cuts=[1, 2])
    with running([package], paced) as board:
        call(client, "open", board.board.status()["ipbus"])
        call(client, "stage", "axol1tl", fields(payload))
        before, ls = call(client, "read", "info.epoch", "info.ls")
        arm = {"generation": 1, "target_ls": ls + 4, "crc": payload.crc, "command": 1}
        call(client, "write", {f"axol1tl.arm.{name}": value for name, value in arm.items()})
        board.tap.until(lambda batch: batch.header.generation == 1)
        assert board.ask(do="reboot")["ok"]
        messages = board.tap.until(lambda batch: batch.header.epoch != before)
        after, generation, crc = call(client, "read", "info.epoch", "axol1tl.generation", "axol1tl.active_crc")
    new = messages[-1].header
    assert (new.kind, new.epoch, new.generation) == ("begin", after, 0)
    assert new.seq == messages[-2].header.seq + 1
    assert (generation, crc) == (0, package.nominal.crc)


def test_conditions_and_fills_change_at_the_next_lumi_section(package: Package) -> None:
    with running([package], PACED) as board:
        assert board.ask(do="condition", text="pileup=20 ramp=2")["conditions"] == ["pileup=20 ramp=2"]
        low = board.tap.until(lambda batch: batch.header.pileup == 20)
        assert low[-1].header.kind == "begin"
        assert low[-2].header.pileup == pytest.approx(35, abs=2)
        assert board.ask(do="clear", kind="pileup")["conditions"] == []
        assert board.ask(do="fill", start=33.0)["ok"]
        high = board.tap.until(lambda batch: batch.header.pileup == 33)
        assert high[-1].header.kind == "begin"
        status = board.ask(do="status")
    assert status["pileup"] <= 33
    assert status["streams"]["axol1tl"]["generation"] == 0


def test_a_drift_changes_the_scores_and_nothing_says_so_on_the_wire(quick_run: Any, package: Package) -> None:
    with running([package], replace(QUICK, conditions=("jet_energy_scale=-0.2",))) as board:
        drifted = board.tap.rest()
    nominal = quick_run[0]
    for ours, theirs in zip(drifted, nominal, strict=True):
        same = {"seq", "ls", "kind", "pileup", "bx_class", "filled", "source", "stream", "generation"}
        assert all(getattr(ours.header, name) == getattr(theirs.header, name) for name in same)
    moved = colliding(batches(drifted)[0]) != colliding(batches(nominal)[0])
    assert moved.mean() > 0.3


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"do": "condition", "text": "weather=1"}, "unknown condition 'weather'"),
        ({"do": "condition"}, "is no request"),
        ({"do": "fill", "start": "high"}, "'<=' not supported"),
        ({"do": "fill", "colour": 1}, "colour"),
        ({"do": "fill", "start": -5}, "expected 0 <= floor <= start"),
        ({"do": "dance"}, "is no request"),
        ([1], "is no request"),
    ],
)
def test_a_faulty_request_is_answered_and_changes_nothing(package: Package, request_: Any, message: str) -> None:
    with SimBoard([package], QUICK) as board:
        answer = board._answer(json.dumps(request_).encode())
        assert answer["ok"] is False
        assert message in answer["error"]
        assert board._answer(b"not json")["ok"] is False
        assert board.status()["conditions"] == []


def test_a_stop_request_ends_the_run(package: Package) -> None:
    with running([package], replace(PACED, ls_seconds=30)) as board:
        board.tap.next()
        board.ask(do="stop")
        assert board.tap.rest()[-1].header.totals is not None


def test_without_a_peer_messages_are_dropped_and_counted(package: Package) -> None:
    with SimBoard([package], QUICK) as board:
        board.run()
        stream = board.status()["streams"]["axol1tl"]
        assert stream["dropped"] == stream["messages"] == 10
        tap = Tap(board.status()["publish"][0])
        assert not tap.socket.poll(200)
        tap.socket.close(0)


def test_a_late_peer_sees_the_gap_in_the_sequence(package: Package) -> None:
    with SimBoard([package], PACED) as board:
        thread = threading.Thread(target=board.run)
        thread.start()
        while board.status()["streams"]["axol1tl"]["dropped"] < 3:
            time.sleep(0.01)
        tap = Tap(board.status()["publish"][0])
        first = tap.next()
        board.stop()
        end = tap.rest()[-1]
        thread.join()
        tap.socket.close(0)
    assert first.header.seq >= 3
    assert end.header.totals is not None
    assert end.header.totals["dropped"] == first.header.seq


def test_a_board_ends_though_its_sockets_do_not(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """libzmq may wait for ever for a peer that goes away while it lingers."""
    board = SimBoard([package], PACED)
    forever = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(board._context, "destroy", lambda linger: forever.wait())
        began = time.monotonic()
        board.close()
        assert time.monotonic() - began < 60
    forever.set()
    board._context.destroy(0)


def test_a_published_run_reaches_a_subscriber(package: Package) -> None:
    with running([package], replace(PACED, pattern="pub")) as board:
        kinds = {message.header.kind for message in board.tap.until(lambda batch: batch.header.ls >= 3)}
    assert kinds == {"begin", "batch"}


def test_the_measured_pile_up_scatters_around_the_true_one(package: Package) -> None:
    settings = replace(QUICK, duration_ls=30, orbits_per_ls=1, orbits_per_message=1, pileup_error=0.05)
    with running([package], settings) as board:
        pileup = np.array([m.header.pileup for m in board.tap.rest() if m.header.kind == "begin"])
    assert 0.02 < pileup.std() / pileup.mean() < 0.09


def test_what_cannot_run_is_refused(package: Package) -> None:
    with pytest.raises(FirmwareError, match="no multiple of orbits_per_message = 3"):
        BoardSettings(orbits_per_ls=4, orbits_per_message=3)
    with pytest.raises(FirmwareError, match="unknown condition"):
        SimBoard([package], replace(QUICK, conditions=("weather=1",)))
    with pytest.raises(AddressTableError):
        SimBoard([package, package], QUICK)


def board_process(link: "Connection[Any, Any]", settings: BoardSettings) -> None:
    run_board(settings, ready=link.send)


@contextmanager
def spawned(settings: BoardSettings) -> Iterator[tuple[Any, dict[str, Any]]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=board_process, args=(theirs, settings))
    process.start()
    try:
        assert ours.poll(120)
        yield process, ours.recv()
    finally:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def package_file(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "axol1tl.zip"
    package.save(path)
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_in_time_and_in_order(package_file: Path, number: int) -> None:
    """A message comes every 1000 s, and the board does not wait for the next one."""
    with spawned(replace(PACED, packages=(package_file,), ls_seconds=2000)) as (process, status):
        tap = Tap(status["publish"][0])
        tap.next()
        start = time.monotonic()
        os.kill(process.pid, number)
        assert tap.rest()[-1].header.kind == "end"
        process.join(60)
        assert time.monotonic() - start < 60
        assert process.exitcode == 0
        tap.socket.close(0)


def test_a_board_ends_with_the_process_that_it_belongs_to(package_file: Path) -> None:
    nobody = 2**22 - 1
    with spawned(replace(PACED, packages=(package_file,), parent_pid=nobody)) as (process, _):
        process.join(60)
        assert process.exitcode == 0
