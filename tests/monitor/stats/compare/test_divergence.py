"""Divergences agree with SciPy on the same counts, and their tests have the sizes that they claim."""

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from monitor.stats.compare.divergence import compare
from monitor.stats.errors import StatsError

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
    assert found.js == pytest.approx(jensenshannon(f, p) ** 2, abs=1e-12)


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


def tilted(kl: float, shape: Array) -> Array:
    """TAILED tilted along a shape until it is that far away."""
    low, high = 0.0, 20.0
    for _ in range(60):
        q = TAILED * np.exp((low + high) / 2 * shape)
        q /= q.sum()
        low, high = ((low + high) / 2, high) if rel_entr(q, TAILED).sum() < kl else (low, (low + high) / 2)
    return q


SHAPES = {"slope": np.linspace(-1, 1, len(TAILED)), "tail": np.arange(len(TAILED)) >= len(TAILED) - 5.0}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kl", [0.0, 1e-4, 1e-2, 0.3])
@pytest.mark.parametrize(("n", "m"), [(2000, 1e4), (10**5, 1e6), (10**7, 1e6), (10**5, inf)])
def test_intervals_cover_the_true_divergence_as_often_as_claimed(n: int, m: float, kl: float, shape: str) -> None:
    rng = np.random.default_rng(n)
    q = tilted(kl, SHAPES[shape]) if kl else TAILED
    middle = (q + TAILED) / 2
    truth = {
        "kl_interval": rel_entr(q, TAILED).sum(),
        "psi_interval": ((q - TAILED) * np.log(q / TAILED)).sum(),
        "js_interval": (rel_entr(q, middle).sum() + rel_entr(TAILED, middle).sum()) / 2,
    }
    covered = dict.fromkeys(truth, 0)
    for _ in range(300):
        reference = rng.multinomial(int(m), TAILED) + 0.5 if m < inf else TAILED
        found = compare(rng.multinomial(n, q), reference / reference.sum(), m)
        for name, value in truth.items():
            low, high = getattr(found, name)(0.9)
            covered[name] += low <= value <= high
    assert all(times / 300 > 0.85 for times in covered.values())
    assert kl == 0 or all(times / 300 < 0.95 for times in covered.values())


def peers_samples() -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    return rng.gamma(2, 60, 20_000), rng.gamma(2, 57, 15_000)


def test_what_evidently_documents_is_the_reverse_kl_and_the_psi_on_its_bins() -> None:
    """KL(reference ‖ current) and PSI on Sturges bins of both samples, an empty bin filled with min / 10^6.

    https://docs.evidentlyai.com/metrics/customize_data_drift; version 0.7.23 gives 0.003904, 0.007276 and a
    Jensen–Shannon distance of 0.029741 for these samples.
    """
    reference, current = peers_samples()
    edges = np.histogram_bin_edges(np.concatenate([reference, current]), bins="sturges")
    old, new = (np.histogram(sample, edges)[0] / len(sample) for sample in (reference, current))
    distance = jensenshannon(old, new)
    for share in (old, new):
        share[share == 0] = share[share > 0].min() / 1e6
    assert (stats.entropy(old, new), distance) == pytest.approx((0.003904, 0.029741), abs=1e-6)
    filled = (old > 1e-2) & (new > 1e-2)
    p, counts = old[filled] / old[filled].sum(), np.round(new[filled] * len(current))
    found = compare(counts, p, len(reference))
    assert found.kl_reverse == pytest.approx(stats.entropy(p, counts), rel=0.01)
    assert found.psi == pytest.approx(stats.entropy(p, counts) + stats.entropy(counts, p), rel=0.01)
    assert found.js == pytest.approx(jensenshannon(p, counts) ** 2, rel=0.01)


def test_what_frouros_documents_is_the_kl_on_its_bins() -> None:
    """KL(current ‖ reference) on 9 intervals between the extremes, shares read off a histogram of automatic bins.

    https://frouros.readthedocs.io/en/latest/api_reference/detectors/data_drift/batch.html; version 0.9.0 gives
    0.002379, and a Jensen–Shannon distance of 0.024949, for these samples.
    """
    reference, current = peers_samples()
    both = np.concatenate([reference, current])
    grid = np.linspace(both.min(), both.max(), 10)
    old, new = (np.diff(stats.rv_histogram(np.histogram(s, bins="auto")).cdf(grid)) for s in (reference, current))
    assert rel_entr(new, old).sum() == pytest.approx(0.002379, abs=1e-6)
    assert jensenshannon(old, new) == pytest.approx(0.024949, abs=1e-6)
    filled = old > 1e-4
    p, counts = old[filled] / old[filled].sum(), np.round(1e9 * new[filled])
    found = compare(counts, p, len(reference))
    assert found.kl == pytest.approx(rel_entr(new, old).sum(), rel=0.02)
    assert found.js == pytest.approx(jensenshannon(old, new) ** 2, rel=0.02)


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
