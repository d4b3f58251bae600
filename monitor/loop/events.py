"""What happens to the loop of a stream: every name says what has happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monitor.loop.orders import Order
from monitor.loop.states import Mode
from monitor.terms import NEVER, Level, Moment


@dataclass(frozen=True)
class Event:
    """Something that has happened."""


@dataclass(frozen=True)
class Answer(Event):
    """What became of work that the loop has begun, under the task number of that work.

    Answers under an older number are ignored: a late one can never move a loop that has gone on.
    """

    task: int


@dataclass(frozen=True)
class LsClosed(Event):
    """A lumi section was counted.

    ``sample_ready``: enough events kept for the work at hand; ``steer``: the active payload with the cuts that
    will hold the rates, if they are others; ``by_cuts``: a drift is one of rates alone, which such cuts bring back.
    """

    at: Moment
    level: Level
    epoch: int
    generation: int
    onset: Moment = NEVER
    sample_ready: bool = False
    text: str = ""
    steer: str = ""
    by_cuts: bool = False


@dataclass(frozen=True)
class Ticked(Event):
    """Wall time passed; the stream may be silent."""


@dataclass(frozen=True)
class FitProgressed(Answer):
    """Where the fit is; ``text`` for people."""

    stage: Literal["fitting", "gating"]
    text: str


@dataclass(frozen=True)
class FitEnded(Answer):
    """A proposal is there. ``attention``: why a human must decide about it in any mode, if one must."""

    proposal: str
    payload: str
    accepted: bool
    reason: str
    attention: str = ""


@dataclass(frozen=True)
class Staged(Answer):
    """The shadow bank holds the candidate; it is to become active as ``generation``."""

    generation: int


@dataclass(frozen=True)
class Previewed(Answer):
    """The shadow bank was held against what was promised."""

    good: bool
    reason: str


@dataclass(frozen=True)
class Armed(Answer):
    """The banks are to swap at the begin of ``target_ls``."""

    target_ls: int


@dataclass(frozen=True)
class Latched(Answer):
    """The banks have swapped, at the moment and epoch that the board says."""

    at: Moment
    epoch: int


@dataclass(frozen=True)
class PushJudged(Answer):
    """The payload in force was held against the one before, on events that the new one decided."""

    harmful: bool
    reason: str


@dataclass(frozen=True)
class WorkFailed(Answer):
    """An operation failed. ``unknown``: the board's state is not known any more."""

    reason: str
    unknown: bool = False


@dataclass(frozen=True)
class BoardSeen(Event):
    """The board was read."""

    epoch: int
    generation: int
    payload: str
    since: Moment = NEVER


@dataclass(frozen=True)
class ModeSet(Event):
    """The configuration names a mode; it may be the one in force."""

    mode: Mode


@dataclass(frozen=True)
class Ordered(Event):
    """An operator has given an order."""

    order: Order
