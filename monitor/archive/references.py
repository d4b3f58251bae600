"""Reference files: read, and written whole or not at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from firmware.errors import FirmwareError
from firmware.model.package import MANIFEST, Package
from monitor.archive.errors import FileFault
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError


def load(path: Path) -> Reference:
    """A reference from its own file or out of a model package. Raises a FileFault."""
    try:
        if zipfile.is_zipfile(path) and MANIFEST in zipfile.ZipFile(path).namelist():
            return Reference.from_bytes(Package.load(path).reference)
        return Reference.from_bytes(path.read_bytes())
    except (FirmwareError, StatsError, OSError, zipfile.BadZipFile) as error:
        raise FileFault(f"{path}: {error}") from error


def save(reference: Reference, path: Path) -> None:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(reference.to_bytes())
            file.flush()
            os.fsync(file.fileno())  # before the name is given away: a crash leaves the old file or the new one
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
