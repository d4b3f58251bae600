"""Which pile-up would explain the scores."""

import numpy as np
import pytest

from monitor.stats.compare.pileup import fit_pileup
from monitor.stats.count.building import reference_of_sample
from monitor.stats.errors import StatsError

PILEUPS = np.arange(22.0, 62.0, 4.0)
RNG = np.random.default_rng(1)
CHUNKS = [(RNG.geometric(0.045 - pileup / 2000, 200_000).clip(max=4095), None, pileup) for pileup in PILEUPS]
REFERENCE = reference_of_sample(CHUNKS, cuts=[150], bits=12, pileup_edges=[*(PILEUPS - 2), 60.0])


@pytest.mark.parametrize("pileup", [24.0, 37.3, 55.0])
def test_the_range_holds_the_true_pileup(pileup: float) -> None:
    held = 0
    for seed in range(60):
        codes = np.random.default_rng(seed).geometric(0.045 - pileup / 2000, 50_000).clip(max=4095)
        found = fit_pileup(REFERENCE.binning.count(codes), REFERENCE)
        held += found.low - 0.15 <= pileup <= found.high + 0.15
        assert found.pileup == pytest.approx(pileup, abs=1.5)
    assert held >= 54


def test_the_ratio_of_a_payload_that_changes_the_scores_is_taken_into_account() -> None:
    ratio = np.exp(np.linspace(0.1, -0.1, REFERENCE.binning.n_bins))
    p = REFERENCE.expected(40.0).p * ratio
    assert fit_pileup(1e6 * p / p.sum(), REFERENCE, ratio).pileup == pytest.approx(40, abs=0.3)
    assert fit_pileup(1e6 * p / p.sum(), REFERENCE).pileup != pytest.approx(40, abs=1)


def test_the_rates_are_those_of_the_reference_at_that_pileup() -> None:
    found = fit_pileup(1e6 * REFERENCE.expected(40.0).p, REFERENCE)
    assert found.rates == pytest.approx(REFERENCE.rates_of(REFERENCE.expected(found.pileup).p))


def test_a_reference_without_slices_tells_no_pileup() -> None:
    plain = reference_of_sample([(CHUNKS[0][0], None, None)], cuts=[150], bits=12)
    with pytest.raises(StatsError, match="without pile-up slices"):
        fit_pileup(plain.counts, plain)
