"""What a stream at work reads and writes of the store; the ledger is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from firmware.model.payload import Payload
from monitor.loop.orders import Freeze, Unfreeze
from monitor.store.kinds import order_kind
from monitor.store.rows import EventRow, Iov, StoredPayload, StoredProposal


class Record(Protocol):
    """Facts of streams: what a method has returned from is kept.

    Raises:
        LedgerError: by every method, where something cannot be written, or is not there.
    """

    def add_event(
        self, stream: str | None, kind: str, level: str, text: str, data: Mapping[str, Any] | None = None
    ) -> None:
        """Keep what has happened."""

    def events(self, since: int = 0, limit: int = 100, stream: str | None = None) -> list[EventRow]:
        """What has happened, newest first."""

    def add_payload(self, stream: str, payload: Payload, origin: str) -> StoredPayload:
        """Keep the words of a payload; one that is there already stays as it is."""

    def payload(self, id: str, stream: str | None = None) -> StoredPayload:
        """The payload whose id begins with ``id``."""

    def add_proposal(self, id: str, stream: str, data: Mapping[str, Any]) -> None:
        """Keep a proposal."""

    def proposal(self, id: str) -> StoredProposal:
        """The proposal whose id begins with ``id``."""

    def proposals(self, stream: str, limit: int = 100) -> list[StoredProposal]:
        """The newest proposals, newest first."""

    def decide(self, proposal_id: str, decision: str, by: str, reason: str = "") -> None:
        """Keep what a person decided on a proposal."""

    def record_iov(self, stream: str, run: int, ls: int, payload_id: str, generation: int, epoch: int) -> Iov:
        """Keep since when a payload decides."""


def frozen_since(record: Record, stream: str) -> float | None:
    """Unix time of the order by which a stream is frozen, if it is."""
    freeze, unfreeze = order_kind(Freeze.word()), order_kind(Unfreeze.word())
    for event in record.events(stream=stream, limit=1000):
        if event.kind in (freeze, unfreeze) and event.level == "info":
            return event.time / 1e9 if event.kind == freeze else None
    return None
