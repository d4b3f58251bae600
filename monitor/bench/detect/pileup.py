"""A fill in which nothing drifts but the pile-up: what the daemon says of it."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from firmware.sim.world.beam import Fill
from monitor.bench.arrays import Array
from monitor.bench.detect.shapes import CODES, scores
from monitor.bench.outside import lacks, outside_data
from monitor.bench.working_point import RATES
from monitor.offline.replay import StreamSetup, replay
from monitor.stats.count.building import reference_of_histogram
from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import promises_run_length
from monitor.watch.settings import DetectSettings

PROFILE = outside_data("pileup_fill_6360.csv")
DRAWN_PER_LS = 10**6
OTHER_FILL_EVENTS = 2 * 10**7
N_SLICES = 12
UNSLICED_LS = 200
"""Lumi sections after which nothing more is to be learnt of a reference that takes every one for a drift."""
AT = 40.0
"""Pile-up at which the scores are those of the other figures; they grow like its root, their tail like it."""
BUNCH_SPREAD, PILEUP_ERROR = 0.10, 0.03
PILEUP_GRID = np.arange(2.0, 110.0, 0.5)


def measured_profile() -> Array | None:
    """Pile-up per lumi section of LHC fill 6360, where the file is at hand."""
    if not PROFILE.exists():
        return None
    with PROFILE.open() as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    return np.array([float(row[7]) for row in rows if float(row[7]) > 1])


def pileup(seed: int, lumi_sections: int | None, progress: Callable[[str], None]) -> dict[str, Any]:
    """False alarms over a fill, with a reference in slices of pile-up and with one that ignores it.

    The reference is of another fill: its bunches differ, its slices hold 2·10^7 events together, its
    pile-up is as wrong. Every alarm of a detector that promises its run length is false, and every beginning of
    a drift verdict.
    """
    random = np.random.default_rng(seed)
    profile = measured_profile()
    real = profile is not None
    if profile is None:
        progress(f"{lacks('pile-up of LHC fill 6360', PROFILE)}; a generated decay stands in for it")
        profile = np.array([Fill().pileup(1 + ls) for ls in range(3000)])
    profile = profile[: lumi_sections or len(profile)]
    fill, other = _world(random), _world(random)
    measured = _measured(profile, random)
    counts = np.stack([random.multinomial(DRAWN_PER_LS, fill(mu)) for mu in profile]).astype(np.int32)
    found = {}
    for name, reference in _references(other, random).items():
        n = len(profile) if name == "sliced" else min(len(profile), UNSLICED_LS)
        found[name] = _replayed(reference, measured[:n], counts[:n])
        progress(f"{name:9} {found[name]['false_alarms']} false alarms in {n} lumi sections: {found[name]}")
    return {
        "false_alarms_pileup": found["sliced"]["false_alarms"],
        "pileup_profile": "fill 6360" if real else "a generated decay",
        "pileup_lumi_sections": len(profile),
        "pileup": found,
    }


def _world(random: np.random.Generator) -> Callable[[float], Array]:
    """The scores' distribution by mean pile-up, in a fill with bunches of its own."""
    table = np.stack([scores((mu / AT) ** 0.5, tail=mu / AT) for mu in PILEUP_GRID])
    bunches = np.maximum(1 + BUNCH_SPREAD * random.standard_normal(2556), 0.2)
    bunches /= bunches.mean()

    def distribution(mean: float) -> Array:
        place = np.interp(mean * bunches, PILEUP_GRID, np.arange(len(PILEUP_GRID)))
        below = place.astype(int).clip(max=len(PILEUP_GRID) - 2)
        weights = np.bincount(below, 1 - (place - below), minlength=len(PILEUP_GRID))
        weights += np.bincount(below + 1, place - below, minlength=len(PILEUP_GRID))
        return np.asarray(weights @ table / len(bunches))

    return distribution


def _measured(profile: Array, random: np.random.Generator) -> Array:
    return profile * (1 + PILEUP_ERROR * random.standard_normal(len(profile)))


def _references(world: Callable[[float], Array], random: np.random.Generator) -> dict[str, Reference]:
    """Of another fill, which fell from 65 to 10, by its measured pile-up and without."""
    profile = np.geomspace(65, 10, 1200)
    seen = _measured(profile, random)
    edges = np.linspace(10, 65, N_SLICES + 1)
    slices = np.searchsorted(edges[1:-1], seen, side="right")
    counts = np.zeros((N_SLICES, CODES), np.int64)
    for number, mu in zip(slices, profile, strict=True):
        counts[number] += random.multinomial(OTHER_FILL_EVENTS // len(profile), world(mu))
    means = np.array([seen[slices == number].mean() for number in range(N_SLICES)])
    codes = np.arange(CODES + 1)
    return {
        "sliced": reference_of_histogram(
            codes, counts, target_rates=RATES, pileup_edges=edges.tolist(), pileup_means=means
        ),
        "unsliced": reference_of_histogram(codes, counts.sum(axis=0)[None], target_rates=RATES),
    }


def _replayed(reference: Reference, pileup: Array, counts: Array) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "fill.npz"
        edges, ls = np.arange(CODES + 1), 1 + np.arange(len(pileup))
        np.savez(archive, edges=edges, ls=ls, pileup=pileup, counts=counts)
        setup = StreamSetup(reference, detect=DetectSettings()).on_archive([str(archive)])
        result = replay([str(archive)], setup, setup.detectors())
    said = result.summary()
    alarms = sum(n for name, n in said["alarms"].items() if promises_run_length(name))
    drifts = len(said["drifts"])
    return {
        "lumi_sections": said["lumi_sections"],
        "false_alarms": alarms + drifts,
        "e_alarms": alarms,
        "drift_verdicts": drifts,
        "first_drift_ls": said["drifts"][0]["ls"] if drifts else None,
        "others": sum(said["alarms"].values()) - alarms,
        "ls_per_s": round(said["ls_per_s"]),
    }
