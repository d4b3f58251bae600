"""What a stream does, written into Grafana by a thread of its own: the loop never waits for it."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import structlog

from monitor.daemon.grafana.client import Grafana, GrafanaError

log = structlog.get_logger()

WAITING = 100
"""Annotations that may wait for a slow Grafana; more are dropped, and counted."""
OUTCOMES = ("written", "failed", "dropped")


@dataclass(frozen=True)
class Note:
    """An annotation: its text, its tags, and when it was, in Unix seconds."""

    text: str
    tags: list[str]
    at: float = field(default_factory=time.time)


class Annotator:
    """Tries each annotation once; `outcomes` counts what became of them."""

    def __init__(self, grafana: Grafana) -> None:
        self.outcomes = Counter(dict.fromkeys(OUTCOMES, 0))
        self._grafana = grafana
        self._waiting: queue.Queue[Note | None] = queue.Queue(WAITING)
        self._failing = ""
        threading.Thread(target=self._run, name="annotations", daemon=True).start()

    def note(self, stream: str, kind: str, text: str) -> None:
        """Never waits."""
        try:
            self._waiting.put_nowait(Note(f"{stream}: {text}", ["driftd", stream, kind]))
        except queue.Full:
            self.outcomes["dropped"] += 1

    def close(self) -> None:
        """Write no more; what waits is lost."""
        while True:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                self._drop()
            else:
                return

    def _drop(self) -> None:
        try:
            self._waiting.get_nowait()
        except queue.Empty:
            return
        self.outcomes["dropped"] += 1

    def _run(self) -> None:
        while (note := self._waiting.get()) is not None:
            try:
                self._grafana.annotate(note.text, note.tags, note.at)
            except GrafanaError as error:
                self.outcomes["failed"] += 1
                self._say(str(error))
            else:
                self.outcomes["written"] += 1
                self._say("")

    def _say(self, failing: str) -> None:
        """Once per cause."""
        if failing and failing != self._failing:
            log.warning("annotation not written", why=failing)
        self._failing = failing
