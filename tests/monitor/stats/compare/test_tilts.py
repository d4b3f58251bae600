"""Directions and banks: standardised shapes that follow what really happens to scores."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.stats.compare.tilts import CHANGES, KINDS, TILT_SIZES, Direction, bank, directions, rate_bank
from monitor.stats.count.binning import Binning
from monitor.stats.errors import StatsError

CUTS = (400, 600)
SCORES = np.random.default_rng(1).gamma(2, 60, 2_000_000).clip(0, 2**14 - 1)
BINNING = Binning.build(SCORES.astype(np.int64), CUTS, bits=14)
P = BINNING.count(SCORES.astype(np.int64)) / len(SCORES)
ALONG = directions(BINNING, P)


def direction(kind: str) -> Direction:
    return next(d for d in ALONG if d.kind == kind)


@pytest.mark.parametrize("d", ALONG, ids=lambda d: f"{d.kind} {d.where}")
def test_directions_have_no_mean_and_unit_variance(d: Direction) -> None:
    assert P @ d.values == pytest.approx(0, abs=1e-9)
    assert P @ d.values**2 == pytest.approx(1)


def test_there_is_a_direction_for_every_bin_every_cut_and_the_tails() -> None:
    kinds = [d.kind for d in ALONG]
    assert kinds.count("bin") == BINNING.n_bins
    assert kinds.count("rate") == len(CUTS)
    assert {"gain", "width", "slope", "tail", "range"} <= set(kinds)


@pytest.mark.parametrize(
    ("kind", "change"), [("gain", -0.03), ("gain", 0.01), ("gain", 0.03), ("width", -0.015), ("width", 0.015)]
)
def test_a_real_change_of_gain_or_width_lies_along_its_direction_with_its_size(kind: str, change: float) -> None:
    origin = 0.0 if kind == "gain" else float(np.median(SCORES))
    moved = (origin + (SCORES - origin) * (1 + change)).clip(0, 2**14 - 1)
    q = BINNING.count(moved.astype(np.int64)) / len(SCORES)
    score = q / P - 1
    d = direction(kind)
    along = float(P @ (score * d.values))
    assert along * d.unit == pytest.approx(change, rel=0.2)
    assert along**2 / (P @ score**2) > 0.9


@given(st.sampled_from(bank(ALONG)))
def test_members_of_a_bank_are_tuned_to_the_sizes_asked_for_or_to_thirtyfold(tilt: Any) -> None:
    odds = np.exp(abs(tilt.amplitude) * np.ptp(tilt.direction.values))
    sizes = [size for size in TILT_SIZES if tilt.amplitude**2 / 2 == pytest.approx(size)]
    assert sizes or odds == pytest.approx(30)
    q = P * np.exp(tilt.amplitude * tilt.direction.values)
    q /= q.sum()
    if odds < 1.5:
        assert (q * np.log(q / P)).sum() == pytest.approx(tilt.amplitude**2 / 2, rel=0.35)


def test_weights_sum_to_one_shared_by_kind_and_smaller_drifts_weigh_more() -> None:
    tilts = bank(ALONG)
    weights: dict[str, float] = {}
    for tilt in tilts:
        weights[tilt.direction.kind] = weights.get(tilt.direction.kind, 0) + tilt.weight
    total = sum(KINDS[kind] for kind in weights)
    assert weights == pytest.approx({kind: KINDS[kind] / total for kind in weights})
    gains = [tilt for tilt in tilts if tilt.direction.kind == "gain" and tilt.amplitude > 0]
    assert [tilt.weight for tilt in gains] == sorted((tilt.weight for tilt in gains), reverse=True)
    assert sum(tilt.weight for tilt in rate_bank(BINNING, P)) == pytest.approx(1)


def test_members_of_a_rate_bank_change_the_odds_above_one_cut_by_the_changes() -> None:
    odds = set()
    for tilt in rate_bank(BINNING, P):
        h = np.exp(tilt.amplitude * tilt.direction.values)
        assert len(np.unique(h.round(9))) == 2
        odds.add(round(float(h[-1] / h[0]), 6))
    assert odds == {round((1 + c) ** sign, 6) for c in CHANGES for sign in (1, -1)}


def test_words_name_kind_place_and_size() -> None:
    assert direction("gain").words(0.03 / direction("gain").unit) == "gain +3.0 %"
    assert direction("slope").words(-0.1) == "slope towards low scores"
    rate = direction("rate")
    assert rate.words(np.log(2) / np.ptp(rate.values)) == "rate above cut 400 × 2"


@pytest.mark.parametrize("p", [P[:-1], np.where(np.arange(len(P)) == 3, 0, P)])
def test_a_p_with_other_or_empty_bins_has_no_directions(p: NDArray[Any]) -> None:
    with pytest.raises(StatsError, match="all above 0"):
        directions(BINNING, p)


def test_two_bins_are_enough_and_one_is_not() -> None:
    with pytest.raises(StatsError, match="at least 2"):
        directions(Binning(np.array([0, 16])), np.array([1.0]))
    assert bank(directions(Binning(np.array([0, 8, 16])), np.array([0.9, 0.1])))
