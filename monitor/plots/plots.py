"""Plots: what a person looks at first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.plots.canvas import pyplot
from monitor.stats.compare.rates import interval
from monitor.stats.count.reference import Reference

if TYPE_CHECKING:
    from monitor.offline.outcome import Judged

COLOURS = {"reference": "0.35", "drifted": "tab:red", "re-calibrated": "tab:blue"}


def demo_figure(
    path: Path, reference: Reference, windows: list[dict[str, Any]], marks: dict[str, tuple[int, float]]
) -> None:
    """Score distribution (reference, drifted, re-calibrated, with ratios) and rates against lumi section.

    Args:
        path: the PNG to write.
        windows: lumi sections as the HTTP interface gives them, oldest first.
        marks: (lumi section, seconds) of what happened, by name.
    """
    plt = pyplot()
    figure = plt.figure(figsize=(12, 6), layout="constrained")
    grid = figure.add_gridspec(3, 2)
    upper = figure.add_subplot(grid[:2, 0])
    lower = figure.add_subplot(grid[2, 0], sharex=upper)
    rates = figure.add_subplot(grid[:, 1])
    drift, active = marks["drift"][0], marks["active"][0]
    pileup = marks.get("pileup", (windows[-1]["ls"] + 1, 0.0))[0]
    groups = {
        "reference": [w for w in windows if w["ls"] < drift],
        "drifted": [w for w in windows if drift <= w["ls"] < active and w["generation"] == windows[0]["generation"]],
        "re-calibrated": [w for w in windows if w["generation"] > windows[0]["generation"] and w["ls"] < pileup],
    }
    edges = reference.binning.edges * reference.lsb
    x = np.append(edges[:-1], edges[-2] * 1.15)
    width = np.diff(x)
    for name, group in groups.items():
        if not group:
            continue
        counts = np.sum([w["counts"] for w in group], axis=0)
        n = counts.sum()
        expected = np.average([w["expected"] for w in group], axis=0, weights=[w["n"] for w in group])
        shape = expected if name == "reference" else counts / n
        upper.stairs(
            shape / width,
            x,
            color=COLOURS[name],
            label=name,
            fill=name == "reference",
            alpha=0.6 if name == "reference" else 1,
        )
        if name != "reference":
            lower.errorbar(
                (x[:-1] + x[1:]) / 2,
                counts / n / expected,
                np.sqrt(np.maximum(counts, 1)) / n / expected,
                fmt=".",
                color=COLOURS[name],
            )
    upper.set(yscale="log", ylabel="share of crossings per unit of score")
    upper.legend()
    lower.axhline(1, color="0.35", lw=1)
    lower.set(xscale="symlog", xlim=(0, None), xlabel="score", ylabel="over reference")
    ls = [w["ls"] for w in windows]
    for cut, ratio in enumerate(np.transpose([w["ratios"] or [np.nan] for w in windows])):
        rates.plot(ls, ratio, ".-", lw=1, label=f"cut {cut}")
    rates.axhspan(0.9, 1.1, color="0.9", zorder=0)
    for name, (at, _) in marks.items():
        rates.axvline(at, color="0.5", lw=0.8, ls=":")
        rates.text(at, 0.99, f" {name}", rotation=90, va="top", fontsize=8, transform=rates.get_xaxis_transform())
    rates.set(xlabel="lumi section", ylabel="rate over its target")
    rates.legend(loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def reference_figure(path: Path, reference: Reference, title: str) -> None:
    """p(s) by pile-up slice with the cuts marked, and the rate at each cut against pile-up with its error."""
    plt = pyplot()
    binning, lsb = reference.cells, reference.lsb
    counts, n = reference.cell_counts, reference.cell_counts.sum(axis=1)
    means, edges = reference.pileup_means, reference.pileup_edges
    if means is None or edges is None:
        means, edges = np.zeros(1), np.zeros(2)
    sliced = len(edges) > 2
    panels = 1 + (sliced and len(reference.binning.cuts) > 0)
    figure, axes = plt.subplots(1, panels, figsize=(2 + 5.5 * panels, 5.5), layout="constrained", squeeze=False)
    colour = plt.get_cmap("viridis")((means - means.min()) / max(np.ptp(means), 1) * 0.9)
    shape = axes[0, 0]
    scores = binning.edges * lsb
    scores[-1] = max(scores[-2] * 1.3, scores[-2] + lsb)
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        label = f"pile-up {low:g}–{high:g}" if sliced else "all events"
        density = np.where(counts[number], counts[number] / n[number] / np.diff(scores), np.nan)
        shape.stairs(density, scores, color=colour[number], label=f"{label}: {n[number]:,}", lw=1.3, baseline=None)
    for number, cut in enumerate(binning.cuts):
        shape.axvline(cut * lsb, color=f"C{number}", lw=1.2, ls="--")
        label = f" cut {cut * lsb:g}"
        shape.text(cut * lsb, 0.98, label, rotation=90, va="top", fontsize=9, transform=shape.get_xaxis_transform())
    shape.set(yscale="log", xlabel="score (the last bin is open)", ylabel="share of events per unit of score")
    shape.set_xscale("symlog", linthresh=max(float(np.quantile(scores[1:-1], 0.25)), lsb), linscale=0.6)
    shape.set_xlim(0, scores[-1])
    shape.legend(frameon=False, fontsize=9)
    if panels > 1:
        rates = axes[0, 1]
        for number, above in enumerate(reference.binning.above(reference.slice_counts).T):
            low, high = interval(above, n)
            rate, target = above / n, reference.target_rates[number]
            rates.errorbar(
                means,
                rate,
                (rate - low, high - rate),
                np.maximum([means - edges[:-1], edges[1:] - means], 0),
                fmt="o",
                ms=4,
                color=f"C{number}",
                label=f"cut {binning.cuts[number] * lsb:g}",
            )
            rates.axhline(target, color=f"C{number}", lw=0.8, ls=":")
        rates.set(yscale="log", xlabel="pile-up", ylabel="rate per crossing (dotted: target)")
        rates.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{title}: {reference.m:,.0f} events, {binning.bits}-bit codes of {lsb:g} each", fontsize=12)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def replay_figure(path: Path, judged: Sequence[Judged], rate_tolerance: float) -> None:
    """KL with its error band, PSI, rates over expectation and pile-up by lumi section, with every alarm."""
    plt = pyplot()
    x = np.arange(len(judged))
    few = len(judged) < 400
    points: dict[str, Any] = {"marker": ".", "ms": 3 if few else 1.5, "lw": 0.6 if few else 0}
    figure, axes = plt.subplots(
        5, 1, figsize=(13, 10), sharex=True, layout="constrained", gridspec_kw={"height_ratios": [3, 2, 3, 1.5, 1.5]}
    )
    kl, psi, rates, alarms, pileups = axes
    values, errors = np.array([[ls.kl, ls.kl_error] for ls in judged]).T
    kl.fill_between(x, -2 * errors, 2 * errors, color="0.85", label="no drift (± 2 σ)")
    kl.plot(x, values, color="tab:blue", **points)
    kl.set(ylabel="KL − its floor")
    psi.plot(x, [ls.psi for ls in judged], color="tab:purple", **points)
    psi.set(ylabel="PSI − its floor")
    for axis, scale in ((kl, 4), (psi, 8)):
        axis.set_yscale("symlog", linthresh=max(scale * float(np.median(errors)), 1e-12))
        axis.yaxis.get_major_locator().set_params(numticks=5)
    n_cuts = max(len(ls.ratios) for ls in judged)
    for cut in range(n_cuts):
        ratios = [ls.ratios[cut] if ls.ratios else np.nan for ls in judged]
        rates.plot(x, ratios, label=f"cut {cut}", **points)
    rates.axhspan(1 - rate_tolerance, 1 + rate_tolerance, color="0.92", zorder=0, label="tolerated")
    rates.set(ylabel="rate / expected")
    names = sorted({name for ls in judged for name in ls.alarms})
    for level, name in enumerate(names):
        alarms.plot(
            *np.array([[i, level] for i, ls in enumerate(judged) if name in ls.alarms]).T, "|", ms=12, color=f"C{level}"
        )
    alarms.set(yticks=range(len(names)), yticklabels=names, ylim=(-0.6, max(len(names), 1) - 0.4))
    alarms.text(0.005, 0.5, "" if names else "no alarm", transform=alarms.transAxes, va="center", color="0.4")
    pileups.plot(x, [np.nan if ls.pileup is None else ls.pileup for ls in judged], color="0.3", **points)
    pileups.set(ylabel="pile-up", xlim=(-0.5, len(judged) - 0.5))
    for verdict, colour in (("watch", "gold"), ("drift", "tab:red")):
        where = np.array([ls.level == verdict for ls in judged])
        for axis in (kl, psi, rates):
            axis.fill_between(
                x, 0, 1, where=where, step="mid", color=colour, alpha=0.25, lw=0, transform=axis.get_xaxis_transform(),
                label=verdict if where.any() else None,
            )  # fmt: skip
    ticks = np.unique(np.linspace(0, len(judged) - 1, 7).astype(int))
    pileups.set_xticks(ticks, [f"{judged[i].run}:{judged[i].ls}" for i in ticks])
    pileups.set_xlabel("run : lumi section")
    for axis in (kl, rates):
        axis.legend(fontsize=9, ncols=6, loc="upper left", markerscale=2)
    figure.savefig(path, dpi=120)
    plt.close(figure)
