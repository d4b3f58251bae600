"""Pieces of work under way, one in each slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """Runs coroutines in the event loop; each belongs to a slot, which holds one at a time."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def begin(self, slot: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a piece of work in place of the one that runs there."""
        running = self._of(slot)
        # Work that begins what comes after it must not be cancelled by that.
        if running is not None and running is not asyncio.current_task():
            running.cancel()
        self._start(slot, work)

    def poll(self, slot: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a piece of work unless one runs there: to ask again is no reason to drop a question under way."""
        running = self._of(slot)
        if running is None or running is asyncio.current_task():
            self._start(slot, work)

    async def idle(self) -> None:
        """Wait until nothing runs."""
        while running := [task for task in self._running.values() if not task.done()]:
            await asyncio.gather(*running)

    def cancel(self) -> None:
        """End all."""
        for task in self._running.values():
            task.cancel()

    def _of(self, slot: str) -> asyncio.Task[None] | None:
        running = self._running.get(slot)
        return None if running is None or running.done() else running

    def _start(self, slot: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._running[slot] = asyncio.get_running_loop().create_task(work())
