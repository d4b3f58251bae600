"""What tests build with compilers, Verilator and Yosys: built once, and shared by all workers and all later runs.

Everything lies in ``var/build``, or in the folder that ``DRIFTD_BUILDS`` names, under the SHA-256 of what it is made
of: a change of the code or of a tool builds anew, and nothing stale is ever used. What is built is moved into its place
in one step, so that several processes may build and look at once.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from firmware.tools.compiler import compiler, processor
from tests.support.places import ROOT

FOLDER = Path(os.environ.get("DRIFTD_BUILDS", ROOT / "var" / "build"))
ROOMS = ("model", "datapath", "rtl", "tools", "sim")
"""Of firmware: what the code that writes C++ and SystemVerilog depends on."""


@cache
def tools() -> bytes:
    """What the tools and the processor are."""
    cxx = compiler()
    said = subprocess.run([cxx, "--version"], capture_output=True, check=False).stdout if cxx else b""
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("hls4ml", "conifer", "numpy")]
    return said + f"{packages} {processor()}".encode()


@cache
def builds() -> Path:
    """Where datapaths, hardware and synthesis are kept that today's code of firmware makes.

    They name their files by the model and by a part of the code; the folder stands for the rest of it.
    """
    digest = hashlib.sha256(tools())
    for path in sorted(path for room in ROOMS for path in (ROOT / "firmware" / room).rglob("*")):
        if path.suffix in (".py", ".sv", ".cpp"):
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    folder = FOLDER / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def built(name: str, content: Iterable[bytes], build: Callable[[Path], object]) -> Path:
    """The file that `build` makes at the path that it is given, made now if nobody has done so from this content.

    Of several processes that ask at once, one builds and the others wait for it.
    """
    digest = hashlib.sha256(tools())
    for part in content:
        digest.update(len(part).to_bytes(8, "little") + part)
    stem, _, suffix = name.rpartition(".")
    path = FOLDER / f"{stem}-{digest.hexdigest()[:24]}.{suffix}"
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    with alone(path.with_suffix(".lock")):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=FOLDER) as aside:
                fresh = Path(aside) / name
                build(fresh)
                fresh.replace(path)
    return path


@contextmanager
def alone(path: Path) -> Generator[None, None, None]:
    """Hold the lock file; the kernel lets go of it when the process ends, however it ends."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
