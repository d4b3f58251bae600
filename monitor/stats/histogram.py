"""Windows: counts of one stream and one generation that add up."""

from dataclasses import dataclass

import numpy as np

from monitor.stats.binning import IntArray, StatsError, frozen


@dataclass(frozen=True, eq=False)
class Window:
    """Counts over a range of lumi sections of one stream, one boot epoch and one generation.

    Parameters
    ----------
    counts
        (B,) events per bin.
    pileup_sum, pileup_n
        Sum of the pile-up over the events whose pile-up was known, and their number.

    Examples
    --------
    Windows of one key add, in any order; windows of different keys do not.

    >>> a = Window("axol1tl", epoch=7, generation=2, ls_first=10, ls_last=10, counts=[3, 1])
    >>> b = Window("axol1tl", epoch=7, generation=2, ls_first=11, ls_last=12, counts=[4, 2])
    >>> (a + b).counts.tolist(), (a + b).ls_first, (a + b).ls_last, (a + b).n
    ([7, 3], 10, 12, 10)
    """

    stream: str
    epoch: int
    generation: int
    ls_first: int
    ls_last: int
    counts: IntArray
    pileup_sum: float = 0.0
    pileup_n: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", frozen(self.counts, np.int64))
        if self.counts.ndim != 1 or (self.counts < 0).any():
            raise StatsError(f"counts {self.counts.tolist()}: expected one non-negative count per bin")
        if self.ls_first > self.ls_last:
            raise StatsError(f"lumi sections {self.ls_first} to {self.ls_last}: expected first <= last")

    @property
    def key(self) -> tuple[str, int, int]:
        return self.stream, self.epoch, self.generation

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def pileup(self) -> float | None:
        """Mean pile-up of the events for which it was known."""
        return self.pileup_sum / self.pileup_n if self.pileup_n else None

    def __add__(self, other: "Window") -> "Window":
        if self.key != other.key or self.counts.shape != other.counts.shape:
            raise StatsError(
                f"cannot add window {other.key} with {len(other.counts)} bins to {self.key} with "
                f"{len(self.counts)}: stream, epoch, generation and binning must be the same"
            )
        return Window(
            *self.key,
            min(self.ls_first, other.ls_first),
            max(self.ls_last, other.ls_last),
            self.counts + other.counts,
            self.pileup_sum + other.pileup_sum,
            self.pileup_n + other.pileup_n,
        )
