"""A board whose registers are an AXI4-Lite slave in this machine's memory, through UIO or another file to map."""

import os
from collections.abc import Sequence
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE, mmap
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from firmware.board.registers import Read, RegisterBoard, Write
from firmware.errors import BoardError, BoardUnreachable
from firmware.model.fixed import Words

WORD_BYTES = 4
UIO = Path("/sys/class/uio")


class AxiBus:
    """The words of `axi:///dev/uio0`, or of `axi:///path?offset=0xa0000000&size=0x40000` (bytes).

    Word address w lies w × 4 bytes into the mapping, in the byte order of this machine. Without `size` it is
    what the kernel says of the UIO mapping that `offset` (a page each) selects. Every word is one aligned
    32-bit load or store of its own, in program order: nothing is copied in blocks, combined or repeated.

    Raises:
        BoardUnreachable: by `transfer`, if there is nothing to map.
        BoardError: by `transfer`, for an address beyond the mapping.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self._uri = uri
        self._path = Path(parts.path)
        self._query = {name: int(value, 0) for name, value in parse_qsl(parts.query)}
        self._memory: memoryview | None = None

    def transfer(self, accesses: Sequence[Read | Write]) -> list[Words]:
        """The words of each Read, all accesses done in their order; none is done if one lies beyond the mapping."""
        memory = self._mapped()
        for access in accesses:
            end = access.address + (access.size if isinstance(access, Read) else len(access.words))
            if end > len(memory):
                raise BoardError(f"{self._uri}: word {end - 1:#x} is beyond the {len(memory):#x} words of the mapping")
        answers = []
        for access in accesses:
            if isinstance(access, Read):
                words = [self._load(memory, access.address + i) for i in range(access.size)]
                answers.append(np.array(words, dtype=np.uint32))
            else:
                # Word by word: a copy of a slice may be split or reordered, which registers with effects do not stand.
                for address, word in enumerate(access.words, access.address):
                    self._store(memory, address, word)
        return answers

    def close(self) -> None:
        """Let go of the mapping; the next transfer maps anew."""
        self._memory = None

    def _load(self, memory: memoryview, address: int) -> int:
        word: int = memory[address]
        return word

    def _store(self, memory: memoryview, address: int, word: int) -> None:
        memory[address] = word

    def _mapped(self) -> memoryview:
        if self._memory is None:
            try:
                self._memory = memoryview(self._map()).cast("I")
            except (OSError, ValueError) as error:
                raise BoardUnreachable(f"{self._uri}: {error}") from error
        return self._memory

    def _map(self) -> mmap:
        offset = self._query.get("offset", 0)
        size = self._query.get("size") or _uio_size(self._path.name, offset)
        descriptor = os.open(self._path, os.O_RDWR | os.O_SYNC)
        try:
            return mmap(descriptor, size, MAP_SHARED, PROT_READ | PROT_WRITE, offset=offset)
        finally:
            os.close(descriptor)


class AxiBoard(RegisterBoard):
    """The streams of an address table in memory; a slave that answers with an error ends the process (SIGBUS)."""

    def __init__(self, uri: str, address_table: str, timeout_ms: int = 0, folder: Path | None = None) -> None:
        super().__init__(AxiBus(uri), address_table, folder)


def _uio_size(device: str, offset: int) -> int:
    return int((UIO / device / "maps" / f"map{offset // PAGESIZE}" / "size").read_text(), 0)
