"""The daemon's link to one board: calls off the event loop, and whether the board answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from firmware.board import RemoteBoard
from firmware.errors import BoardError
from firmware.uhal_board import UhalBoard

P = ParamSpec("P")
T = TypeVar("T")


TIMEOUT_SHARE = 0.4
"""uHAL gives up after this share of a call's deadline: a silent board is reported, its driver not killed."""


class BoardLink:
    """One board, its calls made one at a time in threads so that a silent board stops nobody else."""

    def __init__(self, name: str, uri: str, address_table: str, deadline: float) -> None:
        self.name = name
        self.uri = uri
        timeout_ms = int(1000 * TIMEOUT_SHARE * deadline)
        self.board = RemoteBoard(UhalBoard, uri, address_table, timeout_ms, name=f"board-{name}", deadline=deadline)
        self.up = False
        self.error = "not asked yet"
        self._turn = asyncio.Lock()

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that talks to the board.

        A caller that is cancelled does not wait, but the next one has its turn only when this one has ended:
        what was begun on a board is never overtaken.
        """
        return await asyncio.shield(asyncio.create_task(self._take_turn(function, *args, **kwargs)))

    async def _take_turn(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._turn:
            try:
                answer = await asyncio.to_thread(function, *args, **kwargs)
            except BoardError as error:
                self.up, self.error = False, str(error)
                raise
            self.up, self.error = True, ""
            return answer

    @property
    def rss_bytes(self) -> int:
        return self.board.rss_bytes

    def status(self) -> dict[str, Any]:
        return {"uri": self.uri, "up": self.up, "error": self.error}

    def close(self) -> None:
        self.board.close()
