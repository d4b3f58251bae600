"""`driftd check`: each part sound, doubtful, silent or bad, with a real board, ledger and daemon."""

import json
import socket
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from firmware.model.package import Package
from firmware.tools.compiler import COMPILER_VARIABLE
from monitor.stats.count.building import reference_of_sample
from monitor.store.ledger import Ledger
from tests.support.command import here
from tests.support.site import STREAM, Site


def checked(site: Site, path: Path, *arguments: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit code, and by part the marks and sentences."""
    done = here("check", "--config", str(path), "--json", *arguments)
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["exit_code"] == done.exit_code
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in said["findings"]:
        found.setdefault(finding["part"], []).append((finding["mark"], finding["text"]))
    return done.exit_code, found


def test_beside_a_running_daemon_and_its_board_all_is_sound_but_the_port(site: Site) -> None:
    site.board()
    site.daemon()
    site.phase("watching")
    path = site.folder / "config.toml"
    code, found = checked(site, path)
    assert code == 0
    ((mark, text),) = found["boards.gt"]
    assert mark == "good"
    assert f"{STREAM}: generation 0 of epoch {site.stream()['epoch']}" in text
    assert "plays back" in text
    ((mark, text),) = found["ledger"]
    assert (mark, f"{STREAM} had {Package.load(site.package).nominal.id[:12]}" in text) == ("good", True)
    ((mark, text),) = found["http"]
    assert (mark, "taken by a driftd" in text) == ("doubtful", True)
    assert site.driftd("health", "--config", str(path)).returncode == 0
    plain = site.driftd("check", "--config", str(path)).stdout.splitlines()
    assert {line[0] for line in plain} == {"✓", "!"}
    assert site.end("run") == 0
    assert site.driftd("health", "--config", str(path)).returncode == 69


def test_a_silent_board_is_69_and_not_asked_offline(site: Site) -> None:
    path = site.config()
    code, found = checked(site, path)
    assert code == 69
    assert found["boards.gt"][0][0] == "unreachable"
    assert found["http"][0][0] == "good"
    assert checked(site, path, "--offline")[0] == 0


def test_every_fault_is_found_in_one_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program on the port, a damaged ledger, a detector of no kind, no compiler, no token."""
    monkeypatch.setenv(COMPILER_VARIABLE, "none")
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    extra = '[streams.axol1tl.detect.detectors]\nvoodoo = {}\n[grafana]\nurl = "http://127.0.0.1:3000"\n'
    path = site.config(extra=extra)
    (site.folder / "ledger.sqlite").write_bytes(b"no ledger" * 1000)
    with socket.create_server(("127.0.0.1", site.ports["http"])):
        code, found = checked(site, path, "--offline")
    assert code == 78
    bad = {part for part, findings in found.items() for mark, _ in findings if mark == "bad"}
    assert bad == {"http", "ledger", f"streams.{STREAM}.detect", "grafana"}
    assert found["compiler"][0][0] == "doubtful"


def test_golden_codes_that_the_emulator_does_not_give_are_named(site: Site, tmp_path: Path) -> None:
    package = Package.load(site.package)
    codes = package.golden_codes.copy()
    codes[7] += 1
    site.package = tmp_path / "wrong.driftd"
    replace(package, golden_codes=codes).save(site.package)
    code, found = checked(site, site.config(), "--offline")
    assert code == 78
    assert "1 of 2048 golden events differ" in found[f"streams.{STREAM}.package"][0][1]
    assert "event 7 gets code" in found[f"streams.{STREAM}.package"][0][1]


def test_a_reference_too_small_for_the_tolerance_or_on_other_cuts_is_told(site: Site, tmp_path: Path) -> None:
    extra = "[streams.axol1tl.detect]\nrate_tolerance = 0.001\ntolerated_kl = 0.000001\n"
    code, found = checked(site, site.config(extra=extra), "--offline")
    ((mark, text),) = found[f"streams.{STREAM}.reference"]
    assert (code, mark) == (0, "doubtful")
    assert "rate_tolerance is 0.1 %" in text
    assert "tolerated_kl 1e-06" in text
    package = Package.load(site.package)
    reference = reference_of_sample([(package.golden_codes.astype("i8"), None, None)], cuts=[99], bits=18)
    site.package = tmp_path / "cuts.driftd"
    replace(package, reference=reference.to_bytes()).save(site.package)
    code, found = checked(site, site.config(), "--offline")
    assert (code, found[f"streams.{STREAM}.reference"][0][0]) == (78, "bad")
    assert "[99]" in found[f"streams.{STREAM}.reference"][0][1]


def test_a_stored_payload_that_is_not_what_its_name_says_is_bad(site: Site) -> None:
    package = Package.load(site.package)
    ledger_path = site.folder / "ledger.sqlite"
    with Ledger(ledger_path) as ledger:
        ledger.add_payload(STREAM, package.nominal, "test")
        ledger.record_iov(STREAM, 1, 1, package.nominal.id, 1, 1)
    assert checked(site, site.config(), "--offline")[0] == 0
    with sqlite3.connect(ledger_path) as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        words = bytearray(package.nominal.to_bytes())
        words[0] ^= 1
        db.execute("UPDATE payloads SET words = ?", (bytes(words),))
    code, found = checked(site, site.config(), "--offline")
    assert (code, found["ledger"][0][0]) == (78, "bad")


def test_a_state_folder_below_a_file_is_bad(site: Site) -> None:
    path = site.config()
    path.write_text(path.read_text().replace('state_dir = "."', 'state_dir = "config.toml/state"'))
    code, found = checked(site, path, "--offline")
    assert (code, found["state_dir"][0][0]) == (78, "bad")
