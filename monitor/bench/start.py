"""How long the command line takes to start, over a bare interpreter.

Each command is started in turn, again and again, so that whatever else runs on the machine slows all of them alike;
`status` asks a daemon that answers at once, with nothing to say.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BARE = "python -c pass"
COMMANDS = {
    BARE: ["-c", "pass"],
    "driftd --help": ["-m", "monitor", "--help"],
    "driftd status": ["-m", "monitor", "status"],
}
ANSWER = b'{"boards": {}, "streams": {}}'


def measure(rounds: int) -> dict[str, Any]:
    """Medians in milliseconds, and their ratios to that of a bare interpreter, by command."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with _daemon() as url:
        environment = os.environ | {"DRIFTD_URL": url}
        for name in [*COMMANDS] * (rounds + 1):
            began = time.perf_counter()
            subprocess.run([sys.executable, *COMMANDS[name]], env=environment, stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - began)
    # The first round compiles the modules' bytecode and brings files into memory.
    medians = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    return {
        "rounds": rounds,
        "ms": {name: round(1e3 * median, 1) for name, median in medians.items()},
        "ratio": {name: round(median / medians[BARE], 2) for name, median in medians.items() if name != BARE},
    }


def table(found: dict[str, Any]) -> Iterator[str]:
    """The figures, a line for each command."""
    for name, ms in found["ms"].items():
        ratio = f"  × {found['ratio'][name]:.1f}" if name in found["ratio"] else ""
        yield f"{name:14} {ms:7.1f} ms{ratio}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def _daemon() -> Iterator[str]:
    """The address of what answers as a daemon without boards and streams would."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
