"""`driftd init`: a configuration that is whole, and never in the place of another."""

from pathlib import Path

from click.testing import CliRunner

from monitor import config
from monitor.cli.main import main
from monitor.exits import EX_FAILED, EX_USAGE
from tests.support.places import ROOT


def test_what_is_written_is_a_whole_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    done = CliRunner().invoke(main, ["init", "--config", str(path)])
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == (ROOT / "config.toml").read_bytes()
    assert config.load(path).streams.keys() == {"axol1tl"}
    assert "driftd model train" in done.output


def test_a_file_that_is_there_stays_as_it_is_unless_it_is_forced(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("mine")
    done = CliRunner().invoke(main, ["init", "--config", str(path)])
    assert (done.exit_code, path.read_text()) == (EX_USAGE, "mine")
    assert "--force" in done.output
    assert CliRunner().invoke(main, ["init", "--config", str(path), "--force"]).exit_code == 0
    assert path.read_text() != "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["init", "--config", str(tmp_path / "no" / "config.toml")])
    assert done.exit_code == EX_FAILED
    assert "no/config.toml cannot be written: No such file" in done.output
