"""The C++ compiler."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from firmware.errors import CompilationError, CompilerMissing

COMPILER_VARIABLE = "DRIFTD_CXX"


def compiler() -> str | None:
    """The C++ compiler: g++, or what DRIFTD_CXX names ("none" for no compiler)."""
    return shutil.which(os.environ.get(COMPILER_VARIABLE, "g++"))


def needed_compiler() -> str:
    """The compiler, which must be there.

    Raises:
        CompilerMissing: if there is none.
    """
    cxx = compiler()
    if cxx is None:
        raise CompilerMissing(f"no C++ compiler: install g++ or name one in {COMPILER_VARIABLE}")
    return cxx


def compile_cpp(command: Sequence[str | Path], project: Path, what: str) -> None:
    """Run the compiler in the folder `project`.

    Raises:
        CompilationError: if it fails.
    """
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CompilationError(f"{command[0]} failed on {what}: {result.stderr[-2000:]}")


def processor() -> str:
    """The instruction set that the compiler may use here."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return platform.machine() + next((line for line in lines if line.startswith(("flags", "Features"))), "")
