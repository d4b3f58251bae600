"""What Yosys counts, on a network small enough to be synthesised in seconds."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import asdict, astuple, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from firmware.datapath import cost
from firmware.datapath.cost import FROZEN, Cost, Resources, Synthesis, count, designs
from firmware.datapath.emulator import Emulator
from firmware.datapath.verilated import VerilatedDatapath
from firmware.errors import SynthesisError, YosysMissing
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.parts import Condition, Dense, Feature, Normalisation, Registers, Rings, Score
from firmware.model.payload import Payload
from firmware.rtl import datapath
from firmware.tools.verilator import Verilator
from firmware.tools.yosys import Yosys, flow
from monitor.cli.main import main
from tests.support.builds import builds
from tests.support.networks import differences

CUTS = [300]
NETWORK = {"conditions", "last layer's weights"}
"""What only a network of registers has."""
Drawn = Callable[[Model, int, int], NDArray[np.int64]]
Made = Callable[[Model, int], Payload]


@pytest.fixture(scope="module")
def yosys() -> Yosys:
    found = Yosys.find()
    if found is None:
        pytest.skip("no Yosys")
    return found


@pytest.fixture(scope="module")
def settings() -> Synthesis:
    """Counts are kept by the sources and commands that they come from."""
    return Synthesis(cache=builds() / "cost")


def small_model(lut_bits: int = 4, width: int = 8) -> Model:
    """Two energies and an η into two sums, whose squares are the score."""
    parse, rng = Fixed.parse, np.random.default_rng(5)
    result = Fixed(width, width, rounding="RND", overflow="SAT")
    registers = Registers(parse("ufixed<8,2>"), parse("fixed<8,6>"), result)
    between = Fixed(width + 2, width + 2)
    return Model(
        "small",
        (
            Feature("pt", "x", "pt", Fixed(6, 6, signed=False)),
            Feature("eta", "x", "eta", Fixed(6, 6)),
            Feature("energy", "y", "energy", Fixed(7, 7, signed=False)),
        ),
        (Rings("x", 4, 4),),
        registers,
        Normalisation(np.array([0, 1, 2]), np.array([3, -4, 5]), between, between, result),
        (
            Dense(
                rng.integers(-8, 8, (3, 2)),
                rng.integers(-8, 8, 2),
                parse("fixed<4,2>"),
                parse("fixed<5,3>"),
                parse("fixed<20,16>"),
                result,
                relu=False,
            ),
        ),
        registers,
        Score("sum_of_squares", None, parse("ufixed<12,12>"), parse("ufixed<12,12>")),
        Registers(parse("ufixed<8,2>"), parse("fixed<12,12>"), parse("ufixed<12,12,RND,SAT>")),
        lut_bits=lut_bits,
        n_cuts=len(CUTS),
    )


@pytest.fixture(scope="module")
def counted(yosys: Yosys, settings: Synthesis) -> Cost:
    return cost.cost(small_model(), CUTS, settings, lambda said: None)


def counts(yosys: Yosys, model: Model, name: str, settings: Synthesis) -> Resources:
    """Of one of the designs."""
    (design,) = (design for design in designs(model, CUTS) if design.name == name)
    return count(yosys, design, settings)[0]


def test_the_parts_add_up_to_the_stream_as_it_is_written(yosys: Yosys, counted: Cost, settings: Synthesis) -> None:
    assert counted.total == counts(yosys, small_model(), cost.WITH_PLAYBACK, settings)


def test_every_part_that_can_be_set_costs_registers_and_logic(counted: Cost) -> None:
    assert set(counted.knobs) == set(cost.KNOBS) - NETWORK
    for name, part in (counted.parts | {"total": counted.total}).items():
        if name not in ("LUT", cost.TOGETHER):
            assert part.lut > 0, name
            assert part.ff > 0, name


def test_a_knob_costs_the_flip_flops_of_its_registers_in_both_banks(counted: Cost) -> None:
    layout = small_model().layout
    for name, fields in cost.KNOBS.items():
        if name not in ("LUT", *NETWORK):
            assert counted.knobs[name].ff >= sum(2 * layout[field].size * layout[field].type.width for field in fields)


def test_only_multiplications_that_the_registers_can_change_and_squares_are_made_of_dsps(counted: Cost) -> None:
    assert counted.frozen.dsp == 2
    assert counted.bank.dsp == counted.preview.dsp == counted.playback.dsp == counted.knobs["cuts"].dsp == 0
    assert counted.knobs["input scales and offsets"].dsp == 3
    assert counted.knobs["latent scales and offsets"].dsp == 2
    assert counted.knobs["output scale and offset"].dsp == 1


def test_weights_in_registers_take_a_dsp_for_every_product_and_conditions_none(
    yosys: Yosys, counted: Cost, settings: Synthesis
) -> None:
    (layer,) = small_model().layers
    weighted = replace(small_model(), layers=(replace(layer, reconfigurable=True),))
    found = counts(yosys, weighted, "last layer's weights", settings)
    bank = counts(yosys, weighted, cost.BANK, settings)
    assert found.dsp - bank.dsp == layer.weight.size
    assert found.ff - bank.ff >= 2 * (layer.weight.size * 4 + layer.bias.size * 5)
    told = replace(layer, weight=np.concatenate([layer.weight, [[3, -5]]]))
    condition = Condition("pileup", Fixed(6, 3), 0, -20, 20)
    conditioned = replace(small_model(), layers=(told,), conditions=(condition,))
    found, bank = (counts(yosys, conditioned, name, settings) for name in ("conditions", cost.BANK))
    assert found.dsp == bank.dsp
    assert found.ff > bank.ff


def test_without_dsps_the_multiplications_become_luts(yosys: Yosys, counted: Cost, settings: Synthesis) -> None:
    frozen = counts(yosys, small_model(), FROZEN, replace(settings, dsp=False))
    assert frozen.dsp == 0
    assert frozen.lut > counted.frozen.lut


def test_the_memory_of_played_events_is_block_ram(counted: Cost) -> None:
    assert counted.playback.ramb18 + counted.playback.ramb36 > 0


def test_a_lut_of_more_bits_takes_more_block_ram(yosys: Yosys, counted: Cost, settings: Synthesis) -> None:
    more = counts(yosys, small_model(lut_bits=10), "LUT", settings)
    kilobits = (more.ramb36 - counted.bank.ramb36) * 36 + (more.ramb18 - counted.bank.ramb18) * 18
    assert counted.knobs["LUT"].ramb36 == counted.knobs["LUT"].ramb18 == 0
    assert kilobits >= 2 * 1024 * 32 / 1024


def test_wider_numbers_cost_more(yosys: Yosys, settings: Synthesis) -> None:
    narrow, wide = (counts(yosys, small_model(width=width), FROZEN, settings) for width in (8, 12))
    assert wide.lut > narrow.lut
    assert wide.ff + 16 * wide.srl > narrow.ff + 16 * narrow.srl


def test_what_was_counted_before_is_not_synthesised_again(yosys: Yosys, counted: Cost, settings: Synthesis) -> None:
    assert cost.cost(small_model(), CUTS, replace(settings, limit_s=0.001), lambda said: None) == counted


def test_a_synthesis_that_takes_too_long_is_ended_and_named(yosys: Yosys, tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match=r"(playback|preview): .* did not end within 0.01 s"):
        cost.cost(small_model(), CUTS, Synthesis(cache=tmp_path, limit_s=0.01), lambda said: None)
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_not_there_cannot_be_left_out(
    yosys: Yosys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = Path("top.sv")
    module.write_text("module top (input a, output b); assign b = ~a; endmodule\n")
    with pytest.raises(SynthesisError, match="player"):
        yosys.synthesise([module], "top", ["delete player"], flow("xcup", dsp=True), 60)
    assert yosys.synthesise([module], "top", [], flow("xcup", dsp=True), 60) == {"INV": 1}


def test_without_yosys_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRIFTD_YOSYS", "none")
    with pytest.raises(YosysMissing, match="install yosys"):
        cost.cost(small_model(), CUTS, Synthesis(cache=tmp_path), lambda said: None)


def test_cells_are_counted_by_their_size_and_an_unknown_one_is_refused() -> None:
    cells = {"LUT2": 3, "INV": 1, "RAM64M8": 2, "SRL16E": 5, "FDRE": 7, "RAMB36E2": 1, "DSP48E2": 4, "CARRY4": 9}
    assert Resources.of(cells | {"RAMB18E2": 2}) == Resources(lut=25, srl=5, ff=7, ramb36=1, ramb18=2, dsp=4)
    with pytest.raises(SynthesisError, match="6 cells URAM288"):
        Resources.of({"URAM288": 6})


def test_the_cells_give_the_words_of_the_emulator(
    yosys: Yosys,
    verilator: Verilator,
    random_events: Drawn,
    random_payload: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The datapath that is counted, simulated cell by cell."""
    model = small_model()
    netlist = tmp_path / "netlist.v"
    sources = " ".join(map(str, datapath.write(model, tmp_path)))
    script = [f"read_verilog -sv {sources}", "hierarchy -top datapath", "proc", *flow("xcup", dsp=False)]
    script += ["techmap -autoproc -map +/xilinx/cells_sim.v", "select -assert-none t:LUT*", "simplemap", "splitnets"]
    script += ["opt_clean -purge", f"write_verilog -noattr {netlist}"]
    subprocess.run([yosys.program, "-q", "-p", "; ".join(script)], check=True, cwd=tmp_path)
    monkeypatch.setattr(datapath, "write", lambda model, directory: [netlist])
    circuit = VerilatedDatapath(model, tmp_path)
    events = random_events(model, 2000, 1)
    for seed in range(5):
        payload = random_payload(model, seed)
        assert differences(circuit.run(events, payload), Emulator(model).run(events, payload)) == [0, 0, 0, 0]


def test_the_command_prints_every_part_and_what_the_whole_is_of_a_device(
    counted: Cost, settings: Synthesis, tmp_path: Path
) -> None:
    model = small_model()
    golden = np.zeros((1, 3), np.int64)
    nominal = Payload.nominal(model, CUTS)
    path = tmp_path / "small.driftd"
    Package(model, nominal, "", b"", golden, Emulator(model).codes(golden, nominal), {}).save(path)

    said = CliRunner().invoke(main, ["model", "cost", str(path), "--cache", str(settings.cache), "--json"])
    found = json.loads(said.stdout)
    assert found["total"] == asdict(counted.total)
    assert found["parts"] == {name: asdict(part) for name, part in counted.parts.items()}
    assert found["shares"]["VU9P"]["lut"] == counted.total.lut / 1_182_240

    said = CliRunner().invoke(main, ["model", "cost", str(path), "--cache", str(settings.cache)])
    rows = {line[:28].strip(): line[28:].split() for line in said.stdout.splitlines()}
    assert rows["total"] == [f"{n:,}" for n in astuple(counted.total)]
    assert "no placement, no timing" in said.stdout
