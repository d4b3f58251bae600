"""Two references are compared on the edges that they have in common."""

import numpy as np
import pytest

from monitor.stats.compare.references import comparison
from monitor.stats.count.building import reference_of_histogram, reference_of_sample
from monitor.stats.errors import StatsError


def test_other_bins_are_compared_on_the_edges_in_common() -> None:
    scores = np.random.default_rng(1).gamma(2, 55, 50_000).astype(np.int64).clip(max=4095)
    a = reference_of_sample([(scores, None, None)], cuts=[300], bits=12)
    b = reference_of_histogram(
        [0, 40, 100, 300, 1024], [np.diff([0, *(int((scores < e).sum()) for e in (40, 100, 300, 9999))])]
    )
    said = comparison(b, a)
    assert said["bins"][0] == len([e for e in (40, 100, 300) if e in a.cells.edges]) + 1
    assert said["divergence"]["kl"] == pytest.approx(0, abs=1e-6)


def test_bins_without_a_common_edge_are_not_compared() -> None:
    a = reference_of_histogram([0, 10, 20, 64], [[50, 30, 20]])
    b = reference_of_histogram([0, 11, 21, 64], [[50, 30, 20]])
    with pytest.raises(StatsError, match="none in common"):
        comparison(a, b)
    with pytest.raises(StatsError, match=r"a code is worth 1 in one and 0\.5 in the other"):
        comparison(a, reference_of_histogram([0, 10, 20, 64], [[50, 30, 20]], lsb=0.5))
