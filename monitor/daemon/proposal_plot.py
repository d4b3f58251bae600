"""The figure of a proposal: what was seen, what is promised, what each knob could do, and what the gates say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.daemon.proposal_rows import (
    ADVICE,
    CANDIDATE_TITLES,
    CHOSEN,
    FAILED,
    GATE_TITLES,
    PASSED,
    Row,
    candidate_rows,
    gate_rows,
    verdict,
)
from recalib.proposal import Proposal

Floats = npt.NDArray[np.float64]

COLOURS = {"reference": "0.35", "seen": "tab:red", "predicted": "tab:blue"}
VERDICT_COLOURS = {"accepted": "tab:green", "rejected": "tab:red", "needs a person": "tab:orange"}
MARK_COLOURS = {PASSED: "tab:green", FAILED: "tab:red", ADVICE: "tab:orange", CHOSEN: "tab:blue"}
CUT_STYLES = {"before": ":", "after": "-"}
LINE_INCH = 0.17
"""Height of a line in the tables."""
CURVES_INCH = 5.6
REASON_WIDTH = 150
RATIOS = (0.5, 1.6)
"""Range of the panels of ratios."""


class Column(NamedTuple):
    """Of a table: its place in the panel's width, and characters to a line."""

    left: float
    characters: int


CANDIDATE_COLUMNS = (
    Column(0.025, 15),
    Column(0.175, 17),
    Column(0.315, 11),
    Column(0.405, 5),
    Column(0.455, 5),
    Column(0.51, 25),
    Column(0.73, 34),
)
GATE_COLUMNS = (Column(0.025, 22), Column(0.215, 9), Column(0.295, 9), Column(0.375, 74))


