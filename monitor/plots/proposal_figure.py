"""The figure of a proposal: what was seen, what is promised, what each knob could do, and what the gates say."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monitor.plots import colours
from monitor.plots.canvas import pyplot
from monitor.plots.proposal_rows import (
    ADVISED,
    CANDIDATE_TITLES,
    CHOSEN,
    FAILED,
    GATE_TITLES,
    PASSED,
    Row,
    candidate_rows,
    decision,
    gate_rows,
)
from monitor.stats.arrays import FloatArray
from recalib.proposal import Proposal

CURVE_COLOURS = {"reference": colours.REFERENCE, "seen": colours.BEFORE, "predicted": colours.AFTER}
VERDICT_COLOURS = {"accepted": "tab:green", "rejected": "tab:red", "needs a person": "tab:orange"}
MARK_COLOURS = {PASSED: "tab:green", FAILED: "tab:red", ADVISED: "tab:orange", CHOSEN: "tab:blue"}
WIDTHS = {"seen": 2.6, "predicted": 1.3}
MARKERS = {"seen": "v", "predicted": "o"}
CUT_STYLES = {"before": ":", "after": "-"}
LEAST_RATE = 1e-4
"""Below that a ratio of rates does not set the range of its panel."""
LINE_INCH = 0.17
"""Height of a line in the tables."""
PAD = 0.15
"""Above the text of a row, in lines."""
WIDTH_INCH, CURVES_INCH = 20.0, 6.0
TITLE_INCH = 0.4
REASON_WIDTH = 190
LEAST_RATIO, MOST_RATIO = 1.3, 6.0
"""How far the panels of ratios reach up and down at least and at most."""
RATIO_TICKS = (0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0)
TICK_GAP = 0.12
"""Least distance of two ticks, as a share of a panel's half."""

CANDIDATE_COLUMNS = (21, 16, 11, 5, 9, 5, 25, 28)
GATE_COLUMNS = (20, 9, 9, 78)
"""Characters to a line."""
GAP = 2.0
"""Between columns, in characters; twice that is left for the mark."""


def proposal_figure(path: Path, proposal: Proposal) -> None:
    """p(s) and the rate against the cut before and after, and the tables of the knobs and of the gates.

    Raises:
        ValueError: the proposal does not hold its distributions, as none did that was stored by an older version.
    """
    if not proposal.seen.size:
        raise ValueError(f"proposal {proposal.id[:12]} holds no distribution to draw: {proposal.reason or 'it is old'}")
    plt = pyplot()
    tables = [
        (CANDIDATE_COLUMNS, [Row("", CANDIDATE_TITLES), *candidate_rows(proposal)]),
        (GATE_COLUMNS, [Row("", GATE_TITLES), *gate_rows(proposal)]),
    ]
    height = max(sum(_heights(columns, rows)) for columns, rows in tables)
    said = _said(proposal)
    heights = [
        TITLE_INCH + LINE_INCH * 1.3 * len(said), CURVES_INCH * 0.64, CURVES_INCH * 0.36, LINE_INCH * (height + 1)
    ]  # fmt: skip
    figure = plt.figure(figsize=(WIDTH_INCH, sum(heights)))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    grid = figure.add_gridspec(4, 2, height_ratios=heights)
    _title(figure.add_subplot(grid[0, :]), proposal, said, heights[0])
    _distributions(figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[2, 0]), proposal)
    _rates(figure.add_subplot(grid[1, 1]), figure.add_subplot(grid[2, 1]), proposal)
    for number, (columns, rows) in enumerate(tables):
        _table(figure.add_subplot(grid[3, number]), columns, rows, height)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def share_above(p: FloatArray) -> FloatArray:
    """Share at or above each bin's lower edge, (B,).

    >>> share_above(np.array([0.5, 0.25, 0.25])).tolist()
    [1.0, 0.5, 0.25]
    """
    above: FloatArray = np.cumsum(p[::-1])[::-1]
    return above


