"""The IPbus target, talked to by the real uHAL client and by hand-made packets."""

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import uhal
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.errors import BusError
from firmware.process import Remote
from firmware.sim.ipbus import BUFFERS, Server, Target

RAM, RAM_WORDS = 0x1000, 4096
FIFO = 0x10
READ_ONLY = 0x20
TABLE = f"""<node id="TOP">
  <node id="ram" address="{RAM:#x}" mode="incremental" size="{RAM_WORDS}"/>
  <node id="word" address="{RAM + 5:#x}"/>
  <node id="low" address="{RAM + 5:#x}" mask="0x000000ff"/>
  <node id="fifo" address="{FIFO:#x}" mode="non-incremental" size="4096"/>
  <node id="fixed" address="{READ_ONLY:#x}"/>
  <node id="nowhere" address="0xdead0000"/>
</node>"""


class Space:
    """A RAM, a first-in-first-out register and a read-only word."""

    def __init__(self) -> None:
        self.ram = [0] * RAM_WORDS
        self.fifo: deque[int] = deque()
        self.writes = 0

    def read(self, address: int, n: int) -> Sequence[int]:
        if address == FIFO and n == 1 and self.fifo:
            return [self.fifo.popleft()]
        if address == READ_ONLY and n == 1:
            return [42]
        return self.ram[self._slice(address, n)]

    def write(self, address: int, words: Sequence[int]) -> None:
        self.writes += 1
        if address == FIFO and len(words) == 1:
            self.fifo.append(words[0])
        else:
            self.ram[self._slice(address, len(words))] = words

    @staticmethod
    def _slice(address: int, n: int) -> slice:
        if not RAM <= address <= address + n <= RAM + RAM_WORDS:
            raise BusError(f"{address:#x}")
        return slice(address - RAM, address - RAM + n)


class Client:
    """The real uHAL client, in a process of its own because it keeps the interpreter lock while it waits."""

    def __init__(self, table: str) -> None:
        uhal.disableLogging()
        self.table = f"file://{table}"

    def run(self, uri: str, *steps: tuple[Any, ...]) -> list[Any]:
        """One dispatch of (action, node, *arguments) steps."""
        board = uhal.getDevice("board", uri, self.table)
        board.setTimeoutPeriod(2000)
        results = []
        for action, node, *arguments in steps:
            target = board.getClient() if action.startswith("rmw") else board.getNode(node)
            results.append(getattr(target, action)(*arguments))
        try:
            board.dispatch()
        except uhal.exception as error:
            raise RuntimeError(str(error)) from None
        return [
            None if action.startswith("write") else list(result) if "Block" in action else int(result)
            for (action, *_), result in zip(steps, results, strict=True)
        ]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    table = tmp_path_factory.mktemp("ipbus") / "table.xml"
    table.write_text(TABLE)
    remote = Remote(Client, str(table))
    yield remote
    remote.close()


@pytest.fixture
def space() -> Space:
    return Space()


@pytest.fixture(params=["udp", "tcp"])
def run(space: Space, client: Remote, request: pytest.FixtureRequest) -> Iterator[Callable[..., list[Any]]]:
    with Server(space) as server:
        uri = server.uri if request.param == "udp" else server.tcp_uri
        yield lambda *steps: client.call("run", uri, *steps, deadline=20)


Run = Callable[..., list[Any]]


def test_uhal_writes_and_reads_a_word(run: Run) -> None:
    assert run(("write", "word", 0xCAFED00D), ("read", "word")) == [None, 0xCAFED00D]


def test_uhal_moves_a_block_over_many_packets(run: Run) -> None:
    block = [(i * 2654435761) & 0xFFFFFFFF for i in range(RAM_WORDS)]
    assert run(("writeBlock", "ram", block), ("readBlock", "ram", RAM_WORDS))[1] == block


def test_uhal_moves_a_block_through_one_address(run: Run, space: Space) -> None:
    block = list(range(600))
    run(("writeBlock", "fifo", block))
    assert list(space.fifo) == block
    assert run(("readBlock", "fifo", len(block))) == [block]


def test_uhal_modifies_the_masked_bits_alone(run: Run, space: Space) -> None:
    space.ram[5] = 0x12345678
    run(("write", "low", 0xAB))
    assert space.ram[5] == 0x123456AB


def test_read_modify_write_answers_the_old_value_and_wraps(run: Run, space: Space) -> None:
    space.ram[5] = 0xFFFFFFFF
    assert run(("rmw_sum", "", RAM + 5, 3), ("rmw_bits", "", RAM + 5, 0, 0x70)) == [0xFFFFFFFF, 2]
    assert space.ram[5] == 0x70


