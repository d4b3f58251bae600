"""How a sample becomes a reference: what is counted, in which units and slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.archive.columns import MAX_PILEUP
from monitor.archive.errors import ArchiveError
from monitor.archive.formats import PLAIN
from monitor.stats.count.binning import quantile_edges

HEADROOM = 2
"""The range of float scores over the highest score of the sample."""
PILEUP_RESOLUTION = 0.01
"""Width of the bins of pile-up from which slices with equal shares are found."""


@dataclass(frozen=True)
class Recipe:
    """What is to be counted.

    Args:
        scores, pileup, inputs: Columns; the inputs are one column of rows or one column each.
        lsb: Score of one code; None: 1 for integers, for floats a power of two that gives the range to `bits`.
        floats: Whether the scores are values rather than codes; the sample tells.
        cuts: In the units of the scores: codes of integers, values of floats.
        pileup_edges, pileup_slices: Edges of the pile-up slices, or how many of them are to hold equal shares.
    """

    scores: str = PLAIN
    pileup: str | None = None
    inputs: tuple[str, ...] = ()
    bits: int = 18
    lsb: float | None = None
    floats: bool = False
    cuts: tuple[float, ...] = ()
    target_rates: tuple[float, ...] = ()
    pileup_edges: tuple[float, ...] = ()
    pileup_slices: int = 0
    max_events: int = 200_000
    seed: int = 0

    @property
    def unit(self) -> float:
        """One code in the units of the scores."""
        return self.lsb or 1.0 if self.floats else 1.0

    def check_pileup_column(self) -> None:
        """Refuse slices of a pile-up that no column holds.

        Raises:
            ArchiveError: if there are slices and no column.
        """
        if (self.pileup_edges or self.pileup_slices) and not self.pileup:
            raise ArchiveError("pile-up slices need a column of pile-up: name it")

    def code_of(self, cut: float) -> int:
        """The code that a cut compares. Raises ArchiveError on a broken cut of codes."""
        if not self.floats and cut != int(cut):
            raise ArchiveError(f"cut {cut:g}: the scores are codes, expected an integer")
        return round(cut / self.unit)

    def settings(self) -> dict[str, Any]:
        """What `reference_of_sample` and `reference_of_histogram` both take."""
        return {
            "cuts": [self.code_of(cut) for cut in self.cuts] or (None if self.target_rates else []),
            "target_rates": self.target_rates or None,
            "lsb": self.lsb or 1.0,
            "pileup_edges": self.pileup_edges or None,
        }


def default_lsb(highest: float, bits: int) -> float:
    """The power of two at which `highest` is at most a half of the range.

    Examples:
        >>> default_lsb(1693.3, bits=18), default_lsb(255.0, bits=18)
        (0.015625, 0.001953125)
    """
    return float(2.0 ** np.ceil(np.log2(HEADROOM * max(highest, 2.0**-100) / 2**bits)))


class Pileups:
    """A fine histogram of pile-up, and the slices that it gives."""

    def __init__(self) -> None:
        self._counts = np.zeros(round(MAX_PILEUP / PILEUP_RESOLUTION) + 1, np.int64)

    def add(self, pileup: npt.NDArray[Any], weights: npt.ArrayLike = 1) -> None:
        """Count pile-ups (n,), each as often as its weight."""
        np.add.at(self._counts, np.rint(pileup / PILEUP_RESOLUTION).astype(np.int64), weights)

    def edges(self, recipe: Recipe) -> tuple[float, ...]:
        """The recipe's own edges, or those of as many slices with equal shares as it asks for."""
        n, filled = recipe.pileup_slices, np.flatnonzero(self._counts)
        if not n or not len(filled):
            return recipe.pileup_edges
        inner = quantile_edges(self._counts, np.arange(1, n) / n)
        edges = np.unique([filled[0], *inner, filled[-1] + 1]) * PILEUP_RESOLUTION
        if len(edges) != n + 1:
            raise ArchiveError(f"pile-up takes too few values for {n} slices: ask for fewer, or give edges")
        return tuple(np.round(edges, 2).tolist())
