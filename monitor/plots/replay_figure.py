"""The figure of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monitor.plots.canvas import pyplot

if TYPE_CHECKING:
    from monitor.offline.result import ReplayedLs

FEW_LS = 400
"""Fewer lumi sections are drawn as points that a line joins."""


def replay_figure(path: Path, lumi_sections: Sequence[ReplayedLs], rate_tolerance: float) -> None:
    """KL with its error band, PSI, rates over expectation and pile-up by lumi section, with every alarm."""
    plt = pyplot()

    n = len(lumi_sections)
    points: dict[str, Any] = {"marker": ".", "ms": 3 if n < FEW_LS else 1.5, "lw": 0.6 if n < FEW_LS else 0}
    figure, axes = plt.subplots(
        5, 1, figsize=(13, 10), sharex=True, layout="constrained", gridspec_kw={"height_ratios": [3, 2, 3, 1.5, 1.5]}
    )
    kl, psi, rates, alarms, pileups = axes
    _distances(kl, psi, lumi_sections, points)
    _rates(rates, lumi_sections, rate_tolerance, points)
    _alarms(alarms, lumi_sections)
    _pileups(pileups, lumi_sections, points)
    _levels((kl, psi, rates), lumi_sections)
    for panel in (kl, rates):
        panel.legend(fontsize=9, ncols=6, loc="upper left", markerscale=2)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _distances(kl: Any, psi: Any, lumi_sections: Sequence[ReplayedLs], points: dict[str, Any]) -> None:
    x = np.arange(len(lumi_sections))
    values, errors = np.array([[ls.kl, ls.kl_error] for ls in lumi_sections]).T
    kl.fill_between(x, -2 * errors, 2 * errors, color="0.85", label="no drift (± 2 σ)")
    kl.plot(x, values, color="tab:blue", **points)
    kl.set(ylabel="KL − its floor")
    psi.plot(x, [ls.psi for ls in lumi_sections], color="tab:purple", **points)
    psi.set(ylabel="PSI − its floor")
    for axes, scale in ((kl, 4), (psi, 8)):
        axes.set_yscale("symlog", linthresh=max(scale * float(np.median(errors)), 1e-12))
        axes.yaxis.get_major_locator().set_params(numticks=5)


def _rates(axes: Any, lumi_sections: Sequence[ReplayedLs], tolerance: float, points: dict[str, Any]) -> None:
    x = np.arange(len(lumi_sections))
    for cut in range(max(len(ls.ratios) for ls in lumi_sections)):
        ratios = [ls.ratios[cut] if ls.ratios else np.nan for ls in lumi_sections]
        axes.plot(x, ratios, label=f"cut {cut}", **points)
    axes.axhspan(1 - tolerance, 1 + tolerance, color="0.92", zorder=0, label="tolerated")
    axes.set(ylabel="rate / expected")


def _alarms(axes: Any, lumi_sections: Sequence[ReplayedLs]) -> None:
    names = sorted({name for ls in lumi_sections for name in ls.alarms})
    for level, name in enumerate(names):
        marks = np.array([[i, level] for i, ls in enumerate(lumi_sections) if name in ls.alarms]).T
        axes.plot(*marks, "|", ms=12, color=f"C{level}")
    axes.set(yticks=range(len(names)), yticklabels=names, ylim=(-0.6, max(len(names), 1) - 0.4))
    axes.text(0.005, 0.5, "" if names else "no alarm", transform=axes.transAxes, va="center", color="0.4")


def _pileups(axes: Any, lumi_sections: Sequence[ReplayedLs], points: dict[str, Any]) -> None:
    n = len(lumi_sections)
    pileups = [np.nan if ls.pileup is None else ls.pileup for ls in lumi_sections]
    axes.plot(np.arange(n), pileups, color="0.3", **points)
    axes.set(ylabel="pile-up", xlim=(-0.5, n - 0.5))
    ticks = np.unique(np.linspace(0, n - 1, 7).astype(int))
    axes.set_xticks(ticks, [f"{lumi_sections[i].run}:{lumi_sections[i].ls}" for i in ticks])
    axes.set_xlabel("run : lumi section")


def _levels(panels: Sequence[Any], lumi_sections: Sequence[ReplayedLs]) -> None:
    """Shade the lumi sections that are watched or drift."""
    x = np.arange(len(lumi_sections))
    for level, colour in (("watch", "gold"), ("drift", "tab:red")):
        where = np.array([ls.level == level for ls in lumi_sections])
        for axes in panels:
            axes.fill_between(
                x, 0, 1, where=where, step="mid", color=colour, alpha=0.25, lw=0, transform=axes.get_xaxis_transform(),
                label=level if where.any() else None,
            )  # fmt: skip
