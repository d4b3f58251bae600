"""The batch on the wire: multipart messages of score codes with a MessagePack header.

Frames by kind, after the topic (the stream's name) and the header::

    begin   bunch mask (3564 bits, packed most significant bit first)
    batch   score codes[, event inputs (n, width), index (n,) u4, inclusion (n,) f4]
    end     nothing

All arrays are little-endian; decoded ones are read-only views of the frames.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from struct import Struct
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from firmware.errors import WireError

WIRE_VERSION = 1
CROSSINGS = 3564
SCORE_DTYPES = {name: np.dtype("<" + name) for name in ("u2", "u4", "f4")}
EVENT_DTYPES = {name: np.dtype("<" + name) for name in ("u1", "u2", "i2", "i4", "f4")}
U4, F4 = SCORE_DTYPES["u4"], SCORE_DTYPES["f4"]
MAX_HEADER_BYTES = 4096
MAX_TOTALS = 64
RUNNING = ("seq", "orbit", "t_ns")
"""What is different in every message of a source."""
HEADERS_KEPT = 256
MASK_BYTES = (CROSSINGS + 7) // 8

Array = npt.NDArray[Any]
Buffer = bytes | memoryview
Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class EventHeader:
    """Shape of the event block: `n` events of `width` inputs of `dtype`."""

    n: int
    width: int
    dtype: str = "i2"


@dataclass(frozen=True, kw_only=True)
class Header:
    """What every message says of itself.

    `seq` counts all kinds of message per (source, stream, run); `orbit` is the first orbit of the
    scores and `pileup` the measured mean of the lumi section. With `bx_class` "all" the `n` scores
    are whole orbits from crossing 0 on and the receiver applies the bunch mask; with "colliding"
    the masked crossings are already left out. `filled` and `ls_orbits` belong to "begin", `totals` to
    "end", `events` to "batch"; a message without `kind` is a batch. Other fields are ignored.
    """

    kind: str
    stream: str
    source: str
    seq: int
    run: int
    ls: int
    orbit: int
    n: int
    dtype: str
    epoch: int
    generation: int
    t_ns: int
    pileup: float | None = None
    bx_class: str = "all"
    events: EventHeader | None = None
    filled: int | None = None
    ls_orbits: int | None = None
    totals: Mapping[str, int] | None = None
    v: int = WIRE_VERSION


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One message: scores (n,), and where sampled, events (m, width), index (m,), inclusion (m,).

    `index` points into `codes`; `inclusion` is each event's probability of being in the block.
    """

    header: Header
    codes: Array
    events: Array | None = None
    index: npt.NDArray[np.uint32] | None = None
    inclusion: npt.NDArray[np.float32] | None = None
    mask: npt.NDArray[np.bool_] | None = None


def encode(batch: Batch) -> list[bytes]:
    """The frames of a message."""
    header = batch.header
    fields = {name: value for name in _CHECKS if (value := getattr(header, name)) is not None}
    if header.events is not None:
        fields["events"] = {"n": header.events.n, "width": header.events.width, "dtype": header.events.dtype}
    frames = [header.stream.encode(), msgpack.packb(fields)]
    if header.kind == "begin" and batch.mask is not None:
        frames.append(np.packbits(batch.mask).tobytes())
    if header.kind == "batch":
        frames.append(batch.codes.astype(SCORE_DTYPES[header.dtype], copy=False).tobytes())
    if header.events is not None:
        for array, dtype in (
            (batch.events, EVENT_DTYPES[header.events.dtype]),
            (batch.index, U4),
            (batch.inclusion, F4),
        ):
            frames.append(np.asarray(array).astype(dtype, copy=False).tobytes())
    return frames


def decode(frames: Sequence[Buffer], widths: Mapping[str, int] | None = None) -> Batch:
    """The message in `frames`.

    `widths` gives the known streams and the width of their events; without it every stream passes.

    Raises:
        WireError: the message is malformed; `cause` is one of "frames", "header", "version", "kind",
            "dtype", "length", "truncated", "range", "nan", "mask", "width", "unknown_stream".
    """
    return Decoder(widths).decode(frames)


