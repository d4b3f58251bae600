"""The unit: sound by systemd's own judgement, shut as far as it can be, and of one mind with the daemon."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from monitor.daemon.ingest.receiver import DRAIN_S
from monitor.daemon.service import DISARM_S, TICK_S
from monitor.exits import EX_CONFIG
from tests.support.places import DEPLOY

UNIT = DEPLOY / "systemd" / "driftd.service"
EXPOSURE = 2.0


def analyze(unit: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; Debian has it in systemd")
    command = ["systemd-analyze", "--no-pager", *arguments, str(unit)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def entries(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it is, but for a command that is there."""
    path = tmp_path / UNIT.name
    path.write_text(UNIT.read_text().replace("/opt/driftd/bin/driftd", "/bin/true"))
    return path


def test_systemd_takes_the_unit_without_a_word(unit: Path) -> None:
    done = analyze(unit, "verify")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHome=perhaps"))
    assert "protect home" in analyze(unit, "verify").stderr


def test_the_exposure_is_small(unit: Path) -> None:
    def exposure() -> float:
        done = analyze(unit, "security", "--offline=true")
        return float(re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[0])

    assert exposure() <= EXPOSURE
    unit.write_text(
        re.sub(r"^(Protect\w+|SystemCallFilter|CapabilityBoundingSet)=.*\n", "", unit.read_text(), flags=re.M)
    )
    assert exposure() > EXPOSURE


def test_the_unit_and_the_daemon_agree() -> None:
    found = entries(UNIT.read_text())
    assert found["Type"] == "notify"
    assert found["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert found["RestartPreventExitStatus"] == str(EX_CONFIG)
    assert float(found["WatchdogSec"]) / 4 >= TICK_S
    assert float(found["TimeoutStopSec"]) > 2 * (DRAIN_S + DISARM_S + 1)
    assert found["KillMode"] == "mixed", "a driver that ends before the daemon cannot disarm a swap"


def test_every_exception_says_why() -> None:
    """A line that keeps something open has a comment above it."""
    lines = UNIT.read_text().splitlines()
    for name in ("RestrictAddressFamilies", "MemoryDenyWriteExecute", "ProcSubset", "KillMode"):
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{name}=")]
        assert lines[at - 1].startswith("# ")


def test_the_user_of_the_unit_is_made(tmp_path: Path) -> None:
    """By systemd-sysusers itself, in an empty root."""
    (tmp_path / "etc").mkdir()
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd-sysusers is not installed; Debian has it in systemd")
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", "-"],
        input=UNIT.with_name("driftd.conf").read_text(),
        text=True,
        check=True,
    )
    user = entries(UNIT.read_text())["User"]
    (line,) = [line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith(f"{user}:")]
    assert line.endswith(":/var/lib/driftd:/usr/sbin/nologin")
