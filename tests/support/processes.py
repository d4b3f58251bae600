"""The commands of the project as processes of their own, which are ended by their process id."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import PATIENCE, strained

COMMAND = [sys.executable, "-m", "monitor"]
END_S = 15
"""After SIGTERM, of an idle machine."""


class Processes:
    """What runs in a folder, each with a log there that is called like it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """That of the tests as it is now, as one may have changed it."""
        return os.environ | {"OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str, name: str = "") -> subprocess.Popen[bytes]:
        """A command of the CLI, called by its first word if not otherwise."""
        return self.launch([*COMMAND, *arguments], name or arguments[0])

    def launch(self, command: list[str], name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        return self.running[name]

    def driftd(self, *arguments: str, seconds: float = 400) -> subprocess.CompletedProcess[str]:
        """A command of the CLI, run to its end in the folder."""
        return subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE * seconds,
            env=self.environment,
            cwd=self.folder,
            check=False,
        )

    def end(self, name: str) -> int:
        """Its exit code after SIGTERM."""
        process = self.running.pop(name)
        process.terminate()
        return process.wait(strained(END_S))

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def logs(self) -> str:
        """The ends of all logs."""
        return json.dumps({path.name: path.read_text()[-800:] for path in self.folder.glob("*.log")}, indent=1)
