"""The figure of a reference."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from monitor.plots.canvas import pyplot
from monitor.stats.arrays import FloatArray
from monitor.stats.compare.rates import interval
from monitor.stats.count.reference import Reference


def reference_figure(path: Path, reference: Reference, title: str) -> None:
    """p(s) by pile-up slice with the cuts marked, and the rate at each cut against pile-up with its error."""
    plt = pyplot()

    means, edges = reference.pileup_means, reference.pileup_edges
    if means is None or edges is None:
        means, edges = np.zeros(1), np.zeros(2)
    panels = 1 + (len(means) > 1 and len(reference.binning.cuts) > 0)
    figure, axes = plt.subplots(1, panels, figsize=(2 + 5.5 * panels, 5.5), layout="constrained", squeeze=False)
    colour = plt.get_cmap("viridis")((means - means.min()) / max(np.ptp(means), 1) * 0.9)
    _slices(axes[0, 0], reference, edges, colour)
    if panels > 1:
        _rates(axes[0, 1], reference, means, edges)
    binning, lsb = reference.cells, reference.lsb
    figure.suptitle(f"{title}: {reference.m:,.0f} events, {binning.bits}-bit codes of {lsb:g} each", fontsize=12)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _slices(axes: Any, reference: Reference, edges: FloatArray, colour: Any) -> None:
    """The distribution in each pile-up slice, in the reference's cells."""
    lsb = reference.lsb
    counts, n = reference.cell_counts, reference.cell_counts.sum(axis=1)
    scores = reference.cells.edges * lsb
    scores[-1] = max(scores[-2] * 1.3, scores[-2] + lsb)
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        label = f"pile-up {low:g}–{high:g}" if len(edges) > 2 else "all events"
        density = np.where(counts[number], counts[number] / n[number] / np.diff(scores), np.nan)
        axes.stairs(density, scores, color=colour[number], label=f"{label}: {n[number]:,}", lw=1.3, baseline=None)
    for number, cut in enumerate(reference.cells.cuts):
        axes.axvline(cut * lsb, color=f"C{number}", lw=1.2, ls="--")
        label = f" cut {cut * lsb:g}"
        axes.text(cut * lsb, 0.98, label, rotation=90, va="top", fontsize=9, transform=axes.get_xaxis_transform())
    axes.set(yscale="log", xlabel="score (the last bin is open)", ylabel="share of events per unit of score")
    axes.set_xscale("symlog", linthresh=max(float(np.quantile(scores[1:-1], 0.25)), lsb), linscale=0.6)
    axes.set_xlim(0, scores[-1])
    axes.legend(frameon=False, fontsize=9)


def _rates(axes: Any, reference: Reference, means: FloatArray, edges: FloatArray) -> None:
    """The rate at each cut by pile-up, and its target."""
    n = reference.cell_counts.sum(axis=1)
    for number, above in enumerate(reference.binning.above(reference.slice_counts).T):
        low, high = interval(above, n)
        rate, target = above / n, reference.target_rates[number]
        axes.errorbar(
            means,
            rate,
            (rate - low, high - rate),
            np.maximum([means - edges[:-1], edges[1:] - means], 0),
            fmt="o",
            ms=4,
            color=f"C{number}",
            label=f"cut {reference.binning.cuts[number] * reference.lsb:g}",
        )
        axes.axhline(target, color=f"C{number}", lw=0.8, ls=":")
    axes.set(yscale="log", xlabel="pile-up", ylabel="rate per crossing (dotted: target)")
    axes.legend(frameon=False, fontsize=9)
