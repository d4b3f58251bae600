"""Counts while they grow: fast to add to, taken block by block."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.arrays import IntArray
from monitor.stats.count.binning import Binning
from monitor.stats.count.counting import Crossings, add, empty
from monitor.stats.count.window import Slice
from monitor.stats.errors import StatsError


@dataclass(frozen=True, eq=False)
class Scale:
    """What scores are counted on: the cells of a reference, divided further at the cuts of one payload.

    So the scores at and above any cuts are sums of the same counts.

    Examples:
        >>> scale = Scale(Binning(np.array([0, 4, 16])), cuts=(6, 4, 0, 16))
        >>> scale.parts.edges.tolist()
        [0, 4, 6, 16]
        >>> counts = np.array([5, 2, 1])
        >>> scale.cell_counts(counts).tolist(), scale.above(counts).tolist()
        ([5, 3], [1, 3, 8, 0])
    """

    cells: Binning
    cuts: tuple[int, ...]
    lsb: float = 1.0

    @cached_property
    def parts(self) -> Binning:
        """The divided cells."""
        edges = np.union1d(self.cells.edges, np.clip(self.cuts, 0, self.cells.edges[-1]).astype(np.int64))
        return self.cells if len(edges) == len(self.cells.edges) else Binning(edges)

    @cached_property
    def _first(self) -> IntArray:
        return np.searchsorted(self.parts.edges, self.cells.edges[:-1])

    @cached_property
    def _accepted(self) -> IntArray:
        return np.searchsorted(self.parts.edges[:-1], np.array(self.cuts, np.int64))

    def cell_counts(self, counts: IntArray) -> IntArray:
        """(C,) of counts (P,) of the parts."""
        return counts if self.parts is self.cells else np.asarray(np.add.reduceat(counts, self._first))

    def above(self, counts: IntArray) -> IntArray:
        """(n_cuts,) of counts (P,) of the parts."""
        from_top = np.append(np.cumsum(counts[::-1])[::-1], 0)
        return np.asarray(from_top[self._accepted])


class Counter:
    """Counts of one pile-up slice while they grow; what was counted since the last `take` is a block.

    Examples:
        >>> counter = Counter(Scale(Binning(np.array([0, 4, 16])), cuts=(6,)))
        >>> counter.add(np.array([0, 4, 6, 15], "u2"), pileup=30.0)
        4
        >>> counter.n, counter.pileup, counter.take().tolist(), counter.n
        (4, 30.0, [1, 3], 0)
        >>> part, above = counter.total()
        >>> part.counts.tolist(), part.pileup_sum, above.tolist()
        ([1, 3], 120.0, [2])
    """

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.n = 0
        self._pileup_sum = self._pileup_total = 0.0
        self._lanes = empty(scale.parts.n_bins)
        self._total = np.zeros(scale.parts.n_bins, np.int64)

    @property
    def pileup(self) -> float:
        """Mean of the block."""
        return self._pileup_sum / self.n

    def add(self, scores: NDArray[Any], crossings: Crossings | None = None, pileup: float = 0.0) -> int:
        """Count score codes `u2` or `u4`, or scores `f4`: all, or of whole orbits the `crossings`. Returns how many.

        Raises:
            StatsError: and counts none of them, if one is out of range.
        """
        scale = self.scale
        if not add(scores, self._lanes, scale.parts.table, crossings, scale.lsb):
            top = (1 << scale.cells.bits) * (scale.lsb if scores.dtype.kind == "f" else 1)
            raise StatsError(f"scores from {scores.min()} to {scores.max()}: expected from 0 to below {top:g}")
        return self._counted(len(scores) if crossings is None else crossings.count_of(len(scores)), pileup)

    def add_counts(self, counts: IntArray, pileup: float = 0.0) -> int:
        """Add scores that were counted elsewhere, (P,) in the parts of the scale. Returns how many.

        Raises:
            StatsError: on other numbers of parts.
        """
        if counts.shape != self._total.shape:
            raise StatsError(f"counts {counts.shape}: expected those of {len(self._total)} parts")
        self._lanes[0] += counts
        return self._counted(int(counts.sum()), pileup)

    def _counted(self, n: int, pileup: float) -> int:
        self.n += n
        self._pileup_sum += n * pileup
        return n

    def take(self) -> IntArray:
        """(C,) counts of the block, which ends with this."""
        counts = np.asarray(self._lanes.sum(axis=0))
        self._lanes.fill(0)
        self._total += counts
        self._pileup_total += self._pileup_sum
        self.n, self._pileup_sum = 0, 0.0
        return self.scale.cell_counts(counts)

    def total(self) -> tuple[Slice, IntArray]:
        """All blocks that were taken, and the scores (n_cuts,) at and above the cuts."""
        return Slice(self.scale.cell_counts(self._total), self._pileup_total), self.scale.above(self._total)
