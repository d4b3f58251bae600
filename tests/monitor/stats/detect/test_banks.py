"""What is no drift is in the null of every bet, whatever the reference's luck."""

from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import rel_entr

from monitor.stats.compare.tilts import bank, directions
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect import bets
from monitor.stats.detect.banks import TiltBank
from monitor.stats.detect.learner import Learner, smooth

Array = NDArray[Any]
SCORES = np.random.default_rng(1).gamma(2, 60, 1_000_000).clip(0, 2**14 - 1).astype(np.int64)
BINNING = Binning.build(SCORES, (400, 600), bits=14, bulk=12, tails=(1e-2, 1e-3))
P = BINNING.count(SCORES) / len(SCORES)
TILTS = bank(directions(BINNING, P), sizes=(1e-4, 1e-3, 1e-2))
H = np.exp([tilt.amplitude * tilt.direction.values for tilt in TILTS])


def estimate(m: int, rng: np.random.Generator) -> Array:
    return np.asarray((rng.multinomial(m, P) + 0.5) / (m + len(P) / 2))


def normalisation(expected: Expected, tolerated: float = 0.0, risk: float = 0.01) -> Array:
    """ln Z of the tilts: the evidence of a member after one event in the first bin is h/Z."""
    tilts = TiltBank(TILTS, log(2 * len(TILTS) / risk))
    tilts.null(expected, tolerated)
    first = np.eye(len(P))[0]
    tilts.update(first, first, 1.0, 1.0)
    return np.asarray(np.log(H[:, 0]) - np.log(tilts._members.r))


def worst(h: Array, p: Array, tolerated: float) -> Array:
    """Of the distributions at this KL from p, that with the largest mean of h: p e^{λh}."""
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        q = p * np.exp(middle * (h - h.max()))
        q /= q.sum()
        low, high = (middle, high) if rel_entr(q, p).sum() < tolerated else (low, middle)
    return np.asarray(q)


def test_the_truth_behind_a_finite_reference_is_in_the_null_of_every_tilt() -> None:
    rng = np.random.default_rng(6)
    for m in (40, 3_000, 100_000):
        outside = 0
        for _ in range(200):
            outside += bool((np.log(H @ P) > normalisation(Expected.known(estimate(m, rng), m), risk=0.05)).any())
        assert outside <= 10


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(TILTS) - 1), st.sampled_from([1e-5, 1e-3, 1e-2]))
def test_every_drift_up_to_the_tolerated_kl_is_in_the_null(k: int, tolerated: float) -> None:
    assert np.log(worst(H[k], P, tolerated) @ H[k]) <= normalisation(Expected.known(P), tolerated)[k]


def learner(risk: float = 0.01, **settings: Any) -> Learner:
    return Learner(P, 1.0, risk, **settings)


def fed(each: Learner, truth: Array, expected: Expected, n: int, blocks: int, seed: int, tolerated: float = 0) -> float:
    each.reset()
    each.null(expected, tolerated)
    for counts in np.random.default_rng(seed).multinomial(n, truth, size=blocks).astype(float):
        each.update(counts, counts, float(n), 1.0)
    return each.evidence


def test_smooth_features_are_orthonormal_and_hold_what_is_smooth() -> None:
    features, variances = smooth(P)
    np.testing.assert_allclose((features * P) @ features.T, np.eye(len(features)), atol=1e-9)
    np.testing.assert_allclose(features @ P, 0, atol=1e-9)
    np.testing.assert_allclose(variances.sum(axis=1), 1)
    rank = np.cumsum(P) - P / 2
    for seed in range(20):
        phase, waves = np.random.default_rng(seed).uniform(0, [6.3, 1.5])
        drift = np.cos(phase + 6.3 * waves * rank)
        drift -= P @ drift
        held = (features * P) @ drift
        assert held @ held > 0.98 * (P @ drift**2)


def test_what_a_learner_earns_without_drift_is_no_more_than_its_capital_on_average() -> None:
    blocks, n = 60, 100
    earned = [fed(learner(), P, Expected.known(P), n, blocks, seed) / (blocks * n) for seed in range(300)]
    assert 0.5 < np.mean(earned) < 1 + 3 * np.std(earned) / len(earned) ** 0.5


def test_a_learner_finds_the_shape_of_a_drift_and_its_size() -> None:
    rank = np.cumsum(P) - P / 2
    shape = np.sin(7 * rank)
    shape = (shape - P @ shape) / np.sqrt(P @ (shape - P @ shape) ** 2)
    drifted = P * np.exp(0.1 * shape)
    drifted /= drifted.sum()
    each = learner()
    evidence = fed(each, drifted, Expected.known(P), 500, 200, 1)
    found = each.largest[1]
    assert evidence > 1e50
    assert P @ (found.direction.values * shape) > 0.97
    assert found.amplitude == pytest.approx(0.1, rel=0.15)


