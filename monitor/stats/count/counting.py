"""Counting at the speed of the wire: scores to cells in one compiled pass, or the same by NumPy."""

from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

kernel: ModuleType | None
try:
    from monitor.stats.count import kernel
except ImportError:
    kernel = None

LANES = 4
"""Histograms that add up to one: scores that follow each other never wait for the same counter."""


class Crossings:
    """The crossings of an orbit that count.

    Args:
        mask: (crossings,) bool.

    Examples:
        >>> crossings = Crossings([False, True, True, False, True])
        >>> crossings.period, crossings.runs.tolist(), crossings.count_of(10)
        (5, [[1, 3], [4, 5]], 6)
    """

    def __init__(self, mask: ArrayLike) -> None:
        self.mask = np.array(mask, dtype=np.bool_)
        self.period = len(self.mask)
        self.filled = int(self.mask.sum())

    @cached_property
    def runs(self) -> NDArray[np.int32]:
        """(R, 2) the first of each run of them, and the first after it."""
        edges = np.flatnonzero(np.diff(self.mask, prepend=False, append=False))
        return edges.astype(np.int32).reshape(-1, 2)

    def count_of(self, n: int) -> int:
        """How many of `n` scores of whole orbits count."""
        return n // self.period * self.filled


def empty(cells: int) -> NDArray[np.int64]:
    """Counters (LANES, cells) for `add`; their sum over the lanes is the histogram."""
    return np.zeros((LANES, cells), np.int64)


def add(
    scores: NDArray[Any],
    lanes: NDArray[np.int64],
    cell_of: NDArray[np.uint16],
    crossings: Crossings | None = None,
    lsb: float = 1.0,
) -> bool:
    """Count all of `scores` into `lanes`, or, if one of them has no cell, none: then False.

    Args:
        scores: (n,) score codes `u2` or `u4`, or scores `f4`, whose code is round(score / lsb). With
            `crossings`, of whole orbits, of which the others are not looked at.
        lanes: (LANES, C) from `empty`.
        cell_of: (2^bits,) cell of each code.

    Examples:
        >>> lanes = empty(2)
        >>> add(np.array([0, 3, 2, 3], "u2"), lanes, np.array([0, 0, 1, 1], np.uint16))
        True
        >>> add(np.array([0, 4], "u4"), lanes, np.array([0, 0, 1, 1], np.uint16))
        False
        >>> lanes.sum(axis=0).tolist()
        [1, 3]
    """
    if not len(scores):
        return True
    if kernel is None:
        return _add(scores, lanes, cell_of, crossings, lsb)
    runs, period = (_NO_RUNS, 0) if crossings is None else (crossings.runs, crossings.period)
    return bool(kernel.add(scores, lanes, cell_of, runs, period, lsb))


def _add(
    scores: NDArray[Any],
    lanes: NDArray[np.int64],
    cell_of: NDArray[np.uint16],
    crossings: Crossings | None,
    lsb: float,
) -> bool:
    counted = scores if crossings is None else scores.reshape(-1, crossings.period)[:, crossings.mask].ravel()
    codes = np.rint(counted.astype(np.float64) / lsb) if counted.dtype.kind == "f" else counted
    if codes.size and not (codes.min() >= 0 and codes.max() < len(cell_of)):
        return False
    lanes[0] += np.bincount(cell_of[codes.astype(np.intp)], minlength=lanes.shape[1])
    return True


_NO_RUNS = np.empty((0, 2), np.int32)
