"""Messages to frames and back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from struct import Struct
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from firmware.errors import WireError
from firmware.wire.batch import CROSSINGS, EVENT_DTYPES, FRAMES, SCORE_DTYPES, Array, Batch, Buffer, Header
from firmware.wire.header import CHECKS, read_header

U4, F4 = SCORE_DTYPES["u4"], SCORE_DTYPES["f4"]
RUNNING = ("seq", "orbit", "t_ns")
"""What is different in every message of a source."""
HEADERS_KEPT = 256
MASK_BYTES = (CROSSINGS + 7) // 8

_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NO_CODES = {name: np.empty(0, dtype) for name, dtype in SCORE_DTYPES.items()}


def encode(batch: Batch) -> list[bytes]:
    """The frames of a message."""
    header = batch.header
    fields = {name: value for name in CHECKS if (value := getattr(header, name)) is not None}
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
        header = read_header(frame)
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
        same = read_header(pattern.pack(*parts)) == replace(header, **others)
    except WireError:
        return None
    return (pattern, list(others)) if same else None


def _body(header: Header, frames: Sequence[Buffer], widths: Mapping[str, int] | None) -> Batch:
    if frames[0] != header.stream.encode():
        raise WireError("header", f"topic {bytes(frames[0])[:64]!r} is not the header's {header.stream!r}")
    if widths is not None:
        _check_stream(header, widths)
    expected = FRAMES[header.kind] + (3 if header.events else 0)
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
