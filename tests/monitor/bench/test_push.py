"""The figures of a push."""

import json
from pathlib import Path

from click.testing import CliRunner

from monitor.cli.main import main


def test_the_push_is_measured_beside_bare_access(tmp_path: Path) -> None:
    arguments = ["bench", "push", "--rounds", "3", "--cache", str(tmp_path), "--seed", "1", "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["words"] > 4096
    ms = found["ms"]
    assert set(ms) == {"bare", "transaction", "ledger", "proof", "playback", "confirmation"}
    assert 0 < ms["ledger"] < ms["transaction"]
    assert found["ratio"] == round(ms["bare"] / ms["transaction"], 2)
    assert found["ratio"] < found["ratio_bus"]
    assert found["vectors"] > 116
