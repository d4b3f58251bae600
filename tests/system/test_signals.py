"""The daemon under systemd: what it tells, what a HUP changes while it counts, and how it ends."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import zmq

from firmware.board.uhal import UhalBoard
from firmware.model.package import Package
from firmware.wire import Batch, Header, encode
from monitor.stats.count.reference import Reference
from tests.system.conftest import STREAM, Site
from tests.system.test_daemon import DRIFT, metric

END_S = 5.0
RELOADS = 20
WATCHDOG_S = 1.2

STUCK = """
import asyncio, sys, time
from pathlib import Path
from monitor.daemon import service
from monitor import config
from monitor.daemon.http import server as http_server

class Stuck(service.Service):
    async def _tick(self):
        await asyncio.sleep(1.5)
        part = sys.argv[2]
        if part == "loop":
            time.sleep(600)
        if part == "receiver":
            self.receiver.between_messages(lambda: time.sleep(600))
        if part == "judging":
            for task in asyncio.all_tasks():
                if task.get_coro().__name__ == "_judge_reports":
                    task.cancel()
        await asyncio.sleep(600)

http_server.Service = Stuck
sys.exit(http_server.run(config.load(Path(sys.argv[1])), Path(sys.argv[1])))
"""


class Systemd:
    """The socket that a daemon of this site notifies, and all that came there."""

    def __init__(self, site: Site, watchdog_s: float | None = None) -> None:
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = str(site.folder / "notify")
        self.link.bind(path)
        self.link.settimeout(0.1)
        self.told: list[str] = []
        self._next = 0
        self.environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": str(int((watchdog_s or 0) * 1e6))}

    def hear(self, seconds: float) -> list[str]:
        """What comes within so many seconds."""
        due, first = time.monotonic() + seconds, len(self.told)
        while time.monotonic() < due:
            try:
                self.told.append(self.link.recv(8192).decode())
            except TimeoutError:
                continue
        return self.told[first:]

    def until(self, wanted: str, seconds: float = 30) -> str:
        """The next that says so, after the one that was waited for before."""
        due = time.monotonic() + seconds
        while time.monotonic() < due:
            self.hear(0.1)
            for each in self.told[self._next :]:
                self._next += 1
                if wanted in each:
                    return each
        raise AssertionError(f"no {wanted} within {seconds} s: {self.told[-5:]}")


@pytest.fixture
def systemd(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Systemd]]:
    made: list[Systemd] = []

    def make(watchdog_s: float | None = None) -> Systemd:
        made.append(Systemd(site, watchdog_s))
        for name, value in made[-1].environment.items():
            monkeypatch.setenv(name, value)
        return made[-1]

    yield make
    for each in made:
        each.link.close()


def logged(site: Site) -> list[dict[str, Any]]:
    """The daemon's log; every line must be an object."""
    return [json.loads(line) for line in (site.folder / "run.log").read_text().splitlines()]


def test_systemd_is_told_of_readiness_life_reload_and_end(site: Site, systemd: Callable[..., Systemd]) -> None:
    heard = systemd(WATCHDOG_S)
    process = site.start("run", "--config", str(site.config()))
    ready = heard.until("READY=1", 60)
    assert site.answers()
    assert "STATUS=axol1tl warming" in ready
    assert sum("WATCHDOG=1" in each for each in heard.hear(3 * WATCHDOG_S)) >= 6
    process.send_signal(signal.SIGHUP)
    reloading = heard.until("RELOADING=1")
    assert abs(int(re.findall(r"MONOTONIC_USEC=(\d+)", reloading)[0]) / 1e6 - time.monotonic()) < 5
    heard.until("READY=1")
    process.send_signal(signal.SIGTERM)
    heard.until("STOPPING=1")
    assert process.wait(10) == 0


@pytest.mark.parametrize("part", ["nothing", "loop", "receiver", "judging"])
def test_the_watchdog_is_fed_only_while_all_parts_move(site: Site, systemd: Callable[..., Systemd], part: str) -> None:
    heard = systemd(WATCHDOG_S)
    command = [sys.executable, "-c", STUCK, str(site.config()), part]
    with (site.folder / "run.log").open("wb") as log:
        site.running["run"] = subprocess.Popen(command, stdout=log, stderr=log, env=site.environment)
    heard.until("WATCHDOG=1", 60)
    heard.hear(3)
    fed = sum("WATCHDOG=1" in each for each in heard.hear(2 * WATCHDOG_S))
    assert fed >= 4 if part == "nothing" else fed == 0
    if part in ("receiver", "judging"):
        assert any(f"no progress: {part}" in each for each in heard.told)


