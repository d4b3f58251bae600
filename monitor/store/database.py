"""The SQLite file under the ledger: opened, checked, and asked one statement at a time."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from monitor.store.errors import LedgerError
from monitor.store.tables import APPLICATION_ID, SCHEMA, SCHEMA_VERSION

BUSY_TIMEOUT_S = 10.0


class Database:
    """A file that several threads and processes may share; a new one gets the tables.

    What `run` has returned from is on disk.

    Raises:
        LedgerError: if the file is damaged, no ledger, or of another schema version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            # Without an isolation level sqlite3 begins no transaction of its own: each statement commits by itself.
            self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise LedgerError(f"{path}: {error}") from error
        try:
            with _alone_in(path.parent):
                self._open()
        except sqlite3.Error as error:
            self._db.close()
            raise LedgerError(f"{path}: {error}; restore it from a copy or name another file") from error
        except LedgerError:
            self._db.close()
            raise

    def _open(self) -> None:
        self._db.row_factory = sqlite3.Row
        if self._pragma("schema_version") == 0:
            self._pragma("journal_mode = WAL")
            self._db.executescript(SCHEMA)
        elif self._pragma("application_id") != APPLICATION_ID:
            raise LedgerError(f"{self.path} is a database, but no ledger: name another file")
        elif (version := self._pragma("user_version")) != SCHEMA_VERSION:
            raise LedgerError(
                f"{self.path} has schema {version}, expected {SCHEMA_VERSION}: use the program that wrote it"
            )
        # In WAL mode only FULL syncs at every commit, and a step must be on disk before it is taken.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        if (found := self._pragma("quick_check(1)")) != "ok":
            raise LedgerError(f"{self.path} is damaged ({found}): restore it from a copy")

    def _pragma(self, pragma: str) -> object:
        return self._db.execute(f"PRAGMA {pragma}").fetchone()[0]

    def run(self, sql: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
        """The rows that one statement gives.

        Raises:
            LedgerError: if a constraint of the tables forbids it, or the file cannot be used.
        """
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.IntegrityError as error:
                raise LedgerError(f"{self.path} refuses: {error}") from error
            except sqlite3.Error as error:
                raise LedgerError(f"{self.path}: {error}") from error

    def close(self) -> None:
        """End; every later statement is refused."""
        with self._lock:
            self._db.close()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Openers take turns: SQLite does not wait while another one turns the new file to WAL."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
