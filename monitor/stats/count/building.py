"""A reference out of a sample of events, or out of a histogram of their scores."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from monitor.stats.count.binning import Binning, quantile_edges
from monitor.stats.count.reference import Reference
from monitor.stats.count.tally import Chunk, Tally
from monitor.stats.errors import StatsError

CELLS = 512
"""Equal shares of the reference into which its cells divide the codes."""


def reference_of_sample(
    chunks: Iterable[Chunk],
    cuts: Sequence[int] | None = None,
    *,
    target_rates: Sequence[float] | None = None,
    bits: int = 18,
    lsb: float = 1.0,
    pileup_edges: Sequence[float] | None = None,
    max_events: int = 200_000,
    seed: int = 0,
) -> Reference:
    """Reference from one pass over a sample of any size.

    Memory holds a histogram of all 2^bits codes per slice, one of all 2^16 values per feature
    and up to `max_events` events, a quarter of them from the upper 1 % of the scores.

    Args:
        chunks: (codes (n,), events (n, width) or None, pile-up (n,) or of all or None). Pile-up outside
            of the edges counts into the nearest slice.
        cuts, target_rates: Target rates are the reference's own at `cuts` if they are not given, and cuts the codes
            that come nearest to `target_rates`.

    Raises:
        StatsError: as `Binning.from_histogram` does, and on chunks whose parts differ in length, kind or width,
            on pile-up that is missing or no number, and on slices with fewer events than bins.
    """
    tally = Tally(bits, pileup_edges, max_events, seed)
    for chunk in chunks:
        tally.add(*chunk)
    feature_edges, feature_counts = tally.features()
    events, inclusion, pileup = tally.sample()
    found = reference_of_histogram(
        np.arange((1 << bits) + 1),
        tally.histogram,
        cuts,
        target_rates=target_rates,
        lsb=lsb,
        pileup_edges=pileup_edges,
        pileup_means=None if pileup_edges is None else tally.pileup_means(),
    )
    return replace(
        found,
        feature_edges=feature_edges,
        feature_counts=feature_counts,
        events=events,
        event_inclusion=inclusion,
        event_pileup=None if pileup_edges is None else pileup,
    )


def reference_of_histogram(
    edges: ArrayLike,
    counts: ArrayLike,
    cuts: Sequence[int] | None = None,
    *,
    target_rates: Sequence[float] | None = None,
    lsb: float = 1.0,
    pileup_edges: Sequence[float] | None = None,
    pileup_means: ArrayLike | None = None,
) -> Reference:
    """Reference from a histogram of scores; its bins and cells end on `edges`, and so must the cuts.

    Args:
        edges: (K + 1,) score codes; the last one is a power of two.
        counts: (S, K) events per pile-up slice and bin of the histogram.
        cuts, target_rates: As in `reference_of_sample`.

    Raises:
        StatsError: as `Binning.from_histogram` does, and on a cut that is not an edge.

    Examples:
        >>> found = reference_of_histogram([0, 100, 200, 256], [[700, 280, 20]], target_rates=[0.02])
        >>> found.binning.edges.tolist(), found.binning.cuts
        ([0, 100, 200, 256], (200,))
    """
    codes, slices = np.asarray(edges, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    if slices.ndim != 2 or slices.shape[1] != len(codes) - 1 or (slices < 0).any():
        raise StatsError(f"histogram {slices.shape}: expected counts >= 0, (slices, {len(codes) - 1})")
    histogram = slices.sum(axis=0)
    if cuts is None:
        shares = 1 - np.asarray(target_rates or [], dtype=np.float64)
        cuts = codes[quantile_edges(histogram, shares)].tolist()
    binning = Binning.from_histogram(histogram, cuts, edges=codes)
    cells = binning.divided(histogram, CELLS, codes)
    cell_counts = np.add.reduceat(slices, np.searchsorted(codes, cells.edges[:-1]), axis=1)
    if target_rates is None:
        target_rates = (cells.above(cell_counts.sum(axis=0)) / histogram.sum()).tolist()
    return Reference(
        binning=binning,
        cell_counts=cell_counts,
        target_rates=np.asarray(target_rates),
        lsb=lsb,
        pileup_edges=None if pileup_edges is None else np.asarray(pileup_edges),
        pileup_means=None if pileup_means is None else np.asarray(pileup_means),
        cells=cells,
    )
