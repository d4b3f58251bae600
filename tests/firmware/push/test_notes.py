"""What a journal hears of the steps of a transaction, on a journal that is a list."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from firmware.errors import BoardError, JournalError
from firmware.push.journal import Journal, StepNote
from firmware.push.notes import Notes


class Kept:
    """Keeps what is written, one list a call; refuses while it is `closed`."""

    def __init__(self) -> None:
        self.written: list[list[tuple[str, str, Mapping[str, Any]]]] = []
        self.closed = False

    def record_steps(self, stream: str, generation: int, payload_id: str, steps: Sequence[StepNote]) -> None:
        if self.closed:
            raise JournalError("the journal is closed")
        assert (stream, generation, payload_id) == ("axol1tl", 7, "abc")
        self.written.append([tuple(step) for step in steps])


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def notes(kept: Kept) -> Notes:
    return Notes(cast(Journal, kept), "axol1tl", 7, "abc")


def test_an_act_is_written_before_it_begins_and_when_it_has_ended(kept: Kept, notes: Notes) -> None:
    with notes.act("arm", {"target_ls": 12}) as detail:
        assert kept.written == [[("arm", "begun", {"target_ls": 12})]]
        detail["outcome"] = "armed"
    assert kept.written[1:] == [[("arm", "done", {"outcome": "armed"})]]


def test_a_look_is_written_together_with_the_next_step(kept: Kept, notes: Notes) -> None:
    with notes.look("prove") as detail:
        detail["events"] = 3
    assert kept.written == []
    notes.record("stage", "begun")
    assert kept.written == [[("prove", "done", {"events": 3}), ("stage", "begun", {})]]


def test_a_failure_is_written_at_once_behind_what_waits_and_goes_on(kept: Kept, notes: Notes) -> None:
    notes.later("prove", {})
    with pytest.raises(BoardError, match="silent"), notes.look("identify"):
        raise BoardError("silent")
    assert kept.written == [
        [("prove", "done", {}), ("identify", "failed", {"error": "BoardError", "reason": "silent"})]
    ]


def test_an_act_that_cannot_be_written_is_not_begun(kept: Kept, notes: Notes) -> None:
    kept.closed = True
    begun = False
    with pytest.raises(JournalError), notes.act("arm"):
        begun = True
    assert not begun


def test_what_the_journal_refused_is_not_written_later(kept: Kept, notes: Notes) -> None:
    notes.later("prove", {})
    kept.closed = True
    with pytest.raises(JournalError):
        notes.record("stage", "begun")
    kept.closed = False
    notes.record("abort", "begun")
    assert kept.written == [[("abort", "begun", {})]]
