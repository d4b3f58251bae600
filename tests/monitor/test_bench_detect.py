"""The figures of detection are made of real drifts, at the sizes they claim."""

import numpy as np
import pytest
from scipy.special import rel_entr

from monitor.daemon.bench_detect import bound, detect, drifts, scores


def test_the_bound_solves_its_equations() -> None:
    for kl, run_length in ((1e-5, 1e6), (1e-3, 1e6), (1e-2, 1e14)):
        h = np.log1p(kl * run_length)
        for _ in range(100):
            h = np.log1p(kl * run_length + h)
        assert bound(kl, run_length) == pytest.approx((h - 1 + np.exp(-h)) / kl, rel=1e-6)


def test_drifts_are_distributions_and_random_ones_differ_from_run_to_run() -> None:
    first, second = (drifts(np.random.default_rng(seed)) for seed in (1, 2))
    for name, q in first.items():
        assert q.sum() == pytest.approx(1)
        assert (q >= 0).all()
        assert 5e-6 < rel_entr(q, scores()).sum() < 2e-2, name
    assert not np.allclose(first["random 1"], second["random 1"])


def test_every_drift_is_found_and_the_promise_is_kept() -> None:
    found = detect(streams=3, alarms=30, run_length=2e4, block=250, seed=1, progress=lambda text: None)
    assert set(found["shapes"]) == set(drifts(np.random.default_rng(1)))
    assert found["arl_ratio"] > 0.7
    assert 0 < found["fom_mean"] <= found["fom_worst"] < 20
