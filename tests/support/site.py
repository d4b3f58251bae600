"""A whole site: a simulated board and the daemon, on ports and in a folder of their own."""

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitor.daemon.http import tokens
from monitor.daemon.http.tokens import Role
from monitor.demo.world import operate
from tests.support.datapaths import lend
from tests.support.ports import Ports
from tests.support.processes import Processes
from tests.support.waiting import PATIENCE, until

STREAM = "axol1tl"
ACCEPTS, MANY_ACCEPTS = 300, 1000
"""The statistical error of a rate that a fit sets is 6 % with the first, 3 % with the second."""

SEEDS = ["1", *(pytest.param(str(seed), marks=pytest.mark.long) for seed in range(2, 9))]
"""Of the events of a board, for tests whose verdict is a statistic: with the others it must be the same."""

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
min_accepts = {accepts}
[streams.axol1tl.push]
preview_prescale = 1
preview_accepts = 500
[streams.axol1tl.waits]
warm_ls = 2
"""


class Site(Processes):
    """What a test starts there is ended by `close`."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.package = package
        self.ports = Ports("http", "ipbus", "scores", "control")
        self.url = f"http://127.0.0.1:{self.ports['http']}"
        self.control = f"tcp://127.0.0.1:{self.ports['control']}"
        self.told: dict[str, str] = {}
        super().__init__(folder)
        lend(folder)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"DRIFTD_URL": self.url}

    def config(self, mode: str = "auto", extra: str = "", http: str = "", accepts: int = ACCEPTS) -> Path:
        """`accepts`: of each cut before a fit. Where a test's verdict hangs on one fit they must be many."""
        path = self.folder / "config.toml"
        text = CONFIG.format(mode=mode, package=self.package, settings=http, accepts=accepts, **self.ports)
        path.write_text(text + extra)
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

    def board(self, *more: str, package: Path | None = None) -> subprocess.Popen[bytes]:
        return self.start(
            "board", "--package", str(package or self.package), "--ipbus-port", str(self.ports["ipbus"]),
            "--publish", f"tcp://127.0.0.1:{self.ports['scores']}", "--control", self.control,
            "--orbits-per-ls", "24", "--ls-seconds", "0.5", "--zero-bias-prescale", "4", *more,
        )  # fmt: skip

    def daemon(self, path: Path | None = None, **config: Any) -> subprocess.Popen[bytes]:
        """With the configuration that is there, or as `config` makes it; it answers."""
        process = self.start("run", "--config", str(path or self.config(**config)))
        self.until(lambda: process.poll() is not None or self.answers())
        assert process.poll() is None, self.logs()
        return process

    def operate(self, **order: Any) -> Any:
        """Tell the simulated board what is to happen around it; its status."""
        return operate(self.control, **order)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/live").is_success
        except httpx.HTTPError:
            return False

    def status(self) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/api/v1/status", headers=self.operator, timeout=10 * PATIENCE)
        found: dict[str, Any] = answer.json()
        return found

    def stream(self, name: str = STREAM) -> dict[str, Any]:
        found: dict[str, Any] = self.status()["streams"][name]
        return found

    def metric(self, name: str) -> float:
        """The first series of this name; NaN, which equals nothing, where there is none."""
        lines = httpx.get(f"{self.url}/metrics", timeout=10 * PATIENCE).text.splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{")), math.nan)

    def generation(self) -> int:
        """As the board has it."""
        return int(self.operate(do="status")["streams"][STREAM]["generation"])

    def logged(self) -> list[dict[str, Any]]:
        """The daemon's log; every line must be an object."""
        return [json.loads(line) for line in (self.folder / "run.log").read_text().splitlines()]

    def phase(self, *phases: str, seconds: float = 60) -> dict[str, Any]:
        """The stream once its loop is in one of these states."""
        self.until(lambda: self.stream()["phase"] in phases, seconds)
        return self.stream()

    def sections(self, n: int) -> dict[str, Any]:
        """The stream after n more closed lumi sections."""
        began = self.stream()["ls_closed"]
        self.until(lambda: self.stream()["ls_closed"] >= began + n)
        return self.stream()

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """As `waiting.until`; where it fails it says how all stands."""
        until(condition, seconds, self._where, every_s=0.1)

    def close(self) -> None:
        super().close()
        self.ports.close()

    def _where(self) -> str:
        status = json.dumps(self.status(), indent=1)[:4000] if self.answers() else "no daemon answers"
        return f"{status}\n{self.logs()}"


@contextmanager
def opened(folder: Path, package: Path) -> Iterator[Site]:
    """A site whose processes are ended after it."""
    site = Site(folder, package)
    try:
        yield site
    finally:
        site.close()
