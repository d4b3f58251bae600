"""Reading the header of a message: every field by its own check, and the fields of each kind of message."""

import math
from collections.abc import Callable, Container, Mapping
from typing import Any

import msgpack

from firmware.errors import WireError
from firmware.wire.batch import EVENT_DTYPES, FRAMES, SCORE_DTYPES, WIRE_VERSION, Buffer, EventHeader, Header

MAX_HEADER_BYTES = 4096
MAX_TOTALS = 64

Check = Callable[[Any], bool]


def read_header(frame: Buffer) -> Header:
    """The header in a frame.

    Raises:
        WireError: naming the field that is missing, unknown or out of its range.
    """
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
    fields = {"kind": "batch"} | {name: value for name, value in fields.items() if name in CHECKS}
    for name, value in fields.items():
        if not CHECKS[name](value):
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
_EVENT_CHECKS = {"n": _U32, "width": _U32, "dtype": _one_of(EVENT_DTYPES)}
CHECKS: dict[str, Check] = {
    "v": lambda value: type(value) is int and value == WIRE_VERSION,
    "kind": _one_of(FRAMES),
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
_COMMON = CHECKS.keys() - _ANYWHERE - set().union(*_OWN.values())
_ALLOWED = {kind: _COMMON | _ANYWHERE | own for kind, own in _OWN.items()}
_REQUIRED = {"begin": _COMMON | _OWN["begin"], "batch": _COMMON, "end": _COMMON | _OWN["end"]}
