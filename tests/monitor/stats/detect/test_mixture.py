"""E-detectors keep their promise of a run length, with a reference of finite statistics too."""

from math import inf, log
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.cusum import ECusum
from monitor.stats.detect.edetector import EDetector
from monitor.stats.detect.mixture import EMixture
from monitor.stats.detect.rate import RateDetector
from monitor.stats.errors import StatsError

Array = NDArray[Any]
CUTS = (400, 600)
SCORES = np.random.default_rng(1).gamma(2, 60, 1_000_000).clip(0, 2**14 - 1)
BINNING = Binning.build(SCORES.astype(np.int64), CUTS, bits=14, bulk=12, tails=(1e-2, 1e-3))
P = BINNING.count(SCORES.astype(np.int64)) / len(SCORES)
GAIN = BINNING.count((1.02 * SCORES).clip(0, 2**14 - 1).astype(np.int64)) / len(SCORES)


def mixture(**settings: Any) -> EMixture:
    return EMixture(BINNING, P, P, **settings)


def cusum(**settings: Any) -> ECusum:
    return ECusum(BINNING, P, **settings)


def rates(**settings: Any) -> RateDetector:
    return RateDetector(BINNING, P, **settings)


def estimate(m: int, rng: np.random.Generator) -> Array:
    return np.asarray((rng.multinomial(m, P) + 0.5) / (m + len(P) / 2))


def changed(factor: float) -> Array:
    """P with another rate above the second cut."""
    above = np.arange(len(P)) >= BINNING.cut_bins[1]
    rate = P[above].sum()
    return np.where(above, factor * P, P * (1 - factor * rate) / (1 - rate))


def alarms(detector: EDetector, truth: Array, p: Array, m: float, n: int, blocks: int, seed: int) -> int:
    found, expected = 0, Expected.known(p, m)
    for counts in np.random.default_rng(seed).multinomial(n, truth, size=blocks):
        detector.update(counts, expected)
        if detector.drift_detected:
            found += 1
            detector.reset()
    return found


@pytest.mark.parametrize("make", [mixture, rates, cusum])
@pytest.mark.parametrize("n", [50, 400])
def test_false_alarms_are_at_least_the_promised_run_length_apart(make: Any, n: int) -> None:
    promised, scores = 1e4, 6_000_000 if n == 400 else 1_500_000
    found = alarms(make(target_run_length=promised), P, P, inf, n, scores // n, seed=n)
    assert found < 1.05 * scores / promised
    assert make is cusum or found > 0.2 * scores / promised


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


def test_drifts_are_found_within_a_few_times_the_information_bound() -> None:
    kl, promised = float((GAIN * np.log(GAIN / P)).sum()), 1e6
    delays = []
    for seed in range(20):
        rng, detector, block = np.random.default_rng(seed), mixture(target_run_length=promised), 0
        expected = Expected.known(P)
        while not detector.drift_detected:
            detector.update(rng.multinomial(250, P if block < 40 else GAIN), expected)
            block += 1
        delays.append(250 * (block - 40))
    assert min(delays) > 0
    assert np.mean(delays) < 2.5 * log(promised * kl) / kl


def test_the_largest_bet_names_the_drift() -> None:
    detector = cusum(target_run_length=1e6)
    for _ in range(5):
        detector.update(10**4 * GAIN, Expected.known(P))
    assert str(detector.largest).startswith("gain +")


def test_a_shape_without_a_name_is_told_by_how_far_it_goes() -> None:
    detector = mixture(target_run_length=1e6)
    wave = P * np.exp(0.2 * np.sin(9 * np.cumsum(P)))
    for _ in range(40):
        detector.update(1000 * wave / wave.sum(), Expected.known(P))
    assert detector.drift_detected
    assert str(detector.largest).startswith("shape changed by up to × 1.")


def test_cusum_never_has_more_evidence_than_the_sum_over_all_onsets() -> None:
    tilts, most = cusum(target_run_length=1e6), 0.0
    whole = EDetector([type(tilts.banks[0])(tilts.banks[0].tilts, 0.0)], 1e6, 0.0)  # type: ignore[attr-defined, call-arg]
    for counts in np.random.default_rng(3).multinomial(500, P, size=200):
        tilts.update(counts, Expected.known(P))
        whole.update(counts, Expected.known(P))
        assert tilts.statistic <= whole.statistic
        most = max(most, tilts.statistic)
    assert most > 5


def test_a_rate_is_guarded_both_ways_and_the_cut_is_named() -> None:
    for change in (0.7, 1.4):
        truth = changed(change)
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
        truth = changed(1 + sign * change)
        detector = rates(target_run_length=1e6, targets=targets, tolerated_change=0.1)
        for counts in np.random.default_rng(2).multinomial(500_000, truth, size=60):
            detector.update(counts, Expected.known(P))
        assert detector.drift_detected is alarm


def test_tolerance_finite_statistics_and_overdispersion_each_lower_the_evidence() -> None:
    counts = np.random.default_rng(3).multinomial(20_000, GAIN)
    plain, tolerant, tempered, finite = mixture(), mixture(tolerated=1e-3), mixture(), mixture()
    for detector, m, phi in ((plain, inf, 1), (tolerant, inf, 1), (tempered, inf, 2), (finite, 1e6, 1)):
        for block in (counts, counts):
            detector.update(block, Expected.known(P, m), phi)
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
    return expected, EMixture(BINNING, P, cells, target_run_length=1e6)


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


def test_missing_codes_are_found_too() -> None:
    expected, detector = cellular()
    truth = expected.cells.copy()
    truth[65] = 0
    rng = np.random.default_rng(1)
    while not detector.drift_detected:
        detector.update(rng.multinomial(250, truth / truth.sum()), expected)
    assert detector.largest.direction.values[65] == 1
    assert detector.largest.amplitude < 0


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


@pytest.mark.parametrize("wrong", [{"target_run_length": 0}, {"tolerated": -1}, {"risk": 0}, {"risk": float("nan")}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(StatsError, match="expected at least"):
        mixture(**wrong)


def test_rates_need_cuts_and_targets_for_each() -> None:
    with pytest.raises(StatsError, match="expected a cut"):
        RateDetector(Binning(np.array([0, 8, 16])), np.array([0.9, 0.1]))
    with pytest.raises(StatsError, match="tolerated_change"):
        rates(tolerated_change=-0.1)
    with pytest.raises(StatsError, match="target for each"):
        rates(targets=[0.1])
