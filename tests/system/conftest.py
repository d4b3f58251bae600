"""Real processes: a simulated board and the daemon, on ports and in folders of their own."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitor.daemon.http import tokens
from monitor.daemon.http.tokens import Role
from monitor.demo.world import operate
from recalib.training.train import TrainSettings, build_package
from tests.support.places import ROOT

STREAM = "axol1tl"
COMMAND = [sys.executable, "-m", "monitor"]

CONFIG = """
state_dir = "."
[http]
port = {http}
{settings}
[boards.gt]
uri = "ipbusudp-2.0://127.0.0.1:{ipbus}"
deadline_s = 1.0
[streams.axol1tl]
package = "{package}"
board = "gt"
addresses = ["tcp://127.0.0.1:{scores}"]
mode = "{mode}"
[streams.axol1tl.recalibrate]
min_accepts = 150
[streams.axol1tl.push]
preview_prescale = 1
preview_accepts = 500
[streams.axol1tl.waits]
warm_ls = 2
"""


@pytest.fixture(scope="session")
def package() -> Path:
    """The project's model, trained once and kept in ``var``."""
    path = ROOT / "var" / "axol1tl.driftd"
    build_package(path, TrainSettings())
    return path


class Site:
    """A folder, ports, and the processes that run there; all are ended by their process id."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.folder = folder
        self.package = package
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        self.ports = dict(
            zip(("http", "ipbus", "scores", "control"), [s.getsockname()[1] for s in sockets], strict=True)
        )
        for s in sockets:
            s.close()
        self.url = f"http://127.0.0.1:{self.ports['http']}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.told: dict[str, str] = {}

    def config(self, mode: str = "auto", extra: str = "", http: str = "") -> Path:
        path = self.folder / "config.toml"
        path.write_text(CONFIG.format(mode=mode, package=self.package, settings=http, **self.ports) + extra)
        return path

    def tokens(self, **days: float) -> None:
        """Make a token for each role, and one for each expert that is named with the days that it is good for."""
        roles = {str(role): role for role in Role} | dict.fromkeys(days, Role.EXPERT)
        made = {name: tokens.issue(name, role, days.get(name)) for name, role in roles.items()}
        self.told = {name: text for name, (text, _) in made.items()}
        tokens.write(self.folder / "tokens.toml", {name: kept for name, (_, kept) in made.items()})

    @property
    def operator(self) -> dict[str, str]:
        """The headers by which the daemon knows its own user."""
        return {"Authorization": f"Bearer {(self.folder / 'operator.token').read_text().strip()}"}

    def start(self, *arguments: str, name: str = "") -> subprocess.Popen[bytes]:
        with (self.folder / f"{name or arguments[0]}.log").open("ab") as log:
            process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log, env=self.environment)
        self.running[name or arguments[0]] = process
        return process

    def board(self, *more: str, package: Path | None = None) -> subprocess.Popen[bytes]:
        return self.start(
            "board", "--package", str(package or self.package), "--ipbus-port", str(self.ports["ipbus"]),
            "--publish", f"tcp://127.0.0.1:{self.ports['scores']}", "--control", self.control,
            "--orbits-per-ls", "24", "--ls-seconds", "0.5", "--zero-bias-prescale", "4", *more,
        )  # fmt: skip

    def daemon(self, **config: str) -> subprocess.Popen[bytes]:
        process = self.start("run", "--config", str(self.config(**config)))
        self.until(self.answers, 60)
        return process

    @property
    def control(self) -> str:
        return f"tcp://127.0.0.1:{self.ports['control']}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"DRIFTD_URL": self.url, "OMP_NUM_THREADS": "1"}

    def operate(self, **order: Any) -> Any:
        return operate(self.control, **order)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/live").is_success
        except httpx.HTTPError:
            return False

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/api/v1/status", headers=self.operator, timeout=10).json()
        return found

    def stream(self) -> dict[str, Any]:
        found: dict[str, Any] = self.status()["streams"][STREAM]
        return found

    def phase(self, *phases: str, seconds: float = 60) -> dict[str, Any]:
        """Wait until the stream's loop is in one of these states."""
        self.until(lambda: self.stream()["phase"] in phases, seconds)
        return self.stream()

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        due = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > due:
                raise AssertionError(f"not within {seconds} s: {json.dumps(self._where(), indent=1)[:3000]}")
            time.sleep(0.1)

    def driftd(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the CLI to its end."""
        return subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=400,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )

    def end(self, name: str) -> int:
        process = self.running.pop(name)
        process.terminate()
        return process.wait(timeout=15)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def _where(self) -> Any:
        logs = {path.name: path.read_text()[-800:] for path in self.folder.glob("*.log")}
        return {"status": self.stream() if self.answers() else None, "logs": logs}


@pytest.fixture
def site(tmp_path: Path, package: Path) -> Iterator[Site]:
    site = Site(tmp_path, package)
    try:
        yield site
    finally:
        site.close()
