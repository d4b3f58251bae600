"""One pass over a sample of any size: full histograms, and a few of the events."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.stats.arrays import FloatArray, IntArray
from monitor.stats.count.binning import quantile_edges
from monitor.stats.count.codes import MAX_BITS, as_codes
from monitor.stats.errors import StatsError

Chunk = tuple[ArrayLike, ArrayLike | None, ArrayLike | None]

FEATURE_BINS = 64
TAIL_EVENTS = 0.25
"""Share of the stored events that is kept for the highest scores."""
TAIL_QUANTILE = 0.99
MAX_ENTRIES = 1 << 25
"""Entries of the full-code histogram, slices together: 256 MiB."""
_LOWEST, _VALUES = -(1 << 15), 1 << 16


class Tally:
    """Sums over the chunks of a sample.

    Events fall into two strata by the score, divided at the upper 1 % of the first chunk; each
    stratum keeps a simple random sample of fixed size.

    Args:
        pileup_edges: (S + 1,) edges of the pile-up slices, or None for one slice of everything.
    """

    def __init__(self, bits: int, pileup_edges: Sequence[float] | None, max_events: int, seed: int) -> None:
        if not 1 <= bits <= MAX_BITS:
            raise StatsError(f"{bits} bits: expected 1 to {MAX_BITS}")
        self.pileup_edges = None if pileup_edges is None else np.asarray(pileup_edges, dtype=np.float64)
        slices = 1 if self.pileup_edges is None else len(self.pileup_edges) - 1
        if self.pileup_edges is not None and (slices < 1 or not (np.diff(self.pileup_edges) > 0).all()):
            raise StatsError(f"pile-up edges {self.pileup_edges.tolist()}: expected at least two, increasing")
        if slices << bits > MAX_ENTRIES:
            raise StatsError(f"{slices} slices of {bits} bits: expected slices × 2^bits <= {MAX_ENTRIES}")
        self.histogram: IntArray = np.zeros((slices, 1 << bits), np.int64)
        self._pileup_sums = np.zeros(slices)
        self._features: IntArray | None = None
        self._bits = bits
        self._tail_code: float = np.inf
        self._chunks = 0
        rng = np.random.default_rng(seed)
        tail = int(TAIL_EVENTS * max_events)
        self._strata = (_SimpleSample(max_events - tail, rng), _SimpleSample(tail, rng))

    def add(self, codes: ArrayLike, events: ArrayLike | None = None, pileup: ArrayLike | None = None) -> None:
        """Take in one chunk; a StatsError names the chunk that does not fit."""
        try:
            self._add(as_codes(codes, self._bits), events, pileup)
        except StatsError as error:
            raise StatsError(f"chunk {self._chunks}: {error}") from None
        self._chunks += 1

    def _add(self, codes: NDArray[Any], events: ArrayLike | None, pileup: ArrayLike | None) -> None:
        rows = None if events is None else self._rows(events, len(codes))
        if self._chunks and (rows is None) != (self._features is None):
            raise StatsError("expected events in all chunks or in none")
        values = self._pileup(pileup, len(codes))
        flat = (self._slices(values) << self._bits) + codes.astype(np.int64)
        np.add.at(self.histogram.reshape(-1), flat, 1)
        if rows is not None and len(rows):
            self._add_events(codes, rows, values)

    def _pileup(self, pileup: ArrayLike | None, n: int) -> FloatArray:
        """(n,), of no meaning where there are no slices."""
        if self.pileup_edges is None:
            return np.zeros(n)
        values = np.asarray(np.nan if pileup is None else pileup, dtype=np.float64)
        if values.shape not in ((), (n,)) or not np.isfinite(values).all():
            raise StatsError(f"pile-up of shape {values.shape}: expected finite numbers, one for all or {n}")
        return np.broadcast_to(values, n)

    def _slices(self, values: FloatArray) -> IntArray:
        if self.pileup_edges is None:
            return np.zeros(len(values), np.int64)
        slices = np.searchsorted(self.pileup_edges[1:-1], values, side="right")
        self._pileup_sums += np.bincount(slices, values, minlength=len(self._pileup_sums))
        return slices

    def _rows(self, events: ArrayLike, n: int) -> NDArray[np.int16]:
        rows = np.asarray(events)
        width = rows.shape[1:] if self._features is None else self._features.shape[:1]
        if rows.ndim != 2 or rows.shape != (n, *width) or rows.dtype.kind not in "iu":
            raise StatsError(f"events {rows.shape} of {rows.dtype}: expected integers {(n, *width)}")
        if rows.size and (rows.min() < _LOWEST or rows.max() >= _LOWEST + _VALUES):
            raise StatsError(f"event inputs from {rows.min()} to {rows.max()}: expected them to fit int16")
        return rows.astype(np.int16)

    def _add_events(self, codes: NDArray[Any], rows: NDArray[np.int16], pileup: FloatArray) -> None:
        if self._features is None:
            self._features = np.zeros((rows.shape[1], _VALUES), np.int64)
            self._tail_code = float(np.quantile(codes, TAIL_QUANTILE))
        flat = rows.astype(np.int64) - _LOWEST + _VALUES * np.arange(rows.shape[1])
        np.add.at(self._features.reshape(-1), flat.reshape(-1), 1)
        tail = codes > self._tail_code
        for stratum, chosen in zip(self._strata, (~tail, tail), strict=True):
            stratum.add(rows[chosen], pileup[chosen].astype(np.float32))

    def pileup_means(self) -> FloatArray:
        """(S,) mean pile-up of each slice. Raises StatsError if one is empty."""
        events = self.histogram.sum(axis=1)
        assert self.pileup_edges is not None
        if not events.all():
            i = int(np.argmin(events))
            low, high = self.pileup_edges[i : i + 2]
            raise StatsError(f"no event with pile-up from {low:g} to {high:g}: join this slice to another")
        means: FloatArray = self._pileup_sums / events
        return means

    def features(self) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...]]:
        """Edges and counts per feature: quantiles, at most 64 bins, none empty."""
        edges, counts = [], []
        for histogram in self._features if self._features is not None else ():
            below = np.concatenate([[0], np.cumsum(histogram)])
            occupied = np.flatnonzero(histogram)
            inner = quantile_edges(histogram, np.arange(1, FEATURE_BINS) / FEATURE_BINS)
            chosen = np.unique(np.concatenate([[occupied[0]], inner, [occupied[-1] + 1]]))
            _, first = np.unique(below[chosen], return_index=True)
            edges.append(chosen[first] + _LOWEST)
            counts.append(np.diff(below[chosen[first]]))
        return tuple(edges), tuple(counts)

    def sample(self) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32]]:
        """The kept events, the probability with which each was kept, and their pile-up."""
        kept = [stratum for stratum in self._strata if stratum.seen]
        if not kept:
            return np.zeros((0, 0), np.int16), np.zeros(0, np.float32), np.zeros(0, np.float32)
        inclusion = [np.full(len(s.rows), len(s.rows) / s.seen, np.float32) for s in kept]
        return (
            np.concatenate([s.rows for s in kept]),
            np.concatenate(inclusion),
            np.concatenate([s.pileup for s in kept]),
        )


class _SimpleSample:
    """A simple random sample of at most `size` rows (J. S. Vitter, ACM Trans. Math. Softw. 11 (1985) 37)."""

    def __init__(self, size: int, rng: np.random.Generator) -> None:
        self.size = size
        self.seen = 0
        self.rows = np.zeros((0, 0), np.int16)
        self.pileup = np.zeros(0, np.float32)
        self._rng = rng

    def add(self, rows: NDArray[np.int16], pileup: NDArray[np.float32]) -> None:
        free = max(self.size - len(self.rows), 0)
        if free:
            self.rows = np.concatenate([self.rows.reshape(-1, rows.shape[1]), rows[:free]])
            self.pileup = np.concatenate([self.pileup, pileup[:free]])
        rest = rows[free:]
        rank = self.seen + len(rows) - len(rest) + 1 + np.arange(len(rest))
        chosen = self._rng.random(len(rest)) * rank < self.size
        places = self._rng.integers(max(self.size, 1), size=int(chosen.sum()))
        self.rows[places] = rest[chosen]
        self.pileup[places] = pileup[free:][chosen]
        self.seen += len(rows)
