"""Whether the loop closed: the demo's figures, from the daemon's windows and the board's own counters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.board.board import Counters
from monitor.demo.marks import Marks

FLOOR_SIGMAS = 5.0
"""The KL is at its floor where a lumi section alone cannot tell it from no drift."""
TOLERANCE = 0.10
"""Of the rates, relative to their targets."""

LumiSection = Mapping[str, Any]
"""A lumi section, as the HTTP interface shows it."""


def counted(counters: Mapping[int, Counters], ls: int, n_cuts: int) -> tuple[int, NDArray[np.int64]]:
    """Events, and accepts by cut (n_cuts,), in the lumi sections after ``ls`` under the newest generation."""
    newest = max((each.generation for each in counters.values()), default=0)
    found = [each for at, each in counters.items() if at > ls and each.generation == newest]
    accepts = np.zeros(n_cuts, np.int64)
    for each in found:
        accepts += np.asarray(each.accepts, np.int64)
    return sum(each.events for each in found), accepts


def loop_figures(
    marks: Marks,
    windows: Iterable[LumiSection],
    status: Mapping[str, Any],
    events: int,
    accepts: NDArray[np.int64],
) -> dict[str, Any]:
    """How far the scores drifted and came back; ``passed`` where rates and KL are where they should be.

    Args:
        marks: when drift, alarm and confirmation were.
        windows: the lumi sections up to now, oldest first.
        status: the stream's, when the push was confirmed.
        events: crossings that the board itself counted since the confirmation.
        accepts: those of them that it accepted, by cut (n_cuts,).
    """
    by_ls = {window["ls"]: window for window in windows}
    drift_ls, drift_s = marks.at["drift"]
    before = [w for ls, w in by_ls.items() if ls < drift_ls]
    after = [w for ls, w in by_ls.items() if ls > marks.ls("confirmed")]
    drifted = [w for ls, w in by_ls.items() if drift_ls <= ls < status["target_ls"]] or [
        w for ls, w in by_ls.items() if drift_ls <= ls and w["generation"] == 0
    ]
    ratios = accepts / events / np.mean([w["expected_rates"] for w in after], axis=0)
    kl, floor = _mean_kl(after), FLOOR_SIGMAS * float(np.mean([w["kl_error"] for w in after]))
    since = {name: at for name, at in marks.at.items() if at[1] >= drift_s}
    return {
        "seconds": {name: round(s - drift_s, 1) for name, (_, s) in since.items()},
        "lumi_sections": {name: ls - drift_ls for name, (ls, _) in since.items()},
        "kl_before": round(_mean_kl(before), 5),
        "kl_drifted": round(_mean_kl(drifted), 5),
        "kl_after": round(kl, 5),
        "kl_limit": round(floor, 6),
        "rate_drifted": [round(float(r), 3) for r in np.mean([w["ratios"] for w in drifted], axis=0)],
        "rate_after": [round(float(r), 3) for r in ratios],
        "rate_error": [round(float(r / a**0.5), 3) for r, a in zip(ratios, accepts, strict=True)],
        "board_accepts": accepts.tolist(),
        "generation": status["generation"],
        "registers": len(status["registers"]),
        "passed": bool(
            status["phase"] == "watching"
            and status["generation"] > 0
            and (np.abs(ratios - 1) <= TOLERANCE).all()
            and kl <= floor
        ),
    }


def pileup_figures(windows: Sequence[LumiSection], pushes: int) -> dict[str, Any]:
    """What a falling pile-up did, over its lumi sections: it is no drift, and nothing must be pushed for it."""
    return {
        "from": windows[0]["pileup"],
        "to": windows[-1]["pileup"],
        "pushes": pushes,
        "drift_verdicts": sum(w["level"] == "drift" for w in windows),
    }


def _mean_kl(windows: Sequence[LumiSection]) -> float:
    """Mean of the bias-corrected KL of lumi sections to p_ref at their pile-up."""
    n = np.array([w["n"] for w in windows], dtype=float)
    return float(np.average([w["kl"] for w in windows], weights=n))
