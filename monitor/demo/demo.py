"""The closed loop, shown: a simulated board and a real daemon, a drift, and its correction.

The demo stands outside of both: it injects a condition at the detector, watches the daemon over
HTTP, and reads the board's own counters over IPbus for the verdict.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from firmware.extras import MissingExtra
from monitor.demo import view
from monitor.demo.marks import Marks
from monitor.demo.site import STREAM, DemoFailed, DemoSite
from monitor.demo.verdict import counted, loop_figures, pileup_figures
from monitor.demo.world import WorldError
from monitor.plots.demo_figure import demo_figure
from monitor.stats.count.reference import Reference
from recalib.training.train import TrainSettings, build_package

DRIFT = "jet_energy_scale=-0.08"
WARM_LS = 6
VERDICT_ACCEPTS = 1000
"""Accepts at each cut that the board must have counted before its rates are judged."""
PILEUP = "pileup=40 ramp=20"
PILEUP_LS = 24
PHASE_TIMEOUT_S = 300


class Demo:
    """One run of the demo on a site, told on a console."""

    def __init__(self, site: DemoSite, console: Console, n_cuts: int) -> None:
        self.marks = Marks()
        self._site = site
        self._console = console
        self._n_cuts = n_cuts

    def play(self) -> dict[str, Any]:
        """Drift, alarm, correction, and a falling pile-up; the figures, with ``passed``.

        Raises:
            DemoFailed: a step was not done in time.
        """
        with Live(view.current("starting"), console=self._console, refresh_per_second=4) as live:
            figures = self._drift(live)
            generation = self._site.status()["generation"]
            figures["pileup"] = self._fall(live, generation)
        figures["memory_mb"] = self._site.memory_mb()
        figures["passed"] = bool(figures["passed"] and figures["pileup"]["pushes"] == 0)
        return figures

    def _drift(self, live: Live) -> dict[str, Any]:
        self._until(live, "warming up", lambda s: s["phase"] == "watching" and s["ls_closed"] >= WARM_LS)
        self._change("drift", DRIFT)
        self._until(live, f"drift: {DRIFT}", lambda s: s["last"]["level"] == "drift", "alarm")
        self._until(live, "re-calibrating", lambda s: s["generation"] > 0, "active")
        self._until(live, "confirming", lambda s: s["phase"] in ("watching", "rolled_back"), "confirmed")
        confirmed = self._site.status()
        self._until(live, "the board's own counters", lambda _: self._counted()[1].min() >= VERDICT_ACCEPTS)
        return loop_figures(self.marks, self._site.windows(), confirmed, *self._counted())

    def _fall(self, live: Live, generation: int) -> dict[str, Any]:
        self._change("pileup", PILEUP)
        began = self._site.status()["ls_closed"]
        last = self._until(live, "pile-up falls", lambda s: s["ls_closed"] >= began + PILEUP_LS)
        self.marks.set("end", last["last"]["ls"])
        windows = [w for w in self._site.windows() if w["ls"] >= self.marks.ls("pileup")]
        return pileup_figures(windows, last["generation"] - generation)

    def _change(self, mark: str, condition: str) -> None:
        """Change the world: from the next lumi section on."""
        try:
            self._site.condition(condition)
        except WorldError as error:
            raise DemoFailed(str(error)) from None
        self.marks.set(mark, self._site.status()["last"]["ls"] + 1)

    def _counted(self) -> tuple[int, Any]:
        return counted(self._site.counters, self.marks.ls("confirmed"), self._n_cuts)

    def _until(self, live: Live, doing: str, done: Callable[[dict[str, Any]], bool], mark: str = "") -> dict[str, Any]:
        due = time.monotonic() + PHASE_TIMEOUT_S
        said = ""
        while time.monotonic() < due:
            status = self._site.status()
            self._site.read_counters()
            live.update(view.current(doing, status))
            if not live.is_started or not self._console.is_terminal:
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
        """Print a line where there is no terminal to draw on, unless it says what the last one did."""
        state = f"{doing}: {status['phase']}, {status['last'].get('level', 'no verdict')}"
        if state != said:
            ls, text = status["last"].get("ls", 0), status["last"].get("text") or status["reason"]
            self._console.print(f"LS {ls:3}  {state}: {text}", highlight=False, soft_wrap=True)
        return state


def play_demo(folder: Path, serve: bool, as_json: bool) -> int:
    """Play the demo; the exit code: 0 only if the loop closed."""
    console = Console(stderr=as_json)
    path = folder.parent / f"{STREAM}.driftd"
    path.parent.mkdir(parents=True, exist_ok=True)
    package = build_package(path, TrainSettings(), progress=console.print)
    reference = Reference.from_bytes(package.reference)
    try:
        with DemoSite(path, folder) as site:
            demo = Demo(site, console, package.model.n_cuts)
            figures = demo.play()
            plot = _drawn(console, folder / "demo.png", reference, site.windows(), demo.marks)
            view.report(console, figures, plot)
            if serve:
                _serve(console, site.url)
    except DemoFailed as error:
        console.print(f"[bold red]failed:[/] {error}")
        return 1
    if as_json:
        print(json.dumps(figures))
    return 0 if figures["passed"] else 1


def _drawn(
    console: Console, path: Path, reference: Reference, windows: list[dict[str, Any]], marks: Marks
) -> Path | None:
    """The plot, where what draws it is installed: the loop can be shown without."""
    try:
        demo_figure(path, reference, windows, marks.at)
    except MissingExtra as error:
        console.print(f"no plot: {error}", markup=False)
        return None
    return path


def _serve(console: Console, url: str) -> None:
    console.print(f"serving on {url}; Ctrl-C ends it")
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
