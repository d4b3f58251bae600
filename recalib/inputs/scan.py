"""Scanning cells that lie side by side for an excess that few of them carry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recalib.arrays import Floats

SIGNIFICANT = 5.0
"""Standard errors from which on an excess is one; thousands of intervals are looked at."""
CHANCE = 3.0
"""Standard errors by which what is elsewhere may be too much before it counts: as more of the local excess, where
it lies in as few codes, or as what is not local."""
CARRIED = 0.8
"""Share of the whole excess that a local one carries at least."""
FEW = 0.05
"""Share of the reference that the codes of a local excess hold at most."""
PARTS = 8
"""Disjoint intervals that a local excess may consist of at most."""
GROUPS = 32
"""Equal parts of an axis whose median ratio to the reference tells how much there is of everything."""
NOTHING = 1e-6
"""A share of the entries that is less than one event of the reference: its neighbours tell nothing of a code."""
AROUND = 8
"""Codes on either side of an energy that tell how often it should occur."""


@dataclass(frozen=True, eq=False)
class Counted:
    """Entries per crossing in cells (C,) and their variances; `one` is the entry that an event counts, on average."""

    entries: Floats
    squares: Floats
    one: Floats | float

    @classmethod
    def of(cls, cells: NDArray[np.int64], weights: Floats, n: int) -> "Counted":
        """Entries with weights (m,), each in one of n cells (m,)."""
        entries, squares = (np.bincount(cells, x, n).astype(np.float64) for x in (weights, weights**2))
        return cls(entries, squares, float((weights**2).sum() / weights.sum()))

    def times(self, ratio: Floats | float) -> "Counted":
        """As many entries times a ratio, (C,) or one for all."""
        return Counted(self.entries * ratio, self.squares * ratio**2, self.one * ratio)


@dataclass(frozen=True, eq=False)
class Axis:
    """What is seen and what is expected in cells (C,) that lie side by side.

    Args:
        of: what is counted, in words.
        where: what the cells are, in words.
        labels: (C,) names of the cells.
        joined: whether neighbouring cells may be taken together.
    """

    of: str
    where: str
    labels: Sequence[str]
    seen: Counted
    expected: Counted
    joined: bool = True

    @cached_property
    def excess(self) -> Floats:
        """(C,), seen less expected."""
        found: Floats = self.seen.entries - self.expected.entries
        return found

    @cached_property
    def mass(self) -> Floats:
        """(C,) of sum 1."""
        found: Floats = self.expected.entries / self.expected.entries.sum()
        return found

    def squares(self, sign: int = 1) -> Floats:
        """Variance (C,) of the excess, or of the lack for sign −1, if both sides have the same true entries.

        A cell that is low by chance would show too small a variance of its own; that side's is taken from
        what both sides together have.
        """
        high, low = (self.seen, self.expected) if sign > 0 else (self.expected, self.seen)
        both = (high.entries * low.one + low.entries * high.one) / (high.one + low.one)
        return high.squares + high.one**2 + np.maximum(low.squares, both * low.one) + low.one**2

    def scaled(self) -> "Axis":
        """Expected as many as there are: times the median, over equal parts, of seen by expected.

        So a scale that has moved, or a pile-up that is not quite known, is no excess of anything.
        """
        group = np.minimum((np.cumsum(self.mass) - self.mass / 2) * GROUPS, GROUPS - 1).astype(np.int64)
        seen, expected = (np.bincount(group, side.entries, GROUPS) for side in (self.seen, self.expected))
        ratio = float(np.median(seen[expected > 0] / expected[expected > 0]))
        return replace(self, expected=self.expected.times(ratio)) if ratio > 0 else self

    def smoothed(self) -> "Axis":
        """Expected by each cell's neighbours: a code that stands out, and no change of the whole shape.

        Cells with too few around them, such as the outermost, are expected as they are.
        """
        seen, expected = (_neighbours(side.entries) for side in (self.seen, self.expected))
        known = (seen > 0) & (expected > 0)
        found = self.expected.times(np.divide(seen, expected, out=np.ones_like(seen), where=known))
        return replace(self, expected=replace(found, entries=np.where(known, found.entries, self.seen.entries)))


def _neighbours(entries: Floats) -> Floats:
    """The sum of the cells around each, as many on either side, without it and those next to it."""
    n = len(entries)
    below, i = np.append(0.0, np.cumsum(entries)), np.arange(n)
    reach = np.minimum(np.minimum(i, n - 1 - i), AROUND)
    near = np.minimum(reach, 1)
    around = below[i + reach + 1] - below[i - reach] - (below[i + near + 1] - below[i - near])
    return np.where(around > NOTHING * below[-1], around, 0.0)


@dataclass(frozen=True, eq=False)
class Place:
    """Cells (a mask) of an axis in which there is too much: by how many σ, and what share of all excess."""

    axis: Axis
    cells: NDArray[np.bool_]
    sigmas: float
    share: float

    @property
    def times(self) -> float:
        """Seen by expected."""
        seen, expected = (side.entries[self.cells].sum() for side in (self.axis.seen, self.axis.expected))
        return float(seen / expected) if expected > 0 else float("inf")

    def __str__(self) -> str:
        axis, cells = self.axis, np.flatnonzero(self.cells)
        peak = axis.labels[cells[np.argmax(axis.excess[cells])]]
        return (
            f"{self.share:.0%} of the excess of {axis.of} lies in {len(cells)} of {len(axis.labels)} {axis.where}, "
            f"around {peak}, {self.sigmas:.0f} σ; × {self.times:.3g} of the reference, "
            f"which has {axis.mass[cells].sum():.2%} there"
        )


def concentrated(axis: Axis, few: float = FEW) -> Place | None:
    """Where nearly all of a significant excess lies in cells with so few of the reference."""
    cells = np.zeros(len(axis.labels), np.bool_)
    squares, limit = axis.squares(), SIGNIFICANT
    for _ in range(PARTS):
        free = ~cells
        room = few - axis.mass[cells].sum()
        found = best_interval(axis.excess * free, squares, np.where(free, axis.mass, 1), room, limit, axis.joined)
        if found is None:
            break
        cells[found] = True
        limit = CHANCE
    if not cells.any():
        return None
    local = float(axis.excess[cells].sum())
    share = local / (local + _elsewhere(axis, squares, cells))
    sigmas = local / float(np.sqrt(squares[cells].sum()))
    return Place(axis, cells, sigmas, share) if share >= CARRIED else None


def best_interval(
    excess: Floats, squares: Floats, mass: Floats, most: float, limit: float, joined: bool
) -> slice | None:
    """The interval of at most so much mass whose excess is the most significant, beyond the limit."""
    d, v, m = (np.append(0.0, np.cumsum(x)) for x in (excess, squares, mass))
    low, high = np.triu_indices(len(d), 1) if joined else (np.arange(len(d) - 1), np.arange(1, len(d)))
    allowed = m[high] - m[low] <= most
    low, high = low[allowed], high[allowed]
    if not low.size:
        return None
    sigmas = (d[high] - d[low]) / np.sqrt(np.maximum(v[high] - v[low], squares.min()))
    best = int(np.argmax(sigmas))
    return slice(int(low[best]), int(high[best])) if sigmas[best] >= limit else None


def _elsewhere(axis: Axis, squares: Floats, cells: NDArray[np.bool_]) -> float:
    """The excess without those cells, as far as chance does not explain it.

    That of the interval with the largest one; of all cells that have one, where they do not belong together.
    """
    excess = np.where(cells, 0, axis.excess)
    if not axis.joined:
        return float(np.maximum(excess - CHANCE * np.sqrt(squares), 0).sum())
    d, v = (np.append(0.0, np.cumsum(x)) for x in (excess, np.where(cells, 0, squares)))
    low, high = np.triu_indices(len(d), 1)
    return max(float((d[high] - d[low] - CHANCE * np.sqrt(np.maximum(v[high] - v[low], 0))).max()), 0.0)
