"""An IPbus 2.0 target over UDP and TCP.

Packets of 32-bit words, in the byte order of the request: a packet header
(version 2 | packet id 16 bits | 0xF | type), then for control packets transactions of
(version 2 | transaction id 12 bits | words 8 bits | type 4 bits | info code 4 bits), base address, data.
"""

import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Protocol, Self

from firmware.errors import BusError
from firmware.model.fixed import WORD_MASK

STATUS, RESEND = 1, 2
BAD_HEADER, READ_ERROR, WRITE_ERROR = 1, 4, 5
MTU = 1500
BUFFERS = 16
STATUS_WORDS = 16
HISTORY = 4
DATAGRAM = 1 << 16
LENGTH = struct.Struct("!I")


class TransactionType(IntEnum):
    """What an IPbus transaction asks for."""

    READ = 0
    WRITE = 1
    READ_FIFO = 2
    WRITE_FIFO = 3
    RMW_BITS = 4
    RMW_SUM = 5


class RegisterSpace(Protocol):
    """What lies behind the bus: consecutive 32-bit words, all of them or a BusError."""

    def read(self, address: int, n: int) -> Sequence[int]:
        """n words from `address` on."""

    def write(self, address: int, words: Sequence[int]) -> None:
        """Write words from `address` on."""


class Target:
    """Turns a request packet into its reply packet, with the packet ids of the reliability mechanism.

    Id 0 is always executed. The expected id is executed and its reply kept; the id of a kept reply gets
    that reply again without a second execution; any other id is dropped. A transaction that fails ends
    its packet: those behind it are neither executed nor answered.
    """

    def __init__(self, space: RegisterSpace) -> None:
        self._space = space
        self._last_id = 0
        self._replies: deque[tuple[int, bytes]] = deque(maxlen=BUFFERS)
        self._received: deque[int] = deque([0] * HISTORY, HISTORY)
        self._sent: deque[int] = deque([0] * HISTORY, HISTORY)

    def reply(self, packet: bytes) -> bytes | None:
        """The reply packet; None where the packet is to be dropped."""
        order = _byte_order(packet)
        if order is None:
            return None
        words = struct.unpack(f"{order}{len(packet) // 4}I", packet)
        packet_id, kind = words[0] >> 8 & 0xFFFF, words[0] & 0xF
        if kind == STATUS:
            return self._status(order) if len(words) == STATUS_WORDS else None
        if kind == RESEND:
            return self._kept(packet_id)
        self._received.append(words[0])
        if packet_id and packet_id != self._next_id():
            return self._kept(packet_id)
        answer = [words[0], *self._execute(words)]
        self._sent.append(words[0])
        reply = struct.pack(f"{order}{len(answer)}I", *answer)
        if packet_id:
            self._last_id = packet_id
            self._replies.append((packet_id, reply))
        return reply

    def _next_id(self) -> int:
        return self._last_id % 0xFFFF + 1

    def _kept(self, packet_id: int) -> bytes | None:
        return next((reply for kept, reply in self._replies if kept == packet_id), None)

    def _status(self, order: str) -> bytes:
        expected = 0x200000F0 | self._next_id() << 8
        words = [0x200000F1, MTU, BUFFERS, expected, 0, 0, 0, 0, *self._received, *self._sent]
        return struct.pack(f"{order}{STATUS_WORDS}I", *words)

    def _execute(self, words: tuple[int, ...]) -> Iterator[int]:
        at = 1
        while at < len(words):
            header = words[at]
            n, kind = header >> 8 & 0xFF, header >> 4 & 0xF
            end = at + 2 + _data_words(kind, n)
            if header >> 28 != 2 or header & 0xF != 0xF or kind > max(TransactionType) or end > len(words):
                yield header & ~0xFF0F | BAD_HEADER
                return
            try:
                data = self._transact(kind, n, words[at + 1], words[at + 2 : end])
            except BusError:
                writes = kind in (TransactionType.WRITE, TransactionType.WRITE_FIFO)
                yield header & ~0xFF0F | (WRITE_ERROR if writes else READ_ERROR)
                return
            yield header & ~0xF
            yield from data
            at = end

    def _transact(self, kind: int, n: int, address: int, data: tuple[int, ...]) -> Sequence[int]:
        space = self._space
        match kind:
            case TransactionType.READ:
                return space.read(address, n)
            case TransactionType.READ_FIFO:
                return [word for _ in range(n) for word in space.read(address, 1)]
            case TransactionType.WRITE:
                space.write(address, data)
            case TransactionType.WRITE_FIFO:
                for word in data:
                    space.write(address, [word])
            case _:
                (old,) = space.read(address, 1)
                new = old & data[0] | data[1] if kind == TransactionType.RMW_BITS else old + data[0]
                space.write(address, [new & WORD_MASK])
                return [old]
        return []


def _data_words(kind: int, n: int) -> int:
    match kind:
        case TransactionType.WRITE | TransactionType.WRITE_FIFO:
            return n
        case TransactionType.RMW_BITS:
            return 2
        case TransactionType.RMW_SUM:
            return 1
    return 0


class Server:
    """Serves a register space over UDP and TCP on one port, from construction until `close`.

    A TCP message is a packet behind its length in bytes (big-endian). Packet ids are counted for each TCP
    connection, and for all of UDP together.
    """

    def __init__(self, space: RegisterSpace, host: str = "127.0.0.1", port: int = 0) -> None:
        self._space = space
        self._listener = socket.create_server((host, port))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve, self._accept)]
        for thread in self._threads:
            thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, the same for UDP and TCP."""
        host, port = self._listener.getsockname()
        return host, port

    @property
    def uri(self) -> str:
        """The uHAL URI over UDP."""
        return "ipbusudp-2.0://{}:{}".format(*self.address)

    @property
    def tcp_uri(self) -> str:
        """The uHAL URI over TCP."""
        return "ipbustcp-2.0://{}:{}".format(*self.address)

    def close(self) -> None:
        """Stop serving and close every connection; nothing happens the second time."""
        if self._closed:
            return
        self._closed = True
        # The thread waits in `recvfrom`, which closing the socket would not end: an empty packet wakes it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.address)
        _shut(self._listener)
        for thread in self._threads:
            thread.join()
        for connection in tuple(self._connections):
            _shut(connection)
        self._listener.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        target = Target(self._space)
        while not self._closed:
            packet, peer = self._socket.recvfrom(DATAGRAM)
            reply = target.reply(packet)
            if reply is not None:
                with suppress(OSError):
                    self._socket.sendto(reply, peer)

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed:
                connection, _ = self._listener.accept()
                self._connections.add(connection)
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        target = Target(self._space)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while len(head := stream.read(LENGTH.size)) == LENGTH.size:
                reply = target.reply(stream.read(*LENGTH.unpack(head)))
                if reply is not None:
                    connection.sendall(LENGTH.pack(len(reply)) + reply)
        self._connections.discard(connection)


def _shut(connected: socket.socket) -> None:
    with suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def _byte_order(packet: bytes) -> str | None:
    """The struct prefix of the packet's byte order, None if it is no IPbus 2.0 packet."""
    if len(packet) < 4 or len(packet) % 4:
        return None
    for order in "<>":
        (header,) = struct.unpack_from(f"{order}I", packet)
        if header >> 24 == 0x20 and header & 0xF0 == 0xF0 and header & 0xF <= RESEND:
            return order
    return None
