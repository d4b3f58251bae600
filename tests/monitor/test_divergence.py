"""Divergences agree with SciPy on the same counts, and their tests have the sizes that they claim."""

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.special import rel_entr

from monitor.stats.binning import StatsError
from monitor.stats.divergence import compare, overdispersion

Array = NDArray[Any]
TAILED = np.diff([0, *np.arange(1, 24) / 24, 0.99, 0.997, 0.999, 0.9997, 0.9999, 1])

filled = st.lists(st.integers(1, 10**6), min_size=2, max_size=40)


@given(filled, st.integers(0, 2**32))
def test_both_directions_and_psi_agree_with_scipy(counts: list[int], seed: int) -> None:
    n = np.array(counts, dtype=float)
    p = np.random.default_rng(seed).dirichlet(np.full(len(n), 5.0))
    found = compare(n, p, m=1e5)
    f = n / n.sum()
    assert found.kl == pytest.approx(rel_entr(f, p).sum(), abs=1e-12)
    smooth = (n + 0.5) / (n.sum() + len(n) / 2)
    assert found.kl_reverse == pytest.approx(rel_entr(p, smooth).sum(), abs=1e-12)
    assert found.psi == pytest.approx(rel_entr(smooth, p).sum() + rel_entr(p, smooth).sum(), abs=1e-12)


@given(filled)
def test_chi2_and_p_value_against_a_known_p_are_the_g_test_of_scipy(counts: list[int]) -> None:
    n = np.array(counts, dtype=float)
    p = np.full(len(n), 1 / len(n))
    found = compare(n, p)
    g, p_value = stats.power_divergence(n, n.sum() * p, lambda_="log-likelihood")
    assert found.chi2 == pytest.approx(g, rel=1e-9, abs=1e-6)
    assert found.p_value == pytest.approx(p_value, rel=1e-6, abs=1e-9)


@given(filled, st.randoms())
def test_the_order_of_the_bins_does_not_matter(counts: list[int], random: Any) -> None:
    n = np.array(counts, dtype=float)
    p = np.arange(1, len(n) + 1) / (len(n) * (len(n) + 1) / 2)
    order = random.sample(range(len(n)), len(n))
    a, b = compare(n, p, 1e6), compare(n[order], p[order], 1e6)
    assert (a.kl, a.psi, a.p_value) == pytest.approx((b.kl, b.psi, b.p_value), rel=1e-6, abs=1e-12)


def null_windows(n: int, m: float, seed: int, trials: int = 1500) -> list[Any]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(trials):
        reference = rng.multinomial(int(m), TAILED) if m < inf else TAILED
        p = (reference + 0.5) / (reference + 0.5).sum() if m < inf else TAILED
        found.append(compare(rng.multinomial(n, TAILED), p, m))
    return found


@pytest.mark.parametrize(("n", "m"), [(10**3, 1e6), (10**4, 1e4), (10**5, 1e6), (10**6, 1e5), (10**6, inf)])
def test_sizes_and_bias_correction_hold_without_drift_for_a_reference_of_finite_statistics(n: int, m: float) -> None:
    found = null_windows(n, m, seed=n)
    p_values = np.array([d.p_value for d in found])
    assert np.mean(p_values < 0.05) == pytest.approx(0.05, abs=0.017)
    assert np.mean(p_values < 0.01) < 0.018
    bias = (len(TAILED) - 1) * (1 / n + 1 / m)
    assert np.mean([d.kl for d in found]) == pytest.approx(bias / 2, rel=0.04)
    assert np.mean([d.kl_corrected for d in found]) == pytest.approx(0, abs=0.04 * bias / 2)
    assert np.mean([d.psi_corrected for d in found]) == pytest.approx(0, abs=0.08 * bias)


def test_a_drift_of_the_tolerated_size_is_called_larger_no_more_often_than_claimed() -> None:
    rng = np.random.default_rng(8)
    q = TAILED * np.exp(0.05 * np.linspace(-1, 1, len(TAILED)))
    q /= q.sum()
    delta = float(rel_entr(q, TAILED).sum())
    p_values = [compare(rng.multinomial(10**5, q), TAILED, inf, tolerated=delta).p_value_tolerated for _ in range(2000)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert compare(10**6 * q, TAILED, inf, tolerated=delta / 4).p_value_tolerated < 1e-6
    assert compare(10**6 * q, TAILED, inf).p_value < 1e-60


def test_without_a_tolerated_drift_both_p_values_are_one() -> None:
    found = compare([40, 60], [0.5, 0.5])
    assert found.p_value_tolerated == pytest.approx(found.p_value)


def test_an_empty_bin_leaves_every_number_finite() -> None:
    found = compare([0, 100], [0.5, 0.5], 1000)
    assert np.isfinite([found.kl, found.kl_reverse, found.psi, found.chi2]).all()


def test_overdispersed_blocks_are_found_and_tempered() -> None:
    rng = np.random.default_rng(4)
    phi = 5
    plain = rng.multinomial(2000, TAILED[:24] / TAILED[:24].sum(), size=200)
    clumped = phi * rng.multinomial(2000 // phi, TAILED[:24] / TAILED[:24].sum(), size=200)
    assert overdispersion(plain) == pytest.approx(1, abs=0.08)
    assert overdispersion(clumped) == pytest.approx(phi, rel=0.08)
    raw, tempered = (
        [compare(block, TAILED[:24] / TAILED[:24].sum(), phi=by).p_value for block in clumped] for by in (1, phi)
    )
    assert np.mean(np.array(raw) < 0.05) > 0.9
    assert np.mean(np.array(tempered) < 0.05) == pytest.approx(0.05, abs=0.05)


@given(st.integers(2, 6), st.integers(2, 6), st.integers(1, 1000))
def test_equal_blocks_are_not_overdispersed(blocks: int, bins: int, events: int) -> None:
    assert overdispersion(np.full((blocks, bins), events)) == 1.0


@pytest.mark.parametrize(
    ("counts", "p", "m", "settings"),
    [
        ([1, 2, 3], [0.5, 0.5], 10, {}),
        ([[1, 2]], [[0.5, 0.5]], 10, {}),
        ([0, 0], [0.5, 0.5], 10, {}),
        ([-1, 2], [0.5, 0.5], 10, {}),
        ([1, float("nan")], [0.5, 0.5], 10, {}),
        ([1, 2], [0.0, 1.0], 10, {}),
        ([1, 2], [0.4, 0.4], 10, {}),
        ([1, 2], [0.5, 0.5], 0, {}),
        ([1, 2], [0.5, 0.5], float("nan"), {}),
        ([1, 2], [0.5, 0.5], 10, {"phi": 0.5}),
        ([1, 2], [0.5, 0.5], 10, {"tolerated": -1}),
    ],
)
def test_input_without_a_divergence_is_refused(counts: Any, p: Any, m: Any, settings: dict[str, float]) -> None:
    with pytest.raises(StatsError, match="expected"):
        compare(counts, p, m, **settings)


@pytest.mark.parametrize("blocks", [np.ones((1, 3)), np.ones((3, 1)), np.zeros((4, 4)), np.ones(5)])
def test_overdispersion_needs_blocks_and_bins(blocks: Array) -> None:
    with pytest.raises(StatsError, match="at least two"):
        overdispersion(blocks)
