"""`driftd run`, `check` and `health`: what they say before there is a daemon."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from monitor.cli.main import main
from monitor.exits import EX_CONFIG, EX_UNAVAILABLE
from tests.support.http_stub import http_stub
from tests.support.places import ROOT


def driftd(command: str, config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [command, "--config", str(config), *arguments])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped configuration, on a port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "config.toml"
    path.write_text((ROOT / "config.toml").read_text().replace("port = 8765", f"port = {port}"))
    return path


@pytest.mark.parametrize("command", ["run", "health"])
def test_without_a_configuration_it_says_what_writes_one(command: str, tmp_path: Path) -> None:
    done = driftd(command, tmp_path / "absent.toml")
    assert done.exit_code == EX_CONFIG
    assert "cannot be read: No such file or directory; `driftd init` writes one" in done.output


def test_faults_end_the_daemon_before_it_starts(config: Path) -> None:
    config.write_text(config.read_text() + "\n[streams.axol1tl.waits]\nwarm_ls = 0\nnever = 1\n")
    done = driftd("run", config)
    assert done.exit_code == EX_CONFIG
    assert "2 faults" in done.output


def test_check_names_what_is_missing(config: Path) -> None:
    done = driftd("check", config, "--offline", "--json")
    found = json.loads(done.output)
    assert done.exit_code == found["exit_code"] == EX_CONFIG
    assert "streams.axol1tl.package" in {each["part"] for each in found["findings"] if each["mark"] == "bad"}


def test_health_says_where_it_asked_and_how_to_start(config: Path) -> None:
    done = driftd("health", config)
    assert done.exit_code == EX_UNAVAILABLE
    assert "start it with `driftd run`" in done.output


@pytest.mark.parametrize(("answer", "code"), [({"live": True}, 0), ({"live": False}, EX_UNAVAILABLE)])
def test_health_is_what_the_daemon_says(tmp_path: Path, answer: dict[str, bool], code: int) -> None:
    with http_stub() as stub:
        stub.replies = {"GET /live": (200, answer)}
        path = tmp_path / "config.toml"
        port = stub.url.rpartition(":")[2]
        path.write_text((ROOT / "config.toml").read_text().replace("port = 8765", f"port = {port}"))
        assert driftd("health", path).exit_code == code
