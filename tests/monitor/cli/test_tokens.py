"""`driftd token`: made, listed, revoked."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from monitor.cli.main import main
from monitor.daemon.http import tokens
from monitor.exits import EX_FAILED, EX_USAGE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def token(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments, "--file", str(path)])


def test_a_token_is_printed_once_listed_and_revoked(path: Path) -> None:
    made = token(path, "add", "ada", "--role", "shifter", "--expires", "90")
    assert made.exit_code == 0, made.output
    assert made.output.strip() not in path.read_text()
    assert tokens.read(path)["ada"].role == "shifter"
    assert token(path, "list").output.startswith("ada: shifter, expires ")
    assert token(path, "revoke", "ada").exit_code == 0
    assert token(path, "list").output == ""


def test_a_name_has_one_token(path: Path) -> None:
    token(path, "add", "ada", "--role", "viewer")
    again = token(path, "add", "ada", "--role", "expert")
    assert again.exit_code == EX_USAGE
    assert "driftd token revoke ada" in again.output
    assert tokens.read(path)["ada"].role == "viewer"


def test_a_token_that_is_not_there_cannot_be_revoked(path: Path) -> None:
    token(path, "add", "ada", "--role", "viewer")
    done = token(path, "revoke", "bob")
    assert done.exit_code == EX_USAGE
    assert "'bob' has no token" in done.output


def test_a_file_with_faults_is_said(path: Path) -> None:
    path.write_text("a = = 3")
    assert token(path, "list").exit_code == EX_FAILED