class Decoder:
    """`decode` for many messages: a header that was found sound is not read again for other `RUNNING` numbers."""

    def __init__(self, widths: Mapping[str, int] | None = None) -> None:
        self._widths = widths
        self._patterns: dict[int, Struct] = {}
        self._known: dict[tuple[bytes, ...], tuple[Header, list[str]]] = {}

    def decode(self, frames: Sequence[Buffer]) -> Batch:
        """As the function `decode`."""
        if len(frames) < 2:
            raise WireError("frames", f"{len(frames)} frames, expected a topic, a header and data")
        header = self._like_known(frames[1]) or self._read(frames[1])
        try:
            return _body(header, frames, self._widths)
        except WireError as error:
            error.source = header.source
            raise

    def _like_known(self, frame: Buffer) -> Header | None:
        pattern = self._patterns.get(len(frame))
        if pattern is None:
            return None
        before, a, between, b, among, c, after = pattern.unpack(frame)
        known = self._known.get((before, between, among, after))
        if known is None or (a | b | c) >> 63:
            return None
        like, (first, second, third) = known
        header = object.__new__(Header)
        vars(header).update(vars(like) | {first: a, second: b, third: c})
        return header

    def _read(self, frame: Buffer) -> Header:
        header = _header(frame)
        if (places := _places(bytes(frame), header)) is not None:
            if len(self._known) >= HEADERS_KEPT:
                self._patterns.clear()
                self._known.clear()
            pattern, names = places
            before, _, between, _, among, _, after = pattern.unpack(frame)
            self._patterns[len(frame)] = pattern
            self._known[before, between, among, after] = header, names
        return header


def _places(frame: bytes, header: Header) -> tuple[Struct, list[str]] | None:
    """Where the `RUNNING` numbers stand in a header, and their names in that order.

    None if one of them is below 128, or if writing other numbers there does not change just these.
    """
    found = []
    for name in RUNNING:
        key, value = msgpack.packb(name), msgpack.packb(getattr(header, name))
        at = frame.find(key + value)
        if at < 0 or len(value) - 1 not in _INTEGERS:
            return None
        found.append((at + len(key) + 1, len(value) - 1, name))
    format, end, others = ">", 0, {}
    for at, size, name in sorted(found):
        format += f"{at - end}s{_INTEGERS[size]}"
        end = at + size
        others[name] = getattr(header, name) ^ 1 << 4 * size
    pattern = Struct(f"{format}{len(frame) - end}s")
    parts = list(pattern.unpack(frame))
    parts[1::2] = others.values()
    try:
        same = _header(pattern.pack(*parts)) == replace(header, **others)
    except WireError:
        return None
    return (pattern, list(others)) if same else None


def _body(header: Header, frames: Sequence[Buffer], widths: Mapping[str, int] | None) -> Batch:
    if frames[0] != header.stream.encode():
        raise WireError("header", f"topic {bytes(frames[0])[:64]!r} is not the header's {header.stream!r}")
    if widths is not None:
        _check_stream(header, widths)
    expected = _FRAMES[header.kind] + (3 if header.events else 0)
    if len(frames) != expected:
        raise WireError("frames", f"{len(frames)} frames in a {header.kind!r} message, expected {expected}")
    if header.kind == "batch":
        return _batch(header, frames)
    mask = _mask(header, frames) if header.kind == "begin" else None
    return Batch(header, _NO_CODES[header.dtype], mask=mask)


def _batch(header: Header, frames: Sequence[Buffer]) -> Batch:
    n = header.n
    if n == 0 or (header.bx_class == "all" and n % CROSSINGS):
        raise WireError("length", f"{n} scores of bx_class {header.bx_class!r}, expected whole orbits")
    codes = _array(frames[2], SCORE_DTYPES[header.dtype], n, "scores")
    if header.dtype == "f4":
        _check_finite(codes, "scores")
        if codes.min() < 0:
            raise WireError("range", "a score is negative")
    block = header.events
    if block is None:
        return Batch(header, codes)
    events = _array(frames[3], EVENT_DTYPES[block.dtype], block.n * block.width, "events")
    if block.dtype == "f4":
        _check_finite(events, "events")
    index = _array(frames[4], U4, block.n, "index")
    if block.n and index.max() >= n:
        raise WireError("range", f"index {index.max()} is beyond the {n} scores")
    inclusion = _array(frames[5], F4, block.n, "inclusion")
    _check_finite(inclusion, "inclusion")
    if block.n and not (inclusion.min() > 0 and inclusion.max() <= 1):
        raise WireError("range", "an inclusion probability is outside (0, 1]")
    return Batch(header, codes, events.reshape(block.n, block.width), index, inclusion)


def _mask(header: Header, frames: Sequence[Buffer]) -> npt.NDArray[np.bool_]:
    bits = _array(frames[2], np.dtype("u1"), MASK_BYTES, "mask")
    mask = np.unpackbits(bits, count=CROSSINGS).view(np.bool_)
    if header.filled != (filled := int(mask.sum())):
        raise WireError("mask", f"{filled} bunches in the mask, {header.filled} in the header")
    return mask


