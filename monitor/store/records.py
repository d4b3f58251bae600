"""The tables of the ledger and the rows that come out of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from firmware.errors import FirmwareError
from firmware.model.payload import Layout, Payload

SCHEMA_VERSION = 1
APPLICATION_ID = 0x44524654

_TABLES = """
CREATE TABLE IF NOT EXISTS payloads (
    stream TEXT NOT NULL, id TEXT NOT NULL, model_id TEXT NOT NULL, words BLOB NOT NULL,
    created INTEGER NOT NULL, origin TEXT NOT NULL, PRIMARY KEY (stream, id));
CREATE TABLE IF NOT EXISTS iovs (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, tag TEXT NOT NULL,
    run INTEGER NOT NULL, ls INTEGER NOT NULL, payload_id TEXT NOT NULL,
    generation INTEGER NOT NULL, epoch INTEGER NOT NULL, recorded INTEGER NOT NULL,
    FOREIGN KEY (stream, payload_id) REFERENCES payloads (stream, id));
CREATE INDEX IF NOT EXISTS iovs_since ON iovs (stream, tag, run, ls, id);
CREATE TABLE IF NOT EXISTS steps (
    id INTEGER PRIMARY KEY, stream TEXT NOT NULL, generation INTEGER NOT NULL, payload_id TEXT NOT NULL,
    step TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('begun', 'done', 'failed')),
    detail TEXT NOT NULL, time INTEGER NOT NULL,
    FOREIGN KEY (stream, payload_id) REFERENCES payloads (stream, id));
CREATE INDEX IF NOT EXISTS steps_of ON steps (stream, generation, id);
CREATE TABLE IF NOT EXISTS proposals (
    id TEXT PRIMARY KEY, stream TEXT NOT NULL, data TEXT NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, proposal_id TEXT NOT NULL REFERENCES proposals (id), decision TEXT NOT NULL,
    by TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, time INTEGER NOT NULL, stream TEXT, kind TEXT NOT NULL, level TEXT NOT NULL,
    text TEXT NOT NULL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_time ON events (time);
"""
_TRIGGERS = "".join(
    f"CREATE TRIGGER IF NOT EXISTS {table}_{verb} BEFORE {verb} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, '{table} can only be added to'); END;\n"
    for table in ("payloads", "iovs", "steps", "proposals", "decisions")
    for verb in ("UPDATE", "DELETE")
)
_MARKS = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
SCHEMA = f"BEGIN IMMEDIATE; {_TABLES}{_TRIGGERS}{_MARKS} COMMIT;"


class LedgerError(FirmwareError):
    """The ledger cannot be used, or holds nothing that answers the question."""


@dataclass(frozen=True)
class StoredPayload:
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
class Step:
    id: int
    stream: str
    generation: int
    payload_id: str
    step: str
    status: str
    detail: dict[str, Any]
    time: int


class Note(NamedTuple):
    """What a transaction has to say of a step: `begun`, `done` or `failed`."""

    step: str
    status: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    decision: str
    by: str
    reason: str
    time: int


@dataclass(frozen=True)
class StoredProposal:
    id: str
    stream: str
    data: dict[str, Any]
    created: int
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Event:
    id: int
    time: int
    stream: str | None
    kind: str
    level: str
    text: str
    data: dict[str, Any]
