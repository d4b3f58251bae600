"""The demonstration is drawn with what happened in it."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from monitor.plots.demo_figure import demo_figure
from monitor.stats.count.building import reference_of_histogram
from tests.support.figures import texts

EXPECTED = [0.7, 0.25, 0.05]


def window(ls: int, generation: int, counts: list[int], ratios: list[float]) -> dict[str, Any]:
    """As the HTTP interface gives a lumi section."""
    n = sum(counts)
    return {"ls": ls, "generation": generation, "counts": counts, "n": n, "expected": EXPECTED, "ratios": ratios}


def test_what_was_before_the_drift_in_it_and_after_it_is_drawn_over_what_was_expected(
    tmp_path: Path, drawn: list[Figure]
) -> None:
    reference = reference_of_histogram([0, 10, 40, 64], [[700, 250, 50]], cuts=[40])
    windows = [
        window(1, 0, [700, 250, 50], [1.0]),
        window(2, 0, [600, 250, 150], [3.0]),
        window(3, 1, [705, 245, 50], [1.0]),
        window(4, 1, [100, 100, 800], []),
    ]
    marks = {"drift": (2, 1.0), "active": (3, 2.0), "pileup": (4, 3.0)}
    demo_figure(tmp_path / "a.png", reference, windows, marks)
    said = texts(drawn[0])
    assert all(name in said for name in ("reference", "drifted", "re-calibrated", *marks, "cut 0"))
    drifted, after = drawn[0].axes[1].containers
    np.testing.assert_allclose(drifted[0].get_ydata(), np.array([0.6, 0.25, 0.15]) / EXPECTED)
    np.testing.assert_allclose(after[0].get_ydata(), np.array([0.705, 0.245, 0.05]) / EXPECTED)
    assert (tmp_path / "a.png").exists()
