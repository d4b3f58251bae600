"""The receiver on real sockets: what is sound is counted, what is not is counted by cause."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from structlog.testing import capture_logs

from firmware.wire import CROSSINGS, Batch, EventHeader, Header, encode
from monitor.daemon.ingest.receiver import Receiver
from monitor.stats.count.building import reference_of_sample
from monitor.watch.report import LsReport
from monitor.watch.settings import IngestSettings
from monitor.watch.stream import StreamMonitor
from tests.support.waiting import until

Send = Callable[[list[bytes]], None]


@pytest.fixture
def closed() -> list[LsReport]:
    return []


@pytest.fixture
def tap(closed: list[LsReport]) -> Iterator[tuple[Receiver, Send]]:
    codes = np.random.default_rng(1).geometric(0.02, 50_000).clip(max=4000)
    reference = reference_of_sample([(codes, None, None)], cuts=[150], bits=12)
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)
    push = context.socket(zmq.PUSH)
    port = push.bind_to_random_port("tcp://127.0.0.1")
    monitor = StreamMonitor("axol1tl", reference, [150], {}, IngestSettings(), closed.append, lambda batch: None)
    receiver = Receiver({"axol1tl": monitor}, {"axol1tl": 57}, [(f"tcp://127.0.0.1:{port}", "pull", "axol1tl")], 100)
    receiver.start()
    try:
        yield receiver, push.send_multipart
    finally:
        receiver.stop()
        context.destroy()


def message(seq: int, **own: Any) -> list[bytes]:
    fields: dict[str, Any] = {
        "kind": "batch", "stream": "axol1tl", "source": "a", "seq": seq, "run": 1, "ls": 1, "orbit": 0, "n": 3,
        "dtype": "u2", "epoch": 1, "generation": 0, "t_ns": 0, "bx_class": "colliding",
    }  # fmt: skip
    return encode(Batch(Header(**fields | own), np.array([1, 2, 3], np.uint16)))


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
    with capture_logs() as said:
        for number in range(600):
            send([b"topic%d" % number, b"nonsense"])
        until(lambda: sum(receiver.malformed.values()) == 600)
    assert len(receiver.malformed) <= 300
    assert len(said) == len(receiver.malformed)


def test_streams_and_sources_of_one_receiver_are_counted_apart() -> None:
    """Three sources of two streams over two sockets, codes of both widths, scores as floats, events beside."""
    random = np.random.default_rng(1)
    codes = random.geometric(0.02, 50_000).clip(max=4000)
    reference = reference_of_sample([(codes, None, None)], cuts=[150], bits=12)
    closed: list[LsReport] = []
    sampled: list[Batch] = []
    context = zmq.Context()
    context.setsockopt(zmq.LINGER, 0)
    taps = [context.socket(zmq.PUSH) for _ in range(2)]
    addresses = [f"tcp://127.0.0.1:{tap.bind_to_random_port('tcp://127.0.0.1')}" for tap in taps]
    streams = {
        name: StreamMonitor(name, reference, [150], {}, IngestSettings(), closed.append, sampled.append)
        for name in ("a", "b")
    }
    sockets: list[Any] = [(address, "pull", name) for address in addresses for name in streams]
    receiver = Receiver(streams, {"a": 2, "b": 2}, sockets, 100)
    receiver.start()
    base = Header(
        kind="batch", stream="a", source="x", seq=0, run=1, ls=1, orbit=0, n=0, dtype="u2", epoch=1, generation=0,
        t_ns=0,
    )  # fmt: skip
    mask = random.random(CROSSINGS) < 0.7
    expected = {name: np.zeros(reference.cells.n_bins, np.int64) for name in streams}
    headers = [
        (taps[tap], replace(base, stream=stream, source=source, dtype=dtype))
        for stream, source, tap, dtype in (("a", "x", 0, "u2"), ("a", "y", 1, "u4"), ("b", "x", 1, "f4"))
    ]
    try:
        for tap, own in headers:
            begin = replace(own, kind="begin", filled=int(mask.sum()), ls_orbits=8)
            tap.send_multipart(encode(Batch(begin, np.empty(0), mask=mask)))
        until(lambda: receiver.messages == 3)
        for seq in range(1, 41):
            for tap, own in headers:
                scores = random.integers(0, 4000, CROSSINGS * (1 + seq % 3))
                expected[own.stream] += reference.cells.count(scores[np.tile(mask, 1 + seq % 3)])
                events = EventHeader(3, 2) if seq % 4 == 0 else None
                header = replace(own, seq=seq, orbit=300 * seq, t_ns=10**18 + seq, n=len(scores), events=events)
                batch = Batch(header, scores)
                if events is not None:
                    index = np.flatnonzero(mask)[:3].astype("u4")
                    batch = replace(batch, events=np.full((3, 2), seq), index=index, inclusion=np.full(3, 0.5))
                tap.send_multipart(encode(batch))
        until(lambda: receiver.messages == 3 * 41)
        for tap, own in headers:
            tap.send_multipart(encode(Batch(replace(own, kind="end", seq=41, totals={}), np.empty(0))))
        until(lambda: receiver.messages == 3 * 42)
    finally:
        receiver.stop()
        context.destroy()
    assert receiver.malformed == {}
    for name, monitor in streams.items():
        assert monitor.skipped == {}
        assert {account.received for account in monitor.totals().values()} == {42}
        assert {account.lost for account in monitor.totals().values()} == {0}
        assert monitor.scores == expected[name].sum()
    assert sorted(report.n for report in closed) == sorted(counts.sum() for counts in expected.values())
    for report in closed:
        assert any((report.window.counts == counts).all() for counts in expected.values())
    assert len(sampled) == 30
    assert all(batch.codes[batch.index].dtype.kind in "ui" for batch in sampled)


def test_what_cannot_be_counted_is_told_once(tap: tuple[Receiver, Send], monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, send = tap
    with capture_logs() as said:
        monkeypatch.setattr(receiver.streams["axol1tl"], "add", None)
        for seq in range(5):
            send(message(seq))
        until(lambda: sum(receiver.malformed.values()) == 5)
    assert receiver.malformed == {("internal", "a"): 5}
    assert [(entry["cause"], type(entry["exc_info"])) for entry in said] == [("internal", TypeError)]
