"""A whole fill under each controller, in simulated time: how often the rate is within its tolerance."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.events import SIGNALS
from monitor.bench.arrays import Codes
from monitor.bench.loop.controllers import (
    DELAY,
    DSPOT_GRID,
    PD_GRID,
    PUBLISHED_TAIL,
    Controller,
    Cut,
    Dspot,
    Fixed,
    Pd,
)
from monitor.bench.loop.fill import Chunk, Course, Datapath, Oracle, chunks, draw_course, draw_oracle, registers
from monitor.stats.count.reference import Reference
from monitor.stats.steering import Steering
from recalib.arrays import Events, Floats
from recalib.progress import Progress

Row = dict[str, Any]

TARGET, TOLERANCE = 0.0025, 0.1
FIXED, PD, DSPOT, DRIFTD, ORACLE = "fixed", "pd", "dspot", "driftd", "oracle"
NAMES = (FIXED, PD, DSPOT, DRIFTD)
ORACLE_EVENTS = 40_000_000
"""Over the whole fill."""
REPORT_EVERY = 20
"""Chunks."""


@dataclass(frozen=True)
class Settings:
    """What is run.

    Args:
        events: crossings in a chunk, for one run of the fill each.
    """

    chunks: int
    events: tuple[int, ...]
    controllers: tuple[str, ...]
    seed: int
    workers: int
    oracle_events: int = ORACLE_EVENTS


@dataclass(frozen=True)
class SharedFill:
    """One fill, and what the runs through it share."""

    package: Package
    path: Path
    datapath: Datapath
    course: Course
    oracle: Oracle
    cut: Cut
    reference: Reference

    @property
    def start(self) -> Payload:
        """What every controller has at first: the nominal payload with the cut that is right for the first chunk."""
        return self.ideal(0)

    def ideal(self, chunk: int) -> Payload:
        """With the cut whose true rate in the chunk is the nearest to the target."""
        return self.cut.moved(self.package.nominal, self.oracle.cut(chunk, self.cut.target))

    def undrifted(self, chunk: Chunk) -> dict[str, float]:
        """The share of each signal that the undrifted trigger accepts, its cut where the reference has the target."""
        steering = Steering(self.reference, np.array([self.cut.target]), band=0.0)
        expected = self.reference.expected(self.course.pileup[chunk.number])
        (cut,) = steering.cuts(expected, np.zeros(1, np.int64))
        return {kind: float((codes >= cut).mean()) for kind, codes in chunk.undrifted.items()}

    @property
    def unit(self) -> float:
        """Codes in a unit of the published score: so many as make the tails at the target equally steep."""
        return self.oracle.tail(0, self.cut.target) / PUBLISHED_TAIL


@dataclass
class Seat:
    """A controller, the payloads that it has asked for and that are not in force yet, and what came of it.

    `rates` are of the chunks' own crossings, `expected` those of the oracle's distribution, NaN for a payload whose
    scores are other ones; `signals` the accepted shares by kind.
    """

    controller: Controller
    coming: deque[Payload]
    changes: int = 0
    rates: list[float] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    signals: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in SIGNALS})

    @classmethod
    def of(cls, controller: Controller) -> Seat:
        """With what it wants at first in force until its first decision is."""
        return cls(controller, deque([controller.payload] * DELAY))

    def take(self, chunk: Chunk, world: SharedFill) -> None:
        """Run a chunk under the payload in force, and let the controller see it."""
        payload = self.coming.popleft()
        codes = chunk.crossings.codes(payload)
        at = world.cut.of(payload)
        self.rates.append(float((codes >= at).mean()))
        same = registers(payload) == registers(world.package.nominal)
        self.expected.append(world.oracle.rate(chunk.number, at) if same else np.nan)
        for kind, sample in chunk.signals.items():
            self.signals[kind].append(float((sample.codes(payload) >= at).mean()))
        self.controller.see(chunk.pileup, chunk.crossings.events, codes)
        self.coming.append(self.controller.payload)
        self.changes += self.coming[0].id != payload.id


class Ideal:
    """Knows what will be right two chunks later."""

    def __init__(self, world: SharedFill) -> None:
        self._world, self._seen = world, 0

    @property
    def payload(self) -> Payload:
        """The ideal payload of the chunk in which it comes into force."""
        coming = self._seen - 1 + DELAY
        return self._world.ideal(min(coming, self._world.course.chunks - 1))

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """One more has gone by."""
        self._seen += 1


def loop(package: Path, settings: Settings, progress: Progress) -> dict[str, Any]:
    """The fractions of chunks in tolerance, over those of a cut at the true quantile, and what else is worth knowing.

    `relative_to_oracle` is the smallest of driftd's ratios, None if it did not run. `pd_best` and `dspot_best` are
    the best of a small grid of settings, chosen afterwards by the fraction on the very same crossings.
    """
    began = time.perf_counter()
    torch.set_num_threads(1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(settings.workers, context) as pool:
        world = _world(package, settings, pool, progress)
        told = _told(world)
        progress(f"fill: {told}")
        runs = {events: _run(world, settings, events, pool, progress) for events in settings.events}
    fraction = {str(events): {name: row["in_tolerance"] for name, row in rows.items()} for events, rows in runs.items()}
    relative = {
        events: {name: _short(value / of[ORACLE]) for name, value in of.items()} for events, of in fraction.items()
    }
    return {
        "fraction": fraction,
        "relative": relative,
        "relative_to_oracle": min(of[DRIFTD] for of in relative.values()) if DRIFTD in settings.controllers else None,
        "controllers": {str(events): rows for events, rows in runs.items()},
        "fill": told,
        "target": TARGET,
        "tolerance": TOLERANCE,
        "chunks": settings.chunks,
        "seed": settings.seed,
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    fill = found["fill"]
    start, end = fill["pileup"]
    yield f"pile-up {start:.1f} to {end:.1f} in {found['chunks']} chunks, seed {found['seed']}"
    for text in fill["drifts"]:
        yield f"  {text}"
    yield f"  the oracle's rates are known to {fill['oracle_error']:.1%}, at worst {fill['oracle_error_max']:.1%}"
    for events, rows in found["controllers"].items():
        yield f"{int(events):,} crossings a chunk"
        for name, row in rows.items():
            in_band = "-" if row["in_band"] is None else f"{row['in_band']:.3f}"
            signal = ", ".join(f"{kind} × {ratio:.3f}" for kind, ratio in row["signal_efficiency"].items())
            yield (
                f"  {name:11} in tolerance {row['in_tolerance']:.3f} (× {found['relative'][events][name]:.3f}), "
                f"expected rate {in_band}, rms {row['rms']:.3f}, {signal}, {row['changes']} changes"
                f"{_settings(row)}"
            )
    ratio = found["relative_to_oracle"]
    yield f"relative to the oracle {'-' if ratio is None else format(ratio, '.3f')}; {found['seconds']:.0f} s"


def _settings(row: Row) -> str:
    return f" with {row['settings']}" if "settings" in row else ""


def _world(path: Path, settings: Settings, pool: Executor, progress: Progress) -> SharedFill:
    package = Package.load(path)
    datapath = Datapath(package)
    reference = Reference.from_bytes(package.reference)
    cut = Cut(int(np.abs(np.log(reference.target_rates / TARGET)).argmin()), TARGET)
    course = draw_course(settings.chunks, TARGET, datapath, settings.seed)
    progress(f"oracle: {settings.oracle_events:,} crossings")
    oracle = draw_oracle(course, settings.oracle_events // settings.chunks, settings.seed, path, pool)
    return SharedFill(package, path, datapath, course, oracle, cut, reference)


def _told(world: SharedFill) -> dict[str, Any]:
    course, error = world.course, world.oracle.error(TARGET)
    pileup = course.pileup
    cuts = [world.oracle.cut(k, TARGET) for k in range(course.chunks)]
    return {
        "pileup": [_short(pileup[0]), _short(pileup[-1])],
        "drifts": [f"{drift} from chunk {drift.since}" for drift in course.drifts],
        "rate_ratios": {str(chunk): _short(rate) for chunk, rate in course.rates.items()},
        "oracle_cuts": {"first": cuts[0], "least": min(cuts), "most": max(cuts), "last": cuts[-1]},
        "oracle_error": _short(float(np.sqrt(np.mean(error**2)))),
        "oracle_error_max": _short(float(error.max())),
        "oracle_chi2_per_dof": _short(world.oracle.chi2(TARGET)),
        "pd_unit": _short(world.unit),
    }


def _run(world: SharedFill, settings: Settings, events: int, pool: Executor, progress: Progress) -> dict[str, Row]:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        seats = _seats(world, settings.controllers, Path(folder))
        source = chunks(world.course, events, settings.seed, world.path, world.datapath, pool, settings.workers)
        undrifted: list[dict[str, float]] = []
        for chunk in source:
            undrifted.append(world.undrifted(chunk))
            for seat in seats.values():
                seat.take(chunk, world)
            if (chunk.number + 1) % REPORT_EVERY == 0:
                done = time.perf_counter() - began
                progress(f"{events:,} crossings a chunk: {chunk.number + 1} of {settings.chunks} chunks, {done:.0f} s")
    signals = {kind: float(np.mean([each[kind] for each in undrifted])) for kind in SIGNALS}
    return _rows({key: figures(seat, signals) for key, seat in seats.items()})


def _seats(world: SharedFill, names: Sequence[str], folder: Path) -> dict[tuple[str, str], Seat]:
    """By controller and its settings, which have a name in the grids alone; the oracle's is the first."""
    start, cut = world.start, world.cut
    found = {(ORACLE, ""): Seat(Ideal(world), deque(world.ideal(k) for k in range(DELAY)))}
    for name in names:
        if name == FIXED:
            found[name, ""] = Seat.of(Fixed(start))
        elif name == PD:
            found[name, ""] = Seat.of(Pd(start, cut, world.unit))
            for kp, kd in PD_GRID:
                found[name, f"Kp {kp:g}, Kd {kd:g}"] = Seat.of(Pd(start, cut, world.unit, (kp, kd)))
        elif name == DSPOT:
            found[name, ""] = Seat.of(Dspot(start, cut))
            for window, depth in DSPOT_GRID:
                found[name, f"window {window}, depth {depth}"] = Seat.of(Dspot(start, cut, window, depth))
        elif name == DRIFTD:
            from monitor.bench.loop.driftd import Driftd

            found[name, ""] = Seat.of(Driftd(world.package, start, folder))
        else:
            raise ValueError(f"no controller {name!r}: there are {', '.join(NAMES)}")
    return found


