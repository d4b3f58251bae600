"""The events of a reference in fewer bins."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from monitor.stats.arrays import IntArray
from monitor.stats.count.binning import Binning
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError


def on_edges(reference: Reference, edges: ArrayLike) -> Reference:
    """The same events in those of its bins and cells that the codes `edges` allow.

    Raises:
        StatsError: where a cut is not among `edges`, or no edge is common.
    """
    kept = np.union1d(np.asarray(edges), [0, reference.binning.edges[-1]])
    binning, cells = reference.binning, reference.cells
    lost = [cut for cut in binning.cuts if cut not in kept]
    if lost:
        raise StatsError(f"cuts {lost} are no edges of the other histogram: build the reference on its edges")
    bins = np.intersect1d(binning.edges, kept)
    if len(bins) < 3:
        raise StatsError("the edges have none in common: build both with the same cuts, or from the same histogram")
    fine = np.intersect1d(cells.edges, kept)
    starts = np.searchsorted(cells.edges, fine[:-1])
    return replace(
        reference,
        binning=Binning(bins, binning.cuts),
        cells=Binning(fine, binning.cuts),
        cell_counts=np.add.reduceat(reference.cell_counts, starts, axis=1),
    )


def with_cuts_among(reference: Reference, edges: IntArray) -> Reference:
    """With those of its cuts only that are among `edges`."""
    kept = np.isin(reference.binning.cuts, edges)
    cuts = tuple(np.array(reference.binning.cuts, np.int64)[kept].tolist())
    return replace(
        reference,
        binning=replace(reference.binning, cuts=cuts),
        cells=replace(reference.cells, cuts=cuts),
        target_rates=reference.target_rates[kept],
    )


def cell_counts_on(reference: Reference, cells: Binning) -> IntArray:
    """(S, C) events in other cells, whose edges are some of its own."""
    starts = np.searchsorted(reference.cells.edges, cells.edges[:-1])
    beyond = np.zeros((len(reference.cell_counts), 1), np.int64)
    return np.add.reduceat(np.hstack([reference.cell_counts, beyond]), starts, axis=1)
