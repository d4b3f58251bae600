"""The receiver on real sockets: what is sound is counted, what is not is counted by cause."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from firmware.wire import Batch, Header, encode
from monitor.daemon.config import Ingest
from monitor.daemon.ingest import Receiver
from monitor.daemon.stream import LsReport, StreamMonitor
from monitor.stats.reference import Reference

Send = Callable[[list[bytes]], None]


@pytest.fixture
def closed() -> list[LsReport]:
    return []


@pytest.fixture
def tap(closed: list[LsReport]) -> Iterator[tuple[Receiver, Send]]:
    codes = np.random.default_rng(1).geometric(0.02, 50_000).clip(max=4000)
    reference = Reference.build([(codes, None, None)], cuts=[150], bits=12)
    context = zmq.Context()
    push = context.socket(zmq.PUSH)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    monitor = StreamMonitor("axol1tl", reference, [150], {}, Ingest(), closed.append, lambda batch: None)
    receiver = Receiver({"axol1tl": monitor}, {"axol1tl": 57}, [(f"tcp://127.0.0.1:{port}", "pull", "axol1tl")], 100)
    receiver.start()
    try:
        yield receiver, push.send_multipart
    finally:
        receiver.stop()
        context.destroy(linger=0)


def message(seq: int, **own: Any) -> list[bytes]:
    fields: dict[str, Any] = {
        "kind": "batch", "stream": "axol1tl", "source": "a", "seq": seq, "run": 1, "ls": 1, "orbit": 0, "n": 3,
        "dtype": "u2", "epoch": 1, "generation": 0, "t_ns": 0, "bx_class": "colliding",
    }  # fmt: skip
    return encode(Batch(Header(**fields | own), np.array([1, 2, 3], np.uint16)))


def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    due = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < due, "not within the time"
        time.sleep(0.01)


def with_header(frames: list[bytes], **changed: Any) -> list[bytes]:
    header = msgpack.unpackb(frames[1]) | changed
    return [frames[0], msgpack.packb(header), *frames[2:]]


BAD = {
    "unknown_stream": lambda: [b"cicada", *with_header(message(9), stream="cicada")[1:]],
    "version": lambda: with_header(message(9), v=2),
    "truncated": lambda: [*message(9)[:2], message(9)[2][:-1]],
    "length": lambda: [*message(9)[:2], message(9)[2] + b"\0" * 40],
    "dtype": lambda: with_header(message(9), dtype="i8"),
    "header": lambda: [message(9)[0], b"\xff\xff", message(9)[2]],
    "frames": lambda: [b"axol1tl"],
    "nan": lambda: [
        message(9)[0],
        *with_header(message(9), dtype="f4")[1:2],
        np.full(3, np.nan, "f4").tobytes(),
    ],
}


@pytest.mark.parametrize("cause", BAD)
def test_a_bad_message_is_counted_by_cause_and_never_into_a_histogram(
    tap: tuple[Receiver, Send], closed: list[LsReport], cause: str
) -> None:
    receiver, send = tap
    send(message(0))
    send(BAD[cause]())
    send(BAD[cause]())
    send(message(1))
    send(message(2, ls=2))
    until(lambda: bool(closed))
    assert closed[0].n == 6
    assert {found: n for (found, _), n in receiver.malformed.items()} == {cause: 2}


def test_a_lost_message_is_reported(tap: tuple[Receiver, Send]) -> None:
    receiver, send = tap
    for seq in (0, 1, 4):
        send(message(seq))
    until(lambda: receiver.messages == 3)
    totals = receiver.streams["axol1tl"].totals()["a"]
    assert (totals.received, totals.lost) == (3, 2)


def test_what_has_arrived_is_counted_before_the_receiver_ends(tap: tuple[Receiver, Send]) -> None:
    receiver, send = tap
    send(message(0))
    until(lambda: receiver.messages == 1)
    for seq in range(1, 400):
        send(message(seq))
    receiver.stop()
    assert receiver.streams["axol1tl"].scores == 3 * 400


def test_a_flood_of_topics_does_not_grow_the_daemon(tap: tuple[Receiver, Send]) -> None:
    receiver, send = tap
    for number in range(600):
        send([b"topic%d" % number, b"nonsense"])
    until(lambda: sum(receiver.malformed.values()) == 600)
    assert len(receiver.malformed) <= 300
