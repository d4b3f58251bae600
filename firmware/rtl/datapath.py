"""The datapath in SystemVerilog: the pipeline of one model, put together from the parts beside this file."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

from firmware.model.model import Model
from firmware.rtl.pipeline import Pipeline

DATAPATH_PARTS = tuple(
    Path(__file__).parent / f"{part}.sv"
    for part in (
        "cast",
        "delay",
        "field",
        "rings",
        "calibrate",
        "normalise",
        "condition",
        "total",
        "tree",
        "chain",
        "activate",
        "terms",
        "weigh",
        "decide",
    )
)
MODULE = Template("""\
// The datapath of model $model.
module datapath (
    input  logic clk,
    input  logic valid_in,
    input  logic bank_in,
    input  logic [$event_width-1:0] event_in,
    input  logic [$registers_width-1:0] registers,
    output logic [$lut_bits:0] lut_address,
    input  logic [31:0] lut_data,
    output logic valid_out,
    output logic bank_out,
    output logic [$code_width-1:0] code_out,
    output logic [$code_width-1:0] core_code_out,
    output logic [$latent_width-1:0] latent_out,
    output logic [$n_cuts-1:0] accept_out
);
    logic [$latency:1] later_valid, later_bank;
    wire [$latency:0] valid = {later_valid, valid_in};
    wire [$latency:0] bank = {later_bank, bank_in};
    always_ff @(posedge clk) later_valid <= valid[$latency-1:0];
    always_ff @(posedge clk) later_bank <= bank[$latency-1:0];
    assign valid_out = valid[$latency];
    assign bank_out = bank[$latency];

$statements
endmodule
""")


@dataclass(frozen=True)
class Sizes:
    """The sizes of the ports of `datapath`, and the clocks from `valid_in` to `valid_out`.

    `n_registers` words of a bank are read in parallel: those before the field `lut`.
    """

    n_features: int
    input_width: int
    n_registers: int
    lut_bits: int
    code_width: int
    n_latent: int
    latent_width: int
    n_cuts: int
    latency: int


def sizes(model: Model) -> Sizes:
    """Those of the datapath of a model."""
    return Sizes(
        n_features=model.n_features,
        input_width=model.input_type.width,
        n_registers=model.layout["lut"].address,
        lut_bits=model.lut_bits,
        code_width=model.code_type.width,
        n_latent=model.n_latent,
        latent_width=model.latent.result_type.width,
        n_cuts=model.n_cuts,
        latency=Pipeline(model).clock,
    )


def verilog(model: Model) -> str:
    """The module `datapath`: an event at every clock, its answer `latency` clocks later.

    Feature j is `event_in[j * INPUT_WIDTH +: INPUT_WIDTH]`, a latent value alike; word w of bank b is
    `registers[(b * N_REGISTERS + w) * 32 +: 32]`. At every depth of the pipeline an event reads the bank that it
    came in with. `lut_address`, bank and code, asks a RAM outside for the word that it drives on `lut_data` from
    the next clock on. There is no reset: hold `valid_in` low for `latency` clocks at power-up.
    """
    size, pipeline = sizes(model), Pipeline(model)
    return MODULE.substitute(
        model=model.id,
        event_width=size.n_features * size.input_width,
        registers_width=2 * size.n_registers * 32,
        lut_bits=size.lut_bits,
        code_width=size.code_width,
        latent_width=size.n_latent * size.latent_width,
        n_cuts=size.n_cuts,
        latency=size.latency,
        statements="\n".join(pipeline.statements),
    )


def write(model: Model, directory: Path) -> list[Path]:
    """Write datapath.sv into `directory`; every file to compile."""
    target = directory / "datapath.sv"
    target.write_text(verilog(model))
    return [*DATAPATH_PARTS, target]
