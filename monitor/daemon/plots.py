"""Plots: what a person looks at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monitor.stats.reference import Reference

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
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

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
