"""The reference: built in one pass, sliced in pile-up, and the same after a journey through bytes."""

from collections.abc import Iterator
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
from monitor.stats.count.tally import Chunk
from monitor.stats.errors import StatsError
from tests.support.places import DATA

BITS = 12
CUTS = (300, 500)
SLICES: dict[str, Any] = {"pileup_edges": np.array([10, 30, 50]), "pileup_means": np.array([20, 40])}
PILEUP = (10.0, 25.0, 35.0, 45.0, 60.0)
ZERO_BIAS = DATA / "zero_bias_score_histogram.npz"


def chunks(n: int = 4, size: int = 20_000, seed: int = 1, events: bool = True) -> Iterator[Chunk]:
    """Scores whose tail grows with pile-up, and inputs on which they depend."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        pileup = rng.uniform(15, 55, size)
        inputs = np.stack([rng.poisson(3, size), rng.integers(-70, 70, size) * (rng.random(size) < 0.4)], axis=1)
        codes = (rng.gamma(2, 20 + pileup) + inputs[:, 0]).astype(np.int64).clip(0, 2**BITS - 1)
        yield codes, inputs if events else None, pileup


def build(**settings: Any) -> Reference:
    defaults: dict[str, Any] = {"cuts": CUTS, "bits": BITS, "pileup_edges": PILEUP}
    return reference_of_sample(chunks(), **(defaults | settings))


REFERENCE = build()


def joined() -> tuple[NDArray[Any], ...]:
    return tuple(np.concatenate(part) for part in zip(*chunks(), strict=True))


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


def test_stored_events_represent_the_sample_and_are_richer_in_high_scores() -> None:
    codes, inputs, _ = joined()
    found = build(max_events=4000)
    weight = 1 / found.event_inclusion.astype(np.float64)
    assert 3500 < len(found.events) <= 4000
    assert found.events.dtype == np.int16
    assert weight.sum() == pytest.approx(len(codes), rel=1e-6)
    assert np.average(found.events, axis=0, weights=weight) == pytest.approx(inputs.mean(axis=0), abs=1.0)
    assert np.average(found.events[:, 0], weights=weight) == pytest.approx(3.0, abs=0.1)
    tail = found.event_inclusion == found.event_inclusion.max()
    assert tail.sum() == pytest.approx((codes > np.quantile(codes, 0.99)).sum(), rel=0.1)
    assert build(max_events=10**6).events.shape == (len(codes), 2)


def test_every_event_is_as_likely_to_be_stored_wherever_it_comes() -> None:
    order = np.arange(3000)
    kept = np.zeros(3000)
    for seed in range(200):
        parts = [(np.zeros(len(part), int), part[:, None], None) for part in np.split(order, [10, 700, 703])]
        found = reference_of_sample(parts, bits=4, max_events=400, seed=seed)
        kept[found.events[:, 0]] += 1
    by_place = kept.reshape(10, 300).sum(axis=1)
    assert by_place == pytest.approx(np.full(10, 200 * 300 * 0.1), rel=0.05)


def test_feature_histograms_have_few_bins_none_of_them_empty_and_isolate_the_padding() -> None:
    _, inputs, _ = joined()
    for values, edges, counts in zip(inputs.T, REFERENCE.feature_edges, REFERENCE.feature_counts, strict=True):
        np.testing.assert_array_equal(counts, np.histogram(values, edges)[0])
        assert (counts > 0).all()
        assert len(counts) <= 64
        assert counts.sum() == len(values)
    zero = int(np.searchsorted(REFERENCE.feature_edges[1], 0, side="right")) - 1
    assert REFERENCE.feature_counts[1][zero] == (inputs[:, 1] == 0).sum()


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


SMALL = reference_of_sample([(np.arange(400) % 50, None, None)], cuts=[30], bits=6).to_bytes()


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


def test_the_error_of_the_pile_up_spans_what_is_no_drift() -> None:
    low, high = REFERENCE.expected(20.0, error=0.05).nearby
    np.testing.assert_array_equal(low, REFERENCE.expected(18.0).cells)
    np.testing.assert_array_equal(high, REFERENCE.expected(22.0).cells)
    assert REFERENCE.expected(20.0).nearby.shape == (0, REFERENCE.cells.n_bins)


def test_a_predicted_ratio_moves_bins_and_leaves_the_shares_of_their_cells() -> None:
    base = REFERENCE.expected(20.0, error=0.1)
    ratio = np.linspace(0.8, 1.2, len(base.p))
    moved = base.times(ratio, m=base.m)
    np.testing.assert_allclose(moved.p, base.p * ratio / (base.p * ratio).sum())
    within = base.cells / np.repeat(base.p, np.diff(np.append(base.first, len(base.cells))))
    np.testing.assert_allclose(
        moved.cells / np.repeat(moved.p, np.diff(np.append(base.first, len(base.cells)))), within
    )
    np.testing.assert_allclose(moved.nearby.sum(axis=1), 1)
    assert moved.m == base.m / 2


def test_a_code_with_many_events_becomes_a_cell_of_its_own() -> None:
    histogram = np.full(256, 10)
    histogram[100] = 1000
    histogram[200:220] = 0
    binning = Binning(np.array([0, 64, 128, 256]))
    cells = binning.divided(histogram, 64)
    assert {100, 101} <= set(cells.edges.tolist())
    assert set(binning.edges) <= set(cells.edges)
    assert (cells.rebin(histogram) > 0).all()
