"""Compiled datapaths, which take seconds of a core to build, shared by all workers and all later runs."""

import fcntl
from pathlib import Path

from firmware.datapath.compiled import CompiledDatapath
from firmware.model.package import Package
from firmware.tools.compiler import compiler
from tests.support.places import ROOT

BUILD = ROOT / "var" / "build"
"""Named by content as the daemon names them, so that a stale one is never used."""


def built(package: Path) -> Path:
    """The package, once its datapath is in `BUILD`; of several processes that ask at once, one builds.

    Where there is no compiler there is nothing to build.
    """
    if compiler() is None:
        return package
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{package.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        CompiledDatapath(Package.load(package).model, BUILD)
    return package


def lend(state_dir: Path) -> None:
    """Let a daemon that keeps its state here find them, and leave there what it builds itself."""
    BUILD.mkdir(parents=True, exist_ok=True)
    (state_dir / "build").symlink_to(BUILD)
