"""A board by its registers, whichever bus they are behind."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from firmware.board.board import BankName, BoardState, Counters, Identity, Shadow
from firmware.board.nodes import Node, parse_table
from firmware.board.register_map import ARM, DISARM, PLAY_ACTIVE, PLAY_REFUSED, PLAY_RUNNING, PLAY_SHADOW
from firmware.errors import BoardError
from firmware.model.fixed import WORD_MASK, Words

PLAY_S = 0.5
"""A playback that takes longer is given up."""
PLAY: dict[BankName, int] = {"shadow": PLAY_SHADOW, "active": PLAY_ACTIVE}

_INFO_WORDS = ("epoch", "run", "ls")
_STATE_WORDS = {
    "arm_status": "arm.status",
    "arm_generation": "arm.generation",
    "arm_target_ls": "arm.target_ls",
    "shadow_crc": "shadow_crc",
    "generation": "generation",
    "latched_ls": "latched_ls",
    "active_crc": "active_crc",
}
"""The registers of a BoardState as they are read: a swap in the midst shows as armed or as done, never as neither."""


@dataclass(frozen=True)
class Read:
    """Read `size` words from `address` on."""

    address: int
    size: int


@dataclass(frozen=True)
class Write:
    """Write words from `address` on."""

    address: int
    words: list[int]


class Bus(Protocol):
    """32-bit words by their address. After a BoardError any part of a transfer may have happened."""

    def transfer(self, accesses: Sequence[Read | Write]) -> list[Words]:
        """Do all accesses in their order, and give the words of each Read."""

    def close(self) -> None:
        """Give up the connection or mapping."""


class RegisterBoard:
    """The streams of an address table on a bus; `folder` is where the table's modules lie.

    Raises:
        AddressTableError: if the table cannot be read.
        BoardError: by every method, if the table lacks a node, or the bus fails.
    """

    def __init__(self, bus: Bus, address_table: str, folder: Path | None = None) -> None:
        self._bus = bus
        self._nodes = parse_table(address_table, folder)

    def identify(self, stream: str) -> tuple[Identity, BoardState]:
        """See `Board.identify`; all of it is read in one transfer."""
        scalars = self._words("info.magic", "info.version", "info.epoch", f"{stream}.n_words")
        model_id = self._block(f"{stream}.model_id")
        answers = _integers(self._bus.transfer([*scalars, model_id, *self._state(stream)]))
        magic, version, epoch, n_words = answers[:4]
        name = "".join(f"{word:08x}" for word in answers[4 : 4 + model_id.size])
        return Identity(magic, version, epoch, name, n_words), _board_state(answers[4 + model_id.size :])

    def state(self, stream: str) -> BoardState:
        """See `Board.state`; all of it is read in one transfer."""
        return _board_state(_integers(self._bus.transfer(self._state(stream))))

    def write_shadow(self, stream: str, words: Words) -> Shadow:
        """See `Board.write_shadow`; a BoardError if there are not as many words as the bank has."""
        blocks = self._bank(stream, "shadow")
        size = sum(block.size for block in blocks)
        if size != len(words):
            raise BoardError(f"{len(words)} words for {stream}.shadow, which has {size}")
        rest, writes = words.tolist(), []
        for block in blocks:
            writes.append(Write(block.address, rest[: block.size]))
            rest = rest[block.size :]
        return self._shadow(stream, writes)

    def read_shadow(self, stream: str) -> Shadow:
        """See `Board.read_shadow`."""
        return self._shadow(stream, [])

    def read_bank(self, stream: str, bank: BankName) -> Words:
        """See `Board.read_bank`."""
        return np.concatenate(self._bus.transfer(self._bank(stream, bank)))

    def preview(self, stream: str, prescale: int) -> None:
        """See `Board.preview`; what was counted before is cleared."""
        self._bus.transfer(self._writes(f"{stream}.preview", prescale=prescale, clear=1))

    def previewed(self, stream: str) -> tuple[int, tuple[int, ...]]:
        """See `Board.previewed`."""
        preview = f"{stream}.preview"
        answers = self._bus.transfer([*self._words(f"{preview}.events"), self._block(f"{preview}.accepts")])
        events, *accepts = _integers(answers)
        return events, tuple(accepts)

    def playback(self, stream: str) -> int:
        """See `Board.playback`; 0 where the address table has no such node."""
        if f"{stream}.playback" not in self._nodes:
            return 0
        (capacity,) = _integers(self._bus.transfer(self._words(f"{stream}.playback.capacity")))
        return capacity

    def play(self, stream: str, events: NDArray[Any], bank: BankName) -> Words:
        """See `Board.play`; a BoardError if the board refuses, or takes longer than `PLAY_S` seconds."""
        playback = f"{stream}.playback"
        answer = [
            *self._words(f"{playback}.status"),
            Read(self._node(f"{playback}.codes").address, len(events)),
        ]
        words = events.astype(np.int64).ravel() & WORD_MASK
        asked = [
            Write(self._node(f"{playback}.events").address, words.tolist()),
            *self._writes(playback, count=len(events), command=PLAY[bank]),
        ]
        # Status and codes are asked for with the command: a board that is done by then needs no second transfer.
        (status,), codes = self._bus.transfer([*asked, *answer])
        due = time.monotonic() + PLAY_S
        while status == PLAY_RUNNING:
            if time.monotonic() > due:
                raise BoardError(f"{playback}: {len(events)} events are still running after {PLAY_S:g} s")
            (status,), codes = self._bus.transfer(answer)
        if status == PLAY_REFUSED:
            raise BoardError(f"{playback}: the board refuses {len(events)} events, its memory is smaller")
        return codes

    def arm(self, stream: str, generation: int, target_ls: int, crc: int) -> BoardState:
        """See `Board.arm`; command and state are one transfer."""
        asked = self._writes(f"{stream}.arm", generation=generation, target_ls=target_ls, crc=crc, command=ARM)
        return _board_state(_integers(self._bus.transfer([*asked, *self._state(stream)])))

    def disarm(self, stream: str) -> None:
        """See `Board.disarm`."""
        self._bus.transfer(self._writes(f"{stream}.arm", command=DISARM))

    def counters(self, stream: str) -> Counters:
        """See `Board.counters`."""
        counters = f"{stream}.counters"
        scalars = self._words(*(f"{counters}.{name}" for name in ("ls", "generation", "events", "dropped")))
        answers = self._bus.transfer([*scalars, self._block(f"{counters}.accepts")])
        ls, generation, events, dropped, *accepts = _integers(answers)
        return Counters(ls, generation, events, tuple(accepts), dropped)

    def close(self) -> None:
        """Close the bus."""
        self._bus.close()

    def _shadow(self, stream: str, writes: Sequence[Write]) -> Shadow:
        """The shadow bank as it reads after the writes, and the state after that."""
        blocks, state = self._bank(stream, "shadow"), self._state(stream)
        answers = self._bus.transfer([*writes, *blocks, *state])
        return Shadow(np.concatenate(answers[: len(blocks)]), _board_state(_integers(answers[len(blocks) :])))

    def _state(self, stream: str) -> list[Read]:
        registers = (f"{stream}.{register}" for register in _STATE_WORDS.values())
        return self._words(*(f"info.{name}" for name in _INFO_WORDS), *registers)

    def _bank(self, stream: str, bank: BankName) -> list[Read]:
        """The fields of a bank in the order of their addresses, those that touch as one block."""
        fields = [node for path, node in self._nodes.items() if path.startswith(f"{stream}.{bank}.")]
        if not fields:
            raise BoardError(f"the address table has no node {stream}.{bank}")
        return _joined(sorted(fields, key=lambda node: node.address))

    def _words(self, *paths: str) -> list[Read]:
        return _joined([self._node(path) for path in paths])

    def _block(self, path: str) -> Read:
        node = self._node(path)
        return Read(node.address, node.size)

    def _writes(self, parent: str, **registers: int) -> list[Write]:
        return [Write(self._node(f"{parent}.{name}").address, [word]) for name, word in registers.items()]

    def _node(self, path: str) -> Node:
        if path not in self._nodes:
            raise BoardError(f"the address table has no node {path}")
        return self._nodes[path]


def _joined(nodes: Sequence[Node]) -> list[Read]:
    """The nodes in this order, those that touch as one block."""
    blocks: list[Read] = []
    for node in nodes:
        if blocks and blocks[-1].address + blocks[-1].size == node.address:
            blocks[-1] = Read(blocks[-1].address, blocks[-1].size + node.size)
        else:
            blocks.append(Read(node.address, node.size))
    return blocks


def _board_state(words: Sequence[int]) -> BoardState:
    return BoardState(**dict(zip((*_INFO_WORDS, *_STATE_WORDS), words, strict=True)))


def _integers(answers: Sequence[Words]) -> list[int]:
    return [word for words in answers for word in words.tolist()]
