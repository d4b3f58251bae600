"""Registers in memory: a mapped file laid out as the bank is, with a live slave that answers each single access."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware.board.axi import AxiBoard, AxiBus
from firmware.board.registers import Read, Write
from firmware.errors import BoardError, BoardUnreachable
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from firmware.sim.ipbus import RegisterSpace
from monitor.store.ledger import Ledger
from tests.support.rig import STREAM, Rig, tiny_model

SPAN = 0x40000
"""Words of the info block and one stream."""


class Slave:
    """What an AXI4-Lite slave does: it takes a word before the write is acknowledged, and drives one for each read.

    Memory cannot tell it when it is touched, so the bus says so before a load and after a store; the words
    themselves pass through the mapped file alone.
    """

    def __init__(self, path: Path, space: RegisterSpace) -> None:
        self.window = np.memmap(path, np.uint32, "r+")
        self.space = space
        self.accesses: list[tuple[str, int]] = []

    def reads(self, address: int) -> None:
        self.accesses.append(("r", address))
        self.window[address] = self.space.read(address, 1)[0]

    def written(self, address: int) -> None:
        self.accesses.append(("w", address))
        self.space.write(address, [int(self.window[address])])


class WiredBus(AxiBus):
    slave: Slave

    def _load(self, memory: memoryview, address: int) -> int:
        self.slave.reads(address)
        return super()._load(memory, address)

    def _store(self, memory: memoryview, address: int, word: int) -> None:
        super()._store(memory, address, word)
        self.slave.written(address)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(tiny_model())
    yield rig
    rig.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "registers"
    path.write_bytes(bytes(4 * SPAN))
    return path


@pytest.fixture
def slave(rig: Rig, path: Path) -> Slave:
    return Slave(path, rig)


@pytest.fixture
def board(rig: Rig, path: Path, slave: Slave) -> AxiBoard:
    uri = f"axi://{path}?size={4 * SPAN:#x}"
    board = AxiBoard(uri, rig.table)
    board._bus = WiredBus(uri)
    board._bus.slave = slave
    return board


def test_a_payload_goes_the_whole_way(rig: Rig, board: AxiBoard, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.add_payload(STREAM, rig.payload, "test")
        transaction = Transaction({"axi": board}, ledger, STREAM, rig.payload, rig.validation, frozen=lambda: False)
        transaction.stage()
        assert transaction.arm().ls == 12
        rig.begin_ls(2)
        assert transaction.confirm().outcome is Outcome.LATCHED
    assert rig.bank.active.id == rig.payload.id


def test_a_board_that_restarts_in_the_middle_is_lost(rig: Rig, board: AxiBoard, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.add_payload(STREAM, rig.payload, "test")
        transaction = Transaction({"axi": board}, ledger, STREAM, rig.payload, rig.validation, frozen=lambda: False)
        transaction.stage()
        transaction.arm()
        rig.registers.boot()
        assert transaction.confirm().outcome is Outcome.LOST
        assert transaction.abort().outcome is Outcome.LOST
    assert rig.bank.active.id == rig.nominal.id


def test_every_word_is_one_access_in_the_order_of_the_transfer(rig: Rig, board: AxiBoard, slave: Slave) -> None:
    bus = board._bus
    lut = 0x21000 + rig.model.layout["lut"].address
    slave.accesses.clear()
    answers = bus.transfer([Write(lut, [5, 6, 7]), Read(lut + 1, 2), Write(lut, [8]), Read(lut, 1)])
    assert [words.tolist() for words in answers] == [[6, 7], [8]]
    assert slave.accesses == [
        *(("w", lut), ("w", lut + 1), ("w", lut + 2), ("r", lut + 1), ("r", lut + 2), ("w", lut), ("r", lut))
    ]


def test_a_word_lies_at_four_times_its_address_behind_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    path.write_bytes(bytes(3 * 4096))
    bus = AxiBus(f"axi://{path}?offset=4096&size=8192")
    bus.transfer([Write(3, [0x01020304, 0xFFFFFFFF])])
    expected = np.zeros(3 * 1024, np.uint32)
    expected[1024 + 3 : 1024 + 5] = 0x01020304, 0xFFFFFFFF
    np.testing.assert_array_equal(np.fromfile(path, np.uint32), expected)
    bus.close()
    assert bus.transfer([Read(3, 2)])[0].tolist() == [0x01020304, 0xFFFFFFFF]


def test_nothing_is_written_where_a_part_of_the_transfer_is_beyond_the_mapping(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    path.write_bytes(bytes(4096))
    bus = AxiBus(f"axi://{path}?size=4096")
    with pytest.raises(BoardError, match=r"memory\?size=4096: word 0x400 is beyond the 0x400 words"):
        bus.transfer([Write(0, [1]), Write(1023, [2, 3])])
    assert path.read_bytes() == bytes(4096)


def test_without_a_size_it_is_that_of_the_uio_mapping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uio7").write_bytes(bytes(2 * 4096))
    for number, size in enumerate(("0x1000", "0x800")):
        folder = tmp_path / "sys" / "uio7" / "maps" / f"map{number}"
        folder.mkdir(parents=True)
        (folder / "size").write_text(size + "\n")
    monkeypatch.setattr("firmware.board.axi.UIO", tmp_path / "sys")
    bus = AxiBus(f"axi://{tmp_path}/uio7?offset=4096")
    bus.transfer([Write(0x1FF, [9])])
    with pytest.raises(BoardError, match="beyond the 0x200 words"):
        bus.transfer([Read(0x200, 1)])


def test_what_cannot_be_mapped_is_unreachable_until_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "late"
    bus = AxiBus(f"axi://{path}?size=4096")
    with pytest.raises(BoardUnreachable, match="No such file"):
        bus.transfer([Read(0, 1)])
    path.write_bytes(bytes(4096))
    os.truncate(path, 4096)
    assert bus.transfer([Read(0, 1)])[0].tolist() == [0]
