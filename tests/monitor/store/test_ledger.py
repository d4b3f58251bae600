import sqlite3
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.errors import JournalError
from firmware.model.fixed import Fixed
from firmware.model.layout import Layout
from firmware.model.payload import Payload
from firmware.push.journal import StepNote
from monitor.store.errors import LedgerError, StoreError
from monitor.store.ledger import Ledger

LAYOUT = Layout.build([("lut", 4, Fixed(16, 16, signed=False))])
MODEL_ID = "ab" * 32


def payload_of(first: int) -> Payload:
    return Payload(MODEL_ID, LAYOUT, np.array([first, 1, 2, 3], dtype=np.uint32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, clock=count(1).__next__) as ledger:
        yield ledger


def note(
    ledger: Ledger, stream: str, generation: int, payload_id: str, step: str, status: str, **detail: object
) -> None:
    ledger.record_steps(stream, generation, payload_id, [StepNote(step, status, detail)])


def test_a_payload_comes_back_word_for_word_also_by_the_start_of_its_id(ledger: Ledger) -> None:
    payload = payload_of(7)
    ledger.add_payload("axol1tl", payload, "nominal")
    stored = ledger.payload(payload.id[:8])
    assert (stored.stream, stored.id, stored.origin, stored.created) == ("axol1tl", payload.id, "nominal", 1)
    unpacked = stored.unpack(LAYOUT)
    assert unpacked.id == payload.id
    assert unpacked.words.tolist() == [7, 1, 2, 3]


def test_a_payload_is_kept_once_per_stream_with_its_first_origin(ledger: Ledger) -> None:
    for stream, origin in (("axol1tl", "nominal"), ("axol1tl", "proposal"), ("cicada", "nominal")):
        ledger.add_payload(stream, payload_of(7), origin)
    assert [stored.origin for stored in ledger.payloads("axol1tl")] == ["nominal"]
    assert ledger.payload(payload_of(7).id).words == payload_of(7).to_bytes()


def test_a_prefix_that_names_no_payload_or_several_is_refused(ledger: Ledger) -> None:
    for first in range(40):
        ledger.add_payload("axol1tl", payload_of(first), "test")
    with pytest.raises(LedgerError, match="0 payloads have an id that begins with 'zz', expected one"):
        ledger.payload("zz")
    with pytest.raises(LedgerError, match="40 payloads of axol1tl"):
        ledger.payload("", "axol1tl")
    with pytest.raises(LedgerError, match="0 payloads"):
        ledger.payload("%")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_at_gives_the_newest_interval_that_had_begun(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = st.tuples(st.integers(1, 4), st.integers(1, 6))
    begins = data.draw(st.lists(place, max_size=8))
    asked = data.draw(place)
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.db") as ledger:
        for generation, (run, ls) in enumerate(begins):
            payload = ledger.add_payload("axol1tl", payload_of(generation), "test")
            ledger.record_iov("axol1tl", run, ls, payload.id, generation, epoch=5)
        begun = [(begin, generation) for generation, begin in enumerate(begins) if begin <= asked]
        if begun:
            assert ledger.iov("axol1tl", *asked).generation == max(begun)[1]
            assert ledger.at("axol1tl", *asked).id == payload_of(max(begun)[1]).id
        else:
            with pytest.raises(LedgerError, match=f"run {asked[0]}, LS {asked[1]}"):
                ledger.at("axol1tl", *asked)


def test_a_rollback_is_a_new_interval_with_the_old_payload(ledger: Ledger) -> None:
    for first in (1, 2):
        ledger.add_payload("axol1tl", payload_of(first), "test")
    for generation, (ls, first) in enumerate([(1, 1), (10, 2), (14, 1)]):
        ledger.record_iov("axol1tl", 7, ls, payload_of(first).id, generation, epoch=5)
    assert [(iov.ls, iov.generation) for iov in ledger.history("axol1tl")] == [(1, 0), (10, 1), (14, 2)]
    assert [ledger.at("axol1tl", 7, ls).unpack(LAYOUT).words[0] for ls in (9, 10, 13, 14)] == [1, 2, 2, 1]


def test_recording_the_newest_interval_again_changes_nothing(ledger: Ledger) -> None:
    id = ledger.add_payload("axol1tl", payload_of(1), "test").id
    first = ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=5)
    assert ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=5) == first
    assert ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=6) != first
    assert ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=5, tag="offline") != first
    assert len(ledger.history("axol1tl")) == 2


