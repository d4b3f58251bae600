"""The figure of the demonstration: scores and rates before a drift, in it, and after it was corrected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monitor.plots import colours
from monitor.plots.canvas import pyplot
from monitor.stats.arrays import FloatArray
from monitor.stats.count.reference import Reference

SHAPE_COLOURS = {"reference": colours.REFERENCE, "drifted": colours.BEFORE, "re-calibrated": colours.AFTER}


def demo_figure(
    path: Path, reference: Reference, windows: list[dict[str, Any]], marks: dict[str, tuple[int, float]]
) -> None:
    """Score distribution (reference, drifted, re-calibrated, with ratios) and rates against lumi section.

    Args:
        path: the PNG to write.
        reference: the one that the scores were compared with.
        windows: lumi sections as the HTTP interface gives them, oldest first.
        marks: (lumi section, seconds) of what happened, by name.
    """
    plt = pyplot()

    figure = plt.figure(figsize=(12, 6), layout="constrained")
    grid = figure.add_gridspec(3, 2)
    upper = figure.add_subplot(grid[:2, 0])
    lower = figure.add_subplot(grid[2, 0], sharex=upper)
    edges = reference.binning.edges * reference.lsb
    _shapes(upper, lower, np.append(edges[:-1], edges[-2] * 1.15), _groups(windows, marks))
    _rates(figure.add_subplot(grid[:, 1]), windows, marks)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _groups(windows: list[dict[str, Any]], marks: dict[str, tuple[int, float]]) -> dict[str, list[dict[str, Any]]]:
    """The lumi sections before the drift, in it, and under the new payload until the pile-up changed."""
    drift, active = marks["drift"][0], marks["active"][0]
    pileup = marks.get("pileup", (windows[-1]["ls"] + 1, 0.0))[0]
    old = windows[0]["generation"]
    return {
        "reference": [w for w in windows if w["ls"] < drift],
        "drifted": [w for w in windows if drift <= w["ls"] < active and w["generation"] == old],
        "re-calibrated": [w for w in windows if w["generation"] > old and w["ls"] < pileup],
    }


def _shapes(upper: Any, lower: Any, x: FloatArray, groups: dict[str, list[dict[str, Any]]]) -> None:
    """Distributions over the edges x (B + 1,), and their ratios to what was expected."""
    width = np.diff(x)
    for name, group in groups.items():
        if not group:
            continue
        counts = np.sum([w["counts"] for w in group], axis=0)
        n = counts.sum()
        expected = np.average([w["expected"] for w in group], axis=0, weights=[w["n"] for w in group])
        filled = name == "reference"
        shape = expected if filled else counts / n
        alpha = 0.6 if filled else 1
        upper.stairs(shape / width, x, color=SHAPE_COLOURS[name], label=name, fill=filled, alpha=alpha)
        if not filled:
            lower.errorbar(
                (x[:-1] + x[1:]) / 2,
                counts / n / expected,
                np.sqrt(np.maximum(counts, 1)) / n / expected,
                fmt=".",
                color=SHAPE_COLOURS[name],
            )
    upper.set(yscale="log", ylabel="share of crossings per unit of score")
    upper.legend()
    lower.axhline(1, color=colours.REFERENCE, lw=1)
    lower.set(xscale="symlog", xlim=(0, None), xlabel="score", ylabel="over reference")


def _rates(axes: Any, windows: list[dict[str, Any]], marks: dict[str, tuple[int, float]]) -> None:
    ls = [w["ls"] for w in windows]
    for cut, ratio in enumerate(np.transpose([w["ratios"] or [np.nan] for w in windows])):
        axes.plot(ls, ratio, ".-", lw=1, label=f"cut {cut}")
    axes.axhspan(0.9, 1.1, color="0.9", zorder=0)
    for name, (at, _) in marks.items():
        axes.axvline(at, color="0.5", lw=0.8, ls=":")
        axes.text(at, 0.99, f" {name}", rotation=90, va="top", fontsize=8, transform=axes.get_xaxis_transform())
    axes.set(xlabel="lumi section", ylabel="rate over its target")
    axes.legend(loc="lower right")
