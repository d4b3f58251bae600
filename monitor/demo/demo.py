"""The closed loop, shown: a simulated board and a real daemon, a drift, and its correction.

The demo stands outside of both: it injects a condition at the detector, watches the daemon over
HTTP, and reads the board's own counters over IPbus for the verdict.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import zmq
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firmware.board.board import Counters, RemoteBoard
from firmware.board.uhal import UhalBoard
from firmware.errors import FirmwareError
from firmware.model.package import Package
from monitor.plots.demo_figure import demo_figure
from monitor.stats.count.reference import Reference

STREAM = "axol1tl"
DRIFT = "jet_energy_scale=-0.08"
WARM_LS = 6
VERDICT_ACCEPTS = 1000
FLOOR_SIGMAS = 5.0
"""The KL is at its floor where a lumi section alone cannot tell it from no drift."""
TOLERANCE = 0.10
PILEUP = "pileup=40 ramp=20"
PILEUP_LS = 24
PHASE_TIMEOUT_S = 300
EVENTS = {
    "drift": "drift injected",
    "alarm": "drift alarm",
    "active": "new payload active",
    "confirmed": "confirmed",
    "pileup": "pile-up falls",
    "end": "end",
}

CONFIG = """\
state_dir = "."
[http]
port = {http}
[boards.gt]
uri = "ipbusudp-2.0://127.0.0.1:{ipbus}"
[streams.{stream}]
package = "{package}"
board = "gt"
addresses = ["tcp://127.0.0.1:{scores}"]
[streams.{stream}.recalibrate]
min_accepts = 300
"""


@dataclass
class Marks:
    """When things happened: (lumi section, seconds since the start)."""

    start: float = field(default_factory=time.monotonic)
    at: dict[str, tuple[int, float]] = field(default_factory=dict)

    def set(self, name: str, ls: int) -> None:
        self.at.setdefault(name, (ls, time.monotonic() - self.start))


class Demo:
    """One run of the demo in ``folder``."""

    def __init__(self, package: Path, folder: Path, console: Console) -> None:
        self.package = Package.load(package)
        self.reference = Reference.from_bytes(self.package.reference)
        self.console = console
        self.folder = folder
        self.marks = Marks()
        self.counters: dict[int, Counters] = {}
        self.ports = _free_ports("http", "ipbus", "scores", "control")
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("ledger.sqlite*"):
            old.unlink()
        text = CONFIG.format(stream=STREAM, package=package.resolve(), **self.ports)
        (folder / "config.toml").write_text(text, encoding="utf-8")
        self._package_path = package
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{self.ports['http']}", timeout=10)
        uri = f"ipbusudp-2.0://127.0.0.1:{self.ports['ipbus']}"
        self._board = RemoteBoard(UhalBoard, uri, self.package.address_table)

    def run(self, serve: bool) -> dict[str, Any]:
        """Run the story; its figures, with ``passed``."""
        with (
            self._process("board", *self._board_arguments()),
            self._process("run", "--config", str(self.folder / "config.toml")),
        ):
            try:
                self._await_daemon()
                with Live(self._view("starting"), console=self.console, refresh_per_second=4) as live:
                    figures = self._story(live)
                demo_figure(self.folder / "demo.png", self.reference, self._windows(), self.marks.at)
                self._report(figures)
                if serve:
                    self._serve()
                return figures
            finally:
                self._board.close()

    def _story(self, live: Live) -> dict[str, Any]:
        self._until(live, "warming up", lambda s: s["phase"] == "watching" and s["ls_closed"] >= WARM_LS)
        self._operate(do="condition", text=DRIFT)
        self.marks.set("drift", self._status()["last"]["ls"] + 1)
        self._until(live, f"drift: {DRIFT}", lambda s: s["last"]["level"] == "drift", "alarm")
        self._until(live, "re-calibrating", lambda s: s["generation"] > 0, "active")
        self._until(live, "confirming", lambda s: s["phase"] in ("watching", "rolled_back"), "confirmed")
        confirmed = self._status()
        self._until(
            live,
            "the board's own counters",
            lambda _: self._accepts_since("confirmed").min() >= VERDICT_ACCEPTS,
        )
        figures = self._figures(confirmed)
        generation = self._status()["generation"]
        self._operate(do="condition", text=PILEUP)
        self.marks.set("pileup", self._status()["last"]["ls"] + 1)
        began = self._status()["ls_closed"]
        self._until(live, "pile-up falls", lambda s: s["ls_closed"] >= began + PILEUP_LS)
        last = self._status()
        self.marks.set("end", last["last"]["ls"])
        windows = [w for w in self._windows() if w["ls"] >= self.marks.at["pileup"][0]]
        figures["pileup"] = {
            "from": windows[0]["pileup"],
            "to": windows[-1]["pileup"],
            "pushes": last["generation"] - generation,
            "drift_verdicts": sum(w["level"] == "drift" for w in windows),
        }
        figures["passed"] = bool(figures["passed"] and figures["pileup"]["pushes"] == 0)
        return figures

    def _figures(self, status: dict[str, Any]) -> dict[str, Any]:
        marks = self.marks.at
        windows = {w["ls"]: w for w in self._windows()}
        after = [w for w in windows.values() if w["ls"] > marks["confirmed"][0]]
        drifted = [w for w in windows.values() if marks["drift"][0] <= w["ls"] < status["target_ls"]] or [
            w for w in windows.values() if marks["drift"][0] <= w["ls"] and w["generation"] == 0
        ]
        accepts, events = self._accepts_since("confirmed"), self._events_since("confirmed")
        targets = np.mean([w["expected_rates"] for w in after], axis=0)
        ratios = accepts / events / targets
        kl, floor = _mean_kl(after), FLOOR_SIGMAS * float(np.mean([w["kl_error"] for w in after]))
        drift_ls, drift_s = marks["drift"]
        return {
            "seconds": {name: round(s - drift_s, 1) for name, (_, s) in marks.items() if s >= drift_s},
            "lumi_sections": {name: ls - drift_ls for name, (ls, s) in marks.items() if s >= drift_s},
            "kl_before": round(_mean_kl([w for w in windows.values() if w["ls"] < drift_ls]), 5),
            "kl_drifted": round(_mean_kl(drifted), 5),
            "kl_after": round(kl, 5),
            "kl_limit": round(floor, 6),
            "rate_drifted": [round(float(r), 3) for r in np.mean([w["ratios"] for w in drifted], axis=0)],
            "rate_after": [round(float(r), 3) for r in ratios],
            "rate_error": [round(float(r / a**0.5), 3) for r, a in zip(ratios, accepts, strict=True)],
            "board_accepts": accepts.tolist(),
            "generation": status["generation"],
            "registers": len(status["registers"]),
            "memory_mb": {k: round(v / 1e6) for k, v in self._get("/api/v1/status")["memory_bytes"].items()},
            "passed": bool(
                status["phase"] == "watching"
                and status["generation"] > 0
                and (np.abs(ratios - 1) <= TOLERANCE).all()
                and kl <= floor
            ),
        }

    def _until(self, live: Live, doing: str, done: Callable[[dict[str, Any]], bool], mark: str = "") -> dict[str, Any]:
        due = time.monotonic() + PHASE_TIMEOUT_S
        said = ""
        while time.monotonic() < due:
            status = self._status()
            self._read_counters()
            live.update(self._view(doing, status))
            if not live.is_started or not self.console.is_terminal:
                said = self._say(doing, status, said)
            if status["last"] and done(status):
                if mark:
                    self.marks.set(mark, status["last"]["ls"])
                return status
            time.sleep(0.25)
        raise DemoFailed(
            f"{doing}: not done within {PHASE_TIMEOUT_S} s; the stream is {status['phase']}: {status['reason']}"
        )

    def _say(self, doing: str, status: dict[str, Any], said: str) -> str:
        state = f"{doing}: {status['phase']}, {status['last'].get('level', 'no verdict')}"
        if state != said:
            ls, text = status["last"].get("ls", 0), status["last"].get("text") or status["reason"]
            self.console.print(f"LS {ls:3}  {state}: {text}", highlight=False, soft_wrap=True)
        return state

    def _view(self, doing: str, status: dict[str, Any] | None = None) -> Group:
        title = Text(f"driftd demo — {doing}", style="bold")
        if not status or not status["last"]:
            return Group(title)
        last = status["last"]
        table = Table(show_header=False, box=None, padding=(0, 2))
        table.add_row("state", f"{status['phase']}  (generation {status['generation']})")
        table.add_row("lumi section", f"{last['ls']}  ({last['n']:,} crossings, pile-up {last['pileup']:.1f})")
        table.add_row("KL", f"{last['kl']:.5f}   PSI {last['psi']:.5f}   verdict {last['level']}")
        table.add_row("rate / target", "   ".join(f"× {r:.2f}" for r in last["ratios"]))
        changed = _changed(status["registers"])
        table.add_row("registers", changed or "nominal")
        table.add_row("", status["reason"])
        return Group(title, table)

    def _report(self, figures: dict[str, Any]) -> None:
        table = Table("", "before", "drifted", "re-calibrated", title="The closed loop")
        table.add_row(
            "KL to the reference",
            *(f"{figures[key]:.5f}" for key in ("kl_before", "kl_drifted", "kl_after")),
        )
        for cut, (drifted, after, error) in enumerate(
            zip(figures["rate_drifted"], figures["rate_after"], figures["rate_error"], strict=True)
        ):
            table.add_row(f"rate / target, cut {cut}", "1", f"{drifted:.3f}", f"{after:.3f} ± {error:.3f}")
        self.console.print(table)
        steps = Table("since the drift", "lumi sections", "seconds")
        for name, text in EVENTS.items():
            if name in figures["seconds"]:
                steps.add_row(text, str(figures["lumi_sections"][name]), f"{figures['seconds'][name]:.1f}")
        self.console.print(steps)
        pileup = figures["pileup"]
        self.console.print(
            f"pile-up {pileup['from']:.1f} → {pileup['to']:.1f}: {pileup['pushes']} pushes; "
            f"memory in MB {figures['memory_mb']}; plot {self.folder / 'demo.png'}"
        )
        self.console.print("[bold green]passed" if figures["passed"] else "[bold red]failed")

    def _serve(self) -> None:
        self.console.print(f"serving on http://127.0.0.1:{self.ports['http']}; Ctrl-C ends it")
        try:
            signal.pause()
        except KeyboardInterrupt:
            return

    def _board_arguments(self) -> list[str]:
        return [
            "--package",
            str(self._package_path),
            "--publish",
            f"tcp://127.0.0.1:{self.ports['scores']}",
            "--ipbus-port",
            str(self.ports["ipbus"]),
            "--control",
            f"tcp://127.0.0.1:{self.ports['control']}",
        ]

    @contextmanager
    def _process(self, *arguments: str) -> Iterator[None]:
        """A `driftd` process of its own, its log in the demo's folder; ended by its process id."""
        command = [sys.executable, "-m", "monitor.cli.main", *arguments]
        with (self.folder / f"{arguments[0]}.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"NO_COLOR": "1"})
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _await_daemon(self) -> None:
        due = time.monotonic() + 60
        while time.monotonic() < due:
            try:
                self._http.get("/live")
                return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise DemoFailed(f"the daemon did not start; see {self.folder / 'run.log'}")

    def _operate(self, **order: Any) -> Any:
        return operate(f"tcp://127.0.0.1:{self.ports['control']}", **order)

    def _get(self, path: str) -> Any:
        return self._http.get(path).raise_for_status().json()

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = self._get(f"/api/v1/streams/{STREAM}")
        return status

    def _windows(self) -> list[dict[str, Any]]:
        windows: list[dict[str, Any]] = self._get(f"/api/v1/streams/{STREAM}/windows?limit=1000")
        return windows

    def _read_counters(self) -> None:
        try:
            counters = self._board.counters(STREAM)
        except FirmwareError:
            return
        self.counters[counters.ls] = counters

    def _since(self, mark: str) -> list[Counters]:
        first = self.marks.at[mark][0]
        generation = max(counters.generation for counters in self.counters.values())
        return [c for ls, c in self.counters.items() if ls > first and c.generation == generation]

    def _accepts_since(self, mark: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        zero = np.zeros(self.package.model.n_cuts, np.int64)
        return np.sum([c.accepts for c in self._since(mark)], axis=0, dtype=np.int64) + zero

    def _events_since(self, mark: str) -> int:
        return sum(c.events for c in self._since(mark))


class DemoFailed(Exception):
    """The demo could not be played to its end."""


def operate(control: str, **order: Any) -> Any:
    """Do something to the world around a simulated board; its status afterwards.

    Raises:
        DemoFailed: if it does not answer or refuses.
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.set(zmq.RCVTIMEO, 10_000)
        socket.set(zmq.LINGER, 0)
        socket.connect(control)
        socket.send_json(order)
        try:
            answer: Any = socket.recv_json()
        except zmq.Again:
            raise DemoFailed(f"no simulated board answers at {control}") from None
    if not answer["ok"]:
        raise DemoFailed(answer["error"])
    return answer


def _mean_kl(windows: list[dict[str, Any]]) -> float:
    """Mean of the bias-corrected KL of lumi sections to p_ref at their pile-up."""
    n = np.array([w["n"] for w in windows], dtype=float)
    return float(np.average([w["kl"] for w in windows], weights=n))


def _changed(registers: list[dict[str, Any]]) -> str:
    """The changed registers in a line: a field's range of values."""
    fields: dict[str, list[float]] = {}
    for change in registers:
        fields.setdefault(change["field"], []).append(change["new_value"])
    return ", ".join(f"{name}: {len(values)} at {min(values):.3f}…{max(values):.3f}" for name, values in fields.items())


def _free_ports(*names: str) -> dict[str, int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: s.getsockname()[1] for name, s in zip(names, sockets, strict=True)}
    for s in sockets:
        s.close()
    return ports


def run(folder: Path, serve: bool, as_json: bool) -> int:
    """Play the demo; the exit code: 0 only if the loop closed."""
    from recalib.training.train import TrainSettings, build_package

    console = Console(stderr=as_json)
    package = folder.parent / f"{STREAM}.driftd"
    package.parent.mkdir(parents=True, exist_ok=True)
    build_package(package, TrainSettings(), progress=console.print)
    try:
        figures = Demo(package, folder, console).run(serve)
    except DemoFailed as error:
        console.print(f"[bold red]failed:[/] {error}")
        return 1
    if as_json:
        print(json.dumps(figures))
    return 0 if figures["passed"] else 1
