"""Scores become codes, and what is none is refused."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.stats.count.binning import Binning
from monitor.stats.count.codes import to_codes
from monitor.stats.errors import StatsError


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.array([16], "u2"), "does not fit into 4 bits"),
        (np.array([3, -1]), "negative"),
        (np.array([np.nan]), "dtype float64"),
    ],
)
def test_codes_that_are_none_are_not_counted(codes: Any, message: str) -> None:
    with pytest.raises(StatsError, match=message):
        Binning(np.array([0, 16])).count(codes)


@given(st.lists(st.integers(0, 2**18 - 1)), st.sampled_from([1 / 16, 0.1, 1.0, 3e-5]))
def test_scores_on_the_grid_give_their_codes_back(codes: list[int], lsb: float) -> None:
    scores = np.array(codes, dtype=np.float64) * lsb
    assert to_codes(scores, lsb, bits=18).tolist() == codes


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, 64.0])
def test_scores_without_a_code_are_refused_by_their_place(bad: float) -> None:
    with pytest.raises(StatsError, match=r"score \[1\]"):
        to_codes([0.0, bad], lsb=1 / 16, bits=10)