@pytest.mark.parametrize("step", [("read", "nowhere"), ("write", "nowhere", 1)])
def test_uhal_reports_a_bus_error_and_goes_on(run: Run, step: tuple[Any, ...]) -> None:
    with pytest.raises(RuntimeError, match=f"bus error on {step[0]}"):
        run(step)
    assert run(("read", "fixed")) == [42]


def test_nothing_behind_a_failed_transaction_is_executed(run: Run, space: Space) -> None:
    with pytest.raises(RuntimeError, match="bus error on write"):
        run(("write", "fixed", 1), ("write", "word", 9))
    assert space.ram[5] == 0


def packet(packet_id: int, *words: int, order: str = "<", kind: int = 0) -> bytes:
    return struct.pack(f"{order}{len(words) + 1}I", 0x200000F0 | packet_id << 8 | kind, *words)


def write_request(value: int, transaction_id: int = 7) -> tuple[int, int, int]:
    return 0x2000011F | transaction_id << 16, RAM, value


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_reply_has_the_byte_order_of_the_request(space: Space, order: str) -> None:
    reply = Target(space).reply(packet(0, *write_request(5), 0x2001010F, RAM, order=order))
    assert reply == packet(0, 0x20070110, 0x20010100, 5, order=order)


def test_a_repeated_packet_is_answered_again_but_executed_once(space: Space) -> None:
    target = Target(space)
    request = packet(1, *write_request(5))
    assert target.reply(request) == target.reply(request) is not None
    assert space.writes == 1


def test_a_packet_out_of_sequence_is_dropped(space: Space) -> None:
    target = Target(space)
    assert target.reply(packet(2, *write_request(5))) is None
    assert space.writes == 0
    assert target.reply(packet(1, *write_request(5))) is not None
    assert target.reply(packet(2, *write_request(5))) is not None


def test_packet_ids_wrap_past_zero(space: Space) -> None:
    target = Target(space)
    for packet_id in range(1, 0x10000):
        assert target.reply(packet(packet_id)) is not None
    assert target.reply(packet(1, *write_request(1))) is not None
    assert space.writes == 1


def test_a_resend_request_gets_a_kept_reply(space: Space) -> None:
    target = Target(space)
    replies = [target.reply(packet(i, *write_request(i, i))) for i in range(1, BUFFERS + 2)]
    assert target.reply(packet(2, kind=2)) == replies[1]
    assert target.reply(packet(1, kind=2)) is None
    assert target.reply(packet(9999, kind=2)) is None


def test_a_status_request_gets_the_next_expected_id(space: Space) -> None:
    target = Target(space)
    target.reply(packet(1, *write_request(1)))
    reply = target.reply(packet(0, *[0] * 15, order=">", kind=1))
    assert reply is not None
    words = struct.unpack(">16I", reply)
    assert words[0] == 0x200000F1
    assert words[3] == 0x200002F0
    assert words[11] == words[15] == 0x200001F0


@settings(deadline=None)
@given(st.one_of(st.binary(max_size=80), st.binary(max_size=80).map(lambda tail: packet(0) + tail)))
def test_any_packet_is_answered_in_whole_words_or_dropped(data: bytes) -> None:
    reply = Target(Space()).reply(data)
    assert reply is None or (len(reply) % 4 == 0 and reply[:4] == data[:4])


def test_a_truncated_transaction_is_a_bad_header(space: Space) -> None:
    reply = Target(space).reply(packet(0, 0x2000041F, RAM, 1, 2))
    assert reply == packet(0, 0x20000011)
    assert space.writes == 0


def test_close_frees_the_port(space: Space) -> None:
    server = Server(space)
    address = server.address
    server.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again, socket.create_server(address):
        again.bind(address)


def test_close_ends_the_connections(space: Space) -> None:
    server = Server(space)
    with socket.create_connection(server.address, timeout=10) as connection:
        request = packet(0, *write_request(5))
        connection.sendall(struct.pack("!I", len(request)) + request)
        assert connection.recv(12)[:4] == struct.pack("!I", 8)
        connection.sendall(struct.pack("!I", 8) + request[:3])
        server.close()
        assert connection.recv(1) == b""


def test_packet_ids_are_counted_for_each_connection(space: Space) -> None:
    request = packet(1, *write_request(5))
    with Server(space) as server:
        for _ in range(2):
            with socket.create_connection(server.address) as connection:
                connection.sendall(struct.pack("!I", len(request)) + request)
                assert connection.recv(4) == struct.pack("!I", 8)
    assert space.writes == 2
