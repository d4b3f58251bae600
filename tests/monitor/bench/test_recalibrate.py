"""The figures of re-calibration: drifts as large as they are said to be, verdicts that count right."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.stream import Sampling
from firmware.sim.world.detector import NOMINAL, Response, digitise
from monitor.bench import models as bench_models
from monitor.bench.outside import VARIABLE, OutsideDataMissing
from monitor.bench.recalibrate import figures as bench_recalibrate
from monitor.bench.recalibrate import fits as bench_fits
from monitor.bench.recalibrate import scenarios as bench_scenarios
from monitor.bench.recalibrate.figures import SIGMAS, Settings, model_figures, summary, table, worst
from monitor.bench.recalibrate.scenarios import (
    GAIN,
    LOSS,
    NAMES,
    Scenario,
    Trigger,
    crossing,
    crossings,
    mixture,
    published,
    scenarios,
    truths,
)
from monitor.bench.recalibrate.twins import Ratio, Twins, best_overlap, corrected, draw_twins
from monitor.bench.working_point import PILEUP, RATES
from monitor.cli.main import main
from monitor.stats.count.reference import Reference
from recalib.evidence import Evidence, Target
from recalib.request import FitSettings
from recalib.training import encoder
from recalib.training.encoder import train

JETS_DOWN = Scenario("jet_down", Response(jet_energy_scale=-0.1), PILEUP, 0.7, True)
UNDRIFTED = Scenario("none", NOMINAL, PILEUP, 1.0, True)
N = 100_000


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    model = train(1, crossings(UNDRIFTED, 1, 50_000), 2, epochs=3, progress=lambda text: None)
    return bench_models.bench_package(model, tmp_path_factory.mktemp("bench"), 400_000, progress=lambda text: None)


@pytest.fixture(scope="module")
def deployed(package: Package) -> Trigger:
    return Trigger(Emulator(package.model), package.nominal)


@pytest.fixture(scope="module")
def reference(package: Package) -> Reference:
    return Reference.from_bytes(package.reference)


@pytest.fixture(scope="module")
def target(reference: Reference) -> Target:
    expected = reference.expected(PILEUP)
    return Target(reference.binning.edges, expected.p, expected.m, reference.rates_of(expected.p))


@pytest.fixture(scope="module")
def twins(deployed: Trigger, target: Target) -> Twins:
    return draw_twins(deployed, JETS_DOWN, target, 7, N)


@pytest.fixture(scope="module")
def figures(package: Package) -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_scenarios, "SIZING_EVENTS", 50_000)
        patch.setattr(bench_scenarios, "PRESCALE", 5)
        patch.setattr(bench_fits, "RETRAIN_EPOCHS", 1)
        patch.setattr(bench_recalibrate, "FORMS", ("signed", "absolute"))
        patch.setattr(bench_recalibrate, "FitSettings", partial(FitSettings, knobs=("input_scale", "threshold")))
        yield model_figures("own", package, Settings(50_000, N, ("jet_down", "pileup_up"), 3, choices=True))


def turned(deployed: Trigger, scale: float) -> Trigger:
    """A payload whose scores of all events are others."""
    payload = deployed.payload
    return replace(deployed, payload=payload.replace_values(input_scale=payload.value("input_scale") * scale))


def test_every_drift_is_as_strong_as_it_takes(
    deployed: Trigger, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_scenarios, "SIZING_EVENTS", 50_000)
    for scenario in scenarios(
        ("jet_down", "hot_tower", "pileup_up", "mixture_1", "pedestal"), deployed, reference, seed=3
    ):
        assert scenario.sized
        assert scenario.rate <= LOSS or scenario.rate >= GAIN
        rates = [deployed.run(crossings(world, 8, N)).accepts[:, 0].mean() for world in (scenario, UNDRIFTED)]
        assert abs(np.log(rates[0] / rates[1])) > 0.15, scenario
        assert rates[0] / rates[1] == pytest.approx(scenario.rate, rel=0.2)


def test_a_wrong_pile_up_is_a_world_for_a_network_that_is_told_one(deployed: Trigger, reference: Reference) -> None:
    """Its twin is the same network, told rightly; a network that is told none has no such world."""
    assert not [*scenarios(("stale_pileup",), deployed, reference, seed=3)]
    model = deployed.emulator.model
    first, *others = model.layers
    weight = np.concatenate([first.weight, np.full((1, 28), 3)])
    told = replace(model, layers=(replace(first, weight=weight), *others), conditions=(encoder.PILEUP,))
    trigger = Trigger(Emulator(told), Payload.nominal(told, deployed.cuts))
    world = Scenario("stale_pileup", NOMINAL, 60.0, 1.2, False, told=37.5)
    expected = reference.expected(37.5)
    target = Target(reference.binning.edges, expected.p, expected.m, reference.rates_of(expected.p))
    twins = draw_twins(trigger, world, target, 7, N)
    assert twins.judge(trigger).overlaps[0].value < 0.95  # type: ignore[index]
    assert twins.judge(trigger.told(60.0)).overlaps[0].value == 1.0  # type: ignore[index]
    assert world.drifts() == {"pileup": 60.0}


def test_a_drift_that_cannot_reach_the_rate_is_taken_at_full_strength() -> None:
    assert crossing(lambda strength: 1 - 0.1 * strength) == (1.0, 0.9, False)


def test_the_first_strength_that_reaches_either_rate_is_taken() -> None:
    strength, rate, sized = crossing(lambda s: 1 + 4 * s * (1 - s))
    assert sized
    assert rate == pytest.approx(GAIN, abs=0.01)
    assert strength < 0.2


def test_mixtures_are_other_ones_for_another_seed() -> None:
    first, second = (mixture(np.random.default_rng(seed)) for seed in (1, 2))
    assert first == mixture(np.random.default_rng(1))
    assert first != second
    assert all(2 <= len(each) <= 3 for each in (first, second))


def test_a_published_sample_tells_the_rate_of_all_crossings(package: Package, deployed: Trigger) -> None:
    sample = published(deployed, JETS_DOWN, 4, 40_000, Sampling().tail_code(package))
    assert len(sample) == 40_000
    assert 0.02 < (sample.inclusion == 1).mean() < 0.2
    accepts = deployed.run(sample.events).accepts[:, 0]
    rate = Ratio.of(sample.weights * accepts, sample.weights)
    every = deployed.run(crossings(JETS_DOWN, 5, N)).accepts[:, 0]
    assert rate.value == pytest.approx(every.mean(), abs=4 * np.hypot(rate.error, (every.mean() / N) ** 0.5))


@pytest.mark.parametrize("scale", [1.0, 1.1, 1.4])
def test_the_thinned_verdict_is_that_of_all_crossings(
    scale: float, deployed: Trigger, twins: Twins, target: Target
) -> None:
    trigger = turned(deployed, scale)
    judged = twins.judge(trigger)
    drawn = list(truths(7, N, PILEUP))
    a0 = np.concatenate([deployed.run(digitise(truth)).accepts for truth in drawn])
    words = trigger.run(np.concatenate([digitise(truth, JETS_DOWN.response) for truth in drawn]))
    a = words.accepts
    assert len(twins.events) < N / 3
    assert judged.overlaps is not None
    for cut in (0, 1):
        rate, overlap = judged.rates[cut], judged.overlaps[cut]
        kept, most = (a & a0)[:, cut].sum(), max(a[:, cut].sum(), a0[:, cut].sum())
        assert rate.value == pytest.approx(a[:, cut].sum() / a0[:, cut].sum(), abs=3 * rate.error)
        assert overlap.value == pytest.approx(kept / most, abs=3 * overlap.error)
    every = Evidence.of(words, np.ones(N), target)
    thinned = Evidence.of(trigger.run(twins.events), twins.weights, target)
    each = np.log(np.maximum(every.p, 1e-9) / every.target.p)[thinned.bins] - every.kl
    error = np.sqrt(((thinned.weights * each) ** 2).sum())
    assert judged.kl - judged.kl_floor == pytest.approx(every.kl - every.kl_floor, abs=3 * error + judged.kl_floor)


def test_the_error_of_a_ratio_is_how_far_it_strays() -> None:
    random = np.random.default_rng(1)
    found, differences = [], []
    for _ in range(400):
        n = random.poisson(2000)
        a0, luck = random.random(n) < 0.3, random.random(n)
        a, b = a0 & (luck < 0.8), a0 & (luck < 0.7) | (luck > 0.98)
        first, second = (Ratio.of(x.astype(float), a0.astype(float)) for x in (a, b))
        found.append((first.value, first.error))
        differences.append((first.value - second.value, np.sqrt(((first.influence - second.influence) ** 2).sum())))
    for values, errors in (zip(*found, strict=True), zip(*differences, strict=True)):
        assert np.std(values) == pytest.approx(np.mean(errors), rel=0.15)


def test_without_a_drift_the_deployed_payload_overlaps_with_itself(deployed: Trigger, target: Target) -> None:
    twins = draw_twins(deployed, UNDRIFTED, target, 7, N)
    judged = twins.judge(deployed)
    assert judged.overlaps is not None
    assert [(r.value, r.error) for r in (*judged.rates, *judged.overlaps)] == [(1.0, 0.0)] * 4
    assert {ratio.value for ratio in judged.signals.values()} == {1.0}
    assert judged.kl < 3 * judged.kl_floor
    assert twins.limit == 1.0


def test_without_twins_the_rate_is_over_its_target(deployed: Trigger, target: Target) -> None:
    there = Scenario("pileup_up", NOMINAL, 52.0, 1.3, True)
    judged = draw_twins(deployed, there, target, 7, N).judge(deployed)
    rate = deployed.run(crossings(there, 8, N)).accepts[:, 0].mean()
    assert judged.overlaps is None
    assert judged.rates[0].value == pytest.approx(rate / target.rates[0], rel=0.15)


def test_the_exact_inverse_of_a_drift_is_nearer_to_the_undrifted_trigger_than_any_cut(
    deployed: Trigger, twins: Twins
) -> None:
    (truth,) = truths(7, 50_000, PILEUP)
    response, cut = JETS_DOWN.response, int(deployed.cuts[0])
    undrifted, drifted, ideal = (
        deployed.run(events).codes
        for events in (digitise(truth), digitise(truth, response), corrected(truth, response))
    )
    assert best_overlap(ideal, undrifted, cut) > best_overlap(drifted, undrifted, cut) + 0.02
    assert twins.limit == pytest.approx(best_overlap(ideal, undrifted, cut), abs=0.05)
    assert np.array_equal(corrected(truth, NOMINAL), digitise(truth))


def test_figures_stand_beside_their_baselines(figures: dict[str, Any]) -> None:
    jets, pileup = figures["scenarios"]["jet_down"], figures["scenarios"]["pileup_up"]
    assert set(jets["baselines"]) == {"fixed_cut", "moved_cut", "lut_map", "retrain"}
    assert {"input_scale", "threshold"} <= set(jets["knobs"])
    for row in (jets["engine"], *jets["knobs"].values(), *jets["baselines"].values()):
        assert row["rate_ratio_error"] > 0
        assert 0 < row["overlap"] <= 1
        assert row["kl_before"] > 0
        assert set(row["signal_eff_ratio"]) == {"resonance", "multilepton"}
    fixed, best = jets["baselines"]["fixed_cut"], jets["knobs"]["input_scale"]
    assert fixed["rate_ratio"] < 0.85
    assert fixed["kl_after"] == fixed["kl_before"]
    assert best["overlap"] > fixed["overlap"]
    assert best["passes"] > 1
    assert best["seconds"] > 0
    assert jets["baselines"]["retrain"]["kl_after"] is None
    assert pileup["engine"]["overlap"] is None
    assert pileup["hold"] == "rate"
    assert set(figures["choices"]) == {"rho signed", "rho absolute", "beta × 0.1", "beta × 10"}
    assert figures["choices"]["beta × 10"]["beta"] == pytest.approx(
        10 * figures["choices"]["rho signed"]["beta"], rel=1e-3
    )


def test_the_summary_is_of_the_engine_s_own_choice(figures: dict[str, Any]) -> None:
    engine = figures["scenarios"]["jet_down"]["engine"]
    assert figures["min_overlap"] == engine["overlap"]
    assert figures["max_rate_error"] == pytest.approx(abs(engine["rate_ratio"] - 1))
    assert figures["max_kl_over_floor"] == pytest.approx(engine["kl_after"] / engine["kl_floor"], rel=1e-3)
    assert figures["retrain_ratio"] > 0
    assert set(worst([figures])) < set(figures)


def made_up(overlap_worse: float, rate_worse: float, error: float = 0.01) -> dict[str, Any]:
    row = {
        "overlap": 0.96,
        "estimated_overlap": 0.94,
        "rate_ratio": 0.98,
        "kl_after": 3e-4,
        "kl_floor": 2e-4,
        "passes": 12.0,
        "seconds": 2.0,
    }
    compared = {"overlap": overlap_worse, "rate": rate_worse}
    return {
        "engine": row | {"knob": "input_scale+threshold"},
        "knobs": {"input_scale": row | {"seconds": 0.5}, "input_scale+threshold": row | {"seconds": 0.0}},
        "against_moved_cut": {name: {"worse_by": by, "error": error} for name, by in compared.items()},
        "baselines": {"retrain": {"seconds": 300.0}},
    }


def test_worse_than_the_moved_cut_beyond_errors_in_one_scenario_is_worse() -> None:
    within, beyond = 0.99 * SIGMAS * 0.01, 1.01 * SIGMAS * 0.01
    assert summary({"jet_down": made_up(within, within), "ageing": made_up(-0.3, 0.0)})["never_worse"] == 1
    assert summary({"jet_down": made_up(-0.3, 0.0), "hot_tower": made_up(beyond, 0.0)})["never_worse"] == 0
    assert summary({"jet_down": made_up(-0.3, 0.0), "hot_tower": made_up(0.0, beyond)})["never_worse"] == 0


def test_the_summary_takes_the_worst_of_what_scales_can_undo() -> None:
    poor = made_up(0.0, 0.0)
    poor["engine"] = poor["engine"] | {"overlap": 0.5, "rate_ratio": 1.5}
    good = {"jet_up": made_up(0.0, 0.0), "dead_region": poor}
    assert summary(good)["min_overlap"] == 0.96
    assert summary(good)["retrain_ratio"] == 150
    assert summary(good)["retrain_ratio_fit"] == 600
    assert worst([summary(good), summary({"eg_met": poor})])["min_overlap"] == 0.5
    assert worst([summary(good), summary({"eg_met": poor})])["max_rate_error"] == 0.5
    assert summary({"dead_region": poor})["min_overlap"] is None


def test_the_command_prints_a_table_or_one_object(
    figures: dict[str, Any], package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {**worst([figures]), "models": {"own": figures}}
    monkeypatch.setattr("recalib.training.train.build_package", lambda *_: package)
    monkeypatch.setattr(bench_models, "bench_package", lambda *_, **__: package)
    monkeypatch.setattr(bench_recalibrate, "recalibrate", lambda *_: found)
    command = ["bench", "recalibrate", "--model", "own"]
    printed = CliRunner().invoke(main, command)
    assert printed.exit_code == 0, printed.output
    assert printed.stdout.splitlines() == list(table(found))
    assert "moved_cut" in printed.stdout
    assert json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)["min_overlap"] == found["min_overlap"]


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    refused = CliRunner().invoke(main, ["bench", "recalibrate", "--scenario", "rain"])
    assert refused.exit_code == 64
    assert all(name in refused.output for name in NAMES)


def test_a_model_whose_data_are_not_at_hand_is_left_out_and_that_is_said(
    package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recalib.training.train.build_package", lambda *_: package)
    monkeypatch.setattr(bench_models, "WEIGHTS", tmp_path / "nowhere.npz")
    said: list[str] = []
    assert set(bench_models.models((), tmp_path / "own.driftd", said.append)) == {"own"}
    (text,) = said
    assert text.startswith(f"v4 is left out: no weights of AXOL1TL v4 at {tmp_path / 'nowhere.npz'}")
    assert VARIABLE in text


def test_a_model_that_was_asked_for_by_name_is_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_models, "WEIGHTS", tmp_path / "nowhere.npz")
    with pytest.raises(OutsideDataMissing, match="no weights of AXOL1TL v4"):
        bench_models.models(("v4",), tmp_path / "own.driftd")
    refused = CliRunner().invoke(main, ["bench", "recalibrate", "--model", "v4"])
    assert refused.exit_code == 1
    assert "no weights of AXOL1TL v4" in refused.output


@pytest.mark.skipif(not bench_models.WEIGHTS.exists(), reason="needs ../shared/data/axol1tl_v4_weights.npz")
def test_axol1tl_v4_is_there_with_the_bench_s_cuts() -> None:
    assert bench_models.models(("v4",), Path())["v4"].n_cuts == len(RATES)


def test_a_bench_package_is_made_once(package: Package, tmp_path: Path) -> None:
    said: list[str] = []
    made = bench_models.bench_package(package.model, tmp_path, 200_000, said.append)
    assert said
    assert bench_models.bench_package(package.model, tmp_path, 200_000, said.append).id == made.id
    assert len(said) == 1
