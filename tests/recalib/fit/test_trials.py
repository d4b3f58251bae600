"""How far a cut is moved beside a scale, and which knob is proposed."""

import numpy as np
import pytest

from recalib.evidence import Evidence, Target
from recalib.fit.trials import TRUSTED, believed, is_off


def evidence(n: int, ratio: float, m: float = 1e9) -> Evidence:
    """n events of which `ratio` times 1 % are accepted."""
    target = Target(np.array([0, 10, 20]), np.array([0.99, 0.01]), m, np.array([0.01]))
    codes = np.where(np.arange(n) < 0.01 * ratio * n, 15, 5)
    return Evidence.of_codes(codes, np.array([10]), np.ones(n), target)


def test_a_rate_that_is_well_known_is_believed_as_it_is_measured() -> None:
    found = evidence(10_000_000, 1.03)
    assert found.rate_errors[0] < 0.2 * TRUSTED
    assert believed(found)[0] == pytest.approx(1.03, abs=0.002)
    assert is_off(found)


def test_a_rate_that_is_hardly_known_is_believed_to_be_what_a_restored_distribution_gives() -> None:
    found = evidence(100_000, 1.04)
    assert found.rate_errors[0] > 1.4 * TRUSTED
    assert 1 < believed(found)[0] < 1.015


def test_the_reference_s_own_error_counts() -> None:
    assert believed(evidence(10_000_000, 1.03, m=50_000))[0] < 1.015


def test_a_rate_that_contradicts_is_believed() -> None:
    """A stream that holds its rates at another pile-up wants other cuts, however well p(s) is restored."""
    assert believed(evidence(100_000, 1.5))[0] == pytest.approx(1.5)


def test_a_rate_on_its_target_needs_no_cut() -> None:
    assert not is_off(evidence(10_000_000, 1.002))
