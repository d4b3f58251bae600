"""The conditions ledger: what was written to which board, why, and since when it decides."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from firmware.model.payload import Payload
from firmware.push.journal import ONLINE, StepNote
from monitor.store.database import Database
from monitor.store.errors import LedgerError
from monitor.store.rows import DecisionRow, EventRow, Iov, StepRow, StoredPayload, StoredProposal


class Ledger:
    """What is known of the streams' payloads: an SQLite file, and the journal that transactions are written to.

    Several threads and processes may share it. Times are UTC in Unix nanoseconds.

    Everything but events can only be added to: a rollback or a correction is a new interval.
    What a method has returned from is on disk. `watch` is told, in the caller's thread, of every event, step
    (an event of kind `step`) and decision (`decision`) that was written here; their ids count by kind.

    Raises:
        LedgerError: if the file is damaged, no ledger, or of another schema version.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], int] = time.time_ns,
        watch: Callable[[EventRow], None] = lambda event: None,
    ) -> None:
        self.path = path
        self._clock = clock
        self._watch = watch
        self._database = Database(path)
        self._run = self._database.run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End; every later call is refused."""
        self._database.close()

    def add_payload(self, stream: str, payload: Payload, origin: str) -> StoredPayload:
        """Keep the words of a payload; one that is there already stays as it is."""
        self._run(
            "INSERT INTO payloads VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (stream, payload.id, payload.model_id, payload.to_bytes(), self._clock(), origin),
        )
        return self.payload(payload.id, stream)

    def payload(self, id: str, stream: str | None = None) -> StoredPayload:
        """The payload whose id begins with `id`.

        Raises:
            LedgerError: if there is none, or more than one.
        """
        rows = self._run(
            "SELECT * FROM payloads WHERE substr(id, 1, length(?1)) = ?1 AND stream = coalesce(?2, stream)",
            (id, stream),
        )
        if len({row["id"] for row in rows}) != 1:
            of = f" of {stream}" if stream else ""
            raise LedgerError(f"{len(rows)} payloads{of} have an id that begins with {id!r}, expected one")
        return StoredPayload(**rows[0])

    def payloads(self, stream: str) -> list[StoredPayload]:
        """All payloads of a stream, oldest first."""
        return [
            StoredPayload(**row)
            for row in self._run("SELECT * FROM payloads WHERE stream = ? ORDER BY rowid", (stream,))
        ]

    def newest_payloads(self, stream: str, limit: int) -> list[StoredPayload]:
        """The newest payloads of a stream, newest first."""
        rows = self._run("SELECT * FROM payloads WHERE stream = ? ORDER BY rowid DESC LIMIT ?", (stream, limit))
        return [StoredPayload(**row) for row in rows]

    def record_iov(
        self, stream: str, run: int, ls: int, payload_id: str, generation: int, epoch: int, tag: str = ONLINE
    ) -> Iov:
        """Say since when a payload decides. Recording the newest interval once more changes nothing."""
        self._run(
            "INSERT INTO iovs (stream, tag, run, ls, payload_id, generation, epoch, recorded) "
            "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE (?3, ?4, ?5, ?6, ?7) IS NOT "
            "(SELECT run, ls, payload_id, generation, epoch FROM iovs WHERE stream = ?1 AND tag = ?2 "
            "ORDER BY id DESC LIMIT 1)",
            (stream, tag, run, ls, payload_id, generation, epoch, self._clock()),
        )
        return self.history(stream, tag)[-1]

    def history(self, stream: str, tag: str = ONLINE, limit: int = -1) -> list[Iov]:
        """The newest intervals of a stream, or all of them, in the order in which they were recorded."""
        rows = self._run(
            "SELECT * FROM iovs WHERE stream = ? AND tag = ? ORDER BY id DESC LIMIT ?", (stream, tag, limit)
        )
        return [Iov(**row) for row in reversed(rows)]

    def iov(self, stream: str, run: int, ls: int, tag: str = ONLINE) -> Iov:
        """The interval that (run, ls) lies in; of two that begin together the one recorded later.

        Raises:
            LedgerError: if none had begun.
        """
        rows = self._run(
            "SELECT * FROM iovs WHERE stream = ? AND tag = ? AND (run, ls) <= (?, ?) "
            "ORDER BY run DESC, ls DESC, id DESC LIMIT 1",
            (stream, tag, run, ls),
        )
        if not rows:
            raise LedgerError(f"no payload of {stream} under tag {tag!r} is recorded for run {run}, LS {ls}")
        return Iov(**rows[0])

    def at(self, stream: str, run: int, ls: int, tag: str = ONLINE) -> StoredPayload:
        """The payload with which the trigger decided in (run, ls).

        Raises:
            LedgerError: if none is recorded.
        """
        return self.payload(self.iov(stream, run, ls, tag).payload_id, stream)

    def record_steps(self, stream: str, generation: int, payload_id: str, steps: Sequence[StepNote]) -> None:
        """StepNote steps of a transaction, all of them or none: `begun`, `done` or `failed`."""
        now = self._clock()
        rows = [(stream, generation, payload_id, step, status, _json(detail), now) for step, status, detail in steps]
        marks = ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(rows))
        columns = "stream, generation, payload_id, step, status, detail, time"
        written = self._run(
            f"INSERT INTO steps ({columns}) VALUES {marks} RETURNING id", tuple(value for row in rows for value in row)
        )
        for (id,), (step, status, detail) in zip(written, steps, strict=True):
            level = "error" if status == "failed" else "info"
            data = {"generation": generation, "payload_id": payload_id, "detail": dict(detail)}
            self._watch(EventRow(id, now, stream, "step", level, f"{step} {status}", data))

    def steps(self, stream: str, generation: int) -> list[StepRow]:
        """All notes of one transaction, oldest first."""
        rows = self._run("SELECT * FROM steps WHERE stream = ? AND generation = ? ORDER BY id", (stream, generation))
        return [StepRow(**_parsed(row, "detail")) for row in rows]

    def open_transaction(self, stream: str) -> list[StepRow]:
        """The steps of the newest transaction if it has not come to its `end`, else none."""
        rows = self._run("SELECT generation FROM steps WHERE stream = ? ORDER BY id DESC LIMIT 1", (stream,))
        steps = self.steps(stream, rows[0]["generation"]) if rows else []
        return [] if any(step.step == "end" for step in steps) else steps

    def next_generation(self, stream: str, active: int) -> int:
        """A generation above the board's `active` one and all that were used, in whichever epoch."""
        rows = self._run(
            "SELECT generation FROM steps WHERE stream = ?1 "
            "UNION SELECT generation FROM iovs WHERE stream = ?1 ORDER BY generation DESC LIMIT 1",
            (stream,),
        )
        return max([active, *(int(row["generation"]) for row in rows)]) + 1

    def add_proposal(self, id: str, stream: str, data: Mapping[str, Any]) -> None:
        """Keep a proposal; an id is given once.

        Raises:
            LedgerError: if there is one of this id already.
        """
        self._run("INSERT INTO proposals VALUES (?, ?, ?, ?)", (id, stream, _json(data), self._clock()))

    def proposal(self, id: str) -> StoredProposal:
        """The proposal whose id begins with `id`, with what was decided on it.

        Raises:
            LedgerError: if there is none, or more than one.
        """
        rows = self._run("SELECT * FROM proposals WHERE substr(id, 1, length(?1)) = ?1", (id,))
        if len(rows) != 1:
            raise LedgerError(f"{len(rows)} proposals have an id that begins with {id!r}, expected one")
        return self._proposal(rows[0])

    def proposals(self, stream: str, limit: int = 100) -> list[StoredProposal]:
        """The newest proposals of a stream, newest first."""
        rows = self._run("SELECT * FROM proposals WHERE stream = ? ORDER BY rowid DESC LIMIT ?", (stream, limit))
        return [self._proposal(row) for row in rows]

    def decide(self, proposal_id: str, decision: str, by: str, reason: str = "") -> None:
        """Note what `by` decided on a proposal, and why."""
        now = self._clock()
        rows = self._run(
            "INSERT INTO decisions (proposal_id, decision, by, reason, time) VALUES (?, ?, ?, ?, ?) RETURNING id",
            (proposal_id, decision, by, reason, now),
        )
        data = {"proposal": proposal_id, "by": by, "reason": reason}
        stream = self.proposal(proposal_id).stream
        self._watch(EventRow(rows[0]["id"], now, stream, "decision", "info", decision, data))

    def add_event(
        self, stream: str | None, kind: str, level: str, text: str, data: Mapping[str, Any] | None = None
    ) -> None:
        """Note what happened to a stream, or to all of them (None)."""
        now = self._clock()
        rows = self._run(
            "INSERT INTO events (time, stream, kind, level, text, data) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
            (now, stream, kind, level, text, _json(data)),
        )
        self._watch(EventRow(rows[0]["id"], now, stream, kind, level, text, dict(data or {})))

    def events(self, since: int = 0, limit: int = 100, stream: str | None = None) -> list[EventRow]:
        """The newest `limit` events later than `since`, newest first."""
        rows = self._run(
            "SELECT * FROM events WHERE time > ?1 AND (?3 IS NULL OR stream = ?3) ORDER BY time DESC, id DESC LIMIT ?2",
            (since, limit, stream),
        )
        return [EventRow(**_parsed(row, "data")) for row in rows]

    def _proposal(self, row: sqlite3.Row) -> StoredProposal:
        decisions = self._run(
            "SELECT decision, by, reason, time FROM decisions WHERE proposal_id = ? ORDER BY id", (row["id"],)
        )
        return StoredProposal(
            **_parsed(row, "data"), decisions=tuple(DecisionRow(**decision) for decision in decisions)
        )


def _json(value: Mapping[str, Any] | None) -> str:
    return json.dumps(value or {}, sort_keys=True)


def _parsed(row: sqlite3.Row, column: str) -> dict[str, Any]:
    return {**dict(row), column: json.loads(row[column])}
