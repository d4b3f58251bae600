"""A package that a command was given, with its reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from firmware.model.package import Package
    from monitor.stats.count.reference import Reference


def load_package(path: Path) -> tuple[Package, Reference]:
    """The package in a file and the reference in it, after every hash was checked.

    Raises:
        FirmwareError: it is damaged, or is not a package.
    """
    from firmware.model.package import Package
    from monitor.stats.count.reference import Reference

    package = Package.load(path)
    return package, Reference.from_bytes(package.reference)
