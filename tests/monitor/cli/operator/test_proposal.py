"""The commands that show a proposal, against an interface that answers from a script."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from monitor import exits
from monitor.cli import main as cli
from monitor.cli.operator import connection, recalibrate
from tests.support.proposals import proposal

STREAM = "/api/v1/streams/axol1tl"


class Api:
    """A daemon whose stream is asked for a fit and then makes `new` of it."""

    def __init__(self, new: list[dict[str, Any]]) -> None:
        self.old = [proposal(reason="an older one").to_dict()]
        self.new = new
        self.asked = False

    def get(self, path: str) -> Any:
        answers: dict[str, Any] = {
            STREAM: {"phase": "watching", "generation": 0, "reason": "a dry run"},
            f"{STREAM}/proposals": [*(self.new if self.asked else []), *self.old],
            f"/api/v1/proposals/{self.old[0]['id'][:8]}": self.old[0],
        }
        return answers[path]

    def post(self, path: str, **body: Any) -> Any:
        assert (path, body["dry_run"]) == (f"{STREAM}/recalibrate", True)
        self.asked = True


def run(monkeypatch: pytest.MonkeyPatch, api: Api, *arguments: str) -> Any:
    monkeypatch.setattr(connection, "Client", lambda url, token, ca: api)
    monkeypatch.setattr(recalibrate, "POLL_S", 0)
    return CliRunner().invoke(cli.main, arguments)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_dry_run_prints_its_candidates_and_gates_and_draws_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, accepted: bool
) -> None:
    plot = tmp_path / "a.png"
    api = Api([proposal(accepted=accepted).to_dict()])
    done = run(monkeypatch, api, "recalibrate", "axol1tl", "--dry-run", "--plot", str(plot))
    assert done.exit_code == (0 if accepted else 1), done.output
    assert f"input_scale: {'accepted' if accepted else 'rejected'}" in done.output
    assert "▶ input_scale" in done.output
    assert "jet +8.3 ± 0.4 %" in done.output
    assert "! signal resonance" in done.output
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_fit_that_gave_no_proposal_shows_no_older_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plot = tmp_path / "a.png"
    done = run(monkeypatch, Api([]), "recalibrate", "axol1tl", "--dry-run", "--plot", str(plot))
    assert done.exit_code == 1
    assert "no proposal was made" in done.output
    assert not plot.exists()


def test_a_stored_proposal_is_shown_by_its_name_or_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = Api([])
    name = api.old[0]["id"]
    said = run(monkeypatch, api, "proposal", "show", name[:8], "--json")
    assert json.loads(said.output) == api.old[0]
    path = tmp_path / "a.json"
    path.write_text(said.output)
    plot = tmp_path / "a.pdf"
    shown = run(monkeypatch, api, "proposal", "show", str(path), "--plot", str(plot))
    assert name[:12] in shown.output
    assert plot.read_bytes().startswith(b"%PDF")
    path.write_text("[1]")
    assert run(monkeypatch, api, "proposal", "show", str(path)).exit_code == exits.EX_USAGE
