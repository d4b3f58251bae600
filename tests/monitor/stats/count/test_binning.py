"""Binning: what is counted where, and what is refused."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.stats.count.binning import Binning, quantile_edges
from monitor.stats.errors import StatsError

BITS = 12
CUTS = (300, 346, 500)
Codes = NDArray[np.int64]


def sample(n: int = 50_000, seed: int = 1) -> Codes:
    """Scores that fall steeply, a fifth of them exactly 0."""
    rng = np.random.default_rng(seed)
    codes = rng.gamma(2.0, 40.0, n).astype(np.int64).clip(0, 2**BITS - 1)
    return np.where(rng.random(n) < 0.2, 0, codes)


codes_of_12_bits = st.lists(st.integers(0, 2**BITS - 1), max_size=200)


@given(codes_of_12_bits, st.sampled_from(["u2", "u4", "i8"]))
def test_counts_are_those_of_a_histogram_with_the_same_edges(codes: list[int], dtype: str) -> None:
    binning = Binning.build(sample(), CUTS, BITS)
    counts = binning.count(np.array(codes, dtype=dtype))
    expected, _ = np.histogram(codes, bins=binning.edges)
    np.testing.assert_array_equal(counts, expected)
    assert binning.above(counts).tolist() == [sum(code >= cut for code in codes) for cut in CUTS]


@given(codes_of_12_bits, codes_of_12_bits)
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(a: list[int], b: list[int]) -> None:
    binning = Binning.build(sample(), CUTS, BITS)
    parts = [np.array(part, dtype="u4") for part in (a, b, a + b)]
    one, two, both = (binning.count(part) for part in parts)
    np.testing.assert_array_equal(one + two, both)


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 7, 8, 100, 4000, 4095]), min_size=40, max_size=300),
    st.lists(st.integers(1, 4095), max_size=3),
)
def test_built_bins_hold_reference_events_and_have_an_edge_on_every_cut(codes: list[int], cuts: list[int]) -> None:
    borders = [0, *sorted(set(cuts)), 4096]
    if not all(any(low <= code < high for code in codes) for low, high in pairwise(borders)):
        with pytest.raises(StatsError, match="no reference event has a code from"):
            Binning.build(codes, cuts, BITS)
        return
    binning = Binning.build(codes, cuts, BITS)
    assert (binning.count(codes) > 0).all()
    assert all(cut in binning.edges for cut in cuts)
    assert (binning.edges[0], binning.edges[-1]) == (0, 4096)


def test_a_code_on_which_events_pile_up_has_its_own_bin() -> None:
    binning = Binning.build(sample(), CUTS, BITS)
    assert binning.edges[1] == 1
    assert binning.count(sample())[0] == (sample() == 0).sum()


def test_bulk_bins_hold_equal_shares_and_tail_edges_their_shares() -> None:
    codes = np.random.default_rng(2).exponential(15_000, 400_000).astype(np.int64)
    binning = Binning.build(codes, bits=18, bulk=10, tails=(1e-2, 1e-3))
    shares = binning.count(codes) / len(codes)
    np.testing.assert_allclose(shares[:2], [0.01, 0.09], atol=1e-3)
    np.testing.assert_allclose(shares[2:10], 0.1, atol=1e-3)
    np.testing.assert_allclose(shares[-2:], [0.009, 0.001], rtol=0.01)


def test_rebinning_a_histogram_of_codes_equals_counting_them() -> None:
    binning = Binning.build(sample(), CUTS, BITS)
    histogram = np.bincount(sample(seed=5), minlength=2**BITS)
    np.testing.assert_array_equal(binning.rebin(histogram), binning.count(sample(seed=5)))


def test_neighbouring_cuts_are_told_apart() -> None:
    binning = Binning(np.array([0, 8, 9, 16]), cuts=(9, 8))
    assert binning.above(binning.count(np.arange(16))).tolist() == [7, 8]


def test_wide_codes_and_more_than_256_bins_are_counted() -> None:
    edges = np.append(np.arange(0, 300), 2**24)
    counts = Binning(edges).count(np.array([0, 255, 256, 2**24 - 1], dtype="u4"))
    assert counts[[0, 255, 256, 299]].tolist() == [1, 1, 1, 1]


def test_arrays_give_the_same_binning_back() -> None:
    binning = Binning.build(sample(), CUTS, BITS)
    again = Binning.from_arrays(binning.to_arrays())
    assert again.edges.tolist() == binning.edges.tolist()
    assert again.cuts == binning.cuts == CUTS


def test_edges_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Binning(np.array([0, 4])).edges[0] = 1


@pytest.mark.parametrize(
    ("edges", "cuts", "message"),
    [
        ([0, 10, 10, 16], (), "strictly increasing"),
        ([0, 12, 10, 16], (), "strictly increasing"),
        ([1, 16], (), "from 0"),
        ([0], (), "from 0"),
        ([0, 15], (), "2\\^bits"),
        ([0, 2**25], (), "24 bits"),
        ([0, 8, 16], (9,), "cut 9 is not an edge"),
        ([0, 8, 16], (0,), "out of range"),
        ([0, 8, 16], (16,), "out of range"),
    ],
)
def test_edges_and_cuts_that_make_no_binning_are_refused(edges: Any, cuts: Any, message: str) -> None:
    with pytest.raises(StatsError, match=message):
        Binning(edges, cuts)


@pytest.mark.parametrize(
    ("codes", "cuts", "message"),
    [
        (np.zeros(0, "u2"), (), "0 reference events"),
        (np.arange(20), (), "20 reference events for 29 bins"),
        (sample(), (4096,), "out of range"),
        (sample(), (0,), "out of range"),
        (sample(), (float("nan"),), "out of range"),
        (sample(), (3000,), "no reference event has a code from 3000 to 4095"),
        (np.array([1, 4096]), (), "does not fit into 12 bits"),
        (np.array([1, -1]), (), "negative"),
        (np.array([0.5, 1.0]), (), "dtype float64"),
    ],
)
def test_references_without_use_are_refused(codes: Any, cuts: Any, message: str) -> None:
    with pytest.raises(StatsError, match=message):
        Binning.build(codes, cuts, BITS, bulk=24)


def test_quantile_edges_are_the_nearest_possible() -> None:
    histogram = np.bincount(sample(), minlength=2**BITS)
    below = np.concatenate([[0], np.cumsum(histogram)]) / histogram.sum()
    shares = np.linspace(0.01, 0.99, 37)
    off = np.abs(below[quantile_edges(histogram, shares)] - shares)
    np.testing.assert_allclose(off, np.abs(below[:, None] - shares).min(axis=0))
