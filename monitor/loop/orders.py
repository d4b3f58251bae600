"""What an operator can order, and in which phases."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.loop.states import WRITING, Phase


@dataclass(frozen=True)
class Order:
    """An operator's order."""

    @classmethod
    def word(cls) -> str:
        """Its name on the command line, over HTTP and in the records."""
        return cls.__name__.lower()


@dataclass(frozen=True)
class Recalibrate(Order):
    """Collect events and fit; with ``dry_run`` write nothing."""

    dry_run: bool = False


@dataclass(frozen=True)
class Approve(Order):
    """Let the proposal that waits go to the board."""

    proposal: str


@dataclass(frozen=True)
class Reject(Order):
    """Turn the proposal that waits down."""

    proposal: str


@dataclass(frozen=True)
class Rollback(Order):
    """Put an earlier payload back, as a new generation."""

    payload: str


@dataclass(frozen=True)
class Freeze(Order):
    """Write nothing until it is unfrozen."""


@dataclass(frozen=True)
class Unfreeze(Order):
    """Let the loop act again."""


ALLOWED: dict[type[Order], frozenset[Phase]] = {
    Recalibrate: frozenset({Phase.WATCHING, Phase.ROLLED_BACK}),
    Approve: frozenset({Phase.AWAITING_APPROVAL}),
    Reject: frozenset({Phase.AWAITING_APPROVAL}),
    Rollback: frozenset(Phase) - WRITING - {Phase.FROZEN, Phase.FAULT},
    Freeze: frozenset(Phase) - {Phase.FROZEN},
    Unfreeze: frozenset({Phase.FROZEN}),
}
"""The phases in which an order is taken; elsewhere it is refused with the reason."""
