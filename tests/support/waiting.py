"""Waiting for what comes, on machines that are busy with other work too.

A wait ends as soon as what is waited for is there, so generous limits cost nothing where all is well. They are given
in seconds of an idle machine, and a second counts less the more processes wait for a core. ``DRIFTD_PATIENCE``
multiplies them all, for machines that are slow by themselves.
"""

import asyncio
import os
import time
from collections.abc import Callable

PATIENCE = float(os.environ.get("DRIFTD_PATIENCE", "2"))


def strain() -> float:
    """How many processes want each core, averaged over the last minute; at least 1."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def strained(seconds: float) -> float:
    """What takes so long on an idle machine may take this long now: for promises that are checked against a clock."""
    return seconds * strain()


class Deadline:
    """Passes after so many seconds of an idle machine, multiplied by `PATIENCE`."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds * PATIENCE
        self._at = time.monotonic()

    def passed(self) -> bool:
        now = time.monotonic()
        self._left -= (now - self._at) / strain()
        self._at = now
        return self._left < 0


def until(
    condition: Callable[[], object], seconds: float = 30, told: Callable[[], str] = lambda: "", every_s: float = 0.02
) -> None:
    """Wait until the condition holds.

    Args:
        condition: asked every `every_s`.
        seconds: of an idle machine, see `Deadline`.
        told: what else the error says, asked when the time is over.

    Raises:
        AssertionError: it does not hold in time.
    """
    deadline = Deadline(seconds)
    while not condition():
        assert not deadline.passed(), f"not within {seconds:g} s of an idle machine {told()}".rstrip()
        time.sleep(every_s)


async def until_async(condition: Callable[[], object], seconds: float = 30, every_s: float = 0.01) -> None:
    """As `until`, while the other tasks of the event loop go on."""
    deadline = Deadline(seconds)
    while not condition():
        assert not deadline.passed(), f"not within {seconds:g} s of an idle machine"
        await asyncio.sleep(every_s)
