"""The daemon with a real board beside it: what an operator orders, and what it does when things go wrong."""

import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import httpx
import numpy as np
import pytest
import zmq

from firmware.board.uhal import UhalBoard
from firmware.model.package import Package
from firmware.model.payload import Payload
from monitor.watch.stream import Skipped
from tests.support.command import here
from tests.support.site import MANY_ACCEPTS, SEEDS, STREAM, Site, opened
from tests.support.waiting import strained

DRIFT = "jet_energy_scale=-0.1"
MANY = 10
"""Lumi sections that are averaged, as one has some 150 accepts of the tighter cut."""


def ratios(site: Site, sections: int) -> list[list[float]]:
    """Of the rates to those that are wanted, in each of the last lumi sections."""
    newest = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/windows?limit={sections}").json()
    return [each["ratios"] for each in newest]


def test_a_supervised_stream_is_re_calibrated_by_hand_and_rolled_back(site: Site) -> None:
    """Drift, proposal, approval, new payload, confirmation; then back to nominal, frozen, and thawed."""
    site.board()
    site.daemon(mode="supervised")
    site.phase("watching")
    assert site.driftd("approve", "abcd", "--reason", "early").returncode == 75
    site.operate(do="condition", text=DRIFT)
    status = site.phase("awaiting_approval", seconds=120)
    assert site.generation() == 0
    proposal = status["proposal"]
    assert proposal in site.driftd("status", "--json").stdout
    approved = site.driftd("approve", proposal[:8], "--reason", "looks right")
    assert approved.returncode == 0, approved.stderr
    status = site.phase("confirming", seconds=60)
    status = site.phase("watching", seconds=60)
    assert site.generation() == status["generation"] == 1
    assert status["payload"] != Package.load(site.package).nominal.id
    assert status["registers"]

    assert site.driftd("rollback", STREAM, "--to", "nominal", "--reason", "exercise").returncode == 0
    status = site.phase("rolled_back", seconds=60)
    assert status["generation"] == site.generation() == 2
    assert status["payload"] == Package.load(site.package).nominal.id
    assert site.driftd("freeze", STREAM, "--reason", "access").returncode == 0
    assert site.stream()["phase"] == "frozen"
    refused = site.driftd("recalibrate", STREAM, "--reason", "looks low")
    assert refused.returncode == 75
    assert "frozen" in refused.stderr
    assert site.driftd("unfreeze", STREAM, "--reason", "access over").returncode == 0
    iovs = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/history").json()["iovs"]
    assert [iov["generation"] for iov in iovs] == [0, 1, 2]
    assert site.end("run") == 0


def test_a_payload_that_does_harm_is_rolled_back_by_itself(site: Site) -> None:
    """The drift ends just as its correction becomes active: on the new events the old payload is the better one."""
    site.board("--condition", DRIFT)
    site.daemon(mode="supervised")
    proposal = site.phase("awaiting_approval", seconds=120)["proposal"]
    assert site.driftd("approve", proposal, "--reason", "looks right").returncode == 0
    site.phase("armed")
    site.operate(do="clear")
    status = site.phase("rolled_back", seconds=120)
    assert status["payload"] == Package.load(site.package).nominal.id
    assert status["generation"] == site.generation() == 2
    assert status["outcomes"]["push harmful"] == 1
    events = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/history").json()["events"]
    assert any(event["kind"] == "judgement" and event["data"]["harmful"] for event in events)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stream_that_holds_its_rate_follows_the_pile_up_with_its_cuts(site: Site, seed: str) -> None:
    """At another pile-up p(s) is as expected and the rates are not: the cuts move, and nothing else."""
    site.board("--condition", "pileup=30", "--seed", seed)
    path = site.config(accepts=MANY_ACCEPTS)
    path.write_text(path.read_text().replace('mode = "auto"', 'mode = "auto"\nhold = "rate"'))
    site.daemon(path)
    site.until(lambda: site.stream()["generation"] > 0, 120)
    site.until(lambda: site.stream()["last"]["level"] == "ok")
    status = site.sections(MANY)
    assert {change["field"] for change in status["registers"]} == {"cuts"}
    assert np.mean(ratios(site, MANY), axis=0) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_dry_run_proposes_and_writes_nothing(site: Site, seed: str) -> None:
    site.board("--condition", DRIFT, "--seed", seed)
    site.daemon(mode="supervised", extra="backoff_ls = 60\n", accepts=MANY_ACCEPTS)
    site.phase("watching", "collecting")
    site.phase("awaiting_approval", seconds=120)
    assert site.driftd("reject", site.stream()["proposal"], "--reason", "by hand").returncode == 0
    plot = site.folder / "proposal.png"
    done = site.driftd("recalibrate", STREAM, "--dry-run", "--plot", str(plot), "--reason", "just looking")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "chosen" in done.stdout
    assert "✓ events" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert site.generation() == 0
    newest, *earlier = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/proposals").json()
    assert newest["accepted"]
    assert earlier


