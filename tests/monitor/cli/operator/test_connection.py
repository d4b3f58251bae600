"""Which daemon a command speaks to, as whom, and what a refusal becomes."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from monitor.cli.main import main
from monitor.cli.operator.connection import EXIT_CODES
from monitor.exits import EX_FAILED, EX_UNAVAILABLE, EX_USAGE
from tests.support.http_stub import HttpStub, http_stub

STATUS = "GET /api/v1/status"
EMPTY = {"boards": {}, "streams": {}}


@pytest.fixture(autouse=True)
def _nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DRIFTD_URL", "DRIFTD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def status(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["status", "--url", url, *arguments])


def sent(stub: HttpStub) -> str | None:
    return stub.asked[-1][1].get("Authorization")


@pytest.mark.parametrize(("code", "exit_code"), [*EXIT_CODES.items(), (500, EX_FAILED)])
def test_a_refusal_becomes_its_exit_code_with_the_daemons_words(code: int, exit_code: int) -> None:
    with http_stub() as stub:
        stub.replies = {STATUS: (code, {"error": "because"})}
        done = status(stub.url)
    assert (done.exit_code, done.output) == (exit_code, "driftd: because\n")


def test_an_answer_that_is_not_the_daemons_is_shown_as_it_is() -> None:
    with http_stub() as stub:
        stub.replies = {STATUS: (502, b"<html>Bad Gateway</html>")}
        assert status(stub.url).output == "driftd: <html>Bad Gateway</html>\n"


def test_no_daemon_says_what_to_start() -> None:
    done = status("http://127.0.0.1:9")
    assert done.exit_code == EX_UNAVAILABLE
    assert "no daemon at http://127.0.0.1:9: [Errno 111] Connection refused; is `driftd run` running" in done.output


@pytest.mark.parametrize("url", ["127.0.0.1:8765", "ftp://host", "http://", "http://[::1"])
def test_an_address_that_is_none_says_what_is_expected(url: str) -> None:
    done = status(url)
    assert done.exit_code == EX_USAGE
    assert "expected http://host:port" in done.output


def test_the_token_of_the_option_goes_before_the_environments_and_that_before_the_daemons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text('state_dir = "state"')
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "operator.token").write_text("own\n")
    (tmp_path / "mine").write_text("mine\n")
    with http_stub() as stub:
        stub.replies = {STATUS: (200, EMPTY)}
        assert status(stub.url).exit_code == 0
        assert sent(stub) == "Bearer own"
        monkeypatch.setenv("DRIFTD_TOKEN", "environment")
        status(stub.url)
        assert sent(stub) == "Bearer environment"
        status(stub.url, "--token-file", "mine")
        assert sent(stub) == "Bearer mine"


def test_the_daemons_own_token_is_not_shown_to_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "var" / "operator.token").write_text("own")
    with http_stub() as stub, http_stub() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        stub.replies = {STATUS: (200, EMPTY)}
        assert status(stub.url).exit_code == 0
    assert sent(stub) == "Bearer own"
    assert proxy.asked == []


@pytest.mark.parametrize("option", ["--token-file", "--ca"])
def test_a_file_that_cannot_be_read_is_named_with_its_option(option: str) -> None:
    done = status("https://127.0.0.1:9", option, "absent")
    assert done.exit_code == EX_USAGE
    assert f"{option} absent: " in done.output