def test_older_experts_give_way_and_their_capital_stays() -> None:
    few = learner(experts=6)
    few.null(Expected.known(P), 0.0)
    nothing = np.zeros(len(P))
    for block in range(1, 200):
        few.update(nothing, nothing, 0.0, 1.0)
        few._age[few.opened] += 1  # blocks without scores: ages alone tell the experts apart
        few._members.r[few.opened[-1], 0] += 1
        assert few._members.r.sum() == pytest.approx(block)
        assert sorted(few.opened) == list(range(min(block, 6)))
    ages = few._age[few.opened]
    assert (np.diff(ages) < 0).all()
    assert ages[0] > 50


@pytest.mark.parametrize("tolerated", [1e-4, 1e-3])
def test_a_learner_never_gains_on_a_drift_that_is_tolerated(tolerated: float) -> None:
    """It learns the very direction; its bets must lose all the same."""
    drifted = worst(H[3], P, tolerated)
    capital = 300 * 20_000
    assert fed(learner(), drifted, Expected.known(P), 20_000, 300, 2, tolerated) < 3 * capital
    assert fed(learner(), drifted, Expected.known(P), 20_000, 300, 2, tolerated / 100) > 1e9 * capital


def test_a_learner_never_gains_on_the_error_of_the_reference() -> None:
    rng, m, blocks, n = np.random.default_rng(7), 30_000, 300, 3_000
    for seed in range(10):
        p = estimate(m, rng)
        assert fed(learner(), P, Expected.known(p, m), n, blocks, seed) < 100 * blocks * n


@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.booleans(),
    st.floats(1, 20),
    st.integers(0, 2**31),
)
@settings(max_examples=100, deadline=None)
def test_compiled_and_numpy_evidence_agree(members: int, bins: int, single: bool, phi: float, seed: int) -> None:
    if bets.betting is None:
        pytest.skip("the kernel is not compiled: it takes a C compiler when driftd is installed")
    rng = np.random.default_rng(seed)
    shape = (members, bins) if single else (members,)
    one, other = (bets.EProcesses(rng_h, weight) for rng_h, weight in [_bank(rng, members, bins, shape)] * 2)
    one.r[:] = other.r[:] = rng.exponential(size=shape)
    one.log_z[:] = other.log_z[:] = rng.normal(size=shape)
    counts = rng.poisson(3, size=bins).astype(float)
    one.grow(counts, counts.sum(), phi)
    other._grow(counts, counts.sum(), phi)
    np.testing.assert_allclose(one.r, other.r, rtol=1e-9)
    assert one.total == pytest.approx(other.total, rel=1e-9)


def _bank(rng: np.random.Generator, members: int, bins: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    return rng.normal(size=(members, bins)), rng.exponential(size=shape)


@given(st.integers(1, 9), st.integers(1, 6), st.integers(2, 30), st.integers(1, 3), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_compiled_and_numpy_limits_agree(tilts: int, dims: int, bins: int, possible: int, seed: int) -> None:
    if bets.betting is None:
        pytest.skip("the kernel is not compiled: it takes a C compiler when driftd is installed")
    rng = np.random.default_rng(seed)
    theta, features = rng.normal(size=(tilts, 2, dims)), rng.normal(size=(dims, bins))
    p = rng.dirichlet(np.ones(bins), size=possible)
    theirs = theta.copy()
    mine = bets.limits(theta, features, p, 1e-3, 1e-4, 2.0)
    np.testing.assert_allclose(mine, bets._limits(theirs, features, p, *_slack(), 2.0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(theta, theirs, rtol=1e-9)
    assert (np.ptp(theta @ features, axis=-1) <= 2.0 + 1e-9).all()


@pytest.mark.parametrize(("tolerated", "m"), [(0.0, np.inf), (1e-4, 1e5)])
def test_compiled_and_numpy_learners_agree(tolerated: float, m: float) -> None:
    if bets.betting is None:
        pytest.skip("the kernel is not compiled: it takes a C compiler when driftd is installed")
    one, other = learner(experts=8), learner(experts=8)
    expected = Expected(P, m, P, np.arange(len(P)), np.stack([P[::-1], P]))
    for each in (one, other):
        each.null(expected, tolerated)
    rng = np.random.default_rng(3)
    drifted = np.abs(P * (1 + 0.2 * np.sin(np.arange(len(P)))))
    for block in range(120):
        n = int(rng.integers(50, 500))
        counts = rng.multinomial(n, P if block < 60 else drifted / drifted.sum()).astype(float)
        one.update(counts, counts, float(n), 1.5)
        other._update(counts, float(n), 1.5)
        assert one.opened == other.opened
        np.testing.assert_allclose(one._theta, other._theta, rtol=1e-6, atol=1e-12)
        assert one.evidence == pytest.approx(other.evidence, rel=1e-6)
    assert one.evidence > 100 * 120 * 300


def _slack() -> tuple[float, float]:
    return 1e-3**0.5 + 1e-4**0.5, (1e-3 + 7e-4) / 3


def test_evidence_neither_overflows_nor_dies() -> None:
    one = bets.EProcesses(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones(2))
    for _ in range(50):
        one.r += 1e4
        one.grow(np.array([1e4, 0.0]), 1e4, 1.0)
    assert one.r[0] == bets.MAX_EVIDENCE
    assert np.isfinite(one.total)
    assert one.r[1] < 1e4
