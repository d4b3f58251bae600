"""The reference: what it expects at a pile-up, and the same after a journey through bytes."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.stats.count.binning import Binning
from monitor.stats.count.building import reference_of_histogram, reference_of_sample
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError
from tests.support.references import BITS, CUTS, REFERENCE, chunks

SLICES: dict[str, Any] = {"pileup_edges": np.array([10, 30, 50]), "pileup_means": np.array([20, 40])}
SMALL = reference_of_sample([(np.arange(400) % 50, None, None)], cuts=[30], bits=6).to_bytes()


def test_probabilities_are_positive_where_a_slice_saw_nothing() -> None:
    assert (REFERENCE.slice_counts == 0).any()
    assert (REFERENCE.slice_p > 0).all()
    assert (REFERENCE.expected(16.0).p > 0).all()


@given(st.floats(0, 100))
def test_the_expected_distribution_is_one_at_any_pileup(pileup: float) -> None:
    expected = REFERENCE.expected(pileup)
    p, m = expected.p, expected.m
    assert p.sum() == pytest.approx(1)
    assert 0 < m <= REFERENCE.m


def test_expectation_meets_the_slices_and_is_clamped_outside() -> None:
    assert REFERENCE.pileup_means is not None
    for i, mean in enumerate(REFERENCE.pileup_means):
        expected = REFERENCE.expected(float(mean))
        p, m = expected.p, expected.m
        np.testing.assert_allclose(p, REFERENCE.slice_p[i])
        assert m == REFERENCE.slice_counts[i].sum()
    edges = REFERENCE.pileup_edges
    assert edges is not None
    for inside, outside in ((edges[0], 0.0), (edges[-1], 1e6)):
        np.testing.assert_array_equal(REFERENCE.expected(float(inside)).p, REFERENCE.expected(outside).p)
        assert REFERENCE.covers(float(inside))
        assert not REFERENCE.covers(outside)
    assert REFERENCE.covers(None)


def test_bins_that_rise_exponentially_are_met_beyond_the_outer_means_too() -> None:
    p = np.array([0.4, 0.3, 0.2, 0.1])
    rise = np.array([0.01, 0.0, -0.01, 0.02])
    truth = {pileup: p * np.exp(rise * pileup) / (p @ np.exp(rise * pileup)) for pileup in (10, 20, 30, 34)}
    counts = np.stack([np.rint(1e9 * truth[mean]) for mean in (10, 20, 30)])
    reference = reference_of_histogram(
        [0, 4, 8, 12, 16], counts, pileup_edges=[5, 15, 25, 35], pileup_means=[10, 20, 30]
    )
    np.testing.assert_allclose(reference.expected(34.0).p, truth[34], rtol=1e-5)
    assert reference.expected(34.0).m < reference.expected(30.0).m


def test_bins_that_grow_exponentially_with_pileup_are_interpolated_exactly() -> None:
    binning = Binning(np.array([0, 4, 8, 16]))

    def truth(pileup: float) -> NDArray[Any]:
        p = np.array([0.7, 0.2, 0.1]) * np.exp(np.array([0, 0.01, 0.05]) * pileup)
        return np.asarray(p / p.sum())

    counts = np.rint([1e9 * truth(20.0), 1e9 * truth(40.0)])
    reference = Reference(binning, counts.astype(np.int64), np.zeros(0), **SLICES)
    np.testing.assert_allclose(reference.expected(27.0).p, truth(27.0), rtol=1e-5)


def test_m_is_what_the_scatter_of_interpolated_references_says() -> None:
    rng = np.random.default_rng(6)
    p, totals = np.array([0.5, 0.3, 0.15, 0.05]), (20_000, 60_000)
    found = [
        Reference(
            Binning(np.array([0, 4, 8, 12, 16])),
            np.array([rng.multinomial(n, p) for n in totals]),
            np.zeros(0),
            **SLICES,
        ).expected(35.0)
        for _ in range(3000)
    ]
    scatter = np.var([e.p for e in found], axis=0) / (p * (1 - p))
    np.testing.assert_allclose(scatter * found[0].m, 1, rtol=0.12)


def test_a_reference_without_pileup_expects_the_same_always() -> None:
    reference = reference_of_sample(((c, e, None) for c, e, _ in chunks()), CUTS, bits=BITS)
    np.testing.assert_array_equal(reference.expected(40.0).p, reference.p)
    assert reference.expected(None).m == reference.m
    np.testing.assert_array_equal(REFERENCE.expected(None).p, REFERENCE.p)


@pytest.mark.parametrize(
    "reference",
    [REFERENCE, reference_of_sample(((c, None, None) for c, _, _ in chunks()), bits=BITS)],
    ids=["full", "bare"],
)
def test_bytes_give_the_same_reference_back(reference: Reference) -> None:
    data = reference.to_bytes()
    again = Reference.from_bytes(data)
    assert again.to_bytes() == data
    assert again.binning.cuts == reference.binning.cuts
    for pileup in (None, 31.0):
        np.testing.assert_array_equal(again.expected(pileup).p, reference.expected(pileup).p)
        assert again.expected(pileup).m == reference.expected(pileup).m
    np.testing.assert_array_equal(again.events, reference.events)
    assert [e.tolist() for e in again.feature_edges] == [e.tolist() for e in reference.feature_edges]


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.data(),
)
def test_damaged_bytes_raise_nothing_but_stats_errors(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    damaged = bytearray(SMALL)
    for place, value in changes:
        damaged[place] = value
    damaged = damaged[: data.draw(st.integers(0, len(SMALL)) | st.just(len(SMALL)))]
    with suppress(StatsError):
        Reference.from_bytes(bytes(damaged))


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", edges=np.array([{}], dtype=object), format=1)
    with pytest.raises(StatsError, match="not a reference"):
        Reference.from_bytes((tmp_path / "x.npz").read_bytes())


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell_counts": np.array([[1, 2]])},
        {"cell_counts": np.array([[10, 20, -1]])},
        {"cell_counts": np.array([[1, 0, 1]])},
        {"cell_counts": np.array([10, 20, 30])},
        {"cell_counts": np.array([[10, 20, 30], [10, 20, 30]])},
        {"pileup_edges": [0, 1]},
        {"pileup_edges": [0, 1], "pileup_means": [np.nan]},
        {"pileup_edges": [1, 0], "pileup_means": [0.5]},
        {"target_rates": [0.1, 0.2]},
        {"events": np.zeros((3, 2))},
        {"events": np.zeros((1, 2)), "event_inclusion": [0.0]},
        {"feature_edges": ([0, 1],)},
        {"feature_edges": ([0, 1],), "feature_counts": ([1, 2],)},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(wrong: dict[str, Any]) -> None:
    parts: dict[str, Any] = {"cell_counts": np.array([[10, 20, 30]]), "target_rates": [0.5]}
    Reference(Binning(np.array([0, 4, 8, 16]), cuts=(8,)), **parts)
    with pytest.raises(StatsError, match="reference: "):
        Reference(Binning(np.array([0, 4, 8, 16]), cuts=(8,)), **(parts | wrong))


def test_the_error_of_the_pile_up_spans_what_is_no_drift() -> None:
    low, high = REFERENCE.expected(20.0, error=0.05).nearby
    np.testing.assert_array_equal(low, REFERENCE.expected(18.0).cells)
    np.testing.assert_array_equal(high, REFERENCE.expected(22.0).cells)
    assert REFERENCE.expected(20.0).nearby.shape == (0, REFERENCE.cells.n_bins)
