"""Archived histograms of scores: one for all, or one a lumi section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from monitor.archive.columns import check_pileup
from monitor.archive.errors import ArchiveError, FileFault
from monitor.archive.formats import open_table
from monitor.archive.recipe import Pileups, Recipe, default_lsb
from monitor.archive.samples import Rows, rows
from monitor.stats.arrays import Array, IntArray
from monitor.stats.count.building import reference_of_histogram
from monitor.stats.count.reference import Reference

EDGES, COUNTS = "edges", "counts"


def holds_histograms(file: str) -> bool:
    """Whether a file holds counts, rather than a score an event."""
    with open_table(file) as opened:
        return COUNTS in opened.columns


def read_edges(files: Sequence[str]) -> Array:
    """(K + 1,) edges of the histograms. Raises ArchiveError where a file has none or other ones."""
    first, *others = [(_edges(file), file) for file in files]
    for edges, file in others:
        if not np.array_equal(edges, first[0]):
            raise FileFault(f"{file}: edges differ from those of {first[1]}; give files of one binning")
    return first[0]


def histograms(files: Sequence[str], names: Sequence[str] = (), optional: Sequence[str] = ()) -> Iterator[Rows]:
    """Column `counts` (n, K) as integers, and others of n rows; a file of one histogram is one row.

    Raises:
        ArchiveError: as `rows` does, and on negative, broken or non-finite counts.
    """
    for part in rows(files, [COUNTS, *names], optional):
        counts = part.columns[COUNTS]
        if counts.ndim == 1:
            counts = counts[None]
        good = np.isfinite(counts) & (counts >= 0) & (counts == np.rint(counts))
        part.require(COUNTS, good.all(axis=1) if part.columns[COUNTS].ndim > 1 else good[0], "count of events")
        yield Rows(part.file, part.first, {**part.columns, COUNTS: counts.astype(np.int64)})


def codes_for(files: Sequence[str], reference: Reference) -> IntArray:
    """Edges as codes of a reference: integers are codes, floats are scores."""
    edges = read_edges(files)
    return edge_codes(edges, reference.binning.bits, reference.lsb if edges.dtype.kind == "f" else 1.0)


def edge_codes(edges: Array, bits: int, lsb: float) -> IntArray:
    """Edges of scores as those of score codes; what is below the first or above the last joins its bin.

    Raises:
        ArchiveError: naming the index, on edges that do not increase, are negative, beyond `bits`, or closer to each
            other than `lsb`.
    """
    values = np.asarray(edges, dtype=np.float64)
    if values.ndim != 1 or len(values) < 3:
        raise ArchiveError(f"column {EDGES!r}: {values.shape} numbers, expected at least three")
    falls = ~(np.diff(values) > 0)
    if falls.any() or values[0] < 0:
        i = int(np.argmax(falls)) + 1 if falls.any() else 0
        raise ArchiveError(f"column {EDGES!r}, row {i}: {values[i]:g}, expected numbers from 0 that increase")
    codes = np.rint(values / lsb).astype(np.int64)
    if codes[-2] >= 1 << bits:
        raise ArchiveError(f"column {EDGES!r}: {values[-2]:g} is beyond {bits} bits of {lsb:g}; give a larger lsb")
    codes[0], codes[-1] = 0, 1 << bits
    near = np.diff(codes) <= 0
    if near.any():
        i = int(np.argmax(near)) + 1
        raise ArchiveError(
            f"column {EDGES!r}, row {i}: {values[i]:g} has the code of the one before; give a smaller lsb"
        )
    return codes


def _edges(file: str) -> Array:
    with open_table(file) as opened:
        if EDGES not in opened.columns:
            raise ArchiveError(f"column {COUNTS!r} without a column {EDGES!r}: add it")
        first = next(iter(opened.read([EDGES], 1 << 20)))[EDGES]
    return first[0] if first.ndim > 1 else first


def reference_of_histograms(files: Sequence[str], recipe: Recipe) -> tuple[Reference, Recipe]:
    """The reference of the histograms in `files`, and the recipe with what it left open filled in."""
    edges = read_edges(files)
    recipe = replace(recipe, floats=edges.dtype.kind == "f")
    if recipe.floats:
        recipe = replace(recipe, lsb=recipe.lsb or default_lsb(float(edges[-1]), recipe.bits))
    codes = edge_codes(edges, recipe.bits, recipe.unit)
    for cut in recipe.cuts:
        i = int(np.searchsorted(edges, cut))
        if recipe.code_of(cut) not in codes:
            raise ArchiveError(f"cut {cut:g} is no edge: take {edges[max(i - 1, 0) : i + 1].tolist()}")
    if recipe.pileup_slices:
        pileups = Pileups()
        for counts, pileup in _with_pileup(files, recipe, len(codes) - 1):
            pileups.add(pileup, counts.sum(axis=1))
        recipe = replace(recipe, pileup_edges=pileups.edges(recipe))
    slices = max(len(recipe.pileup_edges) - 1, 1)
    total, pileup_sums = np.zeros((slices, len(codes) - 1), np.int64), np.zeros(slices)
    for counts, pileup in _with_pileup(files, recipe, len(codes) - 1):
        number = np.searchsorted(recipe.pileup_edges[1:-1], pileup, side="right")
        np.add.at(total, number, counts)
        np.add.at(pileup_sums, number, counts.sum(axis=1) * pileup)
    means = pileup_sums / np.maximum(total.sum(axis=1), 1) if recipe.pileup_edges else None
    return reference_of_histogram(codes, total, pileup_means=means, **recipe.settings()), recipe


def _with_pileup(files: Sequence[str], recipe: Recipe, n_bins: int) -> Iterator[tuple[IntArray, npt.NDArray[Any]]]:
    """Counts (n, K) and pile-up (n,) of the rows of the files."""
    for part in histograms(files, [recipe.pileup] if recipe.pileup else []):
        counts = part.columns[COUNTS]
        if counts.shape[1] != n_bins:
            raise FileFault(f"{part.file}: {counts.shape[1]} counts for {n_bins + 1} edges: expected one less")
        if recipe.pileup:
            check_pileup(part, recipe.pileup)
        yield counts, part.columns[recipe.pileup] if recipe.pileup else np.zeros(len(counts))
