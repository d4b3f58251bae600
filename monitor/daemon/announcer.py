"""What happens in the daemon, told to who listens: pages by server-sent events, plots by annotations in Grafana."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from monitor.daemon.http import models, views
from monitor.daemon.http.overview import Overview
from monitor.daemon.http.sse import Broadcast, Name
from monitor.store.rows import EventRow

if TYPE_CHECKING:
    from monitor.daemon.grafana.annotations import Annotator


class Announcer:
    """Tells of streams, boards and the ledger, from whichever thread, in the order in which things happened."""

    def __init__(self, broadcast: Broadcast, overview: Overview, annotator: Annotator | None) -> None:
        self.annotator = annotator
        self._broadcast = broadcast
        self._overview = overview
        self._thread = asyncio.get_running_loop()
        self._up: dict[str, bool] = {}

    def changed(self, stream: str, judged: bool) -> None:
        """Tell what a stream shows now; ``judged``: with the lumi section that was judged."""
        if judged:
            self._publish("window", stream, views.named_window(self._overview.streams[stream].runner))
        self._publish("status", stream, self._overview.stream(stream).model_dump_json())

    def annotate(self, stream: str, kind: str, text: str) -> None:
        """Mark a drift, a push or a rollback in the plots."""
        if self.annotator:
            self.annotator.note(stream, kind, text)

    def noted(self, event: EventRow) -> None:
        """Tell of what was written to the ledger."""
        self._publish("ledger", event.stream or "", views.event(event))

    def boards(self) -> None:
        """Tell of each board that answers again, or no longer."""
        for name, board in self._overview.boards.items():
            if self._up.get(name) != board.up:
                self._up[name] = board.up
                said = models.NamedBoard(name=name, **board.status())
                self._publish("board", "", said.model_dump_json())

    def use(self, annotator: Annotator | None) -> None:
        """Write annotations elsewhere, or nowhere, from now on."""
        if self.annotator is not None and annotator is not self.annotator:
            self.annotator.close()
        self.annotator = annotator

    def close(self) -> None:
        """Write no more annotations."""
        self.use(None)

    def _publish(self, name: Name, stream: str, data: str) -> None:
        # Always by way of the event loop, also from its own thread: what is published in order arrives in order.
        self._thread.call_soon_threadsafe(self._broadcast.publish, name, stream, data)
