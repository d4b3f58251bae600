"""The noncentral χ² distribution agrees with SciPy, far tails included."""

import numpy as np
import pytest
from scipy import stats

from monitor.stats.compare.noncentral import chi2_tail, noncentrality_limits

FAR = (0.5, 1e-3, 1e-6, 1e-9, 1e-12)


@pytest.mark.parametrize("dof", [1, 10, 40])
@pytest.mark.parametrize("noncentrality", [0.0, 1.0, 80.0, 4000.0, 1e6])
def test_tails_agree_with_scipy(dof: int, noncentrality: float) -> None:
    law = stats.ncx2(dof, noncentrality) if noncentrality else stats.chi2(dof)
    for p in FAR:
        x = float(law.isf(p))
        assert chi2_tail(x, dof, noncentrality) == pytest.approx(law.sf(x), rel=1e-6)


def test_a_tail_stays_accurate_where_one_minus_the_distribution_is_rounded_away() -> None:
    """Mixed by hand: a Poisson number of further degrees of freedom."""
    j = np.arange(400)
    by_hand = (stats.poisson.pmf(j, 50) * stats.chi2.sf(500, 40 + 2 * j)).sum()
    assert chi2_tail(500, 40, 100) == pytest.approx(by_hand, rel=1e-9)
    assert 0 < chi2_tail(2000, 40, 100) < 1e-200
    assert chi2_tail(0, 40, 100) == chi2_tail(0, 40) == 1.0


@pytest.mark.parametrize("noncentrality", [3000.0, 4e5])
@pytest.mark.parametrize("sigmas", [-3.0, 0.0, 5.0, 20.0])
def test_leaving_out_terms_of_a_wide_sum_changes_nothing(noncentrality: float, sigmas: float) -> None:
    dof = 40
    x = dof + noncentrality + sigmas * np.sqrt(2 * (dof + 2 * noncentrality))
    j = np.arange(
        int(noncentrality / 2 - 20 * np.sqrt(noncentrality)), int(noncentrality / 2 + 40 * np.sqrt(noncentrality))
    )
    every = (stats.poisson.pmf(j, noncentrality / 2) * stats.chi2.sf(x, dof + 2 * j)).sum()
    assert chi2_tail(x, dof, noncentrality) == pytest.approx(every, rel=1e-8)


@pytest.mark.parametrize("x", [20.0, 45.0, 300.0, 1e5])
def test_limits_are_where_the_tails_hold_what_is_left_of_the_confidence(x: float) -> None:
    low, high = noncentrality_limits(x, 40, 0.9)
    for limit, p in ((low, 0.05), (high, 0.95)):
        if limit:
            assert chi2_tail(x, 40, limit) == pytest.approx(p, rel=1e-6)
        else:
            assert chi2_tail(x, 40) > p
