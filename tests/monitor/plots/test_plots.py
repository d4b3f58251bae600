"""Plots: they are drawn whatever is missing, and say what they should."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from monitor.offline.outcome import Judged
from monitor.plots.plots import reference_figure, replay_figure
from monitor.plots.proposal_figure import proposal_figure
from monitor.plots.proposal_rows import ADVICE, CHOSEN, FAILED, PASSED
from monitor.stats.count.reference import Reference
from recalib.knobs.names import KnobName, Turned
from recalib.proposal import Candidate, Gate, Proposal

matplotlib.use("Agg")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were saved, still open."""
    figures: list[Figure] = []
    monkeypatch.setattr(plt, "close", figures.append)
    yield figures
    monkeypatch.undo()
    plt.close("all")


def texts(figure: Figure) -> str:
    found: list[Any] = [figure.get_suptitle()]
    for axes in figure.axes:
        legend = axes.get_legend()
        found += [axes.get_xlabel(), axes.get_ylabel(), *(text.get_text() for text in axes.texts)]
        found += [text.get_text() for text in legend.get_texts()] if legend else []
    return "\n".join(found)


def reference(slices: int, cuts: tuple[int, ...]) -> Reference:
    rng = np.random.default_rng(1)
    pileup = rng.uniform(15, 55, 40_000)
    edges = np.linspace(0, 70, slices + 1).tolist() if slices else None
    return Reference.build([(rng.gamma(2, 20 + pileup).astype(int), None, pileup)], cuts, bits=12, pileup_edges=edges)


@pytest.mark.parametrize("cuts", [(), (200, 400)])
@pytest.mark.parametrize("slices", [0, 1, 3])
def test_a_reference_is_drawn_by_slice_with_its_cuts(
    tmp_path: Path, drawn: list[Figure], slices: int, cuts: tuple[int, ...]
) -> None:
    found = reference(slices, cuts)
    reference_figure(tmp_path / "a.png", found, "name")
    said = texts(drawn[0])
    assert "name: 40,000 events" in said
    assert all(f"cut {cut}" in said for cut in cuts)
    assert len(drawn[0].axes) == (2 if slices > 1 and cuts else 1)
    if slices > 1:
        assert "pile-up 23.3333–46.6667" in said
    if slices > 1 and cuts:
        for number, bars in enumerate(drawn[0].axes[1].containers):
            means, rates = bars[0].get_data()
            np.testing.assert_allclose(means, found.pileup_means)
            above = found.binning.above(found.slice_counts)[:, number]
            np.testing.assert_allclose(rates, above / found.slice_counts.sum(axis=1))
    assert (tmp_path / "a.png").exists()


def judged(ls: int, **own: Any) -> Judged:
    given: dict[str, Any] = {
        "run": 7, "ls": ls, "n": 1000, "pileup": 30.0, "level": "ok", "text": "", "kl": 1e-4, "kl_error": 1e-4,
        "psi": 2e-4, "ratios": (1.0, 1.1), "alarms": (),
    }  # fmt: skip
    return Judged(**given | own)


def test_a_replay_is_drawn_with_its_alarms_and_verdicts(tmp_path: Path, drawn: list[Figure]) -> None:
    lumi_sections = [
        judged(1, pileup=None),
        judged(2, level="thin", ratios=()),
        judged(3, level="watch", alarms=("e_rate",)),
        judged(4, level="drift", kl=0.1, alarms=("e_rate", "e_mixture")),
    ]
    replay_figure(tmp_path / "a.png", lumi_sections, 0.1)
    said = texts(drawn[0])
    assert "watch" in said
    assert "drift" in said
    alarms = drawn[0].axes[3]
    assert [label.get_text() for label in alarms.get_yticklabels()] == ["e_mixture", "e_rate"]
    assert [line.get_xdata().tolist() for line in alarms.lines] == [[3], [2, 3]]
    assert (tmp_path / "a.png").exists()


def test_a_calm_replay_says_that_there_was_no_alarm(tmp_path: Path, drawn: list[Figure]) -> None:
    replay_figure(tmp_path / "a.png", [judged(1)], 0.1)
    assert "no alarm" in texts(drawn[0])


def proposal(**own: Any) -> Proposal:
    p_ref, seen, predicted = (
        np.array(p) for p in ([0.5, 0.3, 0.19, 0.01], [0.4, 0.35, 0.22, 0.03], [0.5, 0.3, 0.188, 0.012])
    )
    nan = float("nan")
    failed = Candidate(Turned(KnobName.LUT), nan, nan, (), nan, 0.0, {}, 0.0, "no LUT")
    fitted = Candidate(
        Turned(KnobName.INPUT_SCALE), 0.001, 0.0002, (0.0105,), 0.98, 0.9, {"jet": 0.083, "met": -0.01}, 7.0, "chosen",
        {"jet": 0.004, "met": 0.02},
    )  # fmt: skip
    given: dict[str, Any] = {
        "stream": "axol1tl", "knob": Turned(KnobName.INPUT_SCALE), "base_id": "a" * 64, "payload_id": "b" * 64,
        "words": np.zeros(3, np.uint32), "accepted": True, "reason": "input_scale: KL 0.030 → 0.001", "restores": True,
        "p_ref": p_ref, "predicted": predicted, "events": 10_000, "n_eff": 9_000.0, "kl_before": 0.03,
        "kl_after": 0.001, "kl_floor": 0.0005, "rates_before": (0.03,), "rates_after": (0.012,),
        "rates_target": (0.01,), "rate_errors": (0.05,), "retention": (0.98,), "move": 0.083, "beta": 1.0, "delta": 1.0,
        "gates": (
            Gate("kl", -0.03, -0.001, True, "KL 0.03 → 0.001, a fall of 30 σ"),
            Gate("signal resonance", 0.9, 0.95, False, "efficiency 0.9 → 0.81", advice=True),
        ),
        "candidates": (fitted, failed),
        "seen": seen, "squares": predicted / 9_000, "edges": np.array([0, 10, 40, 200, 4096]), "m": 100_000.0,
        "cuts_before": (200,), "cuts_after": (220,),
    }  # fmt: skip
    return Proposal(**given | own)


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
    assert [marks.count(mark) for mark in (PASSED, FAILED, ADVICE, CHOSEN)] == [1, 0, 1, 1]
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
