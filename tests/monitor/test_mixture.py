"""E-detectors keep their promise of a run length, with a reference of finite statistics too."""

from math import inf, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import rel_entr

from monitor.stats.binning import Binning, StatsError
from monitor.stats.mixture import EMixture, RateDetector
from monitor.stats.reference import Expected
from monitor.stats.tilts import bank, directions

Array = NDArray[Any]
CUTS = (400, 600)
SCORES = np.random.default_rng(1).gamma(2, 60, 1_000_000).clip(0, 2**14 - 1)
BINNING = Binning.build(SCORES.astype(np.int64), CUTS, bits=14, bulk=12, tails=(1e-2, 1e-3))
P = BINNING.count(SCORES.astype(np.int64)) / len(SCORES)
TILTS = bank(directions(BINNING, P), sizes=(1e-4, 1e-3, 1e-2))
GAIN = BINNING.count((1.02 * SCORES).clip(0, 2**14 - 1).astype(np.int64)) / len(SCORES)


def mixture(**settings: Any) -> EMixture:
    return EMixture(TILTS, **settings)


def rates(**settings: Any) -> RateDetector:
    return RateDetector(BINNING, P, **settings)


def estimate(m: int, rng: np.random.Generator) -> Array:
    return np.asarray((rng.multinomial(m, P) + 0.5) / (m + len(P) / 2))


def alarms(detector: EMixture, truth: Array, p: Array, m: float, n: int, blocks: int, seed: int) -> int:
    found = 0
    for counts in np.random.default_rng(seed).multinomial(n, truth, size=blocks):
        detector.update(counts, Expected.known(p, m))
        if detector.drift_detected:
            found += 1
            detector.reset()
    return found


