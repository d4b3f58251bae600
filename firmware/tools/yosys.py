"""Yosys, which turns SystemVerilog into the cells of an FPGA: no placement and no timing."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from firmware.errors import SynthesisError, YosysMissing

YOSYS_VARIABLE = "DRIFTD_YOSYS"
FAMILIES = ("xcup", "xcu", "xc7")
"""UltraScale+, UltraScale, 7 series."""
_OPTIONS = "-flatten -noiopad -noclkbuf"
NOTHING_CUT = "did not match any"
"""What Yosys only warns of: a command has found nothing to work on."""
FROZEN_PARTS = ("tree", "chain", "condition")
"""The parts that multiply by frozen weights."""


@dataclass(frozen=True)
class Yosys:
    """The program, and what it says of its version."""

    program: Path
    version: str

    @classmethod
    def find(cls) -> Self | None:
        """What DRIFTD_YOSYS names ("none" for no Yosys), or the system's."""
        program = shutil.which(os.environ.get(YOSYS_VARIABLE, "yosys"))
        if program is None:
            return None
        said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
        return cls(Path(program), said.stdout.strip())

    @classmethod
    def get(cls) -> Self:
        """The same, which must be there.

        Raises:
            YosysMissing: if there is none.
        """
        found = cls.find()
        if found is None:
            raise YosysMissing(f"no Yosys: apt-get install yosys, or name one in {YOSYS_VARIABLE}")
        return found

    def synthesise(
        self, sources: Sequence[Path], top: str, cuts: Sequence[str], flow: Sequence[str], limit_s: float
    ) -> dict[str, int]:
        """How many cells of each type the module `top` becomes.

        Args:
            cuts: commands on the module `top` as written, before its parts are dissolved in it.
            flow: as of `flow`.
            limit_s: how long it may take.

        Raises:
            SynthesisError: if Yosys refuses the sources or a command, if a cut finds nothing to cut, or if it
                does not end in time.
        """
        files, check = " ".join(f'"{source.resolve()}"' for source in sources), f"hierarchy -check -top {top}"
        with tempfile.TemporaryDirectory() as folder:
            cells = Path(folder) / "cells.json"
            commands = [f"read_verilog -sv {files}", check, "proc", f"cd {top}", *cuts, "cd", check, *flow]
            self._run([*commands, f"tee -q -o {cells} stat -json"], Path(folder), limit_s)
            design = json.loads(cells.read_text())["design"]
        return dict(design["num_cells_by_type"])

    def _run(self, commands: Sequence[str], folder: Path, limit_s: float) -> None:
        script, said = folder / "script.ys", folder / "said"
        script.write_text("\n".join(commands) + "\n")
        with said.open("w") as errors:
            try:
                done = subprocess.run(
                    [self.program, "-Q", "-q", "-e", NOTHING_CUT, script],
                    cwd=folder,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=limit_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise SynthesisError(f"{self.program} did not end within {limit_s:g} s: allow it more") from None
        if done.returncode:
            raise SynthesisError(f"{self.program} failed with {done.returncode}: {said.read_text()[-2000:]}")


def flow(family: str, *, dsp: bool) -> list[str]:
    """The commands that make one flat module of cells.

    With `dsp` the multiplications by what may change become DSPs; those by frozen weights, of a few bits, never do:
    Yosys would make a DSP of every one, where Vivado makes LUTs.
    """
    synthesis = f"synth_xilinx -family {family} {_OPTIONS}"
    commands = ["flatten", "opt_clean -purge"]
    if not dsp:
        return [*commands, f"{synthesis} -nodsp -run begin:check"]
    frozen = " ".join(f"a:src=*/{part}.sv:*" for part in FROZEN_PARTS)
    return [
        *commands,
        f"{synthesis} -run begin:map_dsp",
        f"chtype -set $__soft_mul t:$mul {frozen} {'%u ' * (len(FROZEN_PARTS) - 1)}%i",
        f"{synthesis} -run map_dsp:check",
    ]
