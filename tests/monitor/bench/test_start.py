"""The command line starts in a moment: measured as `driftd bench start` measures it."""

import json

from click.testing import CliRunner

from monitor.cli.main import main


def test_help_and_status_start_within_ten_times_a_bare_interpreter() -> None:
    done = CliRunner().invoke(main, ["bench", "start", "--rounds", "5", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["ratio"].keys() == {"driftd --help", "driftd status"}
    assert max(found["ratio"].values()) < 10, found
