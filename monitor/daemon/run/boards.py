"""The daemon's links to its boards: calls off the event loop, and whether the boards answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from firmware.board.addresses import address_table, check_table
from firmware.board.board import Board, RemoteBoard
from firmware.board.drivers import driver
from firmware.errors import FirmwareError
from firmware.model.model import Model
from monitor.config import Config, ConfigError
from monitor.logs import logged

P = ParamSpec("P")
T = TypeVar("T")


TIMEOUT_SHARE = 0.4
"""A driver gives up after this share of a call's deadline: a silent board is reported, its driver not killed."""


class BoardLink:
    """One board; whoever talks to it has the `turn`."""

    def __init__(self, name: str, uri: str, address_table: str, folder: Path | None, deadline: float) -> None:
        self.name = name
        self.uri = uri
        arguments = (uri, address_table, int(1000 * TIMEOUT_SHARE * deadline), folder)
        self.board = RemoteBoard(partial(logged, driver(uri)), *arguments, name=f"board-{name}", deadline=deadline)
        self.turn = asyncio.Lock()
        self.errors = 0

    @property
    def up(self) -> bool:
        """Whether it answered last."""
        return not self.board.error

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the driver's process in bytes; 0 when there is none."""
        return self.board.rss_bytes

    def status(self) -> dict[str, Any]:
        """Where the board is, whether it answered last, and what went wrong if not."""
        return {"uri": self.uri, "up": self.up, "error": self.board.error}

    def close(self) -> None:
        """End the driver's process for good."""
        self.board.close()


def board_link(config: Config, name: str, models: Mapping[str, Model]) -> BoardLink:
    """The link to a board on which streams of these models run.

    Raises:
        ConfigError: its address table cannot be read, or lacks what the models need.
    """
    board = config.boards[name]
    own = [
        (stream, models[stream].layout, models[stream].n_cuts)
        for stream, settings in config.streams.items()
        if name in settings.board and stream in models
    ]
    if board.address_table is None:
        return BoardLink(name, board.uri, address_table(own), None, board.deadline_s)
    folder = board.address_table.parent
    try:
        table = board.address_table.read_text()
        playback = any(config.streams[stream].push.require_playback for stream, _, _ in own)
        check_table(table, own, folder, playback=playback)
    except (OSError, FirmwareError) as error:
        raise ConfigError("address tables", [f"boards.{name}.address_table: {error}"]) from None
    return BoardLink(name, board.uri, table, folder, board.deadline_s)


class StreamBoards:
    """All boards of one stream; the first is the one whose scores are watched."""

    def __init__(self, links: list[BoardLink]) -> None:
        self._links = links
        self.boards: dict[str, Board] = {link.name: link.board for link in links}

    @property
    def name(self) -> str:
        """The boards' names, with commas between them."""
        return ", ".join(self.boards)

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that talks to the boards, in a thread so that a silent board stops nobody else.

        A caller that is cancelled does not wait, but the next one has its turn only when this one has ended:
        what was begun on a board is never overtaken.
        """
        return await asyncio.shield(asyncio.create_task(self._take_turns(function, *args, **kwargs)))

    async def _take_turns(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the order of the names, so that no two streams wait for each other."""
        async with AsyncExitStack() as turns:
            for link in sorted(self._links, key=lambda link: link.name):
                await turns.enter_async_context(link.turn)
            try:
                return await asyncio.to_thread(function, *args, **kwargs)
            finally:
                for link in self._links:
                    link.errors += not link.up
