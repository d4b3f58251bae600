"""The pipeline of one model: which parts an event goes through, and how many clocks each of them takes."""

import numpy as np
from numpy.typing import ArrayLike

from firmware.errors import RtlMissing
from firmware.model.fixed import WORD_BITS, Fixed
from firmware.model.inputs import RingedFeature
from firmware.model.model import Model
from firmware.model.parts import Dense, Registers
from firmware.rtl.statements import Statements, literal, target_parameters, type_parameters

SUMS_A_CLOCK = 4
"""Sums that a chain or a tree makes in one clock."""
UNIT = Fixed(2, 2)


class Pipeline(Statements):
    """The statements of the module, in the order in which an event meets them; `clock` counts the clocks."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
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
        self.assign("latent_out", self.later(latent, model.n_latent * model.latent.result_type.width, latent_clock))
        self.assign("core_code_out", self.later(core, model.code_type.width, core_clock))

    def _inputs(self) -> str:
        """Input registers and normalisation."""
        model, n, norm, x = self.model, self.model.n_features, self.model.normalisation, "event_in"
        scale = None
        if model.rings:
            scale = self._ringed_scale()
            x = self.later(x, n * model.input_type.width, 0)
        x = self._calibrate("input", x, n, model.input_type, model.input, scale, model.is_energy)
        parameters = {
            "N": n,
            "OFFSET_WIDTH": norm.offset_type.width,
            "OFFSETS": literal(norm.offset, norm.offset_type.width),
            "SHIFTS": literal(norm.shift, WORD_BITS),
            **type_parameters("X", model.input.result_type),
            **target_parameters("T", norm.subtract_type),
            **target_parameters("U", norm.shift_type),
            **target_parameters("Y", norm.result_type),
        }
        self.clock += 1
        return self.part("normalise", "normal", n * norm.result_type.width, parameters, clk="clk", x=x)

    def _ringed_scale(self) -> str:
        model = self.model
        of = {feature.energy: feature for feature in model.ringed}
        features = [of.get(i, RingedFeature(i, 0, 0, 0, 0)) for i in range(model.n_features)]
        parameters = {
            "N": model.n_features,
            "N_RINGS": model.n_rings,
            "ETAS": literal([feature.eta for feature in features], WORD_BITS),
            "SHIFTS": literal([feature.shift for feature in features], WORD_BITS),
            "COUNTS": literal([feature.size for feature in features], WORD_BITS),
            "FIRSTS": literal([feature.first for feature in features], WORD_BITS),
            "X_WIDTH": model.input_type.width,
            "X_SIGNED": int(model.input_type.signed),
            **type_parameters("SCALE", model.input.scale_type),
        }
        ports = {"ring_scale": self.field("ring_scale", 1), "input_scale": self.field("input_scale", 2)}
        self.clock += 3
        width = model.n_features * model.input.scale_type.width
        return self.part("rings", "effective_scale", width, parameters, clk="clk", x="event_in", **ports)

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
            "ENERGY": literal(np.zeros(n) if energy is None else energy, 1),
            **type_parameters("X", given),
            **type_parameters("SCALE", registers.scale_type),
            **type_parameters("OFFSET", registers.offset_type),
            **target_parameters("Y", registers.result_type),
        }
        ports = {"scale": scale or self.field(f"{name}_scale"), "offset": self.field(f"{name}_offset", 1)}
        self.clock += 2
        width = n * registers.result_type.width
        return self.part("calibrate", f"{name}_result", width, parameters, clk="clk", x=x, **ports)

    def _layer(self, name: str, x: str, layer: Dense, given: Fixed, conditioned: bool) -> str:
        n, result = layer.bias.size, layer.result_type
        if layer.reconfigurable:
            x = self._weighed(f"{name}_sum", x, layer, given)
        else:
            x = self._sum(f"{name}_sum", x, layer, given, product=layer.accum_type, conditioned=conditioned)
        types = (
            type_parameters("X", layer.accum_type)
            | target_parameters("S", layer.linear_type)
            | target_parameters("Y", result)
        )
        parameters = {"N": n, "RELU": int(layer.relu), **types}
        self.clock += 1
        return self.part("activate", f"{name}_result", n * result.width, parameters, clk="clk", x=x)

    def _weighed(self, name: str, x: str, layer: Dense, given: Fixed) -> str:
        """The sums of a layer with the weights of registers."""
        (n_in, n_out), accum = layer.weight.shape, layer.accum_type
        up = accum.frac - given.frac - layer.weight_type.frac
        parameters = {
            "N_IN": n_in,
            "N_OUT": n_out,
            **type_parameters("X", given),
            **type_parameters("WEIGHT", layer.weight_type),
            **type_parameters("BIAS", layer.bias_type),
            "SUM_WIDTH": max(1, min(layer.reach(given).bit_length() + 1, accum.width - up)),
            **target_parameters("Y", accum),
        }
        clocks = 1 + _tree_clocks(n_in)
        ports = {"weights": self.field("weights"), "biases": self.field("biases", clocks)}
        self.clock += clocks
        return self.part("weigh", name, n_out * accum.width, parameters, clk="clk", x=x, **ports)

    def _conditioned_biases(self, later: int) -> str:
        """Those of the first layer, of the event that will be `later` clocks from here."""
        model, first, bias_type = self.model, self.model.layers[0], self.model.wired[0].bias_type
        kind, weight = model.conditions[0].type, model.condition_weight
        weight_width = first.weight_type.width + (not first.weight_type.signed)
        parameters = {
            "N_IN": len(weight),
            "N_OUT": first.bias.size,
            **type_parameters("X", kind),
            "WEIGHT_WIDTH": weight_width,
            "WEIGHT_FRAC": first.weight_type.frac,
            "WEIGHTS": literal(weight.ravel(), weight_width),
            **type_parameters("BIAS", bias_type),
            "BIASES": literal(first.bias << (bias_type.frac - first.bias_type.frac), bias_type.width),
            **target_parameters("Y", first.accum_type),
        }
        x = self.field("conditioning", later - 1)
        width = first.bias.size * first.accum_type.width
        return self.part("condition", "layer0_bias", width, parameters, clk="clk", x=x)

    def _sum(self, name: str, x: str, layer: Dense, given: Fixed, product: Fixed, *, conditioned: bool = False) -> str:
        """The sums of a layer in its accum_type: in any order where that is exact, else one step after another."""
        (n_in, n_out), accum, weight_type = layer.weight.shape, layer.accum_type, layer.weight_type
        weight_width = weight_type.width + (not weight_type.signed)
        parameters = {
            "N_IN": n_in,
            "N_OUT": n_out,
            "WEIGHT_WIDTH": weight_width,
            "WEIGHTS": literal(layer.weight.ravel(), weight_width),
        }
        biases = literal(accum.cast(layer.bias, layer.bias_type.frac), accum.width)
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
            parameters |= type_parameters("X", given) | target_parameters("P", product) | target_parameters("Y", accum)
        self.clock += clocks
        return self.part(module, name, n_out * accum.width, parameters, clk="clk", x=x, biases=biases)

    def _score(self, latent: str) -> str:
        n, score, given = self.model.n_latent, self.model.score, self.model.latent.result_type
        parameters = {
            "N": n,
            "SQUARE": int(score.kind != "linear"),
            "CENTERS": literal(score.center or [0] * n, given.width),
            **type_parameters("X", given),
            **target_parameters("Y", score.term_type),
        }
        self.clock += 1
        x = self.part("terms", "term", n * score.term_type.width, parameters, clk="clk", x=latent)
        ones, none = np.ones((n, 1), np.int64), np.zeros(1, np.int64)
        plain = Dense(ones, none, UNIT, UNIT, score.sum_type, score.sum_type, relu=False)
        return self._sum("core_code", x, plain, score.term_type, product=score.term_type)

    def _decide(self, code: str) -> None:
        model = self.model
        address = f"{code}[{model.lut_bits - 1}:0]"
        bank = f"bank[{self.clock}]"
        self.assign("lut_address", f"{{{bank}, {address}}}" if model.lut_bits else bank)
        parameters = {"WIDTH": model.code_type.width, "LUT_BITS": model.lut_bits, "N_CUTS": model.n_cuts}
        cuts = self.field("cuts", 2)
        self.instance(
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


def _tree_clocks(n: int) -> int:
    return 0 if n == 1 else 1 + _tree_clocks(-(-n // SUMS_A_CLOCK))
