"""Score codes to bins: edges exactly on the cuts, quantiles of a reference elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitor.stats.arrays import IntArray, frozen
from monitor.stats.count.codes import MAX_BITS, as_codes, check_cut, code_histogram
from monitor.stats.count.counting import add, empty
from monitor.stats.errors import StatsError

MAX_BINS = 1 << 16
TAILS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
"""Upper shares at which bins begin, beside those of the bulk and the cuts."""
LOW_TAIL = 1e-2
"""Lower share that has a bin of its own."""


def quantile_edges(histogram: IntArray, shares: ArrayLike) -> IntArray:
    """The edges e whose share of events below, Σ_{c<e} n_c / N, comes nearest to each of `shares`.

    A code on which many events pile up thereby gets a bin of its own.

    Examples:
        >>> quantile_edges(np.array([0, 60, 20, 20, 0]), [0.5, 0.75]).tolist()
        [2, 3]
    """
    below = np.concatenate([[0.0], np.cumsum(histogram)])
    if not below[-1]:
        raise StatsError("the reference holds no event: give it a sample")
    below /= below[-1]
    wanted = np.asarray(shares, dtype=np.float64)
    upper = np.searchsorted(below, wanted).clip(1, len(below) - 1)
    return np.where(wanted - below[upper - 1] < below[upper] - wanted, upper - 1, upper)


@dataclass(frozen=True, eq=False)
class Binning:
    """Bins of score codes: bin i holds the codes edges[i] <= code < edges[i+1].

    The first edge is 0 and the last 2^bits, so that nothing is outside. A cut accepts code >= cut;
    every cut is an edge, so that rates at the cuts are exact sums of bins.

    Args:
        edges: (B+1,) score codes, strictly increasing.
        cuts: Score codes, in the order of the payload.

    Examples:
        >>> binning = Binning(np.array([0, 10, 20, 256]), cuts=(20,))
        >>> counts = binning.count(np.array([0, 9, 10, 19, 20, 255], dtype="u2"))
        >>> counts.tolist(), binning.above(counts).tolist()
        ([2, 2, 2], [2])
    """

    edges: IntArray
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", frozen(self.edges, np.int64))
        object.__setattr__(self, "cuts", tuple(int(cut) for cut in self.cuts))
        edges = self.edges
        if edges.ndim != 1 or len(edges) < 2 or edges[0] != 0 or (np.diff(edges) <= 0).any():
            raise StatsError(f"edges {edges.tolist()}: expected a strictly increasing sequence from 0")
        if edges[-1] != 1 << self.bits or self.bits > MAX_BITS or self.n_bins > MAX_BINS:
            raise StatsError(
                f"{self.n_bins} bins, last edge {edges[-1]}: expected 2^bits with at most {MAX_BITS} bits, "
                f"and at most {MAX_BINS} bins"
            )
        for cut in self.cuts:
            check_cut(cut, self.bits)
            if cut not in edges:
                raise StatsError(f"cut {cut} is not an edge: build the binning with its cuts")

    @property
    def bits(self) -> int:
        """Bits of a score code."""
        return int(self.edges[-1]).bit_length() - 1

    @property
    def n_bins(self) -> int:
        """B, the number of bins."""
        return len(self.edges) - 1

    @cached_property
    def table(self) -> NDArray[np.uint16]:
        """The bin of every code, (2^bits,)."""
        return np.repeat(np.arange(self.n_bins).astype(np.uint16), np.diff(self.edges))

    @cached_property
    def cut_bins(self) -> IntArray:
        """The first bin that each cut accepts, (n_cuts,)."""
        return np.searchsorted(self.edges, np.array(self.cuts, dtype=np.int64))

    def count(self, codes: ArrayLike) -> IntArray:
        """Events per bin, (B,). Raises StatsError on floats, negative codes and codes >= 2^bits."""
        lanes = empty(self.n_bins)
        add(as_codes(codes, self.bits).astype("u4", order="C", copy=False), lanes, self.table)
        return np.asarray(lanes.sum(axis=0))

    def rebin(self, histogram: NDArray[Any]) -> NDArray[Any]:
        """Sum of `histogram` (..., 2^bits) over the codes of each bin, (..., B)."""
        return np.add.reduceat(histogram, self.edges[:-1], axis=-1)

    def above(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Sum of `counts` (..., B) at and above each cut, (..., n_cuts)."""
        from_top = np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]
        return from_top[..., self.cut_bins]

    @classmethod
    def build(
        cls,
        codes: ArrayLike,
        cuts: Sequence[int] = (),
        bits: int = 18,
        bulk: int = 24,
        tails: Sequence[float] = TAILS,
    ) -> "Binning":
        """Binning from a sample of reference codes; see `from_histogram`."""
        return cls.from_histogram(code_histogram(codes, bits), cuts, bulk, tails)

    @classmethod
    def from_histogram(
        cls,
        histogram: ArrayLike,
        cuts: Sequence[int] = (),
        bulk: int = 24,
        tails: Sequence[float] = TAILS,
        edges: ArrayLike | None = None,
    ) -> "Binning":
        """Edges at the cuts, at `bulk` equal shares, at `LOW_TAIL` and at the upper shares `tails` of a reference.

        Codes are discrete, so edges may fall together: they are merged, and an edge that would close
        an empty bin is dropped.

        Args:
            histogram: (K,) reference events per score code, or between `edges`.
            edges: (K + 1,) score codes, of which the new edges are some; None for all 2^bits codes.

        Raises:
            StatsError: on an empty reference, fewer events than bins, a cut outside of the range or not among
                `edges`, and cuts that enclose no reference event.
        """
        events = np.asarray(histogram, dtype=np.int64)
        codes = _codes(events, edges)
        bits = int(codes[-1]).bit_length() - 1
        wanted = bulk + len(tails) + len(cuts)
        if events.sum() < wanted:
            raise StatsError(f"{events.sum()} reference events for {wanted} bins: take more events")
        forced = {0, int(codes[-1])} | {check_cut(cut, bits) for cut in cuts}
        if not np.isin(cuts, codes).all():
            raise StatsError(
                f"cuts {list(cuts)} are no edges of the histogram {codes.tolist()[:9]} …: take some of these"
            )
        shares = np.concatenate([[LOW_TAIL], np.arange(1, bulk) / bulk, 1 - np.asarray(tails)])
        chosen = np.array(sorted(forced | set(codes[quantile_edges(events, shares)].tolist())))
        below = np.concatenate([[0], np.cumsum(events)])[np.searchsorted(codes, chosen)]
        keep = []
        for share in np.unique(below):
            group = chosen[below == share].tolist()
            fixed = [edge for edge in group if edge in forced]
            if len(fixed) > 1:
                raise StatsError(
                    f"no reference event has a code from {fixed[0]} to {fixed[1] - 1} (cuts {list(cuts)}): "
                    "take a larger reference or other cuts"
                )
            keep.append((fixed or group)[0])
        return cls(np.array(keep), tuple(cuts))

    def divided(self, histogram: ArrayLike, parts: int, edges: ArrayLike | None = None) -> "Binning":
        """These bins, divided further at `parts` equal shares of a histogram as in `from_histogram`.

        A code that holds more than such a share becomes a bin of its own, and no new bin is empty.
        """
        events = np.asarray(histogram, dtype=np.int64)
        codes = _codes(events, edges)
        fine = np.union1d(self.edges, codes[quantile_edges(events, np.arange(1, parts) / parts)])
        below = np.concatenate([[0], np.cumsum(events)])[np.searchsorted(codes, fine)]
        keep = np.isin(fine, self.edges)
        _, first, same = np.unique(below, return_index=True, return_inverse=True)
        keep[first[np.bincount(same, keep) == 0]] = True
        return Binning(fine[keep], self.cuts)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays that say all of it, by name; see `from_arrays`."""
        return {"edges": self.edges, "cuts": np.array(self.cuts, dtype=np.int64)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "Binning":
        """The binning that `to_arrays` wrote."""
        return cls(arrays["edges"], tuple(arrays["cuts"].tolist()))


def _codes(events: IntArray, edges: ArrayLike | None) -> IntArray:
    """The codes at which the bins of a histogram end."""
    codes = np.arange(len(events) + 1) if edges is None else np.asarray(edges, dtype=np.int64)
    if codes.shape != (len(events) + 1,) or codes[0] != 0 or (np.diff(codes) <= 0).any():
        raise StatsError(f"edges {codes.tolist()[:9]} … of {len(events)} bins: expected one more, rising from 0")
    return codes
