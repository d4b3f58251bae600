"""The rows that come out of the ledger."""

from dataclasses import dataclass
from typing import Any

from firmware.model.layout import Layout
from firmware.model.payload import Payload
from monitor.store.errors import LedgerError


@dataclass(frozen=True)
class StoredPayload:
    """The words of a payload that is known to a stream, and where it came from."""

    stream: str
    id: str
    model_id: str
    words: bytes
    created: int
    origin: str

    def unpack(self, layout: Layout) -> Payload:
        """The payload itself.

        Raises:
            LedgerError: if the stored words are not those that gave the id.
        """
        payload = Payload.from_bytes(layout, self.model_id, self.words)
        if payload.id != self.id:
            raise LedgerError(f"payload {self.id} of {self.stream}: stored words have the id {payload.id}")
        return payload


@dataclass(frozen=True)
class Iov:
    """From (run, ls) on the trigger decided with this payload, until a later interval begins."""

    id: int
    stream: str
    tag: str
    run: int
    ls: int
    payload_id: str
    generation: int
    epoch: int
    recorded: int


@dataclass(frozen=True)
class StepRow:
    """One note of a transaction, `detail` as the step said it. Times are UTC in Unix nanoseconds, here as below."""

    id: int
    stream: str
    generation: int
    payload_id: str
    step: str
    status: str
    detail: dict[str, Any]
    time: int


@dataclass(frozen=True)
class DecisionRow:
    """What a person or a rule decided on a proposal."""

    decision: str
    by: str
    reason: str
    time: int


@dataclass(frozen=True)
class StoredProposal:
    """A proposal as it was made, and what was decided on it, oldest first."""

    id: str
    stream: str
    data: dict[str, Any]
    created: int
    decisions: tuple[DecisionRow, ...]


@dataclass(frozen=True)
class EventRow:
    """What happened, for people to read; steps and decisions are told as events too, under their own kind."""

    id: int
    time: int
    stream: str | None
    kind: str
    level: str
    text: str
    data: dict[str, Any]
