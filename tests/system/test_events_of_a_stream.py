"""What a page is told of a real stream: lumi sections, orders, phases, boards, and what it missed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.system.conftest import STREAM, Site

Event = tuple[str, str, Any]
"""Name, id, data."""


@contextmanager
def listening(site: Site, last: str = "", query: str = "") -> Iterator[Iterator[Event]]:
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("GET", f"{site.url}/api/v1/events{query}", headers=headers, timeout=30) as answer:
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
    due = time.monotonic() + 30
    for event in events:
        if event[0] == name and all(event[2].get(key) == value for key, value in wanted.items()):
            return event
        assert time.monotonic() < due, f"no {name} {wanted}"
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


def test_a_push_is_told_step_by_step(site: Site) -> None:
    """A rollback where nothing drifted: every step of the transaction that the ledger notes, and the decision's end."""
    site.board("--condition", "jet_energy_scale=-0.1")
    site.daemon(mode="supervised")
    proposal = site.phase("awaiting_approval", seconds=150)["proposal"]
    base = f"{site.url}/api/v1/streams/{STREAM}"
    told = httpx.get(f"{base}/proposals/{proposal}/changes").json()
    assert told["n_changes"] == sum(field["changed"] for field in told["fields"]) > 0
    with listening(site) as events:
        assert site.driftd("approve", proposal, "--reason", "looks right").returncode == 0
        decision = until(events, "ledger", kind="decision")[2]
        assert decision["data"] == {"proposal": proposal, "by": "operator", "reason": "looks right"}
        steps = []
        for name, _, data in events:
            if name == "ledger" and data["kind"] == "step":
                steps.append(data["text"])
                assert data["id"].startswith("step ")
            if name == "status" and data["generation"] == 1:
                break
    assert "arm done" in steps
    written = {(c["field"], c["index"]): (c["old_raw"], c["new_raw"]) for c in told["changes"]}
    registers = {(c["field"], c["index"]): (c["old_raw"], c["new_raw"]) for c in site.stream()["registers"]}
    assert written == registers
    payloads = httpx.get(f"{base}/payloads").json()
    assert [(each["generation"], each["active"], each["nominal"]) for each in payloads] == [
        (1, True, False),
        (0, False, True),
    ]
    back = httpx.get(f"{base}/payloads/nominal").json()
    assert {(c["field"], c["index"]): (c["new_raw"], c["old_raw"]) for c in back["changes"]} == written
    assert (back["previous"], back["n_against_nominal"]) == (True, 0)
