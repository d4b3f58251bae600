"""What a request may reach of the daemon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fastapi import Request
from prometheus_client import CollectorRegistry

from monitor.daemon.http.access import Access
from monitor.daemon.http.audit import Audit
from monitor.daemon.http.overview import Overview
from monitor.daemon.http.sse import Broadcast, Message
from monitor.daemon.run.building import StreamAtWork
from monitor.store.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Context:
    """Who may ask, what is known, and where it is written what was asked.

    ``requests`` counts by method, route and status.
    """

    access: Access
    audit: Audit
    ledger: Ledger
    overview: Overview
    broadcast: Broadcast
    registry: CollectorRegistry
    requests: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def streams(self) -> Mapping[str, StreamAtWork]:
        """The streams by name."""
        return self.overview.streams

    def now(self) -> list[Message]:
        """How all streams are, for who begins to listen."""
        return [
            self.broadcast.now("status", name, self.overview.stream(name).model_dump_json()) for name in self.streams
        ]


def context(request: Request) -> Context:
    """The context of the application that a request has come to."""
    found: Context = request.app.state.context
    return found
