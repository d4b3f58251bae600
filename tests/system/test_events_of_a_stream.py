"""What a page and the log are told of a real stream: lumi sections, orders, phases, boards, and what was missed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.site import STREAM, Site, opened
from tests.support.waiting import PATIENCE, Deadline

Event = tuple[str, str, Any]
"""Name, id, data."""


@contextmanager
def listening(site: Site, last: str = "", query: str = "") -> Iterator[Iterator[Event]]:
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{site.url}/api/v1/events{query}", headers=headers, timeout=30 * PATIENCE) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield "comment", "", {}
        name, _, value = line.partition(": ")
        fields[name] = value
        if not line and "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def until(events: Iterator[Event], name: str, **wanted: Any) -> Event:
    deadline = Deadline(60)
    for event in events:
        if event[0] == name and all(event[2].get(key) == value for key, value in wanted.items()):
            return event
        assert not deadline.passed(), f"no {name} {wanted}"
    raise AssertionError("the stream ended")


def test_a_page_is_told_what_happens_and_what_it_missed(site: Site) -> None:
    site.board()
    site.daemon()
    site.phase("watching")
    with listening(site, query=f"?stream={STREAM}") as events:
        name, _, status = next(events)
        assert (name, status["name"], status["phase"]) == ("status", STREAM, "watching")
        _, _, window = until(events, "window")
        newest = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/windows?limit=20").json()
        assert window | {"stream": STREAM} == window
        assert {key: value for key, value in window.items() if key != "stream"} in newest
        until(events, "status", phase="watching")
        assert site.driftd("freeze", STREAM, "--reason", "access").returncode == 0
        until(events, "ledger", kind="phase", text="frozen")
        until(events, "status", phase="frozen", reason="frozen by an operator")
        _, seen, order = until(events, "ledger", kind="order freeze")
        assert order["data"] == {"by": "operator", "reason": "access"}
    assert site.driftd("unfreeze", STREAM, "--reason", "over").returncode == 0
    with listening(site, seen) as events:
        missed = until(events, "ledger", kind="order unfreeze")
        assert missed[2]["data"]["reason"] == "over"
    with listening(site, "another-1") as events:
        assert next(events)[0] == "reset"
        assert next(events)[0] == "status"


def test_a_page_is_told_that_a_board_does_not_answer(site: Site) -> None:
    site.daemon()
    with listening(site) as events:
        board = until(events, "board", up=False)[2]
    assert (board["name"], "does not answer" in site.driftd("status").stdout) == ("gt", True)


@dataclass(frozen=True)
class Push:
    """What was told before, during and after an approved push; the daemon has ended in order since."""

    proposal: str
    changes: dict[str, Any]
    heard: list[Event]
    registers: list[dict[str, Any]]
    payloads: list[dict[str, Any]]
    back: dict[str, Any]
    log: list[dict[str, Any]]


@pytest.fixture(scope="module")
def push(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Push]:
    """A whole life: drift, fit, approval, push."""
    with opened(tmp_path_factory.mktemp("push"), package) as site:
        site.board("--condition", "jet_energy_scale=-0.1")
        site.daemon(mode="supervised")
        proposal = site.phase("awaiting_approval", seconds=150)["proposal"]
        base = f"{site.url}/api/v1/streams/{STREAM}"
        changes = httpx.get(f"{base}/proposals/{proposal}/changes").json()
        heard: list[Event] = []
        with listening(site) as events:
            assert site.driftd("approve", proposal, "--reason", "looks right").returncode == 0
            for event in events:
                heard.append(event)
                if event[0] == "status" and event[2]["generation"] == 1:
                    break
        registers = site.stream()["registers"]
        payloads, back = (httpx.get(f"{base}/payloads{of}").json() for of in ("", "/nominal"))
        assert site.end("run") == 0
        yield Push(proposal, changes, heard, registers, payloads, back, site.logged())


def changed(fields: list[dict[str, Any]], first: str = "old_raw", then: str = "new_raw") -> dict[Any, Any]:
    return {(each["field"], each["index"]): (each[first], each[then]) for each in fields}


def test_a_push_is_told_step_by_step(push: Push) -> None:
    """Every step of the transaction that the ledger notes, and the decision."""
    told = push.changes
    assert told["n_changes"] == sum(field["changed"] for field in told["fields"]) > 0
    ledger = [data for name, _, data in push.heard if name == "ledger"]
    decision = next(data for data in ledger if data["kind"] == "decision")
    assert decision["data"] == {"proposal": push.proposal, "by": "operator", "reason": "looks right"}
    steps = [data for data in ledger[ledger.index(decision) :] if data["kind"] == "step"]
    assert all(data["id"].startswith("step ") for data in steps)
    assert "arm done" in [data["text"] for data in steps]
    assert changed(told["changes"]) == changed(push.registers)


def test_the_way_back_from_a_push_is_shown(push: Push) -> None:
    """A rollback where nothing drifted."""
    assert [(each["generation"], each["active"], each["nominal"]) for each in push.payloads] == [
        (1, True, False),
        (0, False, True),
    ]
    assert changed(push.back["changes"], "new_raw", "old_raw") == changed(push.changes["changes"])
    assert (push.back["previous"], push.back["n_against_nominal"]) == (True, 0)


def test_every_line_of_the_log_is_an_object_with_its_stream_and_lumi_section(push: Push) -> None:
    assert {"started", "phase", "stopped"} <= {line["event"] for line in push.log}
    for line in push.log:
        assert {"event", "level", "timestamp"} <= line.keys()
    phases = [line for line in push.log if line["event"] == "phase"]
    assert phases[-1].keys() >= {"stream", "run", "ls", "phase", "was", "why"}
    assert phases[-1]["ls"] > 0