def figures(seat: Seat, undrifted: Mapping[str, float]) -> Row:
    """Of one controller over a fill.

    in_tolerance, in_band: share of chunks whose rate, or expected rate, is within the tolerance; rms: of
    ln(rate/target); signal_efficiency: accepted share over that of the undrifted trigger on the same signals without a
    drift, by kind; changes: of the payload in force.
    """
    rates = np.maximum(seat.rates, TARGET / 1000)
    expected = np.array(seat.expected)
    known = bool(np.isfinite(expected).all())
    return {
        "in_tolerance": _short(_inside(rates)),
        "in_band": _short(_inside(expected)) if known else None,
        "rms": _short(float(np.sqrt(np.mean(np.log(rates / TARGET) ** 2)))),
        "mean_rate": _short(float(rates.mean())),
        "signal_efficiency": {
            kind: _short(float(np.mean(shares)) / undrifted[kind]) for kind, shares in seat.signals.items()
        },
        "changes": seat.changes,
    }


def _inside(rates: Floats) -> float:
    return float((np.abs(rates / TARGET - 1) <= TOLERANCE).mean())


def _rows(found: Mapping[tuple[str, str], Row]) -> dict[str, Row]:
    """By controller, and after each with a grid the best of that."""
    rows: dict[str, Row] = {}
    for name in dict.fromkeys(name for name, _ in found):
        rows[name] = found[name, ""]
        grid = {settings: row for (of, settings), row in found.items() if of == name and settings}
        if grid:
            best = max(grid, key=lambda each: (grid[each]["in_tolerance"], -grid[each]["rms"]))
            rows[f"{name}_best"] = grid[best] | {"settings": best}
    return rows


def _short(value: float) -> float:
    return float(f"{value:.5g}")
