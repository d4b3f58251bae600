"""A reference summed up, and two of them held against each other."""

from dataclasses import asdict
from typing import Any

import numpy as np

from monitor.stats.compare.description import describe
from monitor.stats.compare.divergence import Divergence, compare
from monitor.stats.compare.rates import measure
from monitor.stats.count.rebinning import cell_counts_on, on_edges, with_cuts_among
from monitor.stats.count.reference import Reference
from monitor.stats.count.window import Slice, Window
from monitor.stats.errors import StatsError

VISIBLE_SIGMAS = 5.0
"""Standard deviations of a change that shows."""
FIGURES = ("kl", "kl_reverse", "psi", "kl_corrected", "kl_error", "psi_corrected", "chi2", "dof", "p_value")
"""What is told of a divergence."""


def contents(reference: Reference, scores_per_ls: float) -> dict[str, Any]:
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
                "visible_change": float(VISIBLE_SIGMAS * np.sqrt(inverse / target)),
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
    kept = on_edges(with_cuts_among(a, b.cells.edges), b.cells.edges)
    cells = cell_counts_on(b, kept.cells)
    counts = np.add.reduceat(cells.sum(axis=0), kept.first)
    found = compare(counts, kept.p, kept.m)
    given_pileup = None
    if a.pileup_means is not None and b.pileup_means is not None:
        sums = (b.pileup_means * cells.sum(axis=1)).tolist()
        slices: dict[int | None, Slice] = {i: Slice(*part) for i, part in enumerate(zip(cells, sums, strict=True))}
        expected = Window(slices, kept.binning.above(counts)).expected(kept)
        given_pileup = _figures(compare(counts, expected.p, expected.m))
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
