import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from firmware.board.board import Board, BoardState, Counters, Identity, RemoteBoard
from firmware.board.register_map import MAGIC, MAP_VERSION, PLAY_RUNNING, ArmStatus
from firmware.board.uhal import UhalBoard
from firmware.datapath.emulator import Emulator
from firmware.errors import AddressTableError, BoardError, BoardUnreachable
from firmware.sim.bank import Bank, Counts
from firmware.sim.ipbus import Server
from tests.support.rig import RUN, STREAM, Bench, Rig, Wire, reached


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with reached(Rig()) as found:
        yield found


def test_the_remote_driver_is_a_board(board: RemoteBoard) -> None:
    local: Board = board
    assert local.state(STREAM).run == RUN
    assert board.pid not in (None, os.getpid())
    assert board.rss_bytes > 0


def test_identity_is_what_the_registers_say(rig: Rig, board: RemoteBoard) -> None:
    epoch = rig.registers.epoch
    expected = Identity(MAGIC, MAP_VERSION, epoch, rig.model.id, rig.model.layout.n_words)
    assert board.identify(STREAM) == (expected, board.state(STREAM))


def test_the_state_is_what_the_registers_say(rig: Rig, board: RemoteBoard) -> None:
    crc = rig.nominal.crc
    expected = BoardState(rig.registers.epoch, RUN, 10, 0, 0, crc, crc, ArmStatus.IDLE, 0, 0)
    assert board.state(STREAM) == expected
    board.write_shadow(STREAM, rig.payload.words)
    board.arm(STREAM, 3, 12, rig.payload.crc)
    state = board.state(STREAM)
    assert (state.shadow_crc, state.arm_generation, state.arm_target_ls) == (rig.payload.crc, 3, 12)
    assert state.armed
    rig.begin_ls(2)
    state = board.state(STREAM)
    assert (state.generation, state.latched_ls, state.active_crc) == (3, 12, rig.payload.crc)
    assert not state.armed


def test_a_bank_is_written_and_read_word_for_word(rig: Rig, board: RemoteBoard) -> None:
    words = np.random.default_rng(1).integers(0, 1 << 32, rig.model.layout.n_words, dtype=np.uint32)
    board.write_shadow(STREAM, words)
    np.testing.assert_array_equal(rig.bank._banks[1], words)
    np.testing.assert_array_equal(board.read_bank(STREAM, "shadow"), words)
    np.testing.assert_array_equal(board.read_bank(STREAM, "active"), rig.nominal.words)


def test_a_bank_of_the_wrong_size_is_refused_before_a_word_is_written(rig: Rig, board: RemoteBoard) -> None:
    n = rig.model.layout.n_words
    with pytest.raises(BoardError, match=rf"{n - 1} words for axol1tl\.shadow, which has {n}"):
        board.write_shadow(STREAM, rig.payload.words[:-1])
    assert board.state(STREAM).shadow_crc == rig.nominal.crc


def test_disarming_disarms(rig: Rig, board: RemoteBoard) -> None:
    board.arm(STREAM, 1, 12, rig.nominal.crc)
    assert board.state(STREAM).armed
    board.disarm(STREAM)
    assert not board.state(STREAM).armed


def test_a_preview_starts_from_zero_and_counts_its_share_until_it_is_stopped(rig: Rig, board: RemoteBoard) -> None:
    board.preview(STREAM, 4)
    rig.collide(1000, rates=[0.2, 0.1])
    assert board.previewed(STREAM) == (250, (50, 25))
    board.preview(STREAM, 2)
    rig.collide(1000, rates=[0.2, 0.1])
    assert board.previewed(STREAM) == (500, (100, 50))
    board.preview(STREAM, 0)
    rig.collide(1000, rates=[0.2, 0.1])
    assert board.previewed(STREAM) == (0, (0, 0))


def test_the_counters_of_the_last_section_come_together(rig: Rig, board: RemoteBoard) -> None:
    rig.bank.counts = Counts(ls=9, generation=2, events=5000, dropped=3, accepts=(40, 10))
    assert board.counters(STREAM) == Counters(ls=9, generation=2, events=5000, accepts=(40, 10), dropped=3)


def test_a_stream_that_is_not_in_the_table_is_an_error_and_no_silence(board: RemoteBoard) -> None:
    with pytest.raises(BoardError, match="cicada") as caught:
        board.state("cicada")
    assert not isinstance(caught.value, BoardUnreachable)
    assert board.state(STREAM).run == RUN


