"""A reference is built in one pass over a sample, or out of a histogram, or refused."""

from typing import Any

import numpy as np
import pytest

from monitor.stats.count.binning import Binning
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.tally import Chunk
from monitor.stats.errors import StatsError
from tests.support.places import DATA
from tests.support.references import BITS, CUTS, PILEUP, REFERENCE, build, chunks, joined

ZERO_BIAS = DATA / "zero_bias_score_histogram.npz"


def test_a_stream_of_chunks_gives_the_reference_of_the_whole_sample() -> None:
    codes, inputs, pileup = joined()
    whole = reference_of_sample([(codes, inputs, pileup)], cuts=CUTS, bits=BITS, pileup_edges=PILEUP)
    np.testing.assert_array_equal(REFERENCE.binning.edges, whole.binning.edges)
    np.testing.assert_array_equal(REFERENCE.slice_counts, whole.slice_counts)
    np.testing.assert_array_equal(REFERENCE.slice_counts.sum(axis=0), whole.binning.count(codes))
    for counts, other in zip(REFERENCE.feature_counts, whole.feature_counts, strict=True):
        np.testing.assert_array_equal(counts, other)


def test_rates_and_mean_pileup_are_those_of_the_sample() -> None:
    codes, _, pileup = joined()
    assert REFERENCE.m == len(codes)
    assert REFERENCE.target_rates.tolist() == pytest.approx([np.mean(codes >= cut) for cut in CUTS])
    np.testing.assert_allclose(REFERENCE.rates_of(REFERENCE.p), REFERENCE.target_rates, rtol=0.02)
    inside = (pileup >= PILEUP[1]) & (pileup < PILEUP[2])
    assert REFERENCE.pileup_means is not None
    assert REFERENCE.pileup_means[1] == pytest.approx(pileup[inside].mean())
    assert REFERENCE.slice_counts[1].sum() == inside.sum()


def test_pileup_on_an_edge_and_outside_goes_to_a_slice() -> None:
    pileup = np.repeat([5.0, 25.0, 99.0], 50)
    found = reference_of_sample([(np.arange(150) % 40, None, pileup)], bits=6, pileup_edges=[10, 25, 60])
    assert found.slice_counts.sum(axis=1).tolist() == [50, 100]
    assert found.pileup_means is not None
    assert found.pileup_means.tolist() == [5, 62]


def test_cuts_are_found_for_target_rates() -> None:
    codes, _, _ = joined()
    found = build(cuts=None, target_rates=[0.01, 0.001])
    assert found.target_rates.tolist() == [0.01, 0.001]
    for cut, target in zip(found.binning.cuts, (0.01, 0.001), strict=True):
        off = [abs(np.mean(codes >= code) - target) for code in range(cut - 3, cut + 4)]
        assert min(off) == off[3]


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ((np.array([1.5]), np.ones((1, 2), int), 30.0), "chunk 1: score codes have dtype"),
        ((np.array([4096]), np.ones((1, 2), int), 30.0), "chunk 1: score code 4096"),
        ((np.array([-1]), np.ones((1, 2), int), 30.0), "chunk 1: .*negative"),
        ((np.array([1]), None, 30.0), "in all chunks or in none"),
        ((np.array([1]), np.ones((2, 2), int), 30.0), r"chunk 1: events \(2, 2\)"),
        ((np.array([1]), np.ones((1, 3), int), 30.0), r"chunk 1: events \(1, 3\)"),
        ((np.array([1]), np.ones((1, 2)), 30.0), "float64"),
        ((np.array([1]), np.full((1, 2), 40_000), 30.0), "int16"),
        ((np.array([1]), np.ones((1, 2), int), None), "chunk 1: pile-up"),
        ((np.array([1]), np.ones((1, 2), int), np.nan), "chunk 1: pile-up"),
        ((np.array([1]), np.ones((1, 2), int), [30.0, 31.0]), "chunk 1: pile-up"),
    ],
)
def test_a_chunk_that_does_not_fit_is_named(chunk: Chunk, message: str) -> None:
    first = next(chunks())
    with pytest.raises(StatsError, match=message):
        reference_of_sample([first, chunk], CUTS, bits=BITS, pileup_edges=PILEUP)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pileup_edges": [0, 10, 60]}, "no event with pile-up from 0 to 10"),
        ({"pileup_edges": [10, 14.999, 15.01, 60]}, "no event|events per slice"),
        ({"pileup_edges": [30, 20]}, "increasing"),
        ({"pileup_edges": [30]}, "at least two"),
        ({"bits": 25}, "1 to 24"),
        ({"bits": 24, "pileup_edges": [0, 20, 40, 60]}, "slices"),
        ({"cuts": [4000]}, "no reference event"),
        ({"cuts": [4096]}, "out of range"),
        ({"target_rates": [0.1]}, "target rates"),
        ({"target_rates": [0.1, 1.0]}, "target rates"),
        ({"lsb": 0.0}, "lsb"),
    ],
)
def test_settings_that_make_no_reference_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(StatsError, match=message):
        build(**changed)


def test_no_chunks_make_no_reference() -> None:
    with pytest.raises(StatsError, match="0 reference events"):
        reference_of_sample([], CUTS, bits=BITS)
    with pytest.raises(StatsError, match="no event"):
        reference_of_sample([], target_rates=[0.1], bits=BITS)


@pytest.mark.skipif(not ZERO_BIAS.exists(), reason="needs the measured zero-bias scores in ../shared/data")
def test_real_zero_bias_scores_make_a_reference_in_spite_of_their_heavy_tail() -> None:
    with np.load(ZERO_BIAS) as file:
        counts = file["counts"]
    reference = reference_of_sample(
        [(np.repeat(np.arange(len(counts)), counts), None, None)], target_rates=[1e-3], bits=8
    )
    assert reference.m == 4_363_289
    assert reference.counts[0] == counts[0]
    assert reference.rates_of(reference.p)[0] == pytest.approx(1e-3, rel=0.1)


def test_cells_divide_the_bins_and_their_probabilities_add_up_to_the_bins() -> None:
    assert REFERENCE.cells.n_bins > 2 * REFERENCE.binning.n_bins
    assert set(REFERENCE.binning.edges) <= set(REFERENCE.cells.edges)
    for expected in (REFERENCE.expected(None), REFERENCE.expected(16.0), REFERENCE.expected(25.3, error=0.1)):
        np.testing.assert_allclose(expected.bins(expected.cells), expected.p)
        assert expected.cells.min() > 0


def test_a_code_with_many_events_becomes_a_cell_of_its_own() -> None:
    histogram = np.full(256, 10)
    histogram[100] = 1000
    histogram[200:220] = 0
    binning = Binning(np.array([0, 64, 128, 256]))
    cells = binning.divided(histogram, 64)
    assert {100, 101} <= set(cells.edges.tolist())
    assert set(binning.edges) <= set(cells.edges)
    assert (cells.rebin(histogram) > 0).all()
