"""The audit's chain: what was changed, removed or put in is named, whatever ends the program."""

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monitor.daemon.http.audit import OTHERS, PEERS, PER_MINUTE, START, Attempt, Audit, AuditError, _hash, verify

ADA = Attempt("192.0.2.1", "curl", "axol1tl", "freeze", "ada", "shifter", {}, "access")
NOBODY = Attempt("192.0.2.9", "curl", "axol1tl", "freeze")

WRITER = """
import sys
from pathlib import Path
from monitor.daemon.http.audit import Attempt, Audit
audit = Audit(Path(sys.argv[1]))
while True:
    audit.ended(Attempt("192.0.2.1"), "accepted", 202, of=audit.received(Attempt("192.0.2.1")))
    print(audit.count, audit.head, flush=True)
"""


class Clock:
    now = 1.8e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audit(tmp_path: Path, clock: Clock) -> Iterator[Audit]:
    found = Audit(tmp_path / "audit.sqlite", clock)
    yield found
    found.close()


def tampered(path: Path, *statements: str) -> tuple[str, ...]:
    """The faults after somebody with the file in hand ran these."""
    with sqlite3.connect(path) as db:
        for trigger in ("entries_update", "entries_delete"):
            db.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            db.execute(statement)
    db.close()
    return verify(path).faults


def test_a_command_is_two_entries_of_a_chain(audit: Audit) -> None:
    assert verify(audit.path) == verify(audit.path, START)
    audit.ended(ADA, "accepted", 202, of=audit.received(ADA))
    ended, received = audit.entries(10)
    assert (received["sequence"], received["previous"], received["outcome"]) == (1, START, "received")
    assert (ended["of"], ended["previous"], ended["status"]) == (1, received["hash"], 202)
    found = verify(audit.path)
    assert (found.count, found.head, found.faults, found.open) == (2, audit.head, (), ())


def test_a_command_of_which_the_outcome_is_not_known_is_told(audit: Audit) -> None:
    audit.received(ADA)
    audit.ended(ADA, "accepted", 202, of=audit.received(ADA))
    assert verify(audit.path).open == (1,)


def test_the_file_itself_refuses_changes(audit: Audit) -> None:
    audit.received(ADA)
    with sqlite3.connect(audit.path) as db:
        for statement in ("UPDATE entries SET hash = ''", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="only be added to"):
                db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        (["UPDATE entries SET entry = replace(entry, 'ada', 'bob') WHERE sequence = 3"], "entry 3 was changed"),
        (["UPDATE entries SET hash = 'ff' WHERE sequence = 3"], "entry 3 was changed"),
        (["DELETE FROM entries WHERE sequence = 3"], "entry 3 is missing: the next one is 4"),
        (["DELETE FROM entries WHERE sequence = 1"], "entry 1 is missing: the next one is 2"),
        (
            [
                "UPDATE entries SET sequence = -sequence WHERE sequence > 2",
                "UPDATE entries SET sequence = 1 - sequence WHERE sequence < 0",
                "INSERT INTO entries SELECT 3, entry, hash FROM entries WHERE sequence = 2",
            ],
            "entry 3 does not follow entry 2",
        ),
        (["UPDATE entries SET entry = '[' WHERE sequence = 3"], "entry 3 was changed"),
    ],
)
def test_what_was_done_to_an_entry_is_told_by_its_sequence(audit: Audit, statements: list[str], fault: str) -> None:
    for _ in range(5):
        audit.received(ADA)
    assert any(fault in found for found in tampered(audit.path, *statements))


def test_a_change_with_a_hash_that_fits_breaks_the_chain_after_it(audit: Audit) -> None:
    for _ in range(3):
        audit.received(ADA)
    ((line,),) = audit._run("SELECT entry FROM entries WHERE sequence = 2", ())
    changed = json.dumps(json.loads(line) | {"who": "bob"}, sort_keys=True, separators=(",", ":"))
    statement = f"UPDATE entries SET entry = '{changed}', hash = '{_hash(changed)}' WHERE sequence = 2"
    assert tampered(audit.path, statement) == ("entry 3 does not follow entry 2: one of them was put there",)


def test_a_tail_that_was_cut_off_is_told_by_a_head_noted_before(audit: Audit) -> None:
    for _ in range(4):
        audit.received(ADA)
    noted = audit.head
    audit.received(ADA)
    assert verify(audit.path, noted).faults == ()
    assert tampered(audit.path, "DELETE FROM entries WHERE sequence >= 4") == ()
    assert "cut off" in verify(audit.path, noted).faults[0]


def test_many_attempts_of_nobody_become_one_entry_a_minute(audit: Audit, clock: Clock) -> None:
    for _ in range(100):
        audit.came_to_nothing(NOBODY, "denied", 401, "no token")
    assert audit.count == PER_MINUTE
    audit.settle()
    assert audit.count == PER_MINUTE
    clock.now += 61
    audit.settle()
    (last,) = audit.entries(1)
    assert (last["peer"], last["count"], audit.count) == (NOBODY.peer, 100 - PER_MINUTE, PER_MINUTE + 1)
    audit.came_to_nothing(NOBODY, "denied", 401, "no token")
    assert audit.entries(1)[0]["status"] == 401


def test_attempts_from_everywhere_fill_no_disk_and_no_memory(audit: Audit) -> None:
    for number in range(1000):
        audit.came_to_nothing(Attempt(f"2001:db8::{number:x}"), "denied", 401, "no token")
    assert audit.count == PEERS + PER_MINUTE
    audit.settle(last=True)
    assert audit.entries(1)[0]["peer"] == OTHERS
    assert sum(entry["count"] for entry in audit.entries(2000)) == 1000


def test_those_who_are_known_are_written_one_by_one(audit: Audit) -> None:
    for _ in range(3 * PER_MINUTE):
        audit.ended(ADA, "denied", 403, "role")
    assert audit.count == 3 * PER_MINUTE


def test_what_was_said_to_be_written_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    count = 0
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(50)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        whole = [line.split() for line in lines if line.endswith("\n")]
        count, head = int(whole[-1][0]), whole[-1][1]
        found = verify(path, head)
        assert found.faults == ()
        assert count <= found.count <= count + 2
    assert count > 100


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    attempts: tuple[Callable[[Path], object], ...] = (Audit, verify)
    for attempt in attempts:
        path.write_bytes(b"no database at all, but long enough to be looked at" * 20)
        with pytest.raises(AuditError, match=r"audit\.sqlite"):
            attempt(path)
    path.unlink()
    with pytest.raises(AuditError, match=r"audit\.sqlite"):
        verify(path)
