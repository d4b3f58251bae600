"""The demo's own board and daemon: two processes, their ports, and what they say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from firmware.board.board import Counters, RemoteBoard
from firmware.board.uhal import UhalBoard
from firmware.errors import FirmwareError
from firmware.model.package import Package
from monitor.client import HttpClient, NoAnswer
from monitor.demo.world import operate

STREAM = "axol1tl"
START_S, END_S = 60, 10
"""Seconds that the daemon may take to answer at first, and that a process may take to end."""

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


class DemoFailed(Exception):
    """The demo could not be played to its end."""


class DemoSite:
    """A simulated board and a daemon in ``folder``, from entering to leaving it.

    What the board counted is read over IPbus, beside the daemon, so that the verdict is not the daemon's own.
    """

    def __init__(self, package: Path, folder: Path) -> None:
        self.folder = folder
        self.counters: dict[int, Counters] = {}
        self._package = package
        self._ports = _free_ports("http", "ipbus", "scores", "control")
        self.url = f"http://127.0.0.1:{self._ports['http']}"
        self._http = HttpClient(self.url, proxies=False)
        uri = f"ipbusudp-2.0://127.0.0.1:{self._ports['ipbus']}"
        self._board = RemoteBoard(UhalBoard, uri, Package.load(package).address_table)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        # A ledger of an earlier demo knows a board that is gone.
        for old in self.folder.glob("ledger.sqlite*"):
            old.unlink()
        config = self.folder / "config.toml"
        text = CONFIG.format(stream=STREAM, package=self._package.resolve(), **self._ports)
        config.write_text(text, encoding="utf-8")
        with ExitStack() as running:
            running.callback(self._board.close)
            running.enter_context(self._process("board", *self._board_arguments()))
            running.enter_context(self._process("run", "--config", str(config)))
            self._await_daemon()
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def condition(self, text: str) -> None:
        """Change the world around the board.

        Raises:
            WorldError: the board does not answer or refuses.
        """
        operate(f"tcp://127.0.0.1:{self._ports['control']}", do="condition", text=text)

    def status(self) -> dict[str, Any]:
        """How the stream is doing, as the daemon says it."""
        found: dict[str, Any] = self._get(f"/api/v1/streams/{STREAM}")
        return found

    def windows(self) -> list[dict[str, Any]]:
        """The last lumi sections of the stream, oldest first."""
        found: list[dict[str, Any]] = self._get(f"/api/v1/streams/{STREAM}/windows?limit=1000")
        return found

    def memory_mb(self) -> dict[str, int]:
        """What the daemon's processes take."""
        return {name: round(size / 1e6) for name, size in self._get("/api/v1/status")["memory_bytes"].items()}

    def read_counters(self) -> None:
        """Keep what the board counted in its last lumi section; it may be asked too late, or not answer."""
        try:
            counters = self._board.counters(STREAM)
        except FirmwareError:
            return
        self.counters[counters.ls] = counters

    def _get(self, path: str) -> Any:
        try:
            answer = self._http.get(path)
        except NoAnswer as error:
            raise DemoFailed(f"the daemon does not answer: {error}; see {self.folder / 'run.log'}") from None
        if not answer.good:
            raise DemoFailed(f"the daemon answered {path} with {answer.status}; see {self.folder / 'run.log'}")
        return answer.json()

    def _board_arguments(self) -> list[str]:
        return [
            "--package",
            str(self._package),
            "--publish",
            f"tcp://127.0.0.1:{self._ports['scores']}",
            "--ipbus-port",
            str(self._ports["ipbus"]),
            "--control",
            f"tcp://127.0.0.1:{self._ports['control']}",
        ]

    @contextmanager
    def _process(self, *arguments: str) -> Iterator[None]:
        """A `driftd` process of its own, its log in the demo's folder; ended by its process id."""
        command = [sys.executable, "-m", "monitor", *arguments]
        with (self.folder / f"{arguments[0]}.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"NO_COLOR": "1"})
            try:
                yield
            finally:
                process.terminate()
                try:
                    process.wait(timeout=END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _await_daemon(self) -> None:
        due = time.monotonic() + START_S
        while time.monotonic() < due:
            try:
                self._http.get("/live")
                return
            except NoAnswer:
                time.sleep(0.2)
        raise DemoFailed(f"the daemon did not start within {START_S} s; see {self.folder / 'run.log'}")


def _free_ports(*names: str) -> dict[str, int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: s.getsockname()[1] for name, s in zip(names, sockets, strict=True)}
    for s in sockets:
        s.close()
    return ports
