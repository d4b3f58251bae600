"""How well a re-calibration brings the trigger back: every knob, the engine's own choice, and what others do."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from firmware.model.package import Package
from firmware.sim.stream import Sampling
from monitor.bench.recalibrate.fits import Case, Fitted, Watched, baselines, engines_choice, sampling_error
from monitor.bench.recalibrate.scenarios import (
    AGEING,
    EG_MET,
    JET_DOWN,
    JET_UP,
    NAMES,
    STALE_PILEUP,
    Scenario,
    Trigger,
    published,
    scenarios,
)
from monitor.bench.recalibrate.twins import PayloadFigures, draw_twins
from monitor.bench.working_point import PILEUP
from recalib.evidence import Target
from recalib.fit.engine import Engine
from recalib.knobs.names import KnobName, Turned
from recalib.request import FORMS, FitRequest, FitSettings

COUNTED = (JET_DOWN, JET_UP, EG_MET, AGEING)
"""The drifts that scales can undo: of these the summary tells the worst."""
CHOICES_OF = KnobName.INPUT_SCALE
"""The knob on which the objective's choices are tried."""
SIGMAS = 2.0
"""Standard errors by which a figure may be worse than the moved cut's and still counts as no worse."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Sizes of a run: events of a fit's sample, and crossings from which the verdict's are kept."""

    events: int = 200_000
    verdict_events: int = 1_300_000
    scenarios: tuple[str, ...] = NAMES
    seed: int = 1
    choices: bool = False


def recalibrate(packages: dict[str, Package], settings: Settings) -> dict[str, Any]:
    """The figures of each model, each in a process of its own, and the worst of all of them."""
    jobs = [(name, package, settings) for name, package in packages.items()]
    if len(jobs) == 1:
        found = [model_figures(*jobs[0])]
    else:
        with ProcessPoolExecutor(len(jobs), mp_context=multiprocessing.get_context("spawn")) as pool:
            found = [future.result() for future in [pool.submit(model_figures, *job) for job in jobs]]
    models = dict(zip(packages, found, strict=True))
    sizes = {"seed": settings.seed, "events": settings.events, "verdict_events": settings.verdict_events}
    return {**worst(found), **sizes, "models": models}


def model_figures(name: str, package: Package, settings: Settings) -> dict[str, Any]:
    """One model in every scenario; a table of each goes to stderr as soon as it is there."""
    torch.set_num_threads(1)
    engine = Engine(package)
    deployed = Trigger(engine.emulator, package.nominal)
    found: dict[str, Any] = {}
    tried: dict[str, Row] = {}
    began = time.monotonic()
    for scenario in scenarios(settings.scenarios, deployed, engine.reference, settings.seed):
        number = NAMES.index(scenario.name)
        seeds = np.random.SeedSequence([settings.seed, number]).generate_state(2).tolist()
        sized = time.monotonic()
        case = _case(engine, scenario, settings, seeds)
        drawn = time.monotonic()
        figures = scenario_figures(case)
        if settings.choices and scenario.name == JET_DOWN:
            tried = choices(case)
        parts = {"sizing": sized - began, "drawing": drawn - sized, "fits": time.monotonic() - drawn}
        began = time.monotonic()
        found[scenario.name] = figures | {"seconds": {part: round(s, 1) for part, s in parts.items()}}
        for line in scenario_table(scenario.name, found[scenario.name]):
            print(f"{name}: {line}", file=sys.stderr, flush=True)
    return {
        **summary(found),
        "package": package.id,
        "model": package.model.id,
        "cuts": package.nominal.raw("cuts").tolist(),
        "scenarios": found,
        **({"choices": tried} if tried else {}),
    }


def _case(engine: Engine, scenario: Scenario, settings: Settings, seeds: list[int]) -> Case:
    reference, deployed = engine.reference, Trigger(engine.emulator, engine.package.nominal)
    there = reference.expected(scenario.wanted_pileup)
    here = there if scenario.told is not None else reference.expected(PILEUP)
    rates = reference.rates_of(here.p)
    request = FitRequest(
        deployed.payload.words,
        published(deployed, scenario, seeds[0], settings.events, Sampling().tail_code(engine.package)),
        there.p,
        there.m,
        rates,
        scenario.pileup,
        FitSettings(),
    )
    target = Target(reference.binning.edges, there.p, there.m, rates)
    twins = draw_twins(deployed, scenario, target, seeds[1], settings.verdict_events)
    return Case(engine, scenario, request, twins, seeds[0])


