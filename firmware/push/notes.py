"""The notes of one transaction: what the journal hears of each step, and when."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from firmware.push.journal import Journal, StepNote


class Notes:
    """Writes the steps of one transaction to its journal.

    A step that changes a board is written down before it begins: after a kill the journal then says what may have
    happened. One that only looks is written together with the next, as each write waits for the disk.

    Raises:
        JournalError: by `record`, and by a step around it, if the journal cannot be written.
    """

    def __init__(self, journal: Journal, stream: str, generation: int, payload_id: str) -> None:
        self._journal = journal
        self._of = (stream, generation, payload_id)
        self._waiting: list[StepNote] = []

    @contextmanager
    def look(self, step: str) -> Iterator[dict[str, Any]]:
        """A step of which the journal hears the end together with the next one; gives the detail to fill in."""
        detail: dict[str, Any] = {}
        with self.failing(step):
            yield detail
        self.later(step, detail)

    @contextmanager
    def act(self, step: str, plan: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """A step of which the journal hears before it begins, and when it has ended; gives the detail to fill in."""
        self.record(step, "begun", plan)
        detail: dict[str, Any] = {}
        with self.failing(step):
            yield detail
        self.record(step, "done", detail)

    @contextmanager
    def failing(self, step: str) -> Iterator[None]:
        """A step, or a part of one, of which the journal hears at once if it fails."""
        try:
            yield
        except Exception as error:
            self.record(step, "failed", {"error": type(error).__name__, "reason": str(error)})
            raise

    def later(self, step: str, detail: Mapping[str, Any]) -> None:
        """Note that a step is done, to be written with the next one."""
        self._waiting.append(StepNote(step, "done", detail))

    def record(self, step: str, status: str, detail: Mapping[str, Any] | None = None) -> None:
        """Write a note, behind those that wait."""
        # Emptied first: if the journal refuses, what waited is lost rather than written out of its order later.
        notes, self._waiting = [*self._waiting, StepNote(step, status, detail or {})], []
        self._journal.record_steps(*self._of, notes)
