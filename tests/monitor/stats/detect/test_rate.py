"""The e-detector of the rates at the cuts: both ways, towards targets, within tolerances."""

from typing import Any

import numpy as np
import pytest

from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.rate import RateDetector
from monitor.stats.errors import StatsError
from tests.support.detection import BINNING, P, changed, rates


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


def test_rates_need_cuts_and_targets_for_each() -> None:
    with pytest.raises(StatsError, match="expected a cut"):
        RateDetector(Binning(np.array([0, 8, 16])), np.array([0.9, 0.1]))
    with pytest.raises(StatsError, match="tolerated_change"):
        rates(tolerated_change=-0.1)
    with pytest.raises(StatsError, match="target for each"):
        rates(targets=[0.1])
