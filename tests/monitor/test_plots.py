"""Plots: they are drawn whatever is missing, and say what they should."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from monitor.daemon.outcome import Judged
from monitor.daemon.plots import reference_figure, replay_figure
from monitor.stats.reference import Reference

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
