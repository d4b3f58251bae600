"""What a window should look like, and how well that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.stats.arrays import FloatArray, IntArray, frozen
from monitor.stats.errors import StatsError


@dataclass(frozen=True, eq=False)
class Expected:
    """What a window should look like, known as well as `m` events make it.

    Attributes:
        p: (B,) probabilities of the bins.
        cells: (C,) probabilities of the cells, which divide the bins.
        first: (B,) the first cell of each bin.
        nearby: (J, C) other probabilities of the cells that are no drift either: those at the pile-ups that
            the measured one may stand for.

    Examples:
        >>> Expected.known([0.5, 0.5]).bins(np.array([3, 4])).tolist()
        [3, 4]
    """

    p: FloatArray
    m: float
    cells: FloatArray
    first: IntArray
    nearby: FloatArray

    @classmethod
    def known(cls, p: ArrayLike, m: float = inf) -> Expected:
        """Bins that are not divided further, at one pile-up."""
        bins = frozen(p, np.float64)
        return cls(bins, m, bins, frozen(np.arange(len(bins)), np.int64), bins[None][:0])

    @cached_property
    def possible(self) -> tuple[FloatArray, ...]:
        """All probabilities (C,) of the cells that are no drift."""
        return self.cells, *self.nearby

    @cached_property
    def possible_bins(self) -> tuple[FloatArray, ...]:
        """Those (B,) of the bins."""
        return self.p, *self.bins(self.nearby)

    def bins(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Counts (..., C) of the cells summed over each bin, (..., B)."""
        if counts.shape[-1:] != self.cells.shape:
            raise StatsError(f"counts {counts.shape}: expected {len(self.cells)} cells")
        return np.add.reduceat(counts, self.first, axis=-1)

    @classmethod
    def mixture(cls, parts: Sequence[Expected], weights: Sequence[float]) -> Expected:
        """Parts in proportion to `weights` (sum 1), whose errors may be the same: 1/√m = Σ w/√m_i."""
        if len(parts) == 1:
            return parts[0]
        w = np.asarray(weights, dtype=np.float64)
        cells = w @ np.stack([part.cells for part in parts])
        nearby = np.tensordot(w, np.stack([part.nearby for part in parts]), 1)
        m = 1 / (w @ np.array([1 / part.m for part in parts]) ** 0.5) ** 2
        return cls(w @ np.stack([part.p for part in parts]), float(m), cells, parts[0].first, nearby)

    def times(self, ratio: FloatArray, m: float) -> Expected:
        """Every probability times the `ratio` (B,) of its bin, which is known from `m` events."""
        spread = np.repeat(ratio, np.diff(np.append(self.first, len(self.cells))))
        cells, nearby = self.cells * spread, self.nearby * spread
        cells, nearby = cells / cells.sum(), nearby / nearby.sum(axis=1, keepdims=True)
        return Expected(self.bins(cells), 1 / (1 / self.m + 1 / m), cells, self.first, nearby)
