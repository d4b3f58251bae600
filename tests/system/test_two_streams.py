"""Two algorithms on one board, watched by one daemon: each has its registers, its loop and its own say."""

from pathlib import Path

import pytest

from firmware.board.addresses import address_table
from firmware.board.uhal import UhalBoard
from firmware.model.package import Package
from recalib.training.train import SETTINGS
from tests.support.datapaths import built
from tests.support.site import MANY_ACCEPTS, SEEDS, STREAM, Site
from tests.support.trained import trained

OTHER = "cicada"
DRIFT = "jet_energy_scale=-0.06"

CONFIG = """
[streams.cicada]
package = "{package}"
board = "gt"
addresses = ["tcp://127.0.0.1:{scores}"]
[streams.cicada.recalibrate]
min_events = 40_000
memory_events = 60_000
min_accepts = {accepts}
[streams.cicada.push]
preview_prescale = 1
preview_accepts = 500
[streams.cicada.waits]
warm_ls = 2
"""


@pytest.fixture(scope="module")
def cicada() -> Path:
    """The student that sees the regions."""
    return built(trained(SETTINGS[OTHER]))


@pytest.mark.parametrize("seed", SEEDS)
def test_both_are_recalibrated_and_a_frozen_one_leaves_the_other_alone(site: Site, cicada: Path, seed: str) -> None:
    """The jets' scale falls: the free stream is brought back while the other waits, then the other, once it may."""
    site.board("--package", str(cicada), "--ls-seconds", "1.5", "--seed", seed)
    site.daemon(accepts=MANY_ACCEPTS, extra=CONFIG.format(package=cicada, accepts=MANY_ACCEPTS, **site.ports))
    site.until(lambda: all(stream["phase"] == "watching" for stream in site.status()["streams"].values()), 240)
    assert site.driftd("freeze", OTHER, "--reason", "by hand").returncode == 0
    site.operate(do="condition", text=DRIFT)

    site.until(lambda: site.stream()["generation"] == 1, 400)
    site.until(lambda: site.stream()["phase"] == "watching", 240)
    site.until(lambda: site.stream()["last"]["level"] == "ok", 240)
    frozen = site.stream(OTHER)
    assert (frozen["phase"], frozen["generation"]) == ("frozen", 0)
    assert frozen["last"]["level"] == "drift"
    nominal = Package.load(cicada).nominal
    board = UhalBoard(f"ipbusudp-2.0://127.0.0.1:{site.ports['ipbus']}", _table(site.package, cicada))
    assert (board.read_bank(OTHER, "active") == nominal.words).all()

    assert site.driftd("unfreeze", OTHER, "--reason", "by hand").returncode == 0
    site.until(lambda: site.stream(OTHER)["generation"] == 1, 400)
    site.until(lambda: site.stream(OTHER)["last"]["level"] == "ok", 240)
    both = site.status()["streams"]
    assert both[STREAM]["generation"] == 1
    assert {change["field"] for change in both[OTHER]["registers"]} <= {"input_scale", "cuts"}
    assert (board.read_bank(OTHER, "active") != nominal.words).any()
    assert set(site.operate(do="status")["streams"]) == set(both) == {STREAM, OTHER}


def _table(*packages: Path) -> str:
    models = [Package.load(path).model for path in packages]
    return address_table([(model.name, model.layout, model.n_cuts) for model in models])