def proposal_figure(path: Path, proposal: Proposal) -> None:
    """p(s) and the rate against the cut before and after, and the tables of the knobs and of the gates.

    Raises:
        ValueError: the proposal does not hold its distributions, as none did that was stored by an older version.
    """
    import matplotlib

    if not proposal.seen.size:
        raise ValueError(f"proposal {proposal.id[:12]} holds no distribution to draw: {proposal.reason or 'it is old'}")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    tables = [
        (CANDIDATE_COLUMNS, [Row("", CANDIDATE_TITLES), *candidate_rows(proposal)]),
        (GATE_COLUMNS, [Row("", GATE_TITLES), *gate_rows(proposal)]),
    ]
    height = max(sum(_heights(columns, rows)) for columns, rows in tables)
    title = _title(proposal)
    inches = CURVES_INCH + LINE_INCH * height + 0.25 * (title.count("\n") + 1)
    figure = plt.figure(figsize=(17, inches), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    grid = figure.add_gridspec(3, 2, height_ratios=[CURVES_INCH * 0.64, CURVES_INCH * 0.36, LINE_INCH * height])
    _distributions(figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0]), proposal)
    _rates(figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1]), proposal)
    for number, (columns, rows) in enumerate(tables):
        _table(figure.add_subplot(grid[2, number]), columns, rows, height)
    figure.suptitle(title, fontsize=12, color=VERDICT_COLOURS[verdict(proposal)], x=0.01, ha="left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def exceedance(p: Floats) -> Floats:
    """Share at or above each bin's lower edge, (B,).

    >>> exceedance(np.array([0.5, 0.25, 0.25])).tolist()
    [1.0, 0.5, 0.25]
    """
    return np.cumsum(p[::-1])[::-1]


def exceedance_errors(p: Floats, squares: Floats) -> Floats:
    """Standard errors of that for weighted events with Σw² (B,) in the bins and Σw = 1, (B,).

    Of a share r the variance is (1−r)²·Σw² above plus r²·Σw² below, to first order.

    >>> exceedance_errors(np.array([0.5, 0.5]), np.array([0.05, 0.05])).round(3).tolist()
    [0.0, 0.158]
    """
    above, r = exceedance(squares), np.minimum(exceedance(p), 1.0)
    return np.sqrt((1 - r) ** 2 * above + r**2 * (squares.sum() - above))


def _title(proposal: Proposal) -> str:
    said = [f"{proposal.stream}: {proposal.knob}, {verdict(proposal)}"]
    said += [f"ATTENTION: {proposal.attention}"] if proposal.attention else []
    said += [proposal.reason]
    return "\n".join(line for text in said for line in textwrap.wrap(text, REASON_WIDTH))


def _scores(proposal: Proposal) -> Floats:
    """The edges, with the open last bin as far as is good to look at."""
    edges = proposal.edges.astype(np.float64)
    edges[-1] = max(edges[-2] * 1.3, edges[-2] + 1)
    return edges


def _distributions(shape: Any, ratio: Any, proposal: Proposal) -> None:
    x = _scores(proposal)
    width, middle = np.diff(x), (x[:-1] + x[1:]) / 2
    curves = {"reference": proposal.p_ref, "seen": proposal.seen, "predicted": proposal.predicted}
    labels = {
        "reference": f"reference ({proposal.m:,.0f} events)",
        "seen": f"seen ({proposal.events:,} events, worth {proposal.n_eff:,.0f}), KL {proposal.kl_before:.4f}",
        "predicted": f"predicted, KL {proposal.kl_after:.4f}, floor {proposal.kl_floor:.4f}",
    }
    for name, p in curves.items():
        filled = name == "reference"
        shape.stairs(p / width, x, color=COLOURS[name], label=labels[name], fill=filled, alpha=0.5 if filled else 1)
    for name, marker in (("seen", "v"), ("predicted", "o")):
        errors = np.sqrt(proposal.squares) / proposal.p_ref
        ratio.errorbar(middle, curves[name] / proposal.p_ref, errors, fmt=marker, ms=4, lw=1, color=COLOURS[name])
    shape.set(yscale="log", ylabel="share of crossings per code")
    shape.legend(frameon=False, loc="lower left", fontsize=10)
    _ratio_panel(ratio, "p(s) / reference")
    _along_scores(shape, ratio, proposal)
    _mark_cuts(shape, proposal, named=True)
    _mark_cuts(ratio, proposal)


def _rates(curve: Any, ratio: Any, proposal: Proposal) -> None:
    x = proposal.edges[:-1].astype(np.float64)
    wanted = exceedance(proposal.p_ref)
    errors = exceedance_errors(proposal.predicted, proposal.squares)
    reference_errors = np.sqrt(wanted * (1 - np.minimum(wanted, 1)) / max(proposal.m, 1))
    curve.plot(x, wanted, color=COLOURS["reference"], lw=2, label="reference ± 1 σ")
    ratio.fill_between(x, 1 - reference_errors / wanted, 1 + reference_errors / wanted, color="0.8", lw=0)
    for name, p, style in (("seen", proposal.seen, "--"), ("predicted", proposal.predicted, "-")):
        rate, colour = exceedance(p), COLOURS[name]
        curve.plot(x, rate, style, color=colour, label=f"{name} ± 1 σ")
        ratio.plot(x, rate / wanted, style, color=colour)
        for axes, scale in ((curve, 1.0), (ratio, wanted)):
            low, high = (rate - errors) / scale, (rate + errors) / scale
            axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    offset = 0.8 / max(len(proposal.rates_target), 1)
    for k, target in enumerate(proposal.rates_target):
        before, after = (rates[k] / target for rates in (proposal.rates_before, proposal.rates_after))
        text = f"cut {k}: target {target:.3%}, × {before:.2f} → {after:.2f} ± {proposal.rate_errors[k]:.2f}"
        curve.axhline(target, color="0.6", lw=0.8)
        curve.text(0.02, 0.05 + 0.1 * offset * k, text, transform=curve.transAxes, fontsize=10)
    curve.set(yscale="log", ylabel="rate per crossing at or above the cut")
    curve.set_ylim(min(proposal.rates_target, default=1e-3) / 8, 1.5)
    curve.legend(frameon=False, loc="upper right", fontsize=10)
    _ratio_panel(ratio, "rate / reference")
    _along_scores(curve, ratio, proposal)
    _mark_cuts(curve, proposal)
    _mark_cuts(ratio, proposal)


def _ratio_panel(axes: Any, label: str) -> None:
    axes.axhline(1, color="0.35", lw=1)
    axes.set(yscale="log", ylim=RATIOS, ylabel=label)
    ticks = (0.5, 0.7, 1.0, 1.4)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def _along_scores(upper: Any, lower: Any, proposal: Proposal) -> None:
    x = _scores(proposal)
    for axes in (upper, lower):
        axes.set_xscale("symlog", linthresh=max(float(np.quantile(x[1:-1], 0.25)), 1.0), linscale=0.6)
        axes.set_xlim(0, x[-1])
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("score code (the last bin is open)")


def _mark_cuts(axes: Any, proposal: Proposal, named: bool = False) -> None:
    """Those before dotted, those after drawn through where they differ."""
    for k, (before, after) in enumerate(zip(proposal.cuts_before, proposal.cuts_after, strict=True)):
        places = {"before": before} if after == before else {"before": before, "after": after}
        for when, cut in places.items():
            axes.axvline(cut, color="0.25", lw=1.1, ls=CUT_STYLES[when])
        if named:
            moved = "" if after == before else f" → {after}"
            text = f"cut {k}: {before}{moved}"
            at = min(places.values())
            axes.text(
                at, 0.98, text, rotation=90, va="top", ha="right", fontsize=9, transform=axes.get_xaxis_transform()
            )


def _heights(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    """Lines of each row."""
    return [max(len(_wrapped(cell, c)) for cell, c in zip(row.cells, columns, strict=True)) for row in rows]


def _wrapped(text: str, column: Column) -> list[str]:
    return textwrap.wrap(text, column.characters) or [""]


def _table(axes: Any, columns: Sequence[Column], rows: Sequence[Row], height: int) -> None:
    """The first row is the head; rows with a mark that is not a pass are shaded and bold."""
    axes.set(xlim=(0, 1), ylim=(height, 0))
    axes.set_axis_off()
    top = 0
    for number, (row, lines) in enumerate(zip(rows, _heights(columns, rows), strict=True)):
        told = row.mark not in ("", PASSED)
        if told:
            axes.axhspan(top, top + lines, color=MARK_COLOURS[row.mark], alpha=0.12, lw=0)
        style: dict[str, Any] = {"va": "top", "fontsize": 8.5, "weight": "bold" if told or number == 0 else "normal"}
        axes.text(0, top, row.mark, color=MARK_COLOURS.get(row.mark, "k"), **style)
        for cell, column in zip(row.cells, columns, strict=True):
            axes.text(column.left, top, "\n".join(_wrapped(cell, column)), linespacing=1.25, **style)
        top += lines
        if number == 0:
            axes.axhline(top, color="0.6", lw=0.8)
