"""`driftd model` and `driftd board` of a forest."""

import ctypes
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.model.forest import Forest
from firmware.model.fpu import SHAPE
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.events import Generator, digitise
from firmware.tools.compiler import compiler
from firmware.tools.verilator import Verilator
from monitor.cli.main import main
from recalib.training.train import reference_of
from tests.support.forests import forest_model, random_forest

EVENTS = digitise(Generator(2).draw(20_000, 40.0))


def driftd(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = forest_model()
    reference = reference_of(model, [(EVENTS, None)], (0.05, 0.01), None, 1)
    nominal = Payload.nominal(model, reference.binning.cuts)
    golden = EVENTS[:500]
    path = tmp_path_factory.mktemp("package") / "forest.driftd"
    Package(
        model,
        nominal,
        address_table([(model.name, model.layout, model.n_cuts)]),
        reference.to_bytes(),
        golden,
        Emulator(model).codes(golden, nominal),
        {},
    ).save(path)
    return path


def test_inspect_says_how_large_the_forest_is(package: Path) -> None:
    said = driftd("model", "inspect", package)
    assert said.exit_code == 0, said.output
    assert "64 trees of 64 nodes on 57 inputs → 1, linear" in said.output


def test_every_execution_that_there_is_verifies_the_golden_events(package: Path, tmp_path: Path) -> None:
    said = driftd("model", "verify", package, "--cache", tmp_path, "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.output)
    assert found["executions"].keys() == {"numpy", *(["compiled"] if compiler() else [])}
    assert not any(each["mismatches"] for each in found["executions"].values())
    assert "verilated" in found["lacking"]


def test_another_forest_is_told_apart_by_its_words(package: Path, tmp_path: Path) -> None:
    old = Package.load(package)
    forest = random_forest(SHAPE, 8)
    other = tmp_path / "other.driftd"
    turned = old.nominal.replace(forest=forest.words)
    codes = Emulator(old.model).codes(old.golden_events, turned)
    Package(old.model, turned, old.address_table, old.reference, old.golden_events, codes, {}).save(other)
    said = driftd("model", "diff", package, other)
    assert said.exit_code == 1
    assert "nominal.forest: " in said.output
    assert driftd("model", "diff", package, package).exit_code == 0


@pytest.mark.skipif(compiler() is None or shutil.which("make") is None, reason="no g++ or make")
def test_an_export_builds_gives_the_golden_codes_and_holds_the_nodes_for_conifer(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = driftd("model", "export", package, "--out", out)
    assert said.exit_code == 0, said.output
    assert not (out / "rtl").exists()
    loaded = Package.load(package)
    assert (Forest.from_json(SHAPE, (out / "nodes.json").read_text()).words == loaded.nominal.raw("forest")).all()
    subprocess.run(["make", "-C", out], check=True, capture_output=True)
    emulate = ctypes.CDLL(str(out / "libdriftd_emulator.so")).driftd_emulate
    emulate.restype = ctypes.c_size_t
    n = len(loaded.golden_events)
    arrays = (
        np.ascontiguousarray(loaded.golden_events, np.int32),
        loaded.nominal.words,
        codes := np.empty(n, np.uint32),
        np.empty(n, np.uint32),
        np.empty((n, 1), np.int64),
        np.empty((n, 2), np.uint8),
    )
    events, *rest = (array.ctypes.data_as(ctypes.c_void_p) for array in arrays)
    assert emulate(events, ctypes.c_size_t(n), *rest) == n
    assert (codes == loaded.golden_codes).all()


@pytest.mark.skipif(Verilator.find() is None, reason="no Verilator")
def test_a_board_of_rtl_is_refused_and_says_what_to_take(package: Path) -> None:
    said = driftd("board", "--rtl", "--package", package, "--ipbus-port", 0)
    assert said.exit_code == 1
    assert "forest is a forest: there is no RTL of it, take NumPy integers or C++" in said.output
