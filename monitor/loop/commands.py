"""What the loop of a stream says is to be done: every name is an imperative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from monitor.terms import Moment


@dataclass(frozen=True)
class Command:
    """Something to be done."""


@dataclass(frozen=True)
class Work(Command):
    """Something that takes time; what becomes of it comes back as an answer under its task number."""

    task: int

    @classmethod
    def operation(cls) -> str:
        """Its name in metrics and messages."""
        return cls.__name__.lower()


@dataclass(frozen=True)
class Fit(Work):
    """Fit the events ``since`` then, and propose a payload."""

    since: Moment


@dataclass(frozen=True)
class Stage(Work):
    """Prove the payload and write it to the shadow bank."""

    payload: str


@dataclass(frozen=True)
class StartPreview(Work):
    """Let crossings run through the shadow bank too."""


@dataclass(frozen=True)
class PollPreview(Work):
    """Hold the shadow bank's rates against the promised ones; ``last``: with as many accepts as there are."""

    last: bool


@dataclass(frozen=True)
class Arm(Work):
    """Have the banks swap at the begin of a lumi section to come."""


@dataclass(frozen=True)
class PollLatch(Work):
    """See whether the banks have swapped."""


@dataclass(frozen=True)
class Judge(Work):
    """Judge the payload ``new`` against ``old`` on the events ``since`` then."""

    since: Moment
    old: str
    new: str


@dataclass(frozen=True)
class Abort(Command):
    """Disarm; the active bank stays untouched."""


@dataclass(frozen=True)
class Reconcile(Command):
    """Read the board and say what it runs."""


@dataclass(frozen=True)
class Adopt(Command):
    """Monitor against what this payload should give; ``proposal`` holds its prediction, if it has one.

    ``steered``: it differs from the one before in its cuts alone.
    """

    payload: str
    proposal: str
    generation: int
    epoch: int
    since: Moment
    steered: bool = False


@dataclass(frozen=True)
class Announce(Command):
    """Say something to people."""

    level: Literal["info", "warning", "error"]
    text: str


@dataclass(frozen=True)
class Refuse(Command):
    """Tell the operator why an order does not fit the state."""

    reason: str
