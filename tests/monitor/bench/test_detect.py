"""The figures of detection are made of real drifts, at the sizes they claim."""

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from monitor.bench.detect.figures import KNOWN, DetectorBench, detect, finite, production
from monitor.bench.detect.peers import peers, psi_rule
from monitor.bench.detect.pileup import pileup
from monitor.bench.detect.shapes import bound, drifts, information, reference, scores
from monitor.cli.main import main


def quiet(text: str) -> None:
    """Nobody is told."""


def test_the_bound_solves_its_equations() -> None:
    for kl, run_length in ((1e-5, 1e6), (1e-3, 1e6), (1e-2, 1e14)):
        h = np.log1p(kl * run_length)
        for _ in range(100):
            h = np.log1p(kl * run_length + h)
        assert bound(kl, run_length) == pytest.approx((h - 1 + np.exp(-h)) / kl, rel=1e-6)


def test_no_detector_beats_the_bound_by_much_even_if_it_knows_the_drift() -> None:
    """A Shiryaev–Roberts test of the one true drift, with the run length for which the bound is told."""
    random, p, run_length, block = np.random.default_rng(1), scores(), 1e5, 100
    cells = reference(np.rint(p * KNOWN).astype(np.int64)).cells
    q = drifts(random)["gain +2 %"]
    before, after = cells.rebin(p), cells.rebin(q)
    gains, delays = np.log(after / before), []
    for _ in range(100):
        evidence, blocks = 0.0, 0
        while evidence < run_length:
            truth = before if blocks < 100 else after
            evidence = (evidence + block) * np.exp(random.multinomial(block, truth) @ gains)
            blocks += 1
        delays.append(block * (blocks - 100))
    assert 0.6 < np.mean(delays) / bound(information(q, p), run_length) < 1.3


def test_drifts_are_distributions_and_random_ones_differ_from_run_to_run() -> None:
    first, second = (drifts(np.random.default_rng(seed)) for seed in (1, 2))
    for name, q in first.items():
        assert q.sum() == pytest.approx(1)
        assert (q >= 0).all()
        assert 5e-6 < information(q, scores()) < 2e-2, name
    assert not np.allclose(first["random 1"], second["random 1"])


def test_every_drift_is_found_and_the_promise_is_kept() -> None:
    found = detect(streams=3, alarms=30, run_length=2e4, block=100, seed=1, progress=quiet)
    assert set(found["shapes"]) == set(drifts(np.random.default_rng(1)))
    assert found["arl_ratio"] > 0.7
    assert 0 < found["fom_mean"] <= found["fom_worst"] < 20
    assert found["us_per_block"] > 0


def test_a_reference_of_finite_statistics_keeps_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.bench.detect.figures.FINITE_SCORES", 2_000_000)
    found = finite(1, run_length=1e5, block=1000, seed=1, progress=quiet)
    assert found["finite_alarms"] < 20
    assert found["arl_ratio_finite"] >= 1


def test_at_the_production_point_every_drift_is_found_within_a_lumi_section() -> None:
    found = production(m=10**7, streams=2, seed=1, progress=quiet)
    assert all(shape["ms"] < 23_300 for shape in found["shapes"].values())


def test_peers_are_tuned_to_the_run_length_and_measured_on_the_same_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.bench.detect.peers.PEERS", ("adwin_kl", "page_hinkley_kl"))
    found = peers(run_length=1e5, streams=4, seed=1, progress=quiet)
    for peer in found.values():
        assert set(peer["fom"]) == set(drifts(np.random.default_rng(1)))
        assert 0 <= peer["missed"] <= 1


def test_the_folk_rule_fires_on_noise_in_small_windows_and_on_nothing_in_large_ones() -> None:
    found = psi_rule(seed=1)
    assert found["n_100"]["fires_without_drift"] > 0.1
    assert found["n_10000"]["fires_on_largest_drift"] == 0


def test_a_falling_pile_up_is_no_drift_for_a_sliced_reference_and_one_for_a_blind_one() -> None:
    found = pileup(seed=1, lumi_sections=60, progress=quiet)
    assert found["false_alarms_pileup"] == 0
    assert found["pileup"]["unsliced"]["false_alarms"] > 0


def test_an_alarm_before_the_onset_is_drawn_again() -> None:
    p = scores()
    bench = DetectorBench.of(reference(np.rint(p * KNOWN).astype(np.int64)), np.inf, 2e3, 100, np.random.default_rng(1))
    before = bench.reference.cells.rebin(p)
    assert bench.delay(before, before, onset=200) > 0


def test_the_command_prints_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, Any] = {}
    for name in ("finite", "production"):
        monkeypatch.setattr(f"monitor.bench.detect.figures.{name}", lambda *_: kept)
    for name in ("peers.peers", "peers.psi_rule", "pileup.pileup"):
        monkeypatch.setattr(f"monitor.bench.detect.{name}", lambda *_: kept)
    arguments = ["bench", "detect", "--streams", "2", "--alarms", "2", "--run-length", "5000", "--seed", "1", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert '"fom_mean"' in result.stdout
