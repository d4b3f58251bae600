"""Windows add up to what was counted, whatever the lengths they are kept at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.window import Dyadic, Slice, Window
from monitor.stats.errors import StatsError

CODES = np.random.default_rng(1).geometric(0.02, 40_000)
REFERENCE = reference_of_sample(
    [(CODES[:20_000], None, 20.0), (CODES[20_000:] * 2, None, 40.0)], cuts=[150], bits=12, pileup_edges=[10, 30, 50]
)


def window(ls: int, codes: np.ndarray, pileup: float | None = None) -> Window:  # type: ignore[type-arg]
    counts = REFERENCE.cells.count(codes)
    part = Slice(counts, len(codes) * (pileup or 0))
    return Window({REFERENCE.slice_of(pileup): part}, np.array([(codes >= 150).sum()]), (1, ls), (1, ls))


@given(st.integers(1, 600), st.integers(2, 12))
def test_no_count_is_lost_while_memory_stays_flat(n: int, levels: int) -> None:
    past = Dyadic(levels)
    for ls in range(1, n + 1):
        past.push(Window({None: Slice(np.array([ls, 1]))}, np.array([1]), (1, ls), (1, ls)))
    windows = list(past.newest_first())
    kept = sum(w.length for w in windows)
    assert len(windows) <= 2 * levels
    assert kept == n if n < 2**levels else kept >= 2 ** (levels - 1)
    assert sum(w.counts[0] for w in windows) == sum(range(n - kept + 1, n + 1))
    assert [w.until[1] for w in windows] == [n - sum(w.length for w in windows[:i]) for i in range(len(windows))]


def test_a_window_of_two_pile_ups_is_expected_to_be_their_mixture() -> None:
    both = window(1, CODES[:3000], 20.0) + window(2, CODES[:1000], 40.0)
    expected = both.expected(REFERENCE, pileup_error=0.05)
    low, high = (REFERENCE.expected(pileup, 0.05) for pileup in (20.0, 40.0))
    np.testing.assert_allclose(expected.p, 0.75 * low.p + 0.25 * high.p)
    np.testing.assert_allclose(expected.nearby, 0.75 * low.nearby + 0.25 * high.nearby)
    assert expected.m == pytest.approx(20_000)
    assert both.pileup == 25.0


def test_an_unknown_pile_up_makes_that_of_the_window_unknown() -> None:
    both = window(1, CODES[:10], 20.0) + window(2, CODES[:10])
    assert both.pileup is None
    assert both.n == 20


def test_an_empty_window_expects_nothing() -> None:
    with pytest.raises(StatsError, match="at least one score"):
        window(1, CODES[:0], 20.0).expected(REFERENCE)
