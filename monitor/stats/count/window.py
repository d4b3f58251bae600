"""Counts over lumi sections: by pile-up slice, mergeable, kept at dyadic lengths."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from monitor.stats.arrays import IntArray
from monitor.stats.count.expected import Expected
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError

PILEUP_STEP = 1 / 64
"""Windows and blocks at pile-ups that differ by less are expected to be alike."""
DYADIC_LEVELS = 16
"""Lengths up to 2^15 windows are kept: 9 days of lumi sections."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Counts (C,) of what was measured in one pile-up slice, and Σ pile-up over them."""

    counts: IntArray
    pileup_sum: float = 0.0

    def __add__(self, other: "Slice") -> "Slice":
        return Slice(self.counts + other.counts, self.pileup_sum + other.pileup_sum)


@dataclass(frozen=True, eq=False)
class Window:
    """Counts of one stream and generation; windows that follow each other add.

    Args:
        slices: By the number of the reference's pile-up slice; None where the pile-up is unknown.
        above: (n_cuts,) scores at or above the cuts that were active.
        since, until: (run, lumi section) of the first and the last.
        length: Lumi sections.

    Examples:
        >>> low = Window({0: Slice(np.array([7, 2]), 9 * 20.0)}, np.array([2]), (1, 4), (1, 4))
        >>> high = Window({1: Slice(np.array([1, 1]), 2 * 31.0)}, np.array([1]), (1, 5), (1, 5))
        >>> both = low + high
        >>> both.counts.tolist(), both.n, both.pileup, both.length
        ([8, 3], 11, 22.0, 2)
    """

    slices: dict[int | None, Slice]
    above: IntArray
    since: tuple[int, int] = (0, 0)
    until: tuple[int, int] = (0, 0)
    length: int = 1

    def __add__(self, other: "Window") -> "Window":
        slices = dict(self.slices)
        for number, part in other.slices.items():
            slices[number] = slices[number] + part if number in slices else part
        since, until = min(self.since, other.since), max(self.until, other.until)
        return Window(slices, self.above + other.above, since, until, self.length + other.length)

    @cached_property
    def counts(self) -> IntArray:
        """(C,) scores per cell of the reference."""
        return np.asarray(reduce(add, (part.counts for part in self.slices.values())))

    @cached_property
    def n(self) -> int:
        """N, the number of scores."""
        return int(self.counts.sum())

    @property
    def pileup(self) -> float | None:
        """Mean pile-up, None if that of a part is unknown."""
        if None in self.slices or not self.n:
            return None
        return sum(part.pileup_sum for part in self.slices.values()) / self.n

    def expected(self, reference: Reference, pileup_error: float = 0.0) -> Expected:
        """What the reference gives at the pile-ups of the parts; the parts in proportion to their scores."""
        parts, weights = [], []
        for number, part in self.slices.items():
            n = int(part.counts.sum())
            if n:
                pileup = None if number is None else PILEUP_STEP * round(part.pileup_sum / n / PILEUP_STEP)
                parts.append(reference.expected(pileup, pileup_error))
                weights.append(n / self.n)
        if not parts:
            raise StatsError("an empty window has no expectation: it needs at least one score")
        return Expected.mixture(parts, weights)


class Addable(Protocol):
    """What follows in time adds up."""

    def __add__(self, other: Self, /) -> Self: ...


T = TypeVar("T", bound=Addable)


class Dyadic(Generic[T]):
    """Windows, or blocks, of the past in flat memory: the older, the longer.

    A level holds at most two sums of 2^level of them; of three, the older two become one of the next
    level. What is beyond the last level is dropped.

    References:
        M. Datar, A. Gionis, P. Indyk, R. Motwani, SIAM J. Comput. 31 (2002) 1794.

    Examples:
        >>> past = Dyadic[Window]()
        >>> for ls in range(1, 12):
        ...     past.push(Window({None: Slice(np.array([1, ls]))}, np.array([0]), (1, ls), (1, ls)))
        >>> [window.length for window in past.newest_first()]
        [1, 2, 4, 4]
        >>> [(window.since[1], window.until[1]) for window in past.ending_now()]
        [(11, 11), (9, 11), (5, 11), (1, 11)]
    """

    def __init__(self, levels: int = DYADIC_LEVELS) -> None:
        self._levels: list[list[T]] = [[] for _ in range(levels)]

    def push(self, window: T) -> None:
        """Add the newest."""
        for level in self._levels:
            level.append(window)
            if len(level) < 3:
                return
            window = level.pop(0) + level.pop(0)

    def clear(self) -> None:
        """Forget the past."""
        for level in self._levels:
            level.clear()

    def newest_first(self) -> Iterator[T]:
        """The sums that are held, the newest first."""
        for level in self._levels:
            yield from reversed(level)

    def ending_now(self) -> Iterator[T]:
        """The newest, then ever longer sums that end with it."""
        total: T | None = None
        for window in self.newest_first():
            total = window if total is None else total + window
            yield total