def share_above_errors(p: FloatArray, squares: FloatArray) -> FloatArray:
    """Standard errors of that for weighted events with Σw² (B,) in the bins and Σw = 1, (B,).

    Of a share r the variance is (1−r)²·Σw² above plus r²·Σw² below, to first order.

    >>> share_above_errors(np.array([0.5, 0.5]), np.array([0.05, 0.05])).round(3).tolist()
    [0.0, 0.158]
    """
    above, r = share_above(squares), np.minimum(share_above(p), 1.0)
    errors: FloatArray = np.sqrt(np.maximum((1 - r) ** 2 * above + r**2 * (squares.sum() - above), 0.0))
    return errors


def _said(proposal: Proposal) -> list[str]:
    """Why, in lines."""
    attention = f"{ADVISED} {proposal.attention}" if proposal.attention else ""
    return [line for text in (attention, proposal.reason) for line in textwrap.wrap(text, REASON_WIDTH)]


def _title(axes: Any, proposal: Proposal, said: Sequence[str], inches: float) -> None:
    word = decision(proposal)
    axes.set_axis_off()
    text = f"{proposal.stream}: {proposal.knob}, {word}"
    axes.text(0, 1, text, va="top", fontsize=17, weight="bold", color=VERDICT_COLOURS[word])
    axes.text(0, 1 - TITLE_INCH / inches, "\n".join(said), va="top", fontsize=10.5, linespacing=1.3)


def _scores(proposal: Proposal) -> FloatArray:
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
        style = {"fill": True, "alpha": 0.5} if filled else {"lw": WIDTHS[name]}
        shape.stairs(p / width, x, color=CURVE_COLOURS[name], label=labels[name], **style)
    ratios = {name: curves[name] / proposal.p_ref for name in ("seen", "predicted")}
    errors = np.sqrt(proposal.squares) / proposal.p_ref
    for (name, values), (marker, size) in zip(ratios.items(), (("v", 7), ("o", 4)), strict=True):
        ratio.errorbar(middle, values, errors, fmt=marker, ms=size, lw=1, color=CURVE_COLOURS[name])
    shape.set(yscale="log", ylabel="share of crossings per code")
    shape.legend(frameon=False, loc="lower left", fontsize=10)
    _ratio_panel(ratio, "p(s) / reference", [*ratios["seen"], *ratios["predicted"]])
    _along_scores(shape, ratio, proposal)
    _mark_cuts(shape, proposal, named=True)
    _mark_cuts(ratio, proposal)


def _rates(curve: Any, ratio: Any, proposal: Proposal) -> None:
    x = proposal.edges[:-1].astype(np.float64)
    wanted = share_above(proposal.p_ref)
    errors = share_above_errors(proposal.predicted, proposal.squares)
    reference_errors = np.sqrt(wanted * (1 - np.minimum(wanted, 1)) / max(proposal.m, 1))
    curve.plot(x, wanted, color=CURVE_COLOURS["reference"], lw=2, label="reference ± 1 σ")
    ratio.fill_between(x, 1 - reference_errors / wanted, 1 + reference_errors / wanted, color="0.8", lw=0)
    shown = []
    for name, p, cuts, rates in (
        ("seen", proposal.seen, proposal.cuts_before, proposal.rates_before),
        ("predicted", proposal.predicted, proposal.cuts_after, proposal.rates_after),
    ):
        rate, colour = share_above(p), CURVE_COLOURS[name]
        curve.plot(x, rate, color=colour, lw=WIDTHS[name], label=f"{name} ± 1 σ")
        ratio.plot(x, rate / wanted, color=colour, lw=WIDTHS[name])
        over = np.divide(rates, proposal.rates_target)
        bars: dict[str, Any] = {"fmt": MARKERS[name], "ms": 9, "mec": "w", "color": colour, "zorder": 3}
        ratio.errorbar(cuts, over, proposal.rate_errors, label=f"{name}, at its cuts, over the target", **bars)
        shown += [*(rate / wanted)[wanted > LEAST_RATE], *over]
        for axes, scale in ((curve, 1.0), (ratio, wanted)):
            low, high = (rate - errors) / scale, (rate + errors) / scale
            axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    for k, target in enumerate(proposal.rates_target):
        before, after = (rates[k] / target for rates in (proposal.rates_before, proposal.rates_after))
        text = f"cut {k}: target {target:.3%}, × {before:.2f} → {after:.2f} ± {proposal.rate_errors[k]:.2f}"
        curve.axhline(target, color="0.6", lw=0.8)
        place = 0.05 + 0.07 * (len(proposal.rates_target) - 1 - k)
        curve.text(0.02, place, text, transform=curve.transAxes, fontsize=10)
    curve.set(yscale="log", ylabel="rate per crossing at or above the cut")
    curve.set_ylim(min(proposal.rates_target, default=1e-3) / 8, 1.5)
    curve.legend(frameon=True, framealpha=0.9, edgecolor="w", loc="upper right", fontsize=10)
    ratio.legend(frameon=False, fontsize=9, loc="lower left")
    _ratio_panel(ratio, "rate / reference", shown, room=1.25)
    _along_scores(curve, ratio, proposal)
    _mark_cuts(curve, proposal)
    _mark_cuts(ratio, proposal)