def _array(frame: Buffer, dtype: np.dtype[Any], n: int, name: str) -> Array:
    if len(frame) != n * dtype.itemsize:
        cause = "truncated" if len(frame) < n * dtype.itemsize else "length"
        raise WireError(cause, f"{name} has {len(frame)} bytes, header says {n} of {dtype.itemsize}")
    array = np.frombuffer(frame, dtype)
    if type(frame) is not bytes:
        array.flags.writeable = False
    return array


def _check_finite(array: Array, name: str) -> None:
    if not np.isfinite(array).all():
        raise WireError("nan", f"{name} holds NaN or infinity")


def _check_stream(header: Header, widths: Mapping[str, int]) -> None:
    if header.stream not in widths:
        raise WireError("unknown_stream", f"stream {header.stream!r}, known are {sorted(widths)}")
    if header.events and header.events.width != (width := widths[header.stream]):
        raise WireError("width", f"events of {header.events.width} inputs, stream has {width}")


def _header(frame: Buffer) -> Header:
    if len(frame) > MAX_HEADER_BYTES:
        raise WireError("header", f"header of {len(frame)} bytes, at most {MAX_HEADER_BYTES}")
    try:
        fields = msgpack.unpackb(frame)
    except Exception as error:
        raise WireError("header", f"not MessagePack: {type(error).__name__}") from error
    if not isinstance(fields, dict):
        raise WireError("header", f"header is a {type(fields).__name__}, expected a map")
    if fields.get("v") != WIRE_VERSION:
        raise WireError("version", f"wire version {fields.get('v')!r:.40}, expected {WIRE_VERSION}")
    fields = {"kind": "batch"} | {name: value for name, value in fields.items() if name in _CHECKS}
    for name, value in fields.items():
        if not _CHECKS[name](value):
            raise WireError(name if name in ("kind", "dtype") else "header", f"{name!r:.40} = {value!r:.40}")
    _check_kind(fields)
    if block := fields.get("events"):
        fields["events"] = EventHeader(**block)
    return Header(**fields)


def _check_kind(fields: Mapping[str, Any]) -> None:
    kind = fields["kind"]
    if missing := _REQUIRED[kind] - fields.keys():
        raise WireError("header", f"no {', '.join(sorted(missing))} in a {kind!r} message")
    if not fields.keys() <= _ALLOWED[kind]:
        raise WireError("header", f"fields of another kind in a {kind!r} message")
    if fields["n"] and kind != "batch":
        raise WireError("length", f"{fields['n']} scores in a {kind!r} message")


def _whole(bits: int) -> Check:
    top = 1 << bits
    return lambda value: type(value) is int and 0 <= value < top


def _one_of(values: Container[str]) -> Check:
    return lambda value: type(value) is str and value in values


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 64 and value.isprintable()


def _is_pileup(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_totals(value: Any) -> bool:
    return (
        type(value) is dict
        and len(value) <= MAX_TOTALS
        and all(_is_name(name) and _U63(total) for name, total in value.items())
    )


def _is_events(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == _EVENT_CHECKS.keys()
        and all(check(value[name]) for name, check in _EVENT_CHECKS.items())
    )


_U32, _U63 = _whole(32), _whole(63)
_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FRAMES = {"begin": 3, "batch": 3, "end": 2}
_EVENT_CHECKS = {"n": _U32, "width": _U32, "dtype": _one_of(EVENT_DTYPES)}
_CHECKS: dict[str, Check] = {
    "v": lambda value: type(value) is int and value == WIRE_VERSION,
    "kind": _one_of(_FRAMES),
    "stream": _is_name,
    "source": _is_name,
    "seq": _U63,
    "run": _U32,
    "ls": _U32,
    "orbit": _U63,
    "n": _U32,
    "dtype": _one_of(SCORE_DTYPES),
    "epoch": _U32,
    "generation": _U32,
    "t_ns": _U63,
    "pileup": _is_pileup,
    "bx_class": _one_of(("all", "colliding")),
    "events": _is_events,
    "filled": _U32,
    "ls_orbits": _U32,
    "totals": _is_totals,
}
_ANYWHERE = {"pileup", "bx_class"}
_OWN = {"begin": {"filled", "ls_orbits"}, "batch": {"events"}, "end": {"totals"}}
_COMMON = _CHECKS.keys() - _ANYWHERE - set().union(*_OWN.values())
_ALLOWED = {kind: _COMMON | _ANYWHERE | own for kind, own in _OWN.items()}
_REQUIRED = {"begin": _COMMON | _OWN["begin"], "batch": _COMMON, "end": _COMMON | _OWN["end"]}
_NO_CODES = {name: np.empty(0, dtype) for name, dtype in SCORE_DTYPES.items()}
