"""Statements of SystemVerilog: the parts of a module in a row, each with the wire that it drives."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from firmware.model.fixed import Fixed
from firmware.model.model import Model

Parameters = Mapping[str, int | str]


class Statements:
    """What the module says, in the order in which an event meets it.

    `clock` counts the clocks from the entrance to where the next part stands. Whoever adds a part adds its clocks:
    everything that a part is given must be of the same event, so what comes by a shorter way is delayed (`later`), and
    registers are read from the bank that the event came in with (`field`).
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.statements: list[str] = []
        self.clock = 0

    def later(self, wire: str, width: int, clock: int) -> str:
        """What the wire held at an earlier `clock` of the event, now."""
        parameters = {"WIDTH": width, "CLOCKS": self.clock - clock}
        return self.part("delay", f"late_{wire}", width, parameters, clk="clk", x=wire)

    def field(self, name: str, later: int = 0) -> str:
        """The registers of a field, of the event that will be `later` clocks from here."""
        layout = self.model.layout
        field = layout[name]
        parameters = {
            "N_REGISTERS": layout["lut"].address,
            "ADDRESS": field.address,
            "SIZE": field.size,
            "WIDTH": field.type.width,
        }
        bank = f"bank[{self.clock + later}]"
        return self.part("field", name, field.size * field.type.width, parameters, registers="registers", bank=bank)

    def part(self, module: str, wire: str, width: int, parameters: Parameters, **ports: str) -> str:
        """State a part of the datapath and the wire that it drives, whose name is returned."""
        self.statements.append(f"    wire [{width - 1}:0] {wire};")
        self.instance(module, wire, parameters, **ports, y=wire)
        return wire

    def instance(self, module: str, name: str, parameters: Parameters, **ports: str) -> None:
        """State a part of the datapath whose wires are there already."""
        given = ",\n".join(f"        .{parameter}({value})" for parameter, value in parameters.items())
        wires = ", ".join(f".{port}({wire})" for port, wire in ports.items())
        self.statements.append(f"    {module} #(\n{given}\n    ) {name}_{module} ({wires});\n")

    def assign(self, port: str, value: str) -> None:
        """State what a port of the module carries."""
        self.statements.append(f"    assign {port} = {value};\n")


def type_parameters(prefix: str, type: Fixed) -> dict[str, int | str]:
    """The parameters that tell a part the type of its numbers."""
    return {f"{prefix}_WIDTH": type.width, f"{prefix}_FRAC": type.frac, f"{prefix}_SIGNED": int(type.signed)}


def target_parameters(prefix: str, type: Fixed) -> dict[str, int | str]:
    """A type with what happens to a number that is cast into it."""
    modes = {f"{prefix}_ROUNDING": f'"{type.rounding}"', f"{prefix}_OVERFLOW": f'"{type.overflow}"'}
    return type_parameters(prefix, type) | modes


def literal(raws: ArrayLike, width: int) -> str:
    """Raws of `width` bits in one constant, the first of them lowest."""
    words = [int(raw) & ((1 << width) - 1) for raw in np.asarray(raws).tolist()]
    return f"{len(words) * width}'h{sum(word << i * width for i, word in enumerate(words)):x}"
