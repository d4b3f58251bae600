"""What a message holds: its header, and the arrays of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

WIRE_VERSION = 1
CROSSINGS = 3564
SCORE_DTYPES = {name: np.dtype("<" + name) for name in ("u2", "u4", "f4")}
EVENT_DTYPES = {name: np.dtype("<" + name) for name in ("u1", "u2", "i2", "i4", "f4")}
FRAMES = {"begin": 3, "batch": 3, "end": 2}
"""Frames of a message of each kind, without those of an event block."""

Array = npt.NDArray[Any]
Buffer = bytes | memoryview
"""A frame as the socket gives it."""


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
