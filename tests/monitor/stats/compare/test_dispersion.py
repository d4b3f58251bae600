"""Overdispersion is told from the statistics of independent scores and from drift."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitor.stats.compare.dispersion import Dispersion, overdispersion
from monitor.stats.compare.divergence import compare
from monitor.stats.errors import StatsError

Array = NDArray[Any]
TAILED = np.diff([0, *np.arange(1, 24) / 24, 0.99, 0.997, 0.999, 0.9997, 0.9999, 1])
RANK = np.cumsum(TAILED) - TAILED / 2
SLOPE = (RANK - 0.5) * 12**0.5


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


@pytest.mark.parametrize("blocks", [np.ones((1, 3)), np.ones((3, 1)), np.zeros((4, 4)), np.ones(5)])
def test_overdispersion_needs_blocks_and_bins(blocks: Array) -> None:
    with pytest.raises(StatsError, match="at least two"):
        overdispersion(blocks)


def tilted(amplitude: float) -> Array:
    q = TAILED * np.exp(amplitude * SLOPE)
    return np.asarray(q / q.sum())


def followed(amplitudes: Array, n: int = 2000, seed: int = 1) -> list[float]:
    rng, dispersion, found = np.random.default_rng(seed), Dispersion(memory=1000), []
    for amplitude in amplitudes:
        dispersion.update(rng.multinomial(n, tilted(amplitude)), TAILED)
        found.append(dispersion.phi)
    return found


@pytest.mark.parametrize("n", [100, 2000, 50_000])
def test_independent_scores_are_never_tempered(n: int) -> None:
    assert set(followed(np.zeros(4000), n)) == {1.0}


@pytest.mark.parametrize("spread", [0.05, 0.1])
def test_a_spread_between_blocks_gives_the_factor_by_which_it_varies_its_own_shape(spread: float) -> None:
    amplitudes = spread * np.random.default_rng(2).normal(size=5000)
    assert followed(amplitudes)[-1] == pytest.approx(1 + 2000 * spread**2, rel=0.12)


def test_a_step_does_not_hide_itself() -> None:
    amplitudes = np.where(np.arange(3000) < 1500, 0, 0.5)
    assert set(followed(amplitudes)) == {1.0}
    spread = 0.05 * np.random.default_rng(2).normal(size=3000)
    before, after = (followed(spread + step) for step in (0 * amplitudes, amplitudes))
    assert after[1510] == pytest.approx(before[1510], rel=0.08)


def test_a_slow_drift_is_no_overdispersion() -> None:
    assert set(followed(np.linspace(0, 1, 3000))) == {1.0}


def test_the_fall_of_the_pileup_is_no_overdispersion_where_it_is_expected() -> None:
    rng, dispersion = np.random.default_rng(3), Dispersion()
    for t in range(2000):
        p = tilted(0.3 * (t % 2))
        dispersion.update(rng.multinomial(2000, p), p)
    assert dispersion.phi == 1.0


def test_empty_blocks_are_skipped_and_a_reset_forgets() -> None:
    dispersion = Dispersion()
    rng = np.random.default_rng(4)
    for _ in range(500):
        dispersion.update(8 * rng.multinomial(250, TAILED), TAILED)
        dispersion.update(0 * TAILED, TAILED)
    assert dispersion.phi == pytest.approx(8, rel=0.25)
    dispersion.reset()
    assert dispersion.phi == 1.0
    with pytest.raises(StatsError, match="at least one block"):
        Dispersion(memory=0)
