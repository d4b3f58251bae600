"""The daemon under systemd: what it tells, what a HUP changes while it counts, and how it ends."""

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

import numpy as np
import pytest
import zmq

from firmware.board.uhal import UhalBoard
from firmware.model.package import Package
from firmware.wire import Batch, Header, encode
from monitor.stats.count.reference import Reference
from tests.support.site import STREAM, Site
from tests.support.waiting import Deadline, strained, until

DRIFT = "jet_energy_scale=-0.1"
END_S = 5.0
RELOADS = 20
WATCHDOG_S = 1.2

STUCK = """
import asyncio, sys, time
from pathlib import Path
from monitor.daemon import service
from monitor import config
from monitor.daemon import main

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
                if task.get_coro().__qualname__ == "Runner.run":
                    task.cancel()
        await asyncio.sleep(600)

main.Service = Stuck
sys.exit(main.run(config.load(Path(sys.argv[1])), Path(sys.argv[1])))
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
            self._receive()
        return self.told[first:]

    def until(self, wanted: str, seconds: float = 30) -> str:
        """The next that says so, after the one that was waited for before."""
        deadline = Deadline(seconds)
        while True:
            for each in self.told[self._next :]:
                self._next += 1
                if wanted in each:
                    return each
            assert not deadline.passed(), f"no {wanted} within {seconds} s: {self.told[-5:]}"
            self._receive()

    def fed_within(self, times: int, seconds: float) -> bool:
        """Whether the watchdog is fed so often from now on."""
        began, self._next = time.monotonic(), len(self.told)
        for _ in range(times):
            self.until("WATCHDOG=1")
        return time.monotonic() - began < strained(seconds)

    def _receive(self) -> None:
        with suppress(TimeoutError):
            self.told.append(self.link.recv(8192).decode())


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


def test_systemd_is_told_of_readiness_life_reload_and_end(site: Site, systemd: Callable[..., Systemd]) -> None:
    heard = systemd(WATCHDOG_S)
    process = site.start("run", "--config", str(site.config()))
    ready = heard.until("READY=1", 60)
    assert site.answers()
    assert "STATUS=axol1tl warming" in ready
    assert heard.fed_within(6, 3 * WATCHDOG_S)
    asked = time.monotonic()
    process.send_signal(signal.SIGHUP)
    reloading = heard.until("RELOADING=1")
    assert asked < int(re.findall(r"MONOTONIC_USEC=(\d+)", reloading)[0]) / 1e6 < time.monotonic()
    heard.until("READY=1")
    process.send_signal(signal.SIGTERM)
    heard.until("STOPPING=1")
    assert process.wait(strained(10)) == 0


@pytest.mark.parametrize("part", ["nothing", "loop", "receiver", "judging"])
def test_the_watchdog_is_fed_only_while_all_parts_move(site: Site, systemd: Callable[..., Systemd], part: str) -> None:
    heard = systemd(WATCHDOG_S)
    site.launch([sys.executable, "-c", STUCK, str(site.config()), part], "run")
    heard.until("WATCHDOG=1", 60)
    if part == "nothing":
        heard.hear(3)
        assert heard.fed_within(4, 2 * WATCHDOG_S)
        return
    if part in ("receiver", "judging"):
        heard.until(f"no progress: {part}")
    until(lambda: not any("WATCHDOG=1" in each for each in heard.hear(2 * WATCHDOG_S)))


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
        site.until(lambda i=i: abs(site.metric("driftd_rate_tolerance_ratio") - (0.11 + i / 100)) < 1e-9)  # type: ignore[misc]
    sender.stop()
    thread.join()
    site.until(lambda: site.metric("driftd_messages_received_total") >= sender.messages)
    assert site.metric("driftd_messages_received_total") == sender.messages
    assert site.metric("driftd_scores_total") == sender.scores
    for name in ("missed", "duplicates"):
        assert site.metric(f"driftd_messages_{name}_total") == 0
    assert site.stream()["ls_closed"] >= sender.messages // 100 - 2
    assert sum(line["event"].startswith("configuration reloaded") for line in site.logged()) == RELOADS
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
    site.until(lambda: site.stream()["mode"] == "supervised")
    site.until(lambda: site.stream()["last"]["level"] == "drift")
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
        "a = = 3": ["not TOML"],
    }
    for text, told in bad.items():
        path.write_text(text)
        process.send_signal(signal.SIGHUP)
        heard.until("RELOADING=1")
        status = heard.until("READY=1")
        assert all(f"{part}" in status for part in ["reload refused", *told]), status
        assert site.stream()["mode"] == "auto"
    refused = [line for line in site.logged() if line["event"].startswith("reload refused")]
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
    assert process.wait(strained(15)) == 0
    return time.monotonic() - began


def test_the_end_counts_what_waits_and_comes_in_time(site: Site, sender: Sender) -> None:
    process = site.daemon()
    for _ in range(4000):
        sender.send(1)
    assert ended(process) < strained(END_S)
    assert site.logged()[-1]["messages"] == sender.messages


def test_the_end_comes_in_time_while_a_sender_never_pauses(site: Site, sender: Sender) -> None:
    process = site.daemon()
    thread = sender.stream(pause_s=0)
    site.until(lambda: site.metric("driftd_messages_received_total") > 2000)
    assert ended(process) < strained(END_S)
    sender.stop()
    thread.join()


def test_the_end_comes_in_time_in_the_middle_of_a_fit(site: Site) -> None:
    site.board("--condition", DRIFT)
    process = site.daemon()
    site.phase("fitting", "gating", seconds=120)
    assert ended(process) < strained(END_S)


def test_the_end_comes_in_time_while_a_board_is_silent(site: Site) -> None:
    board = site.board()
    process = site.daemon()
    site.phase("watching")
    board.send_signal(signal.SIGSTOP)
    site.driftd("freeze", STREAM)
    site.driftd("unfreeze", STREAM)
    assert ended(process) < strained(END_S)
    board.send_signal(signal.SIGCONT)


def test_the_end_disarms_a_swap(site: Site) -> None:
    site.board("--condition", DRIFT)
    path = site.config()
    path.write_text(path.read_text().replace("preview_prescale = 1", "preview_prescale = 0\narm_margin_ls = 40"))
    process = site.daemon(path)
    site.phase("armed", seconds=120)
    board = UhalBoard(f"ipbusudp-2.0://127.0.0.1:{site.ports['ipbus']}", Package.load(site.package).address_table)
    assert board.state(STREAM).armed
    assert ended(process) < strained(END_S)
    assert not board.state(STREAM).armed


def test_a_second_signal_ends_at_once(site: Site, sender: Sender, systemd: Callable[..., Systemd]) -> None:
    """While the first one still waits for a sender that never pauses."""
    heard = systemd()
    process = site.daemon()
    thread = sender.stream(pause_s=0)
    site.until(lambda: site.metric("driftd_messages_received_total") > 0)
    process.send_signal(signal.SIGTERM)
    heard.until("STOPPING=1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(strained(5)) == 128 + signal.SIGTERM
    sender.stop()
    thread.join()