def test_what_an_error_left_unsent_is_never_sent(rig: Rig) -> None:
    table = rig.table.replace('id="command"', 'id="other"')
    board = RemoteBoard(UhalBoard, rig.uri, table, deadline=10)
    with pytest.raises(BoardError, match="command"):
        board.arm(STREAM, 1, 12, rig.nominal.crc)
    assert board.state(STREAM).arm_generation == 0
    board.close()


def test_a_register_that_the_board_refuses_is_an_error_and_no_silence(rig: Rig) -> None:
    table = rig.table.replace('id="latched_ls" address="0xb"', 'id="latched_ls" address="0xfff"')
    assert table != rig.table
    board = RemoteBoard(UhalBoard, rig.uri, table, deadline=10)
    with pytest.raises(BoardError) as caught:
        board.state(STREAM)
    assert not isinstance(caught.value, BoardUnreachable)
    np.testing.assert_array_equal(board.read_bank(STREAM, "active"), rig.nominal.words)
    board.close()


def test_a_silent_board_stops_no_other_thread_and_is_reported_in_time(rig: Rig) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        uri = f"ipbusudp-2.0://127.0.0.1:{silent.getsockname()[1]}"
        board = RemoteBoard(UhalBoard, uri, rig.table, 400, deadline=10)
        board._remote.start()
        turns = 0
        done = threading.Event()

        def turn() -> None:
            nonlocal turns
            while not done.wait(0.005):
                turns += 1

        other = threading.Thread(target=turn)
        other.start()
        started = time.monotonic()
        with pytest.raises(BoardUnreachable, match=r"(?i)timeout.*127\.0\.0\.1"):
            board.state(STREAM)
        seconds = time.monotonic() - started
        done.set()
        other.join()
        assert 0.4 <= seconds < 10
        assert turns > 5
        board.close()


def test_a_driver_that_hangs_is_replaced(rig: Rig) -> None:
    board = RemoteBoard(UhalBoard, rig.uri, rig.table, deadline=2)
    board.state(STREAM)
    pid = board.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(BoardUnreachable, match=r"board\.state: no answer within 2 s"):
        board.state(STREAM)
    assert board.state(STREAM).run == RUN
    assert board.pid != pid
    board.close()


def test_a_driver_that_is_killed_is_replaced(rig: Rig) -> None:
    board = RemoteBoard(UhalBoard, rig.uri, rig.table, deadline=10)
    board.state(STREAM)
    pid = board.pid
    assert pid is not None
    rig.before_read = lambda: os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(BoardUnreachable, match=r"process ended \(exit -9\)"):
        board.state(STREAM)
    rig.before_read = lambda: None
    assert board.state(STREAM).run == RUN
    board.close()


def test_a_lost_reply_is_unreachable_although_the_write_was_applied(rig: Rig) -> None:
    with Wire(rig.server.address) as wire:
        board = RemoteBoard(UhalBoard, wire.uri, rig.table, 300, deadline=10)
        board.state(STREAM)
        wire.lose = 1
        with pytest.raises(BoardUnreachable):
            board.arm(STREAM, 1, 12, rig.nominal.crc)
        assert board.state(STREAM).armed
        board.close()


def test_a_repeated_reply_is_never_taken_for_another_answer(rig: Rig) -> None:
    with Wire(rig.server.address) as wire:
        board = RemoteBoard(UhalBoard, wire.uri, rig.table, 300, deadline=10)
        board.state(STREAM)
        wire.repeat = 1
        answers: list[bool | None] = []
        for _ in range(4):
            rig.begin_ls()
            try:
                answers.append(board.state(STREAM).ls == rig.registers.ls)
            except BoardError:
                answers.append(None)
        assert False not in answers
        assert answers[-1] is True
        board.close()


def test_a_board_that_comes_back_is_talked_to_again(rig: Rig) -> None:
    server = Server(rig)
    host, port = server.address
    board = RemoteBoard(UhalBoard, server.uri, rig.table, 300, deadline=10)
    assert board.state(STREAM).run == RUN
    server.close()
    with pytest.raises(BoardUnreachable):
        board.state(STREAM)
    server = Server(rig, host, port)
    assert board.state(STREAM).run == RUN
    board.close()
    server.close()


