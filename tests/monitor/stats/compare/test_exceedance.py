"""A rate is called off no more often than claimed, be the scores above the cut few or many."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from monitor.stats.compare.exceedance import exceedance


@pytest.mark.parametrize(("expected", "m"), [(2.0, inf), (2.0, 1e5), (300.0, 2e5), (300.0, 1e9), (1e5, 1e7)])
@pytest.mark.parametrize("change", [0.0, 0.1, -0.1])
def test_within_the_tolerance_small_p_values_are_as_rare_as_they_say(expected: float, m: float, change: float) -> None:
    rng = np.random.default_rng(int(expected))
    n, trials = 1e6, 40_000
    rate = expected / n
    known = np.full(trials, expected) if m == inf else n * rng.poisson(m * rate, trials) / m
    above = rng.poisson(expected * (1 + change), trials)
    p_values = exceedance(above, known, n, m, tolerance=0.1)
    assert (p_values < 0.05).mean() < 0.055
    assert (p_values < 0.001).mean() < 0.002


def test_the_p_value_is_the_exact_one_of_the_binomial_test() -> None:
    found = exceedance(40, 20.0, 1000, 4000)
    exact = stats.binom.sf(39, 40 + 80, 1000 / 5000)
    assert float(found) == pytest.approx(2 * exact, rel=1e-9)
    assert float(exceedance(40, 20.0, 1000)) == pytest.approx(2 * stats.poisson.sf(39, 20), rel=1e-9)
    assert float(exceedance(5, 20.0, 1000)) == pytest.approx(2 * stats.poisson.cdf(5, 20), rel=1e-9)


def test_a_change_beyond_the_tolerance_is_found() -> None:
    found = exceedance([130_000, 70_000, 109_000], 1e5, 1e7, 1e8, tolerance=0.1)
    assert (found[:2] < 1e-12).all()
    assert found[2] == 1.0


def test_no_scores_above_a_cut_are_as_good_as_any_number() -> None:
    assert float(exceedance(0, 30.0, 1e5, 1e9)) == pytest.approx(2 * np.exp(-30), rel=1e-2)
    assert float(exceedance(0, 1.0, 1e5)) == pytest.approx(2 * np.exp(-1), rel=1e-9)