def test_tags_and_streams_do_not_mix(ledger: Ledger) -> None:
    id = ledger.add_payload("axol1tl", payload_of(1), "test").id
    ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=5, tag="offline")
    with pytest.raises(LedgerError, match=r"no payload of axol1tl under tag 'online' .* run 7, LS 3"):
        ledger.at("axol1tl", 7, 3)
    with pytest.raises(LedgerError, match="cicada"):
        ledger.at("cicada", 7, 3, tag="offline")


@pytest.mark.parametrize("table", ["payloads", "iovs", "steps", "proposals", "decisions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET rowid = rowid", "DELETE FROM {}"])
def test_the_file_itself_forbids_rewriting_history(ledger: Ledger, path: Path, table: str, change: str) -> None:
    id = ledger.add_payload("axol1tl", payload_of(1), "test").id
    ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=5)
    note(ledger, "axol1tl", 1, id, "stage", "begun")
    ledger.add_proposal("p1", "axol1tl", {})
    ledger.decide("p1", "approved", "someone")
    other = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match=f"{table} can only be added to"):
        other.execute(change.format(table))
    other.close()


def test_what_refers_to_nothing_is_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        ledger.record_iov("axol1tl", 7, 3, "unknown", 1, epoch=5)
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        note(ledger, "axol1tl", 1, "unknown", "stage", "begun")
    with pytest.raises(LedgerError, match="FOREIGN KEY"):
        ledger.decide("unknown", "approved", "someone")
    id = ledger.add_payload("axol1tl", payload_of(1), "test").id
    with pytest.raises(LedgerError, match="CHECK"):
        note(ledger, "axol1tl", 1, id, "stage", "perhaps")


def test_a_transaction_is_open_until_its_end_is_recorded(ledger: Ledger) -> None:
    assert ledger.open_transaction("axol1tl") == []
    id = ledger.add_payload("axol1tl", payload_of(1), "test").id
    note(ledger, "axol1tl", 1, id, "stage", "begun", words=4)
    note(ledger, "axol1tl", 1, id, "stage", "failed", why="silence")
    note(ledger, "cicada", 1, ledger.add_payload("cicada", payload_of(1), "test").id, "end", "done")
    assert [(step.step, step.status, step.detail) for step in ledger.open_transaction("axol1tl")] == [
        ("stage", "begun", {"words": 4}),
        ("stage", "failed", {"why": "silence"}),
    ]
    note(ledger, "axol1tl", 1, id, "end", "done")
    assert ledger.open_transaction("axol1tl") == []
    assert [step.step for step in ledger.steps("axol1tl", 1)] == ["stage", "stage", "end"]


def test_generations_rise_across_board_restarts(ledger: Ledger) -> None:
    id = ledger.add_payload("axol1tl", payload_of(1), "test").id
    assert ledger.next_generation("axol1tl", active=0) == 1
    note(ledger, "axol1tl", 4, id, "stage", "begun")
    assert ledger.next_generation("axol1tl", active=0) == 5
    ledger.record_iov("axol1tl", 7, 3, id, 6, epoch=5)
    assert ledger.next_generation("axol1tl", active=0) == 7
    assert ledger.next_generation("axol1tl", active=9) == 10
    assert ledger.next_generation("cicada", active=0) == 1


def test_a_proposal_carries_its_decisions(ledger: Ledger) -> None:
    ledger.add_proposal("abcd", "axol1tl", {"kl": 0.02, "knob": "input_scale"})
    ledger.add_proposal("ef01", "axol1tl", {})
    ledger.decide("abcd", "rejected", "shifter", "rate too high")
    ledger.decide("abcd", "approved", "expert")
    proposal = ledger.proposal("ab")
    assert proposal.data == {"kl": 0.02, "knob": "input_scale"}
    assert [(made.decision, made.by, made.reason) for made in proposal.decisions] == [
        ("rejected", "shifter", "rate too high"),
        ("approved", "expert", ""),
    ]
    assert [proposal.id for proposal in ledger.proposals("axol1tl")] == ["ef01", "abcd"]
    with pytest.raises(LedgerError, match="0 proposals have an id that begins with 'x'"):
        ledger.proposal("x")
    with pytest.raises(LedgerError, match="UNIQUE"):
        ledger.add_proposal("abcd", "axol1tl", {})


