"""What drifted is named as a physicist would name it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from monitor.stats.compare.description import describe
from monitor.stats.count.binning import Binning
from monitor.stats.errors import StatsError

CUTS = (400, 600)
TOP = 2**14 - 1
REFERENCE = np.random.default_rng(1).gamma(2, 60, 3_000_000)
BINNING = Binning.build(REFERENCE.astype(np.int64), CUTS, bits=14)
P = BINNING.count(REFERENCE.astype(np.int64)) / len(REFERENCE)
RNG = np.random.default_rng(2)
SCORES = RNG.gamma(2, 60, 400_000)
MEDIAN = float(np.median(SCORES))
RANK = np.argsort(np.argsort(SCORES)) / len(SCORES)


def described(scores: NDArray[Any]) -> Any:
    return describe(BINNING.count(scores.clip(0, TOP).astype(np.int64)), P, len(REFERENCE), BINNING)


@pytest.mark.parametrize(
    ("scores", "kind", "words"),
    [
        (1.02 * SCORES, "gain", "gain +"),
        (0.92 * SCORES, "gain", "gain -"),
        (MEDIAN + 1.03 * (SCORES - MEDIAN), "width", "width +"),
        (SCORES[RNG.random(len(SCORES)) < 0.8 + 0.2 * RANK], "slope", "towards high"),
        (np.where(RNG.random(len(SCORES)) < 0.01, 77, SCORES), "stuck code", "stuck code: codes "),
        (SCORES[(SCORES < 100) | (SCORES > 105)], "missing codes", "missing codes: codes "),
        (np.append(SCORES, SCORES[SCORES >= 400][:1000]), "rate only", "rate above cut 400"),
        (
            np.where(RNG.random(len(SCORES)) < 0.06, RNG.normal(160, 20, len(SCORES)), SCORES),
            "range",
            "codes 1",
        ),
    ],
)
def test_a_drift_is_named_by_its_kind(scores: NDArray[Any], kind: str, words: str) -> None:
    found = described(scores)
    assert found.kind == kind
    assert words in found.text
    assert 0.6 < found.share <= 1


@pytest.mark.parametrize("gain", [-0.08, -0.02, 0.02, 0.05])
def test_the_size_of_a_gain_is_told(gain: float) -> None:
    found = described((1 + gain) * SCORES)
    assert found.size == pytest.approx(gain, abs=2.5 * found.error + 0.02 * abs(gain) + 0.002)
    assert 0.0005 < found.error < 0.005
    assert found.text.startswith(f"gain {100 * found.size:+.1f} ± {100 * found.error:.1f} %")


def test_the_error_of_the_size_is_its_spread() -> None:
    q = BINNING.count((1.05 * SCORES).clip(0, TOP).astype(np.int64)) / len(SCORES)
    found = [describe(counts, P, np.inf, BINNING) for counts in np.random.default_rng(5).multinomial(50_000, q, 60)]
    sizes = [each.size for each in found if each.kind == "gain"]
    assert len(sizes) > 50
    assert np.std(sizes) == pytest.approx(np.mean([each.error for each in found if each.kind == "gain"]), rel=0.35)


def test_what_may_stand_in_for_the_reference_adds_to_the_error_of_the_size() -> None:
    counts = BINNING.count((1.05 * SCORES).clip(0, TOP).astype(np.int64))
    nearby = BINNING.count((1.02 * SCORES).clip(0, TOP).astype(np.int64))[None] / len(SCORES)
    plain, wide = (describe(counts, P, len(REFERENCE), BINNING, other) for other in (None, nearby))
    assert wide.size == plain.size
    assert wide.error == pytest.approx(0.02, rel=0.2)
    assert plain.error < 0.005


def test_at_thin_statistics_a_gain_is_seldom_taken_for_the_luckiest_of_many_bins() -> None:
    q = BINNING.count((1.02 * SCORES).clip(0, TOP).astype(np.int64)) / len(SCORES)
    windows = np.random.default_rng(3).multinomial(5000, q, size=300)
    kinds = [describe(counts, P, len(REFERENCE), BINNING).kind for counts in windows]
    assert kinds.count("gain") > 100


def test_the_bin_of_a_stuck_code_and_the_cut_that_moved_are_pointed_at() -> None:
    stuck = described(np.where(RNG.random(len(SCORES)) < 0.01, 77, SCORES))
    assert BINNING.edges[stuck.bins[0]] <= 77 < BINNING.edges[stuck.bins[0] + 1]
    moved = described(np.append(SCORES, SCORES[SCORES >= 600]))
    assert moved.cut == 1
    assert "rate above cut 600 ×" in moved.text
    fallen = described(SCORES[(SCORES < 600) | (RNG.random(len(SCORES)) < 0.5)])
    assert fallen.cut == 1


def test_an_impossible_window_is_described_too() -> None:
    everything_in_one_bin = np.zeros(BINNING.n_bins, dtype=np.int64)
    everything_in_one_bin[5] = 1000
    assert describe(everything_in_one_bin, P, np.inf, BINNING).kind == "stuck code"


def test_without_cuts_there_is_no_worst_cut() -> None:
    assert describe([80, 20], [0.5, 0.5], 1e6, Binning(np.array([0, 8, 16]))).cut is None


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(StatsError, match="at least one"):
        describe(np.zeros(BINNING.n_bins), P, 1e6, BINNING)
