"""The datapath in SystemVerilog: the pipeline of one model, put together from the parts beside this file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import ArrayLike

from firmware.errors import RtlMissing
from firmware.model.fixed import WORD_BITS, Fixed
from firmware.model.inputs import RingedFeature
from firmware.model.model import Model
from firmware.model.parts import Dense, Registers

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
SUMS_A_CLOCK = 4
"""Sums that a chain or a tree makes in one clock."""
UNIT = Fixed(2, 2)

Parameters = Mapping[str, int | str]

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
    return Sizes(
        n_features=model.n_features,
        input_width=model.input_type.width,
        n_registers=model.layout["lut"].address,
        lut_bits=model.lut_bits,
        code_width=model.code_type.width,
        n_latent=model.n_latent,
        latent_width=model.latent.result_type.width,
        n_cuts=model.n_cuts,
        latency=_Pipeline(model).clock,
    )


def verilog(model: Model) -> str:
    """The module `datapath`: an event at every clock, its answer `latency` clocks later.

    Feature j is `event_in[j * INPUT_WIDTH +: INPUT_WIDTH]`, a latent value alike; word w of bank b is
    `registers[(b * N_REGISTERS + w) * 32 +: 32]`. At every depth of the pipeline an event reads the bank that it
    came in with. `lut_address`, bank and code, asks a RAM outside for the word that it drives on `lut_data` from
    the next clock on. There is no reset: hold `valid_in` low for `latency` clocks at power-up.
    """
    size, pipeline = sizes(model), _Pipeline(model)
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


class _Pipeline:
    """The statements of the module, in the order in which an event meets them; `clock` counts the clocks."""

    def __init__(self, model: Model) -> None:
        self.statements: list[str] = []
        self.clock = 0
        self._model = model
        if model.forest is not None:
            raise RtlMissing(f"{model.name} is a forest: there is no RTL of it, take NumPy integers or C++")
        x, given = self._inputs(), model.normalisation.result_type
        for i, layer in enumerate(model.wired):
            x, given = self._layer(f"layer{i}", x, layer, given, i == 0 and bool(model.conditions)), layer.result_type
        latent = self._calibrate("latent", x, model.n_latent, given, model.latent)
        latent_clock = self.clock
        core = self._score(latent)
        core_clock = self.clock
        self._decide(self._calibrate("output", core, 1, model.score.sum_type, model.output))
        self._assign("latent_out", self._later(latent, model.n_latent * model.latent.result_type.width, latent_clock))
        self._assign("core_code_out", self._later(core, model.code_type.width, core_clock))

    def _inputs(self) -> str:
        """Input registers and normalisation."""
        model, n, norm, x = self._model, self._model.n_features, self._model.normalisation, "event_in"
        scale = None
        if model.rings:
            scale = self._ringed_scale()
            x = self._later(x, n * model.input_type.width, 0)
        x = self._calibrate("input", x, n, model.input_type, model.input, scale, model.is_energy)
        parameters = {
            "N": n,
            "OFFSET_WIDTH": norm.offset_type.width,
            "OFFSETS": _literal(norm.offset, norm.offset_type.width),
            "SHIFTS": _literal(norm.shift, WORD_BITS),
            **_type("X", model.input.result_type),
            **_target("T", norm.subtract_type),
            **_target("U", norm.shift_type),
            **_target("Y", norm.result_type),
        }
        self.clock += 1
        return self._part("normalise", "normal", n * norm.result_type.width, parameters, clk="clk", x=x)

    def _ringed_scale(self) -> str:
        model = self._model
        of = {feature.energy: feature for feature in model.ringed}
        features = [of.get(i, RingedFeature(i, 0, 0, 0, 0)) for i in range(model.n_features)]
        parameters = {
            "N": model.n_features,
            "N_RINGS": model.n_rings,
            "ETAS": _literal([feature.eta for feature in features], WORD_BITS),
            "SHIFTS": _literal([feature.shift for feature in features], WORD_BITS),
            "COUNTS": _literal([feature.size for feature in features], WORD_BITS),
            "FIRSTS": _literal([feature.first for feature in features], WORD_BITS),
            "X_WIDTH": model.input_type.width,
            "X_SIGNED": int(model.input_type.signed),
            **_type("SCALE", model.input.scale_type),
        }
        ports = {"ring_scale": self._field("ring_scale", 1), "input_scale": self._field("input_scale", 2)}
        self.clock += 3
        width = model.n_features * model.input.scale_type.width
        return self._part("rings", "effective_scale", width, parameters, clk="clk", x="event_in", **ports)

    def _calibrate(
        self,
        name: str,
        x: str,
        n: int,
        given: Fixed,
        registers: Registers,
        scale: str | None = None,
        energy: ArrayLike | None = None,
    ) -> str:
        parameters = {
            "N": n,
            "ENERGY": _literal(np.zeros(n) if energy is None else energy, 1),
            **_type("X", given),
            **_type("SCALE", registers.scale_type),
            **_type("OFFSET", registers.offset_type),
            **_target("Y", registers.result_type),
        }
        ports = {"scale": scale or self._field(f"{name}_scale"), "offset": self._field(f"{name}_offset", 1)}
        self.clock += 2
        width = n * registers.result_type.width
        return self._part("calibrate", f"{name}_result", width, parameters, clk="clk", x=x, **ports)

    def _layer(self, name: str, x: str, layer: Dense, given: Fixed, conditioned: bool) -> str:
        n, result = layer.bias.size, layer.result_type
        if layer.reconfigurable:
            x = self._weighed(f"{name}_sum", x, layer, given)
        else:
            x = self._sum(f"{name}_sum", x, layer, given, product=layer.accum_type, conditioned=conditioned)
        types = _type("X", layer.accum_type) | _target("S", layer.linear_type) | _target("Y", result)
        parameters = {"N": n, "RELU": int(layer.relu), **types}
        self.clock += 1
        return self._part("activate", f"{name}_result", n * result.width, parameters, clk="clk", x=x)

    def _weighed(self, name: str, x: str, layer: Dense, given: Fixed) -> str:
        """The sums of a layer with the weights of registers."""
        (n_in, n_out), accum = layer.weight.shape, layer.accum_type
        up = accum.frac - given.frac - layer.weight_type.frac
        parameters = {
            "N_IN": n_in,
            "N_OUT": n_out,
            **_type("X", given),
            **_type("WEIGHT", layer.weight_type),
            **_type("BIAS", layer.bias_type),
            "SUM_WIDTH": max(1, min(layer.reach(given).bit_length() + 1, accum.width - up)),
            **_target("Y", accum),
        }
        clocks = 1 + _tree_clocks(n_in)
        ports = {"weights": self._field("weights"), "biases": self._field("biases", clocks)}
        self.clock += clocks
        return self._part("weigh", name, n_out * accum.width, parameters, clk="clk", x=x, **ports)

    def _conditioned_biases(self, later: int) -> str:
        """Those of the first layer, of the event that will be `later` clocks from here."""
        model, first, bias_type = self._model, self._model.layers[0], self._model.wired[0].bias_type
        kind, weight = model.conditions[0].type, model.condition_weight
        weight_width = first.weight_type.width + (not first.weight_type.signed)
        parameters = {
            "N_IN": len(weight),
            "N_OUT": first.bias.size,
            **_type("X", kind),
            "WEIGHT_WIDTH": weight_width,
            "WEIGHT_FRAC": first.weight_type.frac,
            "WEIGHTS": _literal(weight.ravel(), weight_width),
            **_type("BIAS", bias_type),
            "BIASES": _literal(first.bias << (bias_type.frac - first.bias_type.frac), bias_type.width),
            **_target("Y", first.accum_type),
        }
        x = self._field("conditioning", later - 1)
        width = first.bias.size * first.accum_type.width
        return self._part("condition", "layer0_bias", width, parameters, clk="clk", x=x)

    def _sum(self, name: str, x: str, layer: Dense, given: Fixed, product: Fixed, *, conditioned: bool = False) -> str:
        """The sums of a layer in its accum_type: in any order where that is exact, else one step after another."""
        (n_in, n_out), accum, weight_type = layer.weight.shape, layer.accum_type, layer.weight_type
        weight_width = weight_type.width + (not weight_type.signed)
        parameters = {
            "N_IN": n_in,
            "N_OUT": n_out,
            "WEIGHT_WIDTH": weight_width,
            "WEIGHTS": _literal(layer.weight.ravel(), weight_width),
        }
        biases = _literal(accum.cast(layer.bias, layer.bias_type.frac), accum.width)
        if layer.lossless(given):
            module, clocks = "tree", _tree_clocks(n_in)
            up = accum.frac - given.frac - weight_type.frac
            exact = layer.reach(given).bit_length() + 1
            parameters |= {"UP": up, "SUM_WIDTH": max(1, min(exact, accum.width - up)), "Y_WIDTH": accum.width}
            parameters |= {"X_WIDTH": given.width, "X_SIGNED": int(given.signed)}
            biases = self._conditioned_biases(clocks) if conditioned else biases
        else:
            module, clocks = "chain", -(-n_in // SUMS_A_CLOCK)
            parameters |= {"STEPS": SUMS_A_CLOCK, "WEIGHT_FRAC": weight_type.frac}
            parameters |= _type("X", given) | _target("P", product) | _target("Y", accum)
        self.clock += clocks
        return self._part(module, name, n_out * accum.width, parameters, clk="clk", x=x, biases=biases)

    def _score(self, latent: str) -> str:
        n, score, given = self._model.n_latent, self._model.score, self._model.latent.result_type
        parameters = {
            "N": n,
            "SQUARE": int(score.kind != "linear"),
            "CENTERS": _literal(score.center or [0] * n, given.width),
            **_type("X", given),
            **_target("Y", score.term_type),
        }
        self.clock += 1
        x = self._part("terms", "term", n * score.term_type.width, parameters, clk="clk", x=latent)
        ones, none = np.ones((n, 1), np.int64), np.zeros(1, np.int64)
        plain = Dense(ones, none, UNIT, UNIT, score.sum_type, score.sum_type, relu=False)
        return self._sum("core_code", x, plain, score.term_type, product=score.term_type)

    def _decide(self, code: str) -> None:
        model = self._model
        address = f"{code}[{model.lut_bits - 1}:0]"
        bank = f"bank[{self.clock}]"
        self._assign("lut_address", f"{{{bank}, {address}}}" if model.lut_bits else bank)
        parameters = {"WIDTH": model.code_type.width, "LUT_BITS": model.lut_bits, "N_CUTS": model.n_cuts}
        cuts = self._field("cuts", 2)
        self._instance(
            "decide",
            "code",
            parameters,
            clk="clk",
            x=code,
            lut_data="lut_data",
            cuts=cuts,
            y="code_out",
            accept="accept_out",
        )
        self.clock += 3

    def _later(self, wire: str, width: int, clock: int) -> str:
        """What the wire held at an earlier `clock` of the event, now."""
        parameters = {"WIDTH": width, "CLOCKS": self.clock - clock}
        return self._part("delay", f"late_{wire}", width, parameters, clk="clk", x=wire)

    def _field(self, name: str, later: int = 0) -> str:
        """The registers of a field, of the event that will be `later` clocks from here."""
        layout = self._model.layout
        field = layout[name]
        parameters = {
            "N_REGISTERS": layout["lut"].address,
            "ADDRESS": field.address,
            "SIZE": field.size,
            "WIDTH": field.type.width,
        }
        bank = f"bank[{self.clock + later}]"
        return self._part("field", name, field.size * field.type.width, parameters, registers="registers", bank=bank)

    def _part(self, module: str, wire: str, width: int, parameters: Parameters, **ports: str) -> str:
        """State a part of the datapath and the wire that it drives, whose name is returned."""
        self.statements.append(f"    wire [{width - 1}:0] {wire};")
        self._instance(module, wire, parameters, **ports, y=wire)
        return wire

    def _instance(self, module: str, name: str, parameters: Parameters, **ports: str) -> None:
        given = ",\n".join(f"        .{parameter}({value})" for parameter, value in parameters.items())
        wires = ", ".join(f".{port}({wire})" for port, wire in ports.items())
        self.statements.append(f"    {module} #(\n{given}\n    ) {name}_{module} ({wires});\n")

    def _assign(self, port: str, value: str) -> None:
        self.statements.append(f"    assign {port} = {value};\n")


def _tree_clocks(n: int) -> int:
    return 0 if n == 1 else 1 + _tree_clocks(-(-n // SUMS_A_CLOCK))


def _type(prefix: str, type: Fixed) -> dict[str, int | str]:
    return {f"{prefix}_WIDTH": type.width, f"{prefix}_FRAC": type.frac, f"{prefix}_SIGNED": int(type.signed)}


def _target(prefix: str, type: Fixed) -> dict[str, int | str]:
    """A type with what happens to a number that is cast into it."""
    modes = {f"{prefix}_ROUNDING": f'"{type.rounding}"', f"{prefix}_OVERFLOW": f'"{type.overflow}"'}
    return _type(prefix, type) | modes


def _literal(raws: ArrayLike, width: int) -> str:
    """Raws of `width` bits in one constant, the first of them lowest."""
    words = [int(raw) & ((1 << width) - 1) for raw in np.asarray(raws).tolist()]
    return f"{len(words) * width}'h{sum(word << i * width for i, word in enumerate(words)):x}"
