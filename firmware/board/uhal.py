"""A board behind IPbus, through the uHAL library."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from firmware.board.registers import Read, RegisterBoard, Write
from firmware.errors import BoardError, BoardUnreachable
from firmware.model.fixed import Words

_SILENCE = re.compile(
    r"time(d )?out|connect|resolve|end of file|broken pipe|reset by peer|not receive any response", re.IGNORECASE
)


class UhalBus:
    """IPbus at a uHAL URI, one dispatch a transfer.

    After an error a reply may still be under way: the connection is given up, and the next transfer makes a
    new one.

    Raises:
        BoardUnreachable: by `transfer`, if no connection or no reply is had within the timeout.
        BoardError: by `transfer`, if the board refuses an access.
    """

    def __init__(self, uri: str, timeout_ms: int) -> None:
        import uhal

        uhal.setLogLevelTo(uhal.LogLevel.FATAL)
        self._uri = uri
        self._timeout_ms = timeout_ms
        self._client: Any = None

    def transfer(self, accesses: Sequence[Read | Write]) -> list[Words]:
        """The words of each Read, all accesses queued in their order and sent in one dispatch."""
        import uhal

        try:
            if self._client is None:
                self._client = uhal.buildClient("board", self._uri)
                self._client.setTimeoutPeriod(self._timeout_ms)
            return _dispatch(self._client, accesses)
        except BaseException as error:
            # The reply may still come, and would be taken for that of the next request: never use this client again.
            self._client = None
            if not isinstance(error, (uhal.exception, RuntimeError)):
                raise
            kind = BoardUnreachable if _SILENCE.search(f"{type(error)} {error}") else BoardError
            raise kind(f"{self._uri}: {str(error).strip()}") from error

    def close(self) -> None:
        """Let go of the client; the next transfer makes another."""
        self._client = None


class UhalBoard(RegisterBoard):
    """The streams of an address table at a uHAL URI (`ipbusudp-2.0://`, `ipbustcp-2.0://`, `chtcp-2.0://`, …).

    uHAL keeps the interpreter lock while it waits for a reply, so in a program with other things to do
    this belongs behind a RemoteBoard.
    """

    def __init__(self, uri: str, address_table: str, timeout_ms: int = 1000, folder: Path | None = None) -> None:
        super().__init__(UhalBus(uri, timeout_ms), address_table, folder)


def _dispatch(client: Any, accesses: Sequence[Read | Write]) -> list[Words]:
    answers = []
    for access in accesses:
        if isinstance(access, Read):
            answers.append(client.readBlock(access.address, access.size))
        else:
            client.writeBlock(access.address, access.words)
    client.dispatch()
    return [np.array(answer.value(), dtype=np.uint32) for answer in answers]
