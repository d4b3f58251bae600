"""A board that has a forest and no register before it: the daemon turns its thresholds."""

from pathlib import Path
from typing import Any

import pytest

from firmware.board.addresses import address_table
from firmware.board.uhal import UhalBoard
from firmware.model.forest import Nodes
from firmware.model.package import Package
from recalib.training.train import SETTINGS, build_package
from tests.system.conftest import ROOT, Site

NAME = "forest"

CONFIG = """
state_dir = "."
[http]
port = {http}
[boards.gt]
uri = "ipbusudp-2.0://127.0.0.1:{ipbus}"
deadline_s = 1.0
[streams.forest]
package = "{package}"
board = "gt"
addresses = ["tcp://127.0.0.1:{scores}"]
[streams.forest.recalibrate]
knobs = ["threshold", "forest"]
min_accepts = 150
[streams.forest.push]
preview_prescale = 1
preview_accepts = 500
[streams.forest.waits]
warm_ls = 2
"""


@pytest.fixture(scope="module")
def forest() -> Path:
    """Trained once and kept in ``var``."""
    path = ROOT / "var" / "forest.driftd"
    build_package(path, SETTINGS[NAME])
    return path


def test_a_jet_scale_is_undone_by_thresholds_that_move_together(site: Site, forest: Path) -> None:
    def stream() -> dict[str, Any]:
        found: dict[str, Any] = site.status()["streams"][NAME]
        return found

    site.board("--ls-seconds", "1.5", package=forest)
    config = site.folder / "config.toml"
    config.write_text(CONFIG.format(package=forest, **site.ports))
    site.start("run", "--config", str(config))
    site.until(site.answers, 60)
    site.until(lambda: stream()["phase"] == "watching", 240)
    site.operate(do="condition", text="jet_energy_scale=-0.08")
    site.until(lambda: stream()["generation"] == 1, 400)
    site.until(lambda: stream()["phase"] == "watching" and stream()["last"]["level"] == "ok", 240)

    package = Package.load(forest)
    layout, model = package.model.layout, package.model
    table = address_table([(NAME, layout, model.n_cuts)])
    words = UhalBoard(f"ipbusudp-2.0://127.0.0.1:{site.ports['ipbus']}", table).read_bank(NAME, "active")
    changed = {
        field.name for field in layout.fields if (words[field.words] != package.nominal.words[field.words]).any()
    }
    assert "forest" in changed
    assert changed <= {"forest", "cuts"}
    old, new = (Nodes.of(bank[layout["forest"].words]) for bank in (package.nominal.words, words))
    jets = old.inner & (old.value > 500) & [int(f) in model.energies("jet") for f in old.feature]
    assert (new.value[jets] < old.value[jets]).all()
