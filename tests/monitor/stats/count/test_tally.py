"""What is kept of a sample: events that stand for all of them, and histograms of their inputs."""

import numpy as np
import pytest

from monitor.stats.count.building import reference_of_sample
from tests.support.references import REFERENCE, build, joined


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
