"""A candidate payload with its evidence, and the verdict on one that is in force."""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from recalib.knobs.names import Turned

Numbers = tuple[float, ...]


class Step(NamedTuple):
    """Where a fit is: its stage, and what it does there, for people."""

    stage: Literal["fitting", "gating"]
    text: str


FitProgress = Callable[[Step], None]
"""Is called at every step of a fit; what it raises ends the fit."""


@dataclass(frozen=True)
class Gate:
    """One condition on a proposal: the number, its limit, and what both are.

    `advice`: for a human to know; it rejects nothing.
    """

    name: str
    value: float
    limit: float
    passed: bool
    text: str
    advice: bool = False


@dataclass(frozen=True)
class Candidate:
    """What one knob can do, on events that its fit has not seen.

    Args:
        kl: to the reference with the knob, kl_error of its change.
        rates: at the cuts.
        explained: share of the inputs' mismatch with the reference that is gone.
        estimated_overlap: with what the undrifted trigger would accept, per cut, as far as the energies tell.
        moves: what was turned by how much: ln of each scale, or codes.
        errors: standard errors of those moves that were fitted.
        passes: forward-backward passes over the events of the fit.
        verdict: why it was taken or left.
    """

    knob: Turned
    kl: float
    kl_error: float
    rates: Numbers
    retention: float
    explained: float
    moves: dict[str, float]
    passes: float
    verdict: str
    errors: dict[str, float] = field(default_factory=dict)
    estimated_overlap: Numbers = ()


@dataclass(frozen=True, eq=False)
class Proposal:
    """The payload that the engine would have, and why; with `accepted` false it is not to be used.

    Args:
        restores: whether p(s) is expected to be p_ref again; else it is `predicted`.
        seen: (B,) what the deployed payload gives on the same events; what has no distribution leaves it empty.
        squares: (B,) Σw² of the events in each bin of `predicted`, with weights of sum 1.
        edges: (B+1,) of the bins, in codes.
        m: reference events behind `p_ref`.
        cuts_before, cuts_after: in codes, per cut.
        n_eff: the number of equally weighted events behind `predicted`.
        kl_floor: what statistics alone give.
        rate_errors: relative, statistical, of `rates_after`.
        retention: share of the accepted events that stay accepted, per cut.
        move: the largest |ln| of a register's change.
        attention: why a person must decide, whatever the gates say; "" where none must.
    """

    stream: str
    knob: Turned
    base_id: str
    payload_id: str
    words: NDArray[np.uint32]
    accepted: bool
    reason: str
    restores: bool
    p_ref: NDArray[np.float64]
    predicted: NDArray[np.float64]
    events: int
    n_eff: float
    kl_before: float
    kl_after: float
    kl_floor: float
    rates_before: Numbers
    rates_after: Numbers
    rates_target: Numbers
    rate_errors: Numbers
    retention: Numbers
    move: float
    beta: float
    delta: float
    attention: str = ""
    gates: tuple[Gate, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    passes: float = 0.0
    seconds: float = 0.0
    seen: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    edges: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    m: float = 0.0
    cuts_before: tuple[int, ...] = ()
    cuts_after: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """SHA-256 of all but the time it took."""
        return hashlib.sha256(_canonical(replace(self, seconds=0.0))).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON: words in base64, numbers that are not finite as null."""
        return {"id": self.id, **_plain(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` has given."""
        given = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        plain: dict[str, Any] = {n: _restored(value) for n, value in given.items() if n not in _STRUCTURED}
        arrays: dict[str, Any] = {n: np.array(_restored(given[n])) for n in _ARRAYS if n in given}
        return cls(
            **plain,
            **arrays,
            knob=Turned.parse(given["knob"]),
            words=np.frombuffer(base64.b64decode(given["words"]), "<u4").astype(np.uint32),
            gates=tuple(Gate(**_numbers(gate)) for gate in given["gates"]),
            candidates=tuple(
                Candidate(**_numbers(candidate) | {"knob": Turned.parse(candidate["knob"])})
                for candidate in given["candidates"]
            ),
        )


@dataclass(frozen=True)
class Judgement:
    """Old against new payload on the events that the new one decided.

    `harmful`: the old one would do better, beyond statistics.
    """

    kl_old: float
    kl_new: float
    kl_floor: float
    rates_old: Numbers
    rates_new: Numbers
    rates_target: Numbers
    harmful: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON: numbers that are not finite as null."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


_ARRAYS = ("p_ref", "predicted", "seen", "squares", "edges")
_STRUCTURED = ("knob", "words", *_ARRAYS, "gates", "candidates")


def _canonical(proposal: Proposal) -> bytes:
    return json.dumps(_plain(proposal), sort_keys=True).encode()


def _plain(value: Any) -> Any:
    match value:
        case np.ndarray() if value.dtype.kind == "u":
            return base64.b64encode(value.astype("<u4").tobytes()).decode()
        case np.ndarray():
            return _plain(tuple(value.tolist()))
        case Turned():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case bool() | int() | str():
            return value
        case float() | np.floating():
            return float(value) if math.isfinite(value) else None
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _restored(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_restored(item) for item in value)
    return math.nan if value is None else value


def _numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _restored(value) for name, value in data.items()}
