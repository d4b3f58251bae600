"""What systemd is told while the daemon runs: that it serves, what it does, and that it is not stuck."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from monitor.daemon.systemd import Notifier

log = structlog.get_logger()

BEAT_S = 2.0


async def beat(notifier: Notifier, moving: Mapping[str, Callable[[], bool]], sentence: Callable[[], str]) -> None:
    """Tell that all moves, again and again, until cancelled.

    Args:
        moving: for each part, whether it has gone on since it was asked last.
        sentence: what the daemon does, for people.
    """
    notifier.tell(READY=1, STATUS=sentence())
    said: list[str] = []
    while True:
        # A watchdog must hear of us well before its time is up.
        await asyncio.sleep(min(BEAT_S, (notifier.watchdog_s or BEAT_S) / 4))
        stuck = [name for name, moves in moving.items() if not moves()]
        if not stuck:
            notifier.tell(WATCHDOG=1, STATUS=sentence())
        elif stuck != said:
            log.error("no progress", parts=stuck)
            notifier.tell(STATUS=f"no progress: {', '.join(stuck)}")
        said = stuck