def scenario_figures(case: Case) -> dict[str, Any]:
    """What every knob, the engine and each baseline make of one scenario."""
    scenario, judge = case.scenario, case.twins.judge
    before = judge(case.deployed)
    others = baselines(case)
    judged = {name: judge(fit.trigger) for name, fit in others.items()}
    chosen, choice, fits = engines_choice(case)
    mine, known = judge(chosen.trigger), case.twins.target_ratio
    return {
        "drifts": scenario.drifts(),
        "sized": scenario.sized,
        "hold": "distribution" if scenario.has_twins else "rate",
        "overlap_limit": case.twins.limit,
        "target_ratio": None if known is None else _short(known.value),
        "target_ratio_error": None if known is None else _short(known.error),
        "verdict_accepts": before.accepts,
        "sample_tail": round(float((case.request.sample.inclusion == 1).mean()), 3),
        "engine": _row(chosen, mine, before) | choice,
        "against_moved_cut": against(mine, judged["moved_cut"], sampling_error(case, others["moved_cut"].trigger)),
        "knobs": {name: _row(fit, judge(fit.trigger), before) for name, fit in fits.items()},
        "baselines": {name: _row(fit, judged[name], before) for name, fit in others.items()},
    }


def choices(case: Case) -> dict[str, Row]:
    """The objective's own choices, each changed by itself: the form of ρ, and β against that from the data."""
    judge = case.twins.judge
    before = judge(case.deployed)
    rows = {}

    def tried(name: str, **change: Any) -> float:
        engine = Watched(case.engine.package)
        settings = replace(case.request.settings, knobs=(CHOICES_OF,), **change)
        engine.trials(engine.prepare(replace(case.request, settings=settings)))
        for fit in engine.fits.values():
            rows[name] = _row(fit, judge(fit.trigger), before)
        return max((fit.beta for fit in engine.fits.values()), default=0.0)

    beta, *_ = [tried(f"rho {form}", form=form) for form in FORMS]
    for factor in (0.1, 10.0):
        tried(f"beta × {factor:g}", beta=factor * beta)
    return rows


def against(mine: PayloadFigures, moved_cut: PayloadFigures, sampling_error: float) -> dict[str, Row]:
    """By how much the overlap and the rate's error are worse than the moved cut's, and the errors of that.

    The verdict's events are the same for both. To their error adds that of a rate which is set by the
    events of the fit's sample: which of two such payloads is a little nearer is chance.
    """
    worse = mine.worse_than(moved_cut)
    return {
        name: {"worse_by": _short(by), "error": _short(float(np.hypot(error, sampling_error)))}
        for name, (by, error) in worse.items()
    }


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """One model's figures over its scenarios; None where the scenarios that it takes were not run.

    `retrain_ratio` is the time of a retrain over that of a whole proposal, `retrain_ratio_fit` over that of the
    chosen knob's fit alone.
    """
    counted = [found[name]["engine"] for name in COUNTED if name in found]
    comparisons = [each for figures in found.values() for each in figures["against_moved_cut"].values()]
    retrains = [f["baselines"]["retrain"]["seconds"] for f in found.values() if "retrain" in f["baselines"]]
    proposals = [figures["engine"]["seconds"] for figures in found.values()]
    took = [_fit_seconds(figures["knobs"], figures["engine"]["knob"]) for figures in found.values()]
    fits = [seconds for seconds in took if seconds > 0]
    return {
        "min_overlap": min((row["overlap"] for row in counted), default=None),
        "max_rate_error": _most(abs(row["rate_ratio"] - 1) for row in counted),
        "overlap_estimate_rms": _estimate_rms(found),
        "max_kl_over_floor": _most(row["kl_after"] / row["kl_floor"] for row in counted),
        "passes": _most(row["passes"] for row in counted),
        "never_worse": int(all(each["worse_by"] <= SIGMAS * each["error"] for each in comparisons)),
        "retrain_ratio": _short(float(np.median(retrains) / np.median(proposals))) if retrains else None,
        "retrain_ratio_fit": _short(float(np.median(retrains) / np.median(fits))) if retrains and fits else None,
    }


def _estimate_rms(found: dict[str, Any]) -> float | None:
    """How far the engine's estimates of overlaps are from the true ones, over all knobs where there are twins.

    Not where the network was told a wrong pile-up: its inputs have not drifted.
    """
    rows = [row for name, f in found.items() if name != STALE_PILEUP for row in f["knobs"].values()]
    known = [row for row in rows if None not in (row["overlap"], row["estimated_overlap"])]
    off = [row["estimated_overlap"] - row["overlap"] for row in known]
    return _short(float(np.sqrt(np.mean(np.square(off))))) if off else None