def _ratio_panel(axes: Any, label: str, values: Sequence[float], room: float = 1.1) -> None:
    """As far up and down as the values need, within limits; `room` is the factor that is left beyond them."""
    found = np.array(values)
    found = found[np.isfinite(found) & (found > 0)]
    most = float(np.exp(np.abs(np.log(found)).max(initial=0.0))) * room
    most = min(max(most, LEAST_RATIO), MOST_RATIO)
    axes.axhline(1, color=colours.REFERENCE, lw=1)
    axes.set(yscale="log", ylim=(1 / most, most), ylabel=label)
    ticks = [1.0]
    for tick in sorted(RATIO_TICKS, key=lambda tick: abs(np.log(tick)), reverse=True):
        apart = min(abs(np.log(tick / other)) for other in ticks)
        if apart > 2 * TICK_GAP * np.log(most) and 1 / most <= tick <= most:
            ticks.append(tick)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)


def _along_scores(upper: Any, lower: Any, proposal: Proposal) -> None:
    x = _scores(proposal)
    for axes in (upper, lower):
        axes.set_xscale("symlog", linthresh=max(float(np.quantile(x[1:-1], 0.25)), 1.0), linscale=0.6)
        axes.set_xlim(0, x[-1])
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("score code (the last bin is open; dotted: cuts before, full: where they move to)")


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


def _heights(columns: Sequence[int], rows: Sequence[Row]) -> list[int]:
    """Lines of each row."""
    return [max(len(_wrapped(cell, c)) for cell, c in zip(row.cells, columns, strict=True)) for row in rows]


def _wrapped(text: str, characters: int) -> list[str]:
    """In lines; between two knobs that were turned together there is room to break one."""
    return textwrap.wrap(re.sub(r"(?<=[a-z])\+(?=[a-z])", " + ", text), characters) or [""]


def _table(axes: Any, columns: Sequence[int], rows: Sequence[Row], height: int) -> None:
    """The first row is the head; rows with a mark that is not a pass are shaded."""
    places = 2 * GAP + np.concatenate([[0.0], np.cumsum(np.array(columns) + GAP)])
    axes.set(xlim=(0, places[-1]), ylim=(height + 1, 0))
    axes.set_axis_off()
    top = 0.0
    for number, (row, lines) in enumerate(zip(rows, _heights(columns, rows), strict=True)):
        told = row.mark not in ("", PASSED)
        if told:
            axes.axhspan(top, top + lines, color=MARK_COLOURS[row.mark], alpha=0.12, lw=0)
        style: dict[str, Any] = {"va": "top", "fontsize": 8, "linespacing": 1.3}
        axes.text(GAP / 2, top + PAD, row.mark, color=MARK_COLOURS.get(row.mark, "k"), weight="bold", **style)
        for place, (cell, characters) in enumerate(zip(row.cells, columns, strict=True)):
            weight = "bold" if number == 0 or (told and place == 0) else "normal"
            axes.text(places[place], top + PAD, "\n".join(_wrapped(cell, characters)), weight=weight, **style)
        top += lines
        if number == 0:
            axes.axhline(top, color="0.6", lw=0.8)
