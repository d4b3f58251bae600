"""A board that has a forest and no register before it: the daemon turns its thresholds."""

from pathlib import Path

import pytest

from firmware.board.addresses import address_table
from firmware.board.uhal import UhalBoard
from firmware.model.forest import Nodes
from firmware.model.package import Package
from recalib.training.train import SETTINGS
from tests.support.datapaths import built
from tests.support.site import MANY_ACCEPTS, SEEDS, Site
from tests.support.trained import trained

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
min_accepts = {accepts}
[streams.forest.push]
preview_prescale = 1
preview_accepts = 500
[streams.forest.waits]
warm_ls = 2
"""


@pytest.fixture(scope="module")
def forest() -> Path:
    return built(trained(SETTINGS[NAME]))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_jet_scale_is_undone_by_thresholds_that_move_together(site: Site, forest: Path, seed: str) -> None:
    site.board("--ls-seconds", "1.5", "--seed", seed, package=forest)
    config = site.folder / "config.toml"
    config.write_text(CONFIG.format(package=forest, accepts=MANY_ACCEPTS, **site.ports))
    site.daemon(config)
    site.until(lambda: site.stream(NAME)["phase"] == "watching", 240)
    site.operate(do="condition", text="jet_energy_scale=-0.08")
    site.until(lambda: site.stream(NAME)["generation"] == 1, 400)
    site.until(lambda: site.stream(NAME)["phase"] == "watching" and site.stream(NAME)["last"]["level"] == "ok", 240)

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