class Sender:
    """Scores as the reference has them, in messages that it numbers and counts."""

    def __init__(self, site: Site) -> None:
        reference = Reference.from_bytes(Package.load(site.package).reference)
        events = np.random.default_rng(1).choice(len(reference.cell_p), 200_000, p=reference.cell_p)
        self._codes = reference.cells.edges[:-1][events].astype(np.uint32)
        self._context = zmq.Context()
        self._context.setsockopt(zmq.LINGER, 0)
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.set(zmq.SNDHWM, 100_000)
        self._socket.set(zmq.SNDTIMEO, 500)
        self._socket.bind(f"tcp://127.0.0.1:{site.ports['scores']}")
        self.messages = self.scores = 0
        self._stop = threading.Event()

    def send(self, ls: int, n: int = 500) -> None:
        at = self.scores % (len(self._codes) - n)
        header = Header(
            kind="batch", stream=STREAM, source="test", seq=self.messages, run=1, ls=ls, orbit=0, n=n, dtype="u4",
            epoch=1, generation=0, t_ns=time.time_ns(), bx_class="colliding", pileup=45.0,
        )  # fmt: skip
        self._socket.send_multipart(encode(Batch(header, self._codes[at : at + n])))
        self.messages += 1
        self.scores += n

    def stream(self, pause_s: float = 0.002) -> threading.Thread:
        """Send until `stop`, or until nobody takes it: a lumi section of 100 messages after the other."""

        def run() -> None:
            with suppress(zmq.Again):
                while not self._stop.is_set():
                    self.send(1 + self.messages // 100)
                    time.sleep(pause_s)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._context.destroy()


@pytest.fixture
def sender(site: Site) -> Iterator[Sender]:
    found = Sender(site)
    yield found
    found.stop()
    found.close()


def test_twenty_reloads_under_load_lose_no_message_and_count_none_twice(site: Site, sender: Sender) -> None:
    process = site.daemon()
    thread = sender.stream()
    path = site.folder / "config.toml"
    text = path.read_text()
    for i in range(RELOADS):
        detect = f"[streams.axol1tl.detect]\nrate_tolerance = 0.{11 + i}\npileup_error = 0.0{1 + i % 9}\n"
        more = "adwin_kl = {delta = 0.01}\n" if i % 2 else "e_mixture = {}\npage_hinkley_kl = {}\n"
        path.write_text(text + detect + "[streams.axol1tl.detect.detectors]\n" + more)
        process.send_signal(signal.SIGHUP)
        site.until(lambda i=i: abs(metric(site, "driftd_rate_tolerance_ratio") - (0.11 + i / 100)) < 1e-9)  # type: ignore[misc]
    sender.stop()
    thread.join()
    site.until(lambda: metric(site, "driftd_scores_total") == sender.scores, 20)
    time.sleep(0.5)
    assert metric(site, "driftd_scores_total") == sender.scores
    assert metric(site, "driftd_messages_received_total") == sender.messages
    for name in ("missed", "duplicates"):
        assert metric(site, f"driftd_messages_{name}_total") == 0
    assert site.stream()["ls_closed"] >= sender.messages // 100 - 2
    assert sum(line["event"].startswith("configuration reloaded") for line in logged(site)) == RELOADS
    assert site.end("run") == 0


def test_a_new_tolerance_and_a_new_mode_are_in_force_at_once(site: Site) -> None:
    """A drift within a wide tolerance is none; the same one is, and is proposed, once the file says so."""
    site.board("--condition", DRIFT)
    wide = "[streams.axol1tl.detect]\ntolerated_kl = 5.0\nrate_tolerance = 0.95\n"
    process = site.daemon(extra=wide)
    site.until(lambda: site.stream()["ls_closed"] > 8)
    assert site.stream()["last"]["level"] in ("ok", "watch")
    assert site.stream()["generation"] == 0
    site.config(mode="supervised")
    process.send_signal(signal.SIGHUP)
    site.until(lambda: site.stream()["mode"] == "supervised", 10)
    site.until(lambda: site.stream()["last"]["level"] == "drift", 30)
    site.phase("awaiting_approval", seconds=120)


def test_a_bad_file_changes_nothing_and_every_fault_is_told(site: Site, systemd: Callable[..., Systemd]) -> None:
    heard = systemd()
    process = site.daemon()
    path = site.folder / "config.toml"
    good = path.read_text()
    bad = {
        good.replace('mode = "auto"', 'mode = "yolo"\nspeed = 3'): ["streams.axol1tl.mode", "streams.axol1tl.speed"],
        good + "[streams.axol1tl.detect.detectors]\nvoodoo = {}\n": ["streams.axol1tl", "voodoo"],
        good.replace("deadline_s = 1.0", "deadline_s = 1.5").replace('mode = "auto"', 'mode = "shadow"'): [
            "restart for: boards.gt.deadline_s"
        ],
        "a = = 3": ["no TOML"],
    }
    for text, told in bad.items():
        path.write_text(text)
        process.send_signal(signal.SIGHUP)
        heard.until("RELOADING=1")
        status = heard.until("READY=1")
        assert all(f"{part}" in status for part in ["reload refused", *told]), status
        assert site.stream()["mode"] == "auto"
    refused = [line for line in logged(site) if line["event"].startswith("reload refused")]
    assert len(refused) == len(bad)
    assert all(len(line["faults"]) == 2 for line in refused[:1])
    with sqlite3.connect(site.folder / "ledger.sqlite") as ledger:
        events = ledger.execute("SELECT level, text FROM events WHERE kind = 'reload' ORDER BY id").fetchall()
    assert [level for level, _ in events] == ["error"] * len(bad)
    path.write_text(good)
    process.send_signal(signal.SIGHUP)
    heard.until("RELOADING=1")
    assert "refused" not in heard.until("READY=1")


def ended(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> float:
    """Seconds from the signal to the end, which must be in order."""
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=15) == 0
    return time.monotonic() - began


def test_the_end_counts_what_waits_and_comes_in_time(site: Site, sender: Sender) -> None:
    process = site.daemon()
    for _ in range(4000):
        sender.send(1)
    assert ended(process) < END_S
    assert logged(site)[-1]["messages"] == sender.messages


def test_the_end_comes_in_time_while_a_sender_never_pauses(site: Site, sender: Sender) -> None:
    process = site.daemon()
    thread = sender.stream(pause_s=0)
    time.sleep(2)
    assert ended(process) < END_S
    sender.stop()
    thread.join()


def test_the_end_comes_in_time_in_the_middle_of_a_fit(site: Site) -> None:
    site.board("--condition", DRIFT)
    process = site.daemon()
    site.phase("fitting", "gating", seconds=120)
    assert ended(process) < END_S


def test_the_end_comes_in_time_while_a_board_is_silent(site: Site) -> None:
    board = site.board()
    process = site.daemon()
    site.phase("watching")
    board.send_signal(signal.SIGSTOP)
    site.driftd("freeze", STREAM)
    site.driftd("unfreeze", STREAM)
    assert ended(process) < END_S
    board.send_signal(signal.SIGCONT)


def test_the_end_disarms_a_swap(site: Site) -> None:
    site.board("--condition", DRIFT)
    path = site.config()
    path.write_text(path.read_text().replace("preview_prescale = 1", "preview_prescale = 0\narm_margin_ls = 40"))
    process = site.start("run", "--config", str(path))
    site.until(site.answers)
    site.phase("armed", seconds=120)
    board = UhalBoard(f"ipbusudp-2.0://127.0.0.1:{site.ports['ipbus']}", Package.load(site.package).address_table)
    assert board.state(STREAM).armed
    assert ended(process) < END_S
    assert not board.state(STREAM).armed


def test_a_second_signal_ends_at_once(site: Site, sender: Sender, systemd: Callable[..., Systemd]) -> None:
    """While the first one still waits for a sender that never pauses."""
    heard = systemd()
    process = site.daemon()
    thread = sender.stream(pause_s=0)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    heard.until("STOPPING=1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 128 + signal.SIGTERM
    sender.stop()
    thread.join()


def test_every_line_of_the_log_is_an_object_with_its_stream_and_lumi_section(site: Site) -> None:
    """A whole life: drift, fit, push."""
    site.board("--condition", DRIFT)
    site.daemon()
    site.until(lambda: site.stream()["generation"] == 1, 180)
    assert site.end("run") == 0
    lines = logged(site)
    assert {"started", "phase", "stopped"} <= {line["event"] for line in lines}
    for line in lines:
        assert {"event", "level", "timestamp"} <= line.keys()
    phases = [line for line in lines if line["event"] == "phase"]
    assert phases[-1].keys() >= {"stream", "run", "ls", "phase", "was", "why"}
    assert phases[-1]["ls"] > 0
