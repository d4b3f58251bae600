"""Where the loop of a stream stands, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monitor.terms import NEVER, Moment


class Phase(StrEnum):
    """Where a stream's loop stands."""

    WARMING = "warming"
    WATCHING = "watching"
    COLLECTING = "collecting"
    FITTING = "fitting"
    GATING = "gating"
    AWAITING_APPROVAL = "awaiting_approval"
    STAGING = "staging"
    PREVIEWING = "previewing"
    ARMED = "armed"
    CONFIRMING = "confirming"
    ROLLED_BACK = "rolled_back"
    FROZEN = "frozen"
    FAULT = "fault"


class Mode(StrEnum):
    """Who lets a payload go to the board: the gates, save where they ask for a human; a human; or nobody."""

    AUTO = "auto"
    SUPERVISED = "supervised"
    SHADOW = "shadow"


@dataclass(frozen=True)
class Rules:
    """Lengths of the loop's waits, in lumi sections."""

    warm_ls: int = 3
    collect_max_ls: int = 20
    approval_max_ls: int = 200
    preview_max_ls: int = 20
    latch_max_ls: int = 6
    confirm_ls: int = 3
    confirm_max_ls: int = 12
    cooldown_ls: int = 3
    backoff_ls: int = 5
    backoff_max_ls: int = 160


@dataclass(frozen=True)
class Aside:
    """A phase that moving the cuts has interrupted, and what is known in it alone."""

    phase: Phase
    entered: int
    quiet: int
    candidate: str
    proposal: str


@dataclass(frozen=True)
class State:
    """All that the loop of one stream remembers.

    ``payload``, ``generation`` and ``epoch`` are what the board was last seen to run;
    ``candidate`` is the payload on its way there under ``target_generation``.
    ``aside`` is what the loop goes back to when the cuts have been moved.
    Waits are told in ``clock``, the number of lumi sections closed: numbers of lumi sections
    begin anew with each run.
    """

    mode: Mode = Mode.AUTO
    phase: Phase = Phase.WARMING
    task: int = 0
    at: Moment = NEVER
    clock: int = 0
    entered: int = 0
    quiet: int = 0
    onset: Moment = NEVER
    latched: Moment = NEVER
    payload: str = ""
    previous: str = ""
    generation: int = -1
    epoch: int = -1
    candidate: str = ""
    proposal: str = ""
    target_generation: int = -1
    target_ls: int = -1
    rolling_back: bool = False
    steering: bool = False
    aside: Aside | None = None
    steer_after: int = 0
    asked: bool = False
    dry_run: bool = False
    retries: int = 0
    not_before: int = 0
    reason: str = ""


WRITING = frozenset({Phase.STAGING, Phase.PREVIEWING, Phase.ARMED})
"""Phases in which the board's shadow bank may be touched or the swap may be armed."""

STEERED = frozenset({Phase.WATCHING, Phase.COLLECTING, Phase.AWAITING_APPROVAL, Phase.CONFIRMING, Phase.ROLLED_BACK})
"""Phases that moving the cuts may interrupt."""
