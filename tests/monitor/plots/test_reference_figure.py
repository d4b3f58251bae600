"""A reference is drawn with or without slices and cuts, and says what they are."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from monitor.plots.reference_figure import reference_figure
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from tests.support.figures import texts


def reference(slices: int, cuts: tuple[int, ...]) -> Reference:
    rng = np.random.default_rng(1)
    pileup = rng.uniform(15, 55, 40_000)
    edges = np.linspace(0, 70, slices + 1).tolist() if slices else None
    return reference_of_sample(
        [(rng.gamma(2, 20 + pileup).astype(int), None, pileup)], cuts, bits=12, pileup_edges=edges
    )


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