@pytest.mark.parametrize("make", [mixture, rates])
@pytest.mark.parametrize("n", [50, 400])
def test_false_alarms_are_at_least_the_promised_run_length_apart(make: Any, n: int) -> None:
    promised, scores = 1e4, 6_000_000 if n == 400 else 1_500_000
    found = alarms(make(target_run_length=promised), P, P, inf, n, scores // n, seed=n)
    assert 0.2 * scores / promised < found < 1.05 * scores / promised


@pytest.mark.parametrize("make", [mixture, rates])
def test_the_promise_stands_for_a_reference_of_finite_statistics_and_breaks_where_that_is_ignored(
    make: Any,
) -> None:
    rng = np.random.default_rng(5)
    m, promised, scores = 100_000, 1e6, 20_000_000
    told = ignored = 0
    for seed in range(3):
        p = estimate(m, rng)
        told += alarms(make(target_run_length=promised), P, p, m, 10_000, scores // 10_000, seed)
        ignored += alarms(make(target_run_length=promised), P, p, inf, 10_000, scores // 10_000, seed)
    assert told <= 3
    assert ignored > 3 * scores / promised


def test_the_truth_behind_a_finite_reference_is_in_the_null_of_every_tilt() -> None:
    rng = np.random.default_rng(6)
    for m in (40, 3_000, 100_000):
        detector = mixture(risk=0.05)
        h = np.exp([tilt.amplitude * tilt.direction.values for tilt in TILTS])
        outside = 0
        for _ in range(200):
            detector.reset()
            detector.update(np.eye(len(P), dtype=int)[0], Expected.known(estimate(m, rng), m))
            outside += bool((np.log(h @ P) > normalisation(detector)).any())
        assert outside <= 10


def normalisation(detector: EMixture) -> Array:
    """ln Z of a detector whose only event so far was one in the first bin."""
    log_h = np.array([tilt.amplitude * tilt.direction.values[0] for tilt in TILTS])
    return np.asarray(log_h - detector.log_evidence)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TILTS), st.sampled_from([1e-5, 1e-3, 1e-2]))
def test_every_drift_up_to_the_tolerated_kl_is_in_the_null(tilt: Any, tolerated: float) -> None:
    """The worst such drift for a tilt h is p e^{λh}: what its mean of h can reach at this KL."""
    detector = mixture(tolerated=tolerated)
    detector.update(np.eye(len(P), dtype=int)[0], Expected.known(P))
    k = TILTS.index(tilt)
    h = np.exp(tilt.amplitude * tilt.direction.values)
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        q = P * np.exp(middle * (h - h.max()))
        q /= q.sum()
        low, high = (middle, high) if rel_entr(q, P).sum() < tolerated else (low, middle)
    assert np.log(q @ h) <= normalisation(detector)[k]


def test_drifts_are_found_within_a_few_times_the_information_bound() -> None:
    kl, promised = float((GAIN * np.log(GAIN / P)).sum()), 1e6
    delays = []
    for seed in range(20):
        rng, detector, block = np.random.default_rng(seed), mixture(target_run_length=promised), 0
        while not detector.drift_detected:
            detector.update(rng.multinomial(250, P if block < 40 else GAIN), Expected.known(P))
            block += 1
        delays.append(250 * (block - 40))
    assert min(delays) > 0
    assert np.mean(delays) < 2.5 * log(promised * kl) / kl


def test_the_largest_tilt_names_the_drift() -> None:
    detector = mixture(target_run_length=1e6)
    detector.update(10**6 * GAIN, Expected.known(P))
    assert detector.drift_detected
    assert str(detector.largest).startswith("gain +")


def test_a_rate_is_guarded_both_ways_and_the_cut_is_named() -> None:
    for change in (0.7, 1.4):
        truth = P.copy()
        truth[BINNING.cut_bins[1] :] *= change
        truth[0] += 1 - truth.sum()
        detector = rates(target_run_length=1e6)
        detector.update(np.random.default_rng(1).multinomial(500_000, truth), Expected.known(P))
        assert detector.drift_detected
        assert "cut 600" in str(detector.largest)


def test_rates_that_are_to_be_held_replace_those_of_the_reference() -> None:
    held = P.copy()
    held[BINNING.cut_bins[0] :] *= 1.5
    held /= held.sum()
    blocks = np.random.default_rng(2).multinomial(20_000, held, size=100)
    follows, holds, misses = rates(), rates(targets=BINNING.above(held)), rates(targets=BINNING.above(P))
    for counts in blocks:
        follows.update(counts, Expected.known(P))
        holds.update(counts, Expected.known(P))
        misses.update(counts, Expected.known(P, 1000))
    assert follows.drift_detected
    assert not holds.drift_detected
    assert misses.drift_detected, "what was decided is known exactly, however few events are behind p"


@pytest.mark.parametrize("targets", [None, BINNING.above(P)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_tolerated_change_of_a_rate_is_never_an_alarm_and_a_larger_one_is(targets: Any, sign: int) -> None:
    for change, alarm in ((0.095, False), (0.2, True)):
        truth = P.copy()
        truth[BINNING.cut_bins[1] :] *= 1 + sign * change
        truth[0] += 1 - truth.sum()
        detector = rates(target_run_length=1e6, targets=targets, tolerated_change=0.1)
        for counts in np.random.default_rng(2).multinomial(500_000, truth, size=60):
            detector.update(counts, Expected.known(P))
        assert detector.drift_detected is alarm


def test_tolerance_finite_statistics_and_overdispersion_each_lower_the_evidence() -> None:
    counts = np.random.default_rng(3).multinomial(200_000, GAIN)
    plain, tolerant, tempered, finite = mixture(), mixture(tolerated=1e-3), mixture(phi=2.0), mixture()
    for detector, m in ((plain, inf), (tolerant, inf), (tempered, inf), (finite, 1e6)):
        detector.update(counts, Expected.known(P, m))
    assert plain.statistic > max(tolerant.statistic, tempered.statistic, finite.statistic)


def test_ratios_follow_the_p_of_each_block() -> None:
    """Pile-up moves p from block to block; what p explains is no drift."""
    rng = np.random.default_rng(4)
    following, fixed = mixture(target_run_length=1e7), mixture(target_run_length=1e7)
    for block in range(200):
        p = P * np.exp(0.2 * np.sin(block / 20) * np.linspace(-1, 1, len(P)))
        p /= p.sum()
        counts = rng.multinomial(2000, p)
        following.update(counts, Expected.known(p))
        fixed.update(counts, Expected.known(P))
        assert not following.drift_detected
    assert fixed.drift_detected


def cellular() -> tuple[Expected, EMixture]:
    """Cells of which twenty divide each bin, and a detector that sees them."""
    cells = np.repeat(P / 20, 20)
    expected = Expected(P, inf, cells, np.arange(0, len(cells), 20), cells[None][:0])
    return expected, EMixture(TILTS, target_run_length=1e6, cells=cells)


def test_a_stuck_code_is_found_in_its_cell_long_before_it_shows_in_its_bin() -> None:
    expected, fine = cellular()
    coarse = mixture(target_run_length=1e6)
    truth = 0.99 * expected.cells
    truth[107] += 0.01
    rng = np.random.default_rng(1)
    blocks = 0
    while not fine.drift_detected:
        counts = rng.multinomial(250, truth)
        fine.update(counts, expected)
        coarse.update(expected.bins(counts), Expected.known(P))
        blocks += 1
    assert blocks < 40
    assert not coarse.drift_detected
    assert fine.largest.direction.values[107] == 1


def test_cells_keep_the_promise_too() -> None:
    expected, detector = cellular()
    detector.threshold = log(1e4)
    found = 0
    for counts in np.random.default_rng(8).multinomial(250, expected.cells, size=8_000):
        detector.update(counts, expected)
        if detector.drift_detected:
            found += 1
            detector.reset()
    assert 20 < found < 1.05 * 200


def test_every_pile_up_that_the_measured_one_may_stand_for_is_no_drift() -> None:
    rng = np.random.default_rng(9)
    tilt = np.exp(0.1 * np.linspace(-1, 1, len(P)))
    low, high = P / tilt / (P / tilt).sum(), P * tilt / (P * tilt).sum()
    base = Expected.known(P)
    spanned = Expected(P, inf, P, base.first, np.stack([low, high]))
    told, untold = mixture(target_run_length=1e7), mixture(target_run_length=1e7)
    for counts in rng.multinomial(5000, high, size=400):
        told.update(counts, spanned)
        untold.update(counts, base)
        assert not told.drift_detected
    assert untold.drift_detected


@pytest.mark.parametrize(
    "wrong", [{"target_run_length": 0}, {"tolerated": -1}, {"phi": 0.5}, {"risk": 0}, {"risk": float("nan")}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StatsError, match="expected at least"):
        mixture(**wrong)


def test_a_mixture_needs_tilts_and_rates_need_cuts() -> None:
    with pytest.raises(StatsError, match="0 tilts"):
        EMixture([])
    with pytest.raises(StatsError, match="expected a cut"):
        RateDetector(Binning(np.array([0, 8, 16])), np.array([0.9, 0.1]))
    with pytest.raises(StatsError, match="tolerated_change"):
        rates(tolerated_change=-0.1)
    with pytest.raises(StatsError, match="target for each"):
        rates(targets=[0.1])
