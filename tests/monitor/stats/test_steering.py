"""Cuts that follow the pile-up and what the tail does, on distributions that are known."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from monitor.stats.steering import Steering

TARGETS = np.array([0.01, 0.0025])
BAND = 0.02
PILEUPS = (25.0, 35.0, 45.0, 55.0)


def draw(random: np.random.Generator, n: int, pileup: float) -> NDArray[np.int64]:
    """Scores whose tail grows with the pile-up."""
    return np.minimum(random.geometric(0.02 * (50 / pileup) ** 0.5, n), 1023)


@pytest.fixture(scope="module")
def reference() -> Reference:
    random = np.random.default_rng(1)
    chunks = [(draw(random, 500_000, pileup), None, np.full(500_000, pileup)) for pileup in PILEUPS]
    return reference_of_sample(chunks, target_rates=TARGETS.tolist(), bits=10, pileup_edges=[20, 30, 40, 50, 60])


def drifted(cells: FloatArray, amount: float) -> FloatArray:
    """The probabilities with a tail that is amount heavier, in ln, at the tighter target."""
    above = np.cumsum(cells[::-1])[::-1]
    share = np.clip(np.log(0.3 / np.maximum(above, 1e-9)) / np.log(0.3 / TARGETS[1]), 0, 1.5)
    tilted = cells * np.exp(amount * share)
    return np.asarray(tilted / tilted.sum())


def rates(reference: Reference, cells: FloatArray, cuts: NDArray[np.int64]) -> FloatArray:
    codes = np.concatenate([np.arange(a, b) for a, b in pairwise(reference.cells.edges)])
    width = np.diff(reference.cells.edges)
    each = np.repeat(cells / width, width)
    return np.array([each[codes >= cut].sum() for cut in cuts])


class Stream:
    def __init__(self, reference: Reference, n: int, seed: int = 2) -> None:
        self.reference, self.n = reference, n
        self.random = np.random.default_rng(seed)
        self.steering = Steering(reference, TARGETS, BAND)
        self.cuts = np.array(reference.binning.cuts)

    def next(self, pileup: float, drift: float = 0.0) -> FloatArray:
        """The rates over their targets of a lumi section; afterwards its cuts are moved."""
        expected = self.reference.expected(pileup)
        cells = drifted(expected.cells, drift)
        ratios = rates(self.reference, cells, self.cuts) / TARGETS
        self.steering.update(self.random.multinomial(self.n, cells), expected, pileup)
        self.cuts = self.steering.cuts(self.reference.expected(self.steering.ahead(1)), self.cuts)
        return ratios


def test_without_a_change_the_cuts_stay(reference: Reference) -> None:
    stream = Stream(reference, 10**6)
    stream.cuts = stream.steering.cuts(reference.expected(40.0), stream.cuts)
    cuts = stream.cuts.copy()
    for _ in range(20):
        stream.next(40.0)
    assert np.abs(stream.cuts - cuts).max() <= 2


def test_the_cuts_follow_the_pileup_as_the_reference_knows_it(reference: Reference) -> None:
    stream = Stream(reference, 20_000)
    ratios = np.array([stream.next(55.0 - 0.2 * ls) for ls in range(150)])
    assert np.abs(np.log(ratios[5:])).mean() < 0.05
    fixed = rates(reference, reference.expected(25.0).cells, np.array(reference.binning.cuts)) / TARGETS
    assert (fixed < 0.85).all(), "the pile-up changes too little to show anything"


@pytest.mark.parametrize("drift", [-0.25, 0.25])
def test_a_sudden_change_is_made_good_at_once_where_there_are_many_scores(reference: Reference, drift: float) -> None:
    stream = Stream(reference, 10**6)
    for _ in range(30):
        stream.next(40.0)
    first, second = stream.next(40.0, drift), stream.next(40.0, drift)
    assert np.abs(np.log(first[1])) > 0.15
    assert np.abs(np.log(second)).max() < 0.05


def test_with_few_scores_many_lumi_sections_are_taken_together(reference: Reference) -> None:
    """At 50 accepts a lumi section each would be known to 14 % alone."""
    stream = Stream(reference, 20_000)
    ratios = np.array([stream.next(40.0, 0.2) for _ in range(60)])
    assert np.log(ratios[30:, 1]).std() < 0.05
    assert abs(np.log(ratios[30:, 1]).mean()) < 0.06


def test_what_was_learned_belongs_to_the_scores_and_those_before_are_remembered(reference: Reference) -> None:
    stream = Stream(reference, 10**6)
    before = stream.cuts.copy()
    before = stream.steering.cuts(reference.expected(40.0), before)
    for _ in range(10):
        stream.next(40.0, 0.3)
    assert (stream.cuts > before).all()
    learned = stream.cuts
    stream.steering.begin_anew("others")
    np.testing.assert_allclose(stream.steering.cuts(reference.expected(40.0), learned), before, atol=2)
    stream.steering.begin_anew("")
    np.testing.assert_array_equal(stream.steering.cuts(reference.expected(40.0), learned), learned)


def test_the_pileup_is_extrapolated_where_it_is_known(reference: Reference) -> None:
    steering = Steering(reference, TARGETS, BAND)
    counts, expected = np.ones(reference.cells.n_bins, np.int64), reference.expected(40.0)
    assert steering.ahead(3) is None
    for ls in range(10):
        steering.update(counts, expected, 50.0 - 0.5 * ls)
    assert steering.ahead(3) == pytest.approx(50.0 - 0.5 * 12)
    steering.update(counts, expected, None)
    assert steering.ahead(3) is None


def test_the_change_of_a_rate_is_that_of_the_reference(reference: Reference) -> None:
    steering = Steering(reference, TARGETS, BAND)
    cuts = np.array(reference.binning.cuts)
    now, then = reference.expected(35.0), reference.expected(55.0)
    expected = reference.rates_of(then.p) / reference.rates_of(now.p)
    np.testing.assert_allclose(steering.change(now, then, cuts), expected, rtol=1e-6)


def test_a_tail_that_bends_away_from_the_bulk_is_followed(reference: Reference) -> None:
    """What is far above the cut says little of it: with time the cut's own counts decide."""
    stream = Stream(reference, 20_000)
    expected = reference.expected(40.0)
    above = np.cumsum(expected.cells[::-1])[::-1]
    bent = expected.cells * np.exp(0.3 * np.clip(np.log(0.3 / np.maximum(above, 1e-9)), 0, 1.5) * (above > 0.02))
    bent *= np.where(above > 0.02, 1.0, 0.9)
    bent /= bent.sum()
    for _ in range(80):
        stream.steering.update(stream.random.multinomial(stream.n, bent), expected, 40.0)
    cuts = stream.steering.cuts(expected, stream.cuts)
    assert np.abs(np.log(rates(reference, bent, cuts) / TARGETS)).max() < 0.08
