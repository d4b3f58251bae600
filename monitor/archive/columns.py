"""What the columns of a sample may hold: scores, event inputs, pile-up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitor.archive.errors import FileFault
from monitor.archive.samples import Rows
from monitor.stats.arrays import Array
from monitor.stats.count.codes import to_codes

INPUT_RANGE = (-(1 << 15), (1 << 15) - 1)
"""Event inputs are integers of 16 bits."""
MAX_PILEUP = 10_000


def codes_of(part: Rows, name: str, bits: int, lsb: float) -> Array:
    """The scores of a stretch as score codes."""
    values = part.columns[name]
    if values.ndim != 1:
        raise FileFault(f"{part.file}: column {name!r} has rows of {values.shape[1:]}: expected one score a row")
    floats = values.dtype.kind == "f"
    highest = (2**bits - 0.5) * lsb if floats else 2**bits
    with np.errstate(invalid="ignore"):
        part.require(name, np.asarray((values >= 0) & (values < highest)), f"score from 0 to below {highest:g}")
    return to_codes(values, lsb, bits) if floats else values


def inputs_of(part: Rows, names: Sequence[str]) -> Array:
    """The event inputs (n, width) of a stretch, one column after the other.

    Raises:
        FileFault: naming the file, the column and the row, on floats and on numbers beyond `INPUT_RANGE`.
    """
    low, high = INPUT_RANGE
    columns = []
    for name in names:
        values = part.columns[name]
        if values.dtype.kind == "f":
            raise FileFault(f"{part.file}: column {name!r} holds {values.dtype}: expected integer inputs")
        flat = values.reshape(len(values), -1)
        good = np.all((flat >= low) & (flat <= high), axis=1)
        part.require(name, np.asarray(good), "input of 16 bits")
        columns.append(flat)
    return np.hstack(columns)


def check_pileup(part: Rows, name: str) -> None:
    """Refuse a column of pile-up that holds something else.

    Raises:
        FileFault: naming the file, the column and the row.
    """
    pileup: npt.NDArray[np.float64] = part.columns[name]
    part.require(name, (pileup >= 0) & (pileup < MAX_PILEUP), f"pile-up from 0 to below {MAX_PILEUP}")