def test_a_board_that_is_off_is_said_and_the_stream_is_still_monitored(site: Site) -> None:
    """The scores come, the registers do not answer: counted, judged, never written."""
    site.board("--condition", DRIFT)
    elsewhere = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elsewhere.bind(("127.0.0.1", 0))
    path = site.config()
    path.write_text(path.read_text().replace(str(site.ports["ipbus"]), str(elsewhere.getsockname()[1])))
    site.daemon(path)
    site.until(lambda: site.stream()["last"].get("level") == "drift")
    status = site.status()
    assert not status["boards"]["gt"]["up"]
    assert status["streams"][STREAM]["phase"] == "warming"
    assert "does not answer" in site.driftd("status").stdout
    assert 'driftd_board_up{board="gt"} 0.0' in httpx.get(f"{site.url}/metrics").text
    assert site.metric("driftd_board_errors_total") > 0
    assert httpx.get(f"{site.url}/api/v1/streams/{STREAM}/windows").json()
    assert site.driftd("recalibrate", STREAM, "--reason", "looks low").returncode == 75
    elsewhere.close()


def test_a_board_of_another_model_is_named_and_never_written(site: Site, package: Path, tmp_path: Path) -> None:
    loaded = Package.load(package)
    model = loaded.model
    weights = [layer.weight.copy() for layer in model.layers]
    weights[0][0, 0] += 1
    other = tmp_path / "other.driftd"
    _with_weights(loaded, weights).save(other)
    site.board("--condition", DRIFT, package=other)
    site.daemon()
    site.until(lambda: site.stream()["last"].get("level") == "drift")
    site.until(lambda: "model_id" in site.stream()["reason"])
    site.sections(4)
    assert site.generation() == 0
    board = UhalBoard(f"ipbusudp-2.0://127.0.0.1:{site.ports['ipbus']}", loaded.address_table)
    assert (board.read_bank(STREAM, "shadow") == loaded.nominal.words).all()


def _with_weights(package: Package, weights: list) -> Package:  # type: ignore[type-arg]
    layers = tuple(replace(layer, weight=w) for layer, w in zip(package.model.layers, weights, strict=True))
    model = replace(package.model, layers=layers)
    return replace(package, model=model, nominal=Payload.from_bytes(model.layout, model.id, package.nominal.to_bytes()))


def test_a_rebooted_board_is_noticed_and_its_nominal_payload_adopted(site: Site) -> None:
    site.board()
    site.daemon()
    first = site.phase("watching")
    site.operate(do="reboot")
    site.until(lambda: site.stream()["epoch"] not in (first["epoch"], -1))
    assert site.phase("watching")["generation"] == 0


def test_a_frozen_stream_stays_frozen_over_a_restart(site: Site) -> None:
    site.board()
    site.daemon()
    site.phase("watching")
    site.driftd("freeze", STREAM, "--reason", "maintenance")
    since = site.metric("driftd_phase_entered_timestamp_seconds")
    assert site.end("run") == 0
    site.daemon()
    site.until(lambda: site.stream()["ls_closed"] > 2)
    assert site.stream()["phase"] == "frozen"
    assert abs(site.metric("driftd_phase_entered_timestamp_seconds") - since) < 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_daemon_within_seconds_and_leaves_a_sound_ledger(site: Site, number: signal.Signals) -> None:
    site.board()
    process = site.daemon()
    site.until(lambda: site.stream()["ls_closed"] > 0)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(strained(15)) == 0
    assert time.monotonic() - began < strained(10)
    with sqlite3.connect(site.folder / "ledger.sqlite") as ledger:
        assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_faulty_configuration_ends_with_78_and_names_all_faults(site: Site) -> None:
    path = site.config()
    path.write_text(path.read_text().replace("auto", "yolo").replace("ipbusudp", "gopher"))
    for command in ("run", "check"):
        done = here(command, "--config", str(path))
        assert done.exit_code == 78
        assert "mode" in done.output
        assert "boards.gt.uri" in done.output


def test_a_changed_package_ends_with_78(site: Site, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.driftd"
    data = bytearray(site.package.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    site.package = damaged
    done = site.driftd("run", "--config", str(site.config()))
    assert done.returncode == 78
    assert "changed" in done.stderr


def test_commands_without_a_daemon_or_a_stream_say_so(site: Site) -> None:
    assert site.driftd("status").returncode == 69
    site.board()
    site.daemon()
    unknown = site.driftd("freeze", "cicada", "--reason", "access")
    assert unknown.returncode == 66
    assert "there is axol1tl" in unknown.stderr


def test_malformed_messages_show_in_the_metrics_by_cause(quiet: Site) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.set(zmq.LINGER, 0)
        push.bind(f"tcp://127.0.0.1:{quiet.ports['scores']}")
        push.send_multipart([STREAM.encode(), b"nonsense"])
        wanted = f'driftd_messages_malformed_total{{cause="header",source="{STREAM}"}} 1.0'
        quiet.until(lambda: wanted in httpx.get(f"{quiet.url}/metrics").text)


def test_skipped_messages_are_counted_from_zero_for_every_cause(quiet: Site) -> None:
    """Prometheus sees no increase in a series that begins with its first message."""
    lines = set(httpx.get(f"{quiet.url}/metrics").text.splitlines())
    for cause in get_args(Skipped):
        assert f'driftd_messages_skipped_total{{cause="{cause}",stream="{STREAM}"}} 0.0' in lines


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Site]:
    """A daemon without a board: enough to ask it badly."""
    with opened(tmp_path_factory.mktemp("quiet"), package) as site:
        site.daemon()
        yield site
