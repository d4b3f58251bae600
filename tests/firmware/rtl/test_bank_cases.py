"""The register bank in SystemVerilog: its cases clock by clock in cocotb, and what other tools say to it."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from firmware.model import axol1tl
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import top
from firmware.tools.verilator import Verilator
from tests.support.builds import alone, builds
from tests.support.networks import registered_models

HERE = Path(__file__).parent
SOURCES = (*top.STREAM_PARTS, HERE / "bench.sv")
CASES = re.findall(r"@case\nasync def (\w+)", (HERE / "bank_cases.py").read_text())


@pytest.fixture(scope="module")
def results(verilator: Verilator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong in each case, an empty text where nothing did."""
    runner = pytest.importorskip("cocotb_tools.runner").get_runner("verilator")
    folder = tmp_path_factory.mktemp("cocotb")
    model = builds() / "cocotb"
    with pytest.MonkeyPatch.context() as patch, alone(builds() / "cocotb.lock"):
        patch.setenv("VERILATOR_ROOT", str(verilator.root))
        patch.setenv("PATH", str(verilator.program.parent), prepend=os.pathsep)
        patch.syspath_prepend(HERE)
        runner.build(
            sources=SOURCES,
            hdl_toplevel="bench",
            build_dir=model,
            build_args=["-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include"],
            log_file=folder / "build.log",
        )
        found = runner.test(
            hdl_toplevel="bench",
            test_module="bank_cases",
            build_dir=model,
            test_dir=folder,
            log_file=folder / "test.log",
            results_xml=str(folder / "results.xml"),
        )
    return {case.get("name", ""): failure(case) for case in ElementTree.parse(found).iterfind(".//testcase")}


def failure(case: ElementTree.Element) -> str:
    return "\n".join(part.get("message", "") for part in case if part.tag in ("failure", "error", "skipped"))


@pytest.mark.parametrize("case", CASES)
def test_case(results: dict[str, str], case: str) -> None:
    assert results[case] == ""


def small() -> Model:
    random = np.random.default_rng(5)
    shapes = ((57, 6), (6, 4), (4, 3))
    weights, biases = ([random.normal(0, 0.3, shape[at:]) for shape in shapes] for at in (0, 1))
    return axol1tl.model("small", weights, biases, np.full(57, 4), np.zeros(57), lut_bits=6, n_cuts=2)


NETWORKS = {"frozen": small(), **registered_models()}
"""By what registers hold of the network itself."""


@pytest.fixture(scope="module", params=NETWORKS)
def sources(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """All of a stream."""
    model = NETWORKS[request.param]
    nominal = Payload.nominal(model, np.full(model.n_cuts, 100))
    return top.write(model, nominal, tmp_path_factory.mktemp("sources"))


def test_verilator_has_nothing_to_remark(verilator: Verilator, sources: list[Path]) -> None:
    assert verilator.lint(sources, top.NAME) == ""


def test_yosys_reads_it_and_finds_the_memories(sources: list[Path], tmp_path: Path) -> None:
    """Both LUTs, both banks' words, the image, and the events and codes that are played stay memories."""
    yosys = shutil.which("yosys")
    if yosys is None:
        pytest.skip("no yosys")
    read = f"read_verilog -sv {' '.join(map(str, sources))}; hierarchy -check -top {top.NAME}"
    steps = "proc; flatten; opt_clean; check -assert; memory_collect; tee -q -o stat stat"
    subprocess.run([yosys, "-q", "-p", f"{read}; {steps}"], cwd=tmp_path, check=True)
    assert re.findall(r"\$mem_v2 +(\d+)", (tmp_path / "stat").read_text()) == ["5"]
