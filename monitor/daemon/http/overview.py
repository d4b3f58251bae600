"""What is shown of the daemon as a whole: its streams, boards and processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psutil

from monitor.daemon.http import models, views
from monitor.daemon.ingest.receiver import Receiver
from monitor.daemon.run.boards import BoardLink
from monitor.daemon.run.building import StreamAtWork


class Overview:
    """Reads the parts of a running daemon.

    Args:
        silent_after_s: after how many seconds without a message a stream is not ready.
        memory: resident bytes of the processes beside the daemon, by name.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamAtWork],
        boards: Mapping[str, BoardLink],
        receiver: Receiver,
        silent_after_s: Callable[[], float],
        memory: Callable[[], dict[str, int]],
    ) -> None:
        self.streams = streams
        self.boards = boards
        self.receiver = receiver
        self.silent_after_s = silent_after_s
        self.started_at = time.time()
        self._memory = memory

    @property
    def ready(self) -> bool:
        """Whether every stream is being counted."""
        now = time.monotonic()
        seen = self.receiver.last_message
        return all(now - seen.get(name, 0) < self.silent_after_s() for name in self.streams)

    def memory(self) -> dict[str, int]:
        """Resident bytes of the daemon and its processes, by name."""
        return {"daemon": psutil.Process().memory_info().rss} | self._memory()

    def stream(self, name: str) -> models.Stream:
        """All about one stream."""
        last = self.receiver.last_message.get(name)
        silent = None if last is None else round(time.monotonic() - last, 1)
        return views.stream(self.streams[name], silent, self.silent_after_s())

    def status(self) -> models.Status:
        """All about all of them."""
        return models.Status(
            streams={name: self.stream(name) for name in self.streams},
            boards={name: models.Board(**board.status()) for name, board in self.boards.items()},
            memory_bytes=self.memory(),
            malformed={f"{source}/{cause}": n for (cause, source), n in self.receiver.malformed.copy().items()},
            started=self.started_at,
        )