def test_events_come_newest_first_since_a_time_and_for_a_stream(ledger: Ledger) -> None:
    for number, stream in enumerate(["axol1tl", None, "cicada"], 1):
        ledger.add_event(stream, "drift", "warning", f"event {number}", {"number": number})
    assert [event.text for event in ledger.events()] == ["event 3", "event 2", "event 1"]
    assert [event.time for event in ledger.events(since=1)] == [3, 2]
    assert [event.data["number"] for event in ledger.events(limit=1)] == [3]
    assert [event.stream for event in ledger.events(stream="axol1tl")] == ["axol1tl"]


def test_everything_is_there_after_reopening(path: Path) -> None:
    with Ledger(path) as ledger:
        id = ledger.add_payload("axol1tl", payload_of(1), "test").id
        ledger.record_iov("axol1tl", 7, 3, id, 1, epoch=5)
        ledger.add_event(None, "start", "info", "started")
    with Ledger(path) as ledger:
        assert ledger.at("axol1tl", 7, 4).id == id
        assert ledger.events()[0].text == "started"
        assert ledger.events()[0].time > 1_700_000_000 * 10**9


def test_threads_and_second_openers_write_without_losing_a_row(path: Path) -> None:
    errors: list[Exception] = []
    barrier = threading.Barrier(6)
    shared = Ledger(path.with_name("shared.db"))

    def write(number: int) -> None:
        try:
            barrier.wait()
            with Ledger(path) as own:
                for i in range(20):
                    own.add_event(None, "own", "info", f"{number} {i}")
                    shared.add_event(None, "shared", "info", f"{number} {i}")
                    assert shared.events(limit=1)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    expected = {f"{number} {i}" for number in range(6) for i in range(20)}
    with Ledger(path) as own:
        assert {event.text for event in own.events(limit=1000)} == expected
    assert {event.text for event in shared.events(limit=1000)} == expected
    shared.close()


def test_many_may_open_a_new_ledger_at_the_same_time(path: Path) -> None:
    errors: list[LedgerError] = []

    def create(path: Path, barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            Ledger(path).close()
        except LedgerError as error:
            errors.append(error)

    for attempt in range(25):
        place = (path.with_name(f"{attempt}.db"), threading.Barrier(6))
        threads = [threading.Thread(target=create, args=place) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


def test_a_damaged_file_is_refused_with_what_to_do(path: Path) -> None:
    path.write_bytes(b"this is no database, however one reads it" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        Ledger(path)


def test_a_file_with_a_damaged_page_is_refused(path: Path) -> None:
    with Ledger(path) as ledger:
        for first in range(200):
            ledger.add_payload("axol1tl", payload_of(first), "test")
    content = bytearray(path.read_bytes())
    content[-12288:-8192] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=r"damaged|malformed"):
        Ledger(path)


def test_a_foreign_database_and_a_newer_schema_are_refused_untouched(path: Path) -> None:
    foreign = path.with_name("foreign.db")
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE theirs (x)")
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger(foreign)
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(LedgerError, match="schema 2, expected 1"):
        Ledger(path)
    with sqlite3.connect(foreign) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_ledger_in_a_missing_folder_or_a_closed_one_says_so(path: Path) -> None:
    with pytest.raises(LedgerError, match="unable to open"):
        Ledger(path / "below" / "ledger.db")
    ledger = Ledger(path)
    ledger.close()
    with pytest.raises(LedgerError, match="closed"):
        ledger.events()


def test_an_error_of_the_ledger_is_one_of_the_store_and_of_firmwares_journal() -> None:
    """Firmware knows the journal alone; whoever works on the store knows its root."""
    assert issubclass(LedgerError, StoreError)
    assert issubclass(LedgerError, JournalError)
