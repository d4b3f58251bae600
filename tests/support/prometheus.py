"""A Prometheus and an Alertmanager of their own on loopback, from the shipped files, and whom they call."""

import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.places import DEPLOY

FASTER = 20
"""Every interval of the shipped files is shorter by this, as are the lumi sections of the simulated board."""
START_S = 300
"""For both to start and a first scrape; it costs only where they do not."""
INTERVALS = {
    "scrape_interval",
    "scrape_timeout",
    "evaluation_interval",
    "for",
    "group_wait",
    "group_interval",
    "repeat_interval",
}
SECONDS = {"s": 1, "m": 60, "h": 3600}


def faster(tree: Any, addresses: dict[str, str]) -> Any:
    """The same configuration with short intervals and other addresses."""
    if isinstance(tree, list):
        return [faster(each, addresses) for each in tree]
    if isinstance(tree, dict):
        return {key: _shortened(value) if key in INTERVALS else faster(value, addresses) for key, value in tree.items()}
    if isinstance(tree, str):
        for shipped, here in addresses.items():
            tree = tree.replace(shipped, here)
    return tree


def _shortened(interval: str) -> str:
    number, unit = re.fullmatch(r"(\d+)([smh])", interval).groups()  # type: ignore[union-attr]
    return f"{int(1000 * int(number) * SECONDS[unit] / FASTER)}ms"


class Called:
    """A webhook that remembers who was called, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        calls = self.calls

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                calls.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def about(self, alert: str) -> tuple[str, dict[str, Any]] | None:
        """On which path it was first told that an alert fires, and the alert."""
        for path, body in list(self.calls):
            for each in body["alerts"]:
                if each["status"] == "firing" and each["labels"]["alertname"] == alert:
                    return path, each
        return None


class Watch:
    """Prometheus, Alertmanager and the webhook behind them."""

    def __init__(self, folder: Path, daemon: str) -> None:
        for name in ("prometheus", "prometheus-alertmanager"):
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed; Debian has it")
        self.called = Called()
        self.url, self.alertmanager = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
        self._running: list[subprocess.Popen[bytes]] = []
        self._log = (folder / "watch.log").open("ab")
        addresses = {
            "127.0.0.1:8765": daemon.removeprefix("http://"),
            "127.0.0.1:9093": self.alertmanager.removeprefix("http://"),
            "127.0.0.1:9095": self.called.address,
        }
        for source in (*(DEPLOY / "prometheus").glob("*.yml"), DEPLOY / "alertmanager" / "alertmanager.yml"):
            if source.name != "tests.yml":
                tree = faster(yaml.safe_load(source.read_text()), addresses)
                (folder / source.name).write_text(yaml.safe_dump(tree))
        self._start(
            "prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/alerts",
            f"--web.listen-address={self.alertmanager.removeprefix('http://')}", "--cluster.listen-address=",
        )  # fmt: skip
        self._start(
            "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/samples",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        )  # fmt: skip

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).raise_for_status().json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def evaluations(self) -> int:
        """Times that the alerts were evaluated, those left out on a busy machine not counted."""
        text = httpx.get(f"{self.url}/metrics").raise_for_status().text

        def count(name: str) -> float:
            lines = [line for line in text.splitlines() if line.startswith(f"prometheus_rule_group_{name}_total{{")]
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines if "driftd_alerts" in line)

        return int(count("iterations") - count("iterations_missed"))

    def ready(self) -> bool:
        try:
            return bool(self.query("up == 1")) and httpx.get(f"{self.alertmanager}/-/ready").is_success
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        for process in self._running:
            process.terminate()
            process.wait(timeout=20)
        self.called.server.shutdown()
        self._log.close()

    def _start(self, *command: str) -> None:
        self._running.append(subprocess.Popen(command, stdout=self._log, stderr=self._log))


@contextmanager
def watch(folder: Path, daemon: str, until: Callable[[Callable[[], bool], float], None]) -> Iterator[Watch]:
    """From the first scrape that succeeds; all processes are ended after it."""
    folder.mkdir()
    found = Watch(folder, daemon)
    try:
        until(found.ready, START_S)
        yield found
    finally:
        found.close()


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
