"""`driftd audit`: entries as sentences, and where the record itself is not to be found."""

from pathlib import Path

from click.testing import CliRunner

from monitor.cli.main import main
from monitor.exits import EX_CONFIG, EX_FAILED
from tests.support.http_stub import http_stub

ENTRY = {
    "sequence": 3, "time": "2026-01-01T00:00:00Z", "who": "ada", "role": "expert", "peer": "127.0.0.1",
    "command": "freeze", "stream": "axol1tl", "arguments": {"to": "nominal"}, "reason": "access",
    "outcome": "done", "status": 200, "text": "",
}  # fmt: skip


def test_entries_are_shown_oldest_first_with_the_head() -> None:
    newer = ENTRY | {"sequence": 4, "who": "", "role": "", "reason": "", "status": 403, "outcome": "refused"}
    with http_stub() as stub:
        stub.replies = {"GET /api/v1/audit?limit=2": (200, {"entries": [newer, ENTRY], "count": 4, "head": "abc"})}
        done = CliRunner().invoke(main, ["audit", "show", "--limit", "2", "--url", stub.url])
    assert done.output.splitlines() == [
        "3 2026-01-01T00:00:00Z ada (expert) from 127.0.0.1: freeze axol1tl to=nominal 'access': done 200",
        "4 2026-01-01T00:00:00Z nobody known (no role) from 127.0.0.1: freeze axol1tl to=nominal: refused 403",
        "4 entries, head abc",
    ]


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["audit", "verify", "--config", str(tmp_path / "absent.toml")])
    assert done.exit_code == EX_CONFIG
    assert "absent.toml" in done.output


def test_a_record_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('state_dir = "here"')
    done = CliRunner().invoke(main, ["audit", "verify", "--config", str(tmp_path / "config.toml")])
    assert done.exit_code == EX_FAILED
    assert "here/audit.sqlite" in done.output
