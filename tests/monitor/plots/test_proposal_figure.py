"""A proposal is drawn with its curves, knobs and gates, and its verdict in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from monitor.plots.proposal_figure import proposal_figure
from monitor.plots.proposal_rows import ADVISED, CHOSEN, FAILED, PASSED
from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Candidate
from tests.support.figures import texts
from tests.support.proposals import proposal


def drawn_texts(figure: Figure) -> str:
    return " ".join(texts(figure).split())


def test_an_accepted_proposal_is_drawn_with_its_curves_knobs_and_gates(tmp_path: Path, drawn: list[Figure]) -> None:
    given = proposal()
    proposal_figure(tmp_path / "a.png", given)
    said = drawn_texts(drawn[0])
    for text in (
        "axol1tl: input_scale, accepted", "cut 0: 200 → 220", "× 3.00 → 1.20 ± 0.05", "jet +8.3 ± 0.4 %",
        "met -1.0 ± 2.0 %", "no LUT", "a fall of 30 σ", "98%",
    ):  # fmt: skip
        assert text in said, text
    marks = [text.get_text() for axes in drawn[0].axes for text in axes.texts]
    assert [marks.count(mark) for mark in (PASSED, FAILED, ADVISED, CHOSEN)] == [1, 0, 1, 1]
    rates = next(axes for axes in drawn[0].axes if axes.get_ylabel() == "rate per crossing at or above the cut")
    curves = {str(line.get_label()).split()[0]: np.array(line.get_ydata()) for line in rates.lines}
    np.testing.assert_allclose(curves["seen"], [1.0, 0.6, 0.25, 0.03])
    np.testing.assert_allclose(curves["predicted"], [1.0, 0.5, 0.2, 0.012])
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("own", "word"),
    [
        ({"accepted": False, "reason": "rates off"}, "rejected"),
        ({"attention": "one cell holds 84 %"}, "needs a person"),
        ({"accepted": False, "knob": Turned(), "candidates": (), "gates": (), "attention": "a bump"}, "rejected"),
    ],
)
def test_what_is_not_simply_accepted_says_so_in_words(
    tmp_path: Path, drawn: list[Figure], own: dict[str, Any], word: str
) -> None:
    given = proposal(**own)
    proposal_figure(tmp_path / "a.png", given)
    said = drawn_texts(drawn[0])
    assert f"{given.knob}, {word}" in said
    assert given.reason in said
    assert given.attention in said


def test_no_texts_of_a_proposal_overlap_in_its_tables(tmp_path: Path, drawn: list[Figure]) -> None:
    """However much the knobs have to say."""
    moves = {f"jet{i}_pt": 0.2 - 0.01 * i for i in range(9)} | {"cut0": 1934.0, "cut1": 3680.0}
    long = "rates at × 3.33, × 6.67 of target; a local excess is not to be calibrated away; the inputs have drifted"
    rows = tuple(
        Candidate(
            knob, 0.0263, 0.0012, (0.0333, 0.0066), 1.0, -0.66, moves, 3.0, long, dict.fromkeys(list(moves)[:9], 0.01)
        )
        for knob in (
            Turned(KnobName.INPUT_SCALE_FEATURE),
            Turned(KnobName.INPUT_SCALE_FEATURE, with_cuts=True),
            Turned(KnobName.INPUT_SCALE),
        )
    )
    two: dict[str, Any] = dict.fromkeys(("rates_before", "rates_after", "rate_errors", "retention"), (0.03, 0.003))
    proposal_figure(
        tmp_path / "a.png",
        proposal(candidates=rows, rates_target=(0.01, 0.0025), cuts_before=(40, 200), cuts_after=(50, 220), **two),
    )
    renderer = drawn[0].canvas.get_renderer()  # type: ignore[attr-defined]
    for axes in drawn[0].axes[-2:]:
        boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_text()]
        hits = [
            (a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.shrunk(0.98, 0.9).overlaps(b.shrunk(0.98, 0.9))
        ]
        assert not hits


def test_a_proposal_without_its_distributions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no distribution"):
        proposal_figure(tmp_path / "a.png", proposal(seen=np.zeros(0)))
