"""A counter: blocks and totals of the same scores, and rates above cuts that are no edges of the cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.stats.count.binning import Binning
from monitor.stats.count.counter import Counter, Scale
from monitor.stats.count.counting import Crossings
from monitor.stats.errors import StatsError

BITS = 8
CELLS = Binning(np.array([0, 3, 17, 100, 256]))
codes = st.lists(st.integers(0, 2**BITS - 1), max_size=50)


@given(st.lists(codes, max_size=5), st.lists(st.integers(0, 300), max_size=4))
def test_blocks_add_up_to_the_total_and_any_cut_is_counted_exactly(blocks: list[list[int]], cuts: list[int]) -> None:
    counter = Counter(Scale(CELLS, tuple(cuts)))
    taken = []
    for block in blocks:
        assert counter.add(np.array(block, np.uint16), pileup=20.0) == len(block) == counter.n
        taken.append(counter.take())
    part, above = counter.total()
    every = np.array([code for block in blocks for code in block], np.int64)
    np.testing.assert_array_equal(part.counts, CELLS.count(every))
    np.testing.assert_array_equal(part.counts, np.sum(taken, axis=0) if taken else 0)
    assert part.pileup_sum == 20.0 * len(every)
    assert above.tolist() == [int((every >= cut).sum()) for cut in cuts]


def test_a_block_that_is_not_taken_yet_is_not_in_the_total() -> None:
    counter = Counter(Scale(CELLS, (17,)))
    counter.add(np.array([1, 200], np.uint32), pileup=10.0)
    assert (counter.n, counter.pileup) == (2, 10.0)
    assert counter.total()[0].counts.sum() == 0
    assert counter.take().tolist() == [1, 0, 0, 1]
    assert counter.n == 0


def test_only_the_crossings_count() -> None:
    counter = Counter(Scale(CELLS, ()))
    assert counter.add(np.tile([1, 5, 200], 4).astype(np.uint16), Crossings([True, False, True])) == 8
    assert counter.take().tolist() == [4, 0, 0, 4]


def test_scores_out_of_range_are_refused_with_what_was_expected() -> None:
    counter = Counter(Scale(CELLS, (), lsb=0.5))
    with pytest.raises(StatsError, match="from 1 to 256: expected from 0 to below 256"):
        counter.add(np.array([1, 256], np.uint16))
    with pytest.raises(StatsError, match=r"from 0\.0 to 128\.0: expected from 0 to below 128"):
        counter.add(np.array([0.0, 128.0], np.float32))
    assert counter.n == 0
    assert counter.take().sum() == 0


def test_cells_that_have_an_edge_on_every_cut_are_not_divided() -> None:
    assert Scale(CELLS, (100, 17)).parts is CELLS
    assert Scale(CELLS, (100, 18)).parts.edges.tolist() == [0, 3, 17, 18, 100, 256]
