"""Samples out of files, a stretch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from monitor.archive.errors import ArchiveError, FileFault
from monitor.archive.formats import open_table
from monitor.stats.arrays import Array

ROWS = 1 << 17
"""Rows of a stretch: a few MB a column."""
_MAGIC = set("*?[")


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns of a stretch of a file; `first` is the number of its first row, from 0."""

    file: str
    first: int
    columns: Mapping[str, Array]

    def require(self, name: str, good: npt.NDArray[np.bool_], expected: str) -> None:
        """Raise a FileFault that names the first row where the column is not `good`."""
        if not good.all():
            row = int(np.argmin(good))
            value = self.columns[name][row]
            where = f"{self.file}: column {name!r}, row {self.first + row}"
            raise FileFault(f"{where}: {value} is no {expected}; correct or drop the row")


def expand(patterns: Sequence[str]) -> list[str]:
    """The files that paths and globs name, in order. Raises ArchiveError where there is none."""
    found = []
    for pattern in patterns:
        path = Path(pattern)
        root = Path(path.anchor or ".")
        files = sorted(map(str, root.glob(str(path.relative_to(path.anchor))))) if _MAGIC & {*pattern} else [pattern]
        if not files:
            raise ArchiveError(f"{pattern}: no file matches; check the pattern")
        found += files
    return found


def rows(files: Sequence[str], names: Sequence[str], optional: Sequence[str] = (), size: int = ROWS) -> Iterator[Rows]:
    """Columns of all files, of `optional` ones those that the file has.

    Raises:
        ArchiveError: naming file, column and row: on columns that are missing, hold no numbers, differ in length, or
            are integer in one file and float in another, and where a file is cut off.
    """
    kinds: dict[str, tuple[str, str]] = {}
    for file in files:
        with open_table(file) as opened:
            missing = [name for name in names if name not in opened.columns]
            if missing:
                raise ArchiveError(f"no column {', '.join(missing)}; there is {', '.join(opened.columns)}")
            wanted = [*dict.fromkeys([*names, *(name for name in optional if name in opened.columns)])]
            lengths = {name: opened.length(name) for name in wanted}
            if len(set(lengths.values())) > 1:
                raise ArchiveError(f"columns of different length: {lengths}")
            first = 0
            for columns in opened.read(wanted, size):
                for name, values in columns.items():
                    _same_kind(kinds, name, values, file)
                yield Rows(file, first, columns)
                first += len(columns[wanted[0]])
            if first != lengths[wanted[0]]:
                raise ArchiveError(
                    f"row {first}: the file ends, {lengths[wanted[0]]} rows were promised; fetch it again"
                )


def count_rows(files: Sequence[str], name: str) -> int:
    """Rows of all files together."""
    total = 0
    for file in files:
        with open_table(file) as opened:
            if name in opened.columns:
                total += opened.length(name)
    return total


def _same_kind(kinds: dict[str, tuple[str, str]], name: str, values: Array, file: str) -> None:
    if values.dtype.kind not in "uif":
        raise ArchiveError(f"column {name!r} holds {values.dtype}: expected numbers")
    kind = "floats" if values.dtype.kind == "f" else "integers"
    before, where = kinds.setdefault(name, (kind, file))
    if before != kind:
        raise ArchiveError(f"column {name!r} holds {kind}, but {before} in {where}: give files of one kind")
