"""Reference files: read, written whole or not at all, summed up, held against each other."""

from __future__ import annotations

import os
import tempfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.errors import FirmwareError
from firmware.model.package import MANIFEST, Package
from monitor.stats.compare.description import describe
from monitor.stats.compare.divergence import Divergence
from monitor.stats.compare.divergence import compare as divergence
from monitor.stats.compare.rates import measure
from monitor.stats.count.binning import Binning
from monitor.stats.count.reference import Reference
from monitor.stats.count.window import Slice, Window
from monitor.stats.errors import StatsError

SIGMA = 5.0
FIGURES = ("kl", "kl_reverse", "psi", "kl_corrected", "kl_error", "psi_corrected", "chi2", "dof", "p_value")


def load(path: Path) -> Reference:
    """A reference from its own file or out of a model package. Raises StatsError, naming the file."""
    try:
        if zipfile.is_zipfile(path) and MANIFEST in zipfile.ZipFile(path).namelist():
            return Reference.from_bytes(Package.load(path).reference)
        return Reference.from_bytes(path.read_bytes())
    except (FirmwareError, StatsError, OSError, zipfile.BadZipFile) as error:
        raise StatsError(f"{path}: {error}") from error


def save(reference: Reference, path: Path) -> None:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(reference.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def on_edges(reference: Reference, edges: npt.ArrayLike) -> Reference:
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


def summary(reference: Reference, scores_per_ls: float) -> dict[str, Any]:
    """What the reference holds, and what its statistics allow to see in windows of so many scores."""
    m, binning = reference.m, reference.binning
    inverse = 1 / scores_per_ls + 1 / m
    dof = binning.n_bins - 1
    rates = reference.rates_of(reference.counts / m)
    slices: list[dict[str, Any]] = []
    if reference.pileup_edges is not None and reference.pileup_means is not None:
        edges, means = reference.pileup_edges.tolist(), reference.pileup_means.tolist()
        events = reference.slice_counts.sum(axis=1).tolist()
        slices = [
            {"low": low, "high": high, "mean": mean, "events": n}
            for low, high, mean, n in zip(edges[:-1], edges[1:], means, events, strict=True)
        ]
    return {
        "events": int(m),
        "bits": binning.bits,
        "lsb": reference.lsb,
        "bins": binning.n_bins,
        "cells": reference.cells.n_bins,
        "edges": binning.edges.tolist(),
        "slices": slices,
        "inputs": len(reference.feature_edges),
        "stored_events": len(reference.events),
        "cuts": [
            {
                "code": cut,
                "score": cut * reference.lsb,
                "target": target,
                "rate": rate,
                "relative_error": float(np.sqrt((1 - rate) / (rate * m))) if rate else None,
                "visible_change": float(SIGMA * np.sqrt(inverse / target)),
            }
            for cut, target, rate in zip(binning.cuts, reference.target_rates.tolist(), rates.tolist(), strict=True)
        ],
        "scores_per_ls": scores_per_ls,
        "kl_floor": dof * inverse / 2,
        "kl_floor_error": float(np.sqrt(2 * dof) * inverse / 2),
        "psi_floor": dof * inverse,
        "kl_floor_of_reference": dof / m / 2,
    }


def comparison(a: Reference, b: Reference) -> dict[str, Any]:
    """How far b is from a, on the bins of a that b allows, and at the pile-ups of b where both know theirs.

    Raises:
        StatsError: where a code has another value or no edge is common.
    """
    if a.lsb != b.lsb:
        raise StatsError(f"a code is worth {a.lsb:g} in one and {b.lsb:g} in the other: build both with one lsb")
    kept = on_edges(_with_cuts(a, b.cells.edges), b.cells.edges)
    cells = _cells_on(b, kept.cells)
    counts = np.add.reduceat(cells.sum(axis=0), kept.first)
    found = divergence(counts, kept.p, kept.m)
    given_pileup = None
    if a.pileup_means is not None and b.pileup_means is not None:
        sums = (b.pileup_means * cells.sum(axis=1)).tolist()
        slices: dict[int | None, Slice] = {i: Slice(*part) for i, part in enumerate(zip(cells, sums, strict=True))}
        expected = Window(slices, kept.binning.above(counts)).expected(kept)
        given_pileup = _figures(divergence(counts, expected.p, expected.m))
    return {
        "events": [int(a.m), int(b.m)],
        "bins": [kept.binning.n_bins, a.binning.n_bins, b.binning.n_bins],
        "cuts_left_out": sorted(set(a.binning.cuts) - set(kept.binning.cuts)),
        "divergence": _figures(found),
        "given_pileup": given_pileup,
        "rates": [asdict(rate) for rate in measure(counts, kept.binning, kept.rates_of(kept.p).tolist(), kept.m)],
        "text": describe(counts, kept.p, kept.m, kept.binning).text,
    }


def _figures(found: Divergence) -> dict[str, float]:
    return {name: getattr(found, name) for name in FIGURES}


def _with_cuts(reference: Reference, edges: npt.NDArray[np.int64]) -> Reference:
    """With those of its cuts only that are among `edges`."""
    kept = np.isin(reference.binning.cuts, edges)
    cuts = tuple(np.array(reference.binning.cuts, np.int64)[kept].tolist())
    return replace(
        reference,
        binning=replace(reference.binning, cuts=cuts),
        cells=replace(reference.cells, cuts=cuts),
        target_rates=reference.target_rates[kept],
    )


def _cells_on(reference: Reference, cells: Binning) -> npt.NDArray[np.int64]:
    """(S, C) events in other cells, whose edges are some of its own."""
    starts = np.searchsorted(reference.cells.edges, cells.edges[:-1])
    beyond = np.zeros((len(reference.cell_counts), 1), np.int64)
    return np.add.reduceat(np.hstack([reference.cell_counts, beyond]), starts, axis=1)