@pytest.mark.parametrize(
    "uri",
    [
        "ipbustcp-2.0://127.0.0.1:{}",
        "chtcp-2.0://127.0.0.1:{}?target=127.0.0.1:50001",
        "ipbusudp-2.0://no.such.host.invalid:50001",
    ],
)
def test_a_board_that_cannot_be_connected_is_unreachable(rig: Rig, uri: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        board = RemoteBoard(UhalBoard, uri.format(taken.getsockname()[1]), rig.table, deadline=10)
        with pytest.raises(BoardUnreachable):
            board.state(STREAM)
        board.close()


def test_a_scheme_that_uhal_does_not_know_is_an_error_and_no_silence(rig: Rig) -> None:
    board = RemoteBoard(UhalBoard, "pigeon://127.0.0.1:1", rig.table, deadline=10)
    with pytest.raises(BoardError, match="pigeon") as caught:
        board.state(STREAM)
    assert not isinstance(caught.value, BoardUnreachable)
    board.close()


def test_a_table_that_cannot_be_read_is_refused_before_anything_is_sent(rig: Rig) -> None:
    board = RemoteBoard(UhalBoard, rig.uri, "<node", deadline=10)
    with pytest.raises(AddressTableError, match="the address table is no XML"):
        board.state(STREAM)
    board.close()


def test_a_table_in_modules_is_read_from_its_folder(rig: Rig, tmp_path: Path) -> None:
    top = ElementTree.fromstring(rig.table)
    for part in list(top):
        (tmp_path / f"{part.get('id')}.xml").write_bytes(ElementTree.tostring(part))
        part.clear()
    for part, name in zip(top, ("info", STREAM), strict=True):
        part.attrib |= {"id": name, "module": f"file://{name}.xml"}
    board = RemoteBoard(UhalBoard, rig.uri, ElementTree.tostring(top, "unicode"), 1000, tmp_path, deadline=10)
    assert board.write_shadow(STREAM, rig.payload.words).state.shadow_crc == rig.payload.crc
    board.close()


def test_the_shadow_bank_comes_back_as_the_registers_hold_it_with_the_state_after_it(
    rig: Rig, board: RemoteBoard
) -> None:
    written = board.write_shadow(STREAM, rig.payload.words)
    np.testing.assert_array_equal(written.words, rig.payload.words)
    assert written.state.shadow_crc == rig.payload.crc
    rig.bank._banks[1][3] ^= 1
    assert np.flatnonzero(board.read_shadow(STREAM).words != rig.payload.words).tolist() == [3]


def test_events_are_played_through_the_bank_that_is_asked(rig: Rig, board: RemoteBoard) -> None:
    events = np.random.default_rng(2).integers(*rig.model.limits, (64, 57), endpoint=True)
    board.write_shadow(STREAM, rig.payload.words)
    emulator = Emulator(rig.model)
    assert board.playback(STREAM) == 64
    np.testing.assert_array_equal(board.play(STREAM, events, "shadow"), emulator.codes(events, rig.payload))
    np.testing.assert_array_equal(board.play(STREAM, events, "active"), emulator.codes(events, rig.nominal))


def test_a_playback_that_runs_is_waited_for_and_one_that_never_ends_is_an_error(rig: Rig, board: RemoteBoard) -> None:
    events = np.zeros((2, 57), np.int64)
    expected = board.play(STREAM, events, "active")
    left = [PLAY_RUNNING] * 3
    rig.bank.read = lambda offset, n: (  # type: ignore[method-assign]
        [left.pop()] if offset == 0x10003 and left else Bank.read(rig.bank, offset, n)
    )
    np.testing.assert_array_equal(board.play(STREAM, events, "active"), expected)
    assert left == []
    left += [PLAY_RUNNING] * 100_000
    with pytest.raises(BoardError, match=r"axol1tl\.playback: 2 events are still running after 0\.5 s"):
        board.play(STREAM, events, "active")


def test_more_events_than_the_board_plays_are_refused(rig: Rig, board: RemoteBoard) -> None:
    rig.bank._capacity = 63
    with pytest.raises(BoardError, match="refuses 64 events"):
        board.play(STREAM, np.zeros((64, 57), np.int64), "active")


def test_the_same_driver_speaks_ipbus_over_tcp(rig: Rig) -> None:
    server = Server(rig)
    address = server.address
    board = RemoteBoard(UhalBoard, server.tcp_uri, rig.table, 1000, deadline=10)
    np.testing.assert_array_equal(board.write_shadow(STREAM, rig.payload.words).words, rig.payload.words)
    server.close()
    with pytest.raises(BoardUnreachable):
        board.state(STREAM)
    server = Server(rig, *address)
    assert board.state(STREAM).shadow_crc == rig.payload.crc
    board.close()
    server.close()
