"""The wire format: what goes in comes out, and nothing malformed gets through."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.errors import WireError
from firmware.wire import CROSSINGS, HEADERS_KEPT, Batch, Decoder, EventHeader, Header, decode, encode

CAUSES = {
    "frames",
    "header",
    "version",
    "kind",
    "dtype",
    "length",
    "truncated",
    "range",
    "nan",
    "mask",
    "width",
    "unknown_stream",
}
WIDTH = 57
BASE = Header(
    kind="batch",
    stream="axol1tl",
    source="board0",
    seq=5,
    run=400000,
    ls=17,
    orbit=640,
    n=CROSSINGS,
    dtype="u4",
    epoch=123,
    generation=2,
    t_ns=1_700_000_000_000_000_000,
    pileup=48.5,
)


def plain(dtype: str = "u4", n: int = CROSSINGS) -> Batch:
    codes = np.random.default_rng(1).integers(0, 60000, n).astype(dtype)
    return Batch(replace(BASE, dtype=dtype, n=n), codes)


def sampled(events_dtype: str = "i2", m: int = 40) -> Batch:
    random = np.random.default_rng(2)
    batch = plain()
    return replace(
        batch,
        header=replace(batch.header, events=EventHeader(m, WIDTH, events_dtype)),
        events=random.integers(0, 200, (m, WIDTH)).astype(events_dtype),
        index=np.sort(random.choice(CROSSINGS, m, replace=False)).astype(np.uint32),
        inclusion=random.choice([1.0, 0.01], m).astype(np.float32),
    )


def begin() -> Batch:
    mask = np.arange(CROSSINGS) % 3 == 0
    header = replace(BASE, kind="begin", n=0, filled=int(mask.sum()), ls_orbits=40)
    return Batch(header, np.empty(0, np.uint32), mask=mask)


def end() -> Batch:
    header = replace(BASE, kind="end", n=0, totals={"messages": 12, "events": 99})
    return Batch(header, np.empty(0, np.uint32))


def cause_of(frames: list[bytes], widths: dict[str, int] | None = None) -> str:
    with pytest.raises(WireError) as caught:
        decode(frames, widths)
    return caught.value.cause


def with_fields(batch: Batch, **changes: Any) -> list[bytes]:
    """The frames of a batch with other header fields; None takes one out."""
    topic, header, *rest = encode(batch)
    fields = {k: v for k, v in (msgpack.unpackb(header) | changes).items() if v is not None}
    return [topic, msgpack.packb(fields), *rest]


MESSAGES = [
    plain("u2"),
    plain("u4"),
    plain("f4"),
    replace(plain(n=5), header=replace(BASE, n=5, bx_class="colliding", pileup=None)),
    sampled("i2"),
    sampled("f4"),
    sampled("u1", m=0),
    begin(),
    end(),
]


@pytest.mark.parametrize("batch", MESSAGES)
def test_a_message_comes_back_as_it_was(batch: Batch) -> None:
    back = decode(encode(batch), {"axol1tl": WIDTH})
    assert back.header == batch.header
    for name in ("codes", "events", "index", "inclusion", "mask"):
        sent, received = getattr(batch, name), getattr(back, name)
        assert (sent is None) == (received is None)
        if sent is not None:
            np.testing.assert_array_equal(received, sent)
            assert received.dtype == sent.dtype


def test_the_arrays_are_views_of_the_frames() -> None:
    frames = encode(sampled())
    back = decode(frames)
    assert back.events is not None
    assert np.shares_memory(back.codes, np.frombuffer(frames[2], np.uint8))
    assert np.shares_memory(back.events, np.frombuffer(frames[3], np.uint8))


def test_memoryviews_are_as_good_as_bytes() -> None:
    back = decode([memoryview(bytearray(frame)) for frame in encode(sampled())])
    np.testing.assert_array_equal(back.codes, sampled().codes)
    assert not back.codes.flags.writeable


@pytest.mark.parametrize("i", [2, 3, 4, 5])
def test_a_short_or_long_frame_is_refused(i: int) -> None:
    frames = encode(sampled())
    assert cause_of([*frames[:i], frames[i][:-1], *frames[i + 1 :]]) == "truncated"
    assert cause_of([*frames[:i], frames[i] + b"\0", *frames[i + 1 :]]) == "length"


@pytest.mark.parametrize(
    ("batch", "changes", "cause"),
    [
        (plain(), {"v": 2}, "version"),
        (plain(), {"v": True}, "header"),
        (plain(), {"v": None}, "version"),
        (plain(), {"kind": "other"}, "kind"),
        (plain(), {"kind": ["batch"]}, "kind"),
        (plain(), {"dtype": "u8"}, "dtype"),
        (plain(), {"dtype": "u2"}, "length"),
        (plain(), {"seq": -1}, "header"),
        (plain(), {"seq": True}, "header"),
        (plain(), {"seq": 1.0}, "header"),
        (plain(), {"source": ""}, "header"),
        (plain(), {"source": "a\n"}, "header"),
        (plain(), {"source": "x" * 65}, "header"),
        (plain(), {"run": None}, "header"),
        (plain(), {"run": 1 << 32}, "header"),
        (plain(), {"pileup": float("nan")}, "header"),
        (plain(), {"pileup": float("inf")}, "header"),
        (plain(), {"pileup": -1.0}, "header"),
        (plain(), {"bx_class": "some"}, "header"),
        (plain(), {"stream": "other"}, "header"),
        (plain(), {"n": 0}, "length"),
        (plain("f4", n=0), {"bx_class": "colliding"}, "length"),
        (plain(), {"n": CROSSINGS - 1}, "length"),
        (plain(), {"n": 2 * CROSSINGS}, "truncated"),
        (plain(), {"filled": 10}, "header"),
        (plain(), {"events": {"n": 1, "width": WIDTH, "dtype": "i2"}}, "frames"),
        (sampled(), {"events": None}, "frames"),
        (sampled(), {"events": {"n": 40, "width": 19, "dtype": "i2"}}, "length"),
        (sampled(), {"events": {"n": 40, "width": WIDTH, "dtype": "c8"}}, "header"),
        (sampled(), {"events": {"n": 40, "width": WIDTH}}, "header"),
        (begin(), {"filled": 7}, "mask"),
        (begin(), {"ls_orbits": None}, "header"),
        (begin(), {"n": 1}, "length"),
        (end(), {"totals": {"x": -1}}, "header"),
        (end(), {"totals": {str(i): 1 for i in range(100)}}, "header"),
    ],
)
def test_a_faulty_header_is_refused_with_its_cause(batch: Batch, changes: dict[str, Any], cause: str) -> None:
    assert cause_of(with_fields(batch, **changes)) == cause


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"index": np.arange(CROSSINGS - 39, CROSSINGS + 1, dtype=np.uint32)}, "range"),
        ({"inclusion": np.zeros(40, np.float32)}, "range"),
        ({"inclusion": np.full(40, 1.5, np.float32)}, "range"),
        ({"inclusion": np.full(40, np.nan, np.float32)}, "nan"),
        ({"inclusion": np.full(40, np.inf, np.float32)}, "nan"),
    ],
)
def test_a_faulty_event_block_is_refused_with_its_cause(change: dict[str, Any], cause: str) -> None:
    assert cause_of(encode(replace(sampled(), **change))) == cause


@pytest.mark.parametrize(("value", "cause"), [(np.nan, "nan"), (np.inf, "nan"), (-1.0, "range")])
def test_a_score_that_is_no_score_is_refused(value: float, cause: str) -> None:
    batch = plain("f4")
    batch.codes[7] = value
    assert cause_of(encode(batch)) == cause


def test_events_that_are_not_finite_are_refused() -> None:
    batch = sampled("f4")
    assert batch.events is not None
    batch.events[3, 3] = np.nan
    assert cause_of(encode(batch)) == "nan"


def test_an_unknown_stream_and_a_wrong_width_are_refused() -> None:
    assert cause_of(encode(plain()), {"cicada": 252}) == "unknown_stream"
    assert cause_of(encode(sampled()), {"axol1tl": 252}) == "width"


def test_missing_and_surplus_frames_are_refused() -> None:
    frames = encode(plain())
    for wrong in ([], frames[:1], frames[:2], [*frames, b""], encode(end())[:1]):
        assert cause_of(wrong) == "frames"


@pytest.mark.parametrize("header", [b"", b"\xc1", b"\xc0", b"\x93\1\2\3", b"\x81\xa1v\xd6\xff\0\0\0\0", b"\x90" * 5000])
def test_a_header_that_is_no_map_is_refused(header: bytes) -> None:
    assert cause_of([b"axol1tl", header, b""]) in {"header", "version"}


def assert_decodes_or_refuses(frames: list[bytes]) -> None:
    cause = None
    try:
        batch = decode(frames, {"axol1tl": WIDTH})
    except WireError as error:
        cause = error.cause
    if cause is not None:
        assert cause in CAUSES
        return
    header = batch.header
    assert batch.codes.shape == (header.n,)
    assert batch.codes.dtype == np.dtype(header.dtype)
    assert (batch.mask is None) == (header.kind != "begin")
    if header.events is None:
        assert batch.events is None
        assert batch.index is None
        assert batch.inclusion is None
        return
    assert batch.events is not None
    assert batch.index is not None
    assert batch.inclusion is not None
    assert batch.events.shape == (header.events.n, header.events.width) == (header.events.n, WIDTH)
    assert batch.index.shape == batch.inclusion.shape == (header.events.n,)
    assert np.isfinite(batch.inclusion).all()
    assert (batch.index < header.n).all()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=7))
def test_arbitrary_frames_decode_or_are_refused(frames: list[bytes]) -> None:
    assert_decodes_or_refuses(frames)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    batch=st.sampled_from(MESSAGES),
    field=st.sampled_from([*Header.__dataclass_fields__, "other"]),
    value=json_like,
)
def test_arbitrary_header_fields_decode_or_are_refused(batch: Batch, field: str, value: Any) -> None:
    topic, header, *rest = encode(batch)
    fields = msgpack.unpackb(header) | {field: value}
    assert_decodes_or_refuses([topic, msgpack.packb(fields), *rest])


@settings(deadline=None)
@given(data=st.data())
def test_mutated_messages_decode_or_are_refused(data: st.DataObject) -> None:
    frames = encode(data.draw(st.sampled_from(MESSAGES)))
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(frames) - 1))
        frame = bytearray(frames[i])
        at = data.draw(st.integers(0, len(frame)))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "drop", "swap"])):
            case "flip" if at < len(frame):
                frame[at] ^= data.draw(st.integers(1, 255))
            case "cut":
                del frame[at:]
            case "insert":
                frame[at:at] = data.draw(st.binary(min_size=1, max_size=8))
            case "drop" if len(frames) > 1:
                del frames[i]
                continue
            case _:
                frames[0], frames[i] = frames[i], frames[0]
                continue
        frames[i] = bytes(frame)
    assert_decodes_or_refuses(frames)


def outcome(decoding: Callable[[list[bytes]], Batch], frames: list[bytes]) -> str:
    """What a decoder makes of a message, with the types of all fields."""
    try:
        batch = decoding(frames)
    except WireError as error:
        return f"{error.cause} {error.source}: {error.why}"
    return f"{batch.header} {batch.codes} {batch.codes.dtype} {batch.mask} {batch.events} {batch.index}"


numbers = st.one_of(st.integers(0, 2**63 - 1), *(st.integers(2**bits - 2, 2**bits) for bits in (7, 8, 16, 32, 62)))


@settings(deadline=None)
@given(data=st.data())
def test_a_decoder_that_knows_a_header_takes_others_like_it_for_what_they_are(data: st.DataObject) -> None:
    decoder = Decoder({"axol1tl": WIDTH})
    batch = data.draw(st.sampled_from(MESSAGES))
    for _ in range(6):
        running = {name: data.draw(numbers) for name in ("seq", "orbit", "t_ns")}
        frames = encode(replace(batch, header=replace(batch.header, **running)))
        fields = msgpack.unpackb(frames[1])
        match data.draw(st.sampled_from(["as it is", "other value", "other order", "other byte"])):
            case "other value":
                field = data.draw(st.sampled_from([*Header.__dataclass_fields__, "other"]))
                frames[1] = msgpack.packb(fields | {field: data.draw(json_like | numbers)})
            case "other order":
                frames[1] = msgpack.packb(dict(data.draw(st.permutations(sorted(fields.items())))))
            case "other byte":
                header = bytearray(frames[1])
                header[data.draw(st.integers(0, len(header) - 1))] ^= data.draw(st.integers(1, 255))
                frames[1] = bytes(header)
        assert outcome(decoder.decode, frames) == outcome(lambda f: decode(f, {"axol1tl": WIDTH}), frames)


def test_a_name_that_looks_like_a_number_of_the_header_is_left_alone() -> None:
    decoder = Decoder()
    for letter in "abc":
        source = f"\u00a3seq\u0348{letter}"
        assert source.encode()[1:] == b"\xa3seq\xcd\x88" + letter.encode()
        header = replace(BASE, source=source, seq=0x8861, orbit=10**6)
        assert decoder.decode(encode(replace(plain(), header=header))).header == header


def test_of_two_fields_of_the_same_name_the_last_one_counts_as_ever() -> None:
    decoder = Decoder()
    for first, last in ((70_000, 70_000), (70_001, 70_000)):
        topic, header, codes = with_fields(plain(), seq=first, orbit=10**6)
        assert header[:1] == b"\x8f"
        doubled = b"\xde\x00\x10" + header[1:] + msgpack.packb("seq") + msgpack.packb(last)
        assert decoder.decode([topic, doubled, codes]).header.seq == last


def test_a_number_that_is_too_large_is_refused_in_a_known_header_too() -> None:
    decoder = Decoder()
    decoder.decode(with_fields(plain(), seq=1 << 62, orbit=10**6))
    with pytest.raises(WireError, match="seq"):
        decoder.decode(with_fields(plain(), seq=1 << 63, orbit=10**6))


def test_known_headers_do_not_pile_up() -> None:
    decoder = Decoder()
    for ls in range(3 * HEADERS_KEPT):
        decoder.decode(with_fields(plain(), ls=ls, seq=1000 + ls, orbit=10**6))
    assert len(decoder._known) <= HEADERS_KEPT