def _fit_seconds(knobs: dict[str, Row], knob: str) -> float:
    """Of a knob; cuts that are moved after another knob take that one's time too."""
    parts = {knob, str(Turned.parse(knob).alone)}
    return float(sum(knobs[part]["seconds"] for part in parts if part in knobs))


def worst(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The summary over models."""

    def over(name: str, pick: Any) -> Any:
        return pick((each[name] for each in found if each[name] is not None), default=None)

    least = ("min_overlap", "never_worse", "retrain_ratio", "retrain_ratio_fit")
    most = ("max_rate_error", "overlap_estimate_rms", "max_kl_over_floor", "passes")
    return {name: over(name, min) for name in least} | {name: over(name, max) for name in most}


def table(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    for name, figures in found["models"].items():
        yield f"{name}, cuts {figures['cuts']}"
        for scenario, each in figures["scenarios"].items():
            yield from scenario_table(scenario, each)
        for choice, row in figures.get("choices", {}).items():
            yield _line(choice, row)
        yield _sentence(figures)
    if len(found["models"]) > 1:
        yield f"all: {_sentence(found)}"


def scenario_table(name: str, figures: dict[str, Any]) -> Iterator[str]:
    """One scenario's figures for people."""
    drifts = ", ".join(f"{kind} {size:+g}" for kind, size in figures["drifts"].items())
    limit = figures["overlap_limit"]
    best = "" if limit is None else f", overlap {limit:.3f} with its exact inverse"
    took = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in figures["seconds"].items())
    unsized = "" if figures["sized"] else ", which is too little"
    yield f"{name}: {drifts}{unsized}; hold {figures['hold']}{best} ({took})"
    engine = figures["engine"]
    yield _line("engine", engine)
    yield f"    {engine['reason']}"
    for kind in ("knobs", "baselines"):
        for each, row in figures[kind].items():
            yield _line(each, row)


def _line(name: str, row: Row) -> str:
    overlap = "" if row["overlap"] is None else f"overlap {row['overlap']:.3f} ± {row['overlap_error']:.3f}"
    if row["overlap"] is not None and row["estimated_overlap"] is not None:
        overlap += f", estimated {row['estimated_overlap']:.3f}"
    kl = "" if row["kl_after"] is None else f"KL {row['kl_after']:.5f} ({row['kl_after'] / row['kl_floor']:.1f} floors)"
    signals = ", ".join(f"{kind} × {ratio:.3f}" for kind, ratio in row["signal_eff_ratio"].items())
    rate = f"rate × {row['rate_ratio']:.3f} ± {row['rate_ratio_error']:.3f}"
    return f"  {name:32} {rate}  {overlap:40}  {kl:26}  {signals}; {row['seconds']:.1f} s, {row['passes']:.1f} passes"


def _sentence(figures: dict[str, Any]) -> str:
    names = (
        "min_overlap",
        "max_rate_error",
        "overlap_estimate_rms",
        "max_kl_over_floor",
        "passes",
        "never_worse",
        "retrain_ratio",
        "retrain_ratio_fit",
    )
    return ", ".join(f"{name} {'-' if figures[name] is None else format(figures[name], '.4g')}" for name in names)


def _row(fit: Fitted, judged: PayloadFigures, before: PayloadFigures) -> Row:
    cuts: list[Row] = [{"rate_ratio": _short(r.value), "rate_ratio_error": _short(r.error)} for r in judged.rates]
    for cut, overlap in zip(cuts, judged.overlaps or (None,) * len(cuts), strict=True):
        cut["overlap"] = None if overlap is None else _short(overlap.value)
        cut["overlap_error"] = None if overlap is None else _short(overlap.error)
    return {
        **cuts[0],
        "estimated_overlap": None if fit.estimated_overlap is None else _short(fit.estimated_overlap),
        "kl_before": _short(before.kl),
        "kl_after": _short(judged.kl) if fit.comparable else None,
        "kl_floor": _short(judged.kl_floor) if fit.comparable else None,
        "signal_eff_ratio": {name: _short(ratio.value) for name, ratio in judged.signals.items()},
        "signal_eff_ratio_error": {name: _short(ratio.error) for name, ratio in judged.signals.items()},
        "seconds": round(fit.seconds, 2),
        "passes": round(fit.passes, 1),
        "beta": _short(fit.beta),
        "at_cuts": cuts,
    }


def _most(values: Any) -> float | None:
    largest = max(values, default=None)
    return None if largest is None else _short(largest)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
