"""Who ordered what: every command that was tried, in a chain of hashes that shows what was changed afterwards."""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitor.daemon.errors import DaemonError

START = "0" * 64
"""What the first entry follows."""
PER_MINUTE = 10
"""Attempts of nobody known that are written one by one, for each peer; the others of that minute become one entry."""
PEERS = 16
"""Peers of which that is kept; all others share."""
OTHERS = "others"
MINUTE_S = 60.0
BUSY_TIMEOUT_S = 0.5
"""Of another program's lock on the file; nothing else goes on meanwhile."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER IF NOT EXISTS entries_update BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries can only be added to'); END;
CREATE TRIGGER IF NOT EXISTS entries_delete BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries can only be added to'); END;
"""


class AuditError(DaemonError):
    """The audit cannot be written, or not be read."""


@dataclass(frozen=True)
class Attempt:
    """A command that somebody tries: who, from where, which, with what, and why."""

    peer: str
    agent: str = ""
    stream: str = ""
    command: str = ""
    who: str = ""
    role: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass
class _Minute:
    """One peer's attempts since then: those written, and how many more there were."""

    since: float
    written: int = 0
    more: int = 0


@dataclass(frozen=True)
class Verification:
    """Of a whole chain: how many entries, the hash of the last, and what is wrong, each by its sequence.

    ``open``: commands received of which no outcome is written, as the daemon was killed meanwhile.
    """

    count: int
    head: str
    faults: tuple[str, ...]
    open: tuple[int, ...]


class Audit:
    """An SQLite file of entries, each with the hash of the one before; what was written is on disk.

    Raises:
        AuditError: it cannot be opened.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}
        try:
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            last = self._db.execute("SELECT sequence, hash FROM entries ORDER BY sequence DESC LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise AuditError(f"{path}: {error}") from None
        self.count: int = last[0] if last else 0
        self.head: str = last[1] if last else START

    def received(self, attempt: Attempt) -> int:
        """Write that a command came, before it is carried out; the sequence of the entry."""
        return self._append(attempt, "received")

    def ended(self, attempt: Attempt, outcome: str, status: int, text: str = "", of: int = 0) -> None:
        """Write what became of it; ``of``: the entry by which it was received."""
        self._append(attempt, outcome, status, text, of)

    def came_to_nothing(self, attempt: Attempt, outcome: str, status: int, text: str) -> None:
        """Write an attempt of nobody known, or only count it, if its peer makes many."""
        self.settle()
        peer = attempt.peer if attempt.peer in self._minutes or len(self._minutes) < PEERS else OTHERS
        minute = self._minutes.setdefault(peer, _Minute(self._clock()))
        if minute.written < PER_MINUTE:
            minute.written += 1
            self.ended(attempt, outcome, status, text)
        else:
            minute.more += 1

    def settle(self, last: bool = False) -> None:
        """Write how many more attempts there were in minutes that are over, or in all."""
        over = [peer for peer, minute in self._minutes.items() if last or self._clock() - minute.since >= MINUTE_S]
        for peer in over:
            if more := self._minutes.pop(peer).more:
                self._append(Attempt(peer), "denied", text=f"{more} more attempts within a minute", count=more)

    def entries(self, limit: int) -> list[dict[str, Any]]:
        """The newest, newest first."""
        rows = self._run("SELECT entry, hash FROM entries ORDER BY sequence DESC LIMIT ?", (limit,))
        return [json.loads(entry) | {"hash": hash} for entry, hash in rows]

    def close(self) -> None:
        """Write how many more attempts there were, and close the file."""
        self.settle(last=True)
        self._db.close()

    def _append(
        self, attempt: Attempt, outcome: str, status: int = 0, text: str = "", of: int = 0, count: int = 1
    ) -> int:
        sequence = self.count + 1
        entry = vars(attempt) | {
            "sequence": sequence,
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds"),
            "outcome": outcome,
            "status": status,
            "text": text,
            "of": of,
            "count": count,
            "previous": self.head,
        }
        line = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        hash = _hash(line)
        self._run("INSERT INTO entries VALUES (?, ?, ?)", (sequence, line, hash))
        self.count, self.head = sequence, hash
        return sequence

    def _run(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise AuditError(f"{self.path}: {error}") from None


def verify(path: Path, head: str = "") -> Verification:
    """Follow the chain from its start; ``head``: a hash noted before, which must be in it.

    Raises:
        AuditError: there is no such file, or it holds no audit.
    """
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as db:
            rows = db.execute("SELECT sequence, entry, hash FROM entries ORDER BY sequence").fetchall()
        db.close()
    except sqlite3.Error as error:
        raise AuditError(f"{path}: {error}") from None
    faults, hashes, waiting = [], [START], {}
    for number, (sequence, line, hash) in enumerate(rows, 1):
        entry = _parsed(line)
        if sequence != len(hashes):
            faults.append(f"entry {len(hashes)} is missing: the next one is {sequence}")
        elif entry.get("previous") != hashes[-1]:
            faults.append(f"entry {sequence} does not follow entry {sequence - 1}: one of them was put there")
        if entry.get("sequence") != sequence or _hash(line) != hash:
            faults.append(f"entry {sequence} was changed")
        hashes += [hash] * (sequence + 1 - len(hashes))
        if entry.get("outcome") == "received":
            waiting[sequence] = number
        waiting.pop(entry.get("of", 0), None)
    if head and head not in hashes:
        faults.append(f"head {head} is not there: entries from it on were cut off or changed")
    return Verification(len(rows), hashes[-1], tuple(faults), tuple(waiting))


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()
