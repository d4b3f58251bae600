"""A fill for the figures of the loop: its pile-up, what happens to the detector, its crossings, the true quantiles."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.beam import Fill
from firmware.sim.world.detector import Response, digitise
from firmware.sim.world.drifts import Drift, Drifts
from firmware.sim.world.events import SIGNALS, Generator
from monitor.bench.arrays import Codes
from recalib.arrays import Events, Floats
from recalib.surrogate.surrogate import Surrogate

PILEUP_START, PILEUP_END = (54.0, 58.0), (20.5, 24.0)
"""Where the mean pile-up begins and ends; fill 6360 went from 56 to 16."""
PILEUP_ERROR = 0.01
"""Relative, of the pile-up in the header."""
FIRST, SECOND, RAMP_START = (0.15, 0.45), (0.55, 0.85), (0.1, 0.7)
"""Shares of the fill within which each thing happens."""
RAMP_SHARE = 0.2
AGEING = (0.1, 0.2)
JET_SHIFT, EG_SHIFT, MET_NOISE = (0.01, 0.08), (0.04, 0.25), (0.3, 1.5)
RATE_CHANGES = ((0.75, 0.88), (1.14, 1.35))
"""Of a sudden change, at a fixed cut."""
DRIFT_SIZING_EVENTS = 100_000

DRAWN_TOGETHER = 50_000
SIGNALS_PER_CHUNK = 1000
"""Of each signal, in each chunk."""

RATE_GRID = np.geomspace(0.05, 1e-4, 64)
"""Rates over the whole fill of the codes between which a rate is interpolated."""
PRIOR_PRECISION = 1e-3
"""Of the oracle's coefficients; it matters only where the fill cannot tell two of them apart."""
NEWTON_STEPS = 25

_COURSE, _HEADER, _CHUNK, _SIGNAL, _ORACLE = range(5)


class Datapath:
    """A package's model, to run events under any payload."""

    def __init__(self, package: Package) -> None:
        self.nominal = package.nominal
        self._surrogate = Surrogate(package.model)

    def codes(self, events: Events, payload: Payload) -> Codes:
        """Score codes (n,), those of the firmware."""
        return self._surrogate.codes(events, payload).astype(np.uint32)


@dataclass(frozen=True)
class Course:
    """What happens in a fill; chunks are counted from 0, each a lumi section.

    Args:
        drifts: of a kind the last that has begun counts.
        rates: each sudden change's chunk, and the rate after it over that before it, at a fixed cut.
    """

    chunks: int
    fill: Fill
    drifts: tuple[Drift, ...]
    rates: Mapping[int, float]

    @property
    def pileup(self) -> Floats:
        """True mean of each chunk (chunks,)."""
        return np.array([self.fill.pileup(k) for k in range(self.chunks)])

    def response(self, chunk: int) -> Response:
        """Of the detector in a chunk."""
        now = Drifts()
        for drift in self.drifts:
            if drift.since <= chunk:
                now = now.adding(drift)
        return now.at(chunk)


def draw_course(chunks: int, target: float, datapath: Datapath, seed: int) -> Course:
    """Pile-up that decays exponentially, two sudden changes and a ramp of ageing, another for another seed.

    A sudden change is one of the jets' scale, or of the e/γ scale with MET noise; it stays, and takes the place of an
    earlier one of its kind. It is drawn again until the rate above the quantile of `target` changes by one of
    `RATE_CHANGES`.
    """
    random = np.random.default_rng([seed, _COURSE])
    start, end = random.uniform(*PILEUP_START), random.uniform(*PILEUP_END)
    fill = Fill(start=start, floor=0.0, decay=max(chunks - 1, 1) / np.log(start / end), since=0)
    first, second = (int(chunks * random.uniform(*part)) for part in (FIRST, SECOND))
    begin = int(chunks * random.uniform(*RAMP_START))
    ramp = Drift("ageing", random.uniform(*AGEING), ramp=max(1, round(RAMP_SHARE * chunks)), since=begin)
    course = Course(chunks, fill, (ramp,), {})
    for chunk in (first, second):
        course = _suddenly(course, chunk, target, datapath, random)
    return course


def _suddenly(course: Course, chunk: int, target: float, datapath: Datapath, random: np.random.Generator) -> Course:
    truth = Generator(int(random.integers(2**32))).draw(DRIFT_SIZING_EVENTS, course.fill.pileup(chunk))
    before = datapath.codes(digitise(truth, course.response(chunk)), datapath.nominal)
    cut = np.quantile(before, 1 - target)
    while True:
        drifts = (*course.drifts, *_change(chunk, random))
        changed = Course(course.chunks, course.fill, drifts, course.rates)
        after = datapath.codes(digitise(truth, changed.response(chunk)), datapath.nominal)
        rate = float((after >= cut).sum() / (before >= cut).sum())
        if any(low <= rate <= high for low, high in RATE_CHANGES):
            return Course(course.chunks, course.fill, drifts, {**course.rates, chunk: rate})


def _change(chunk: int, random: np.random.Generator) -> list[Drift]:
    sign = random.choice([-1.0, 1.0])
    if random.random() < 0.5:
        return [Drift("jet_energy_scale", float(sign * random.uniform(*JET_SHIFT)), since=chunk)]
    shift, noise = float(sign * random.uniform(*EG_SHIFT)), float(random.uniform(*MET_NOISE))
    return [Drift("eg_scale", shift, since=chunk), Drift("met_noise", noise, since=chunk)]


@dataclass(frozen=True, eq=False)
class Sample:
    """Events (n, n_features), with their codes under any payload, computed once for equal registers but the cuts."""

    events: Events
    datapath: Datapath
    known: dict[bytes, Codes] = field(default_factory=dict)

    def codes(self, payload: Payload) -> Codes:
        """Score codes (n,)."""
        key = registers(payload)
        if key not in self.known:
            self.known[key] = self.datapath.codes(self.events, payload)
        return self.known[key]


@dataclass(frozen=True, eq=False)
class Chunk:
    """One lumi section: the pile-up that its header tells, its crossings, and signals that nobody counts.

    Args:
        undrifted: the nominal codes that the same signals would have if nothing had happened to the detector.
    """

    number: int
    pileup: float
    crossings: Sample
    signals: Mapping[str, Sample]
    undrifted: Mapping[str, Codes]


def registers(payload: Payload) -> bytes:
    """The words that a score depends on: all but the cuts."""
    return np.delete(payload.words, payload.layout["cuts"].words).tobytes()


def chunks(
    course: Course, events: int, seed: int, package: Path, datapath: Datapath, pool: Executor, workers: int
) -> Iterator[Chunk]:
    """The fill's chunks with `events` fresh crossings each, drawn ahead by the pool, which reads the package."""
    errors = np.random.default_rng([seed, _HEADER, events]).standard_normal(course.chunks)
    told = course.pileup * (1 + PILEUP_ERROR * errors)
    blocks = _blocks(events)
    ahead = 1 + -(-2 * workers // (1 + len(blocks)))
    pending: deque[tuple[list[Future[Any]], Future[Any]]] = deque()

    def order(k: int) -> None:
        world = course.fill.pileup(k), course.response(k)
        drawn = [pool.submit(_drawn, package, world, (seed, _CHUNK, events, k, b), n) for b, n in enumerate(blocks)]
        pending.append((drawn, pool.submit(_signals, package, world, (seed, _SIGNAL, events, k))))

    for k in range(min(ahead, course.chunks)):
        order(k)
    key = registers(datapath.nominal)
    for k in range(course.chunks):
        drawn, signals = pending.popleft()
        parts, codes = zip(*(future.result() for future in drawn), strict=True)
        crossings = Sample(np.concatenate(parts), datapath, {key: np.concatenate(codes)})
        found: Mapping[str, tuple[Events, Codes, Codes]] = signals.result()
        of = {name: Sample(events, datapath, {key: codes}) for name, (events, codes, _) in found.items()}
        undrifted = {name: codes for name, (_, _, codes) in found.items()}
        if k + ahead < course.chunks:
            order(k + ahead)
        yield Chunk(k, float(told[k]), crossings, of, undrifted)


def _blocks(n: int) -> list[int]:
    return [stop - start for start, stop in pairwise([*range(0, n, DRAWN_TOGETHER), n])]


World = tuple[float, Response]


def _drawn(package: Path, world: World, key: tuple[int, ...], n: int) -> tuple[Events, Codes]:
    datapath = _datapath(package)
    pileup, response = world
    events = digitise(Generator(np.random.SeedSequence(key)).draw(n, pileup), response)
    return events, datapath.codes(events, datapath.nominal)


def _signals(package: Path, world: World, key: tuple[int, ...]) -> dict[str, tuple[Events, Codes, Codes]]:
    """By kind: events, their nominal codes, and those of the same without a drift."""
    datapath = _datapath(package)
    pileup, response = world
    source = Generator(np.random.SeedSequence(key))
    found: dict[str, tuple[Events, Codes, Codes]] = {}
    for kind in SIGNALS:
        truth = source.draw_signal(kind, SIGNALS_PER_CHUNK, pileup)
        seen, undrifted = digitise(truth, response), digitise(truth)
        codes, codes_undrifted = (datapath.codes(events, datapath.nominal) for events in (seen, undrifted))
        found[kind] = seen, codes, codes_undrifted
    return found


def _histogram(package: Path, world: World, key: tuple[int, ...], n: int) -> npt.NDArray[np.int64]:
    found = np.zeros(0, np.int64)
    for block, size in enumerate(_blocks(n)):
        counts = np.bincount(_drawn(package, world, (*key, block), size)[1])
        found = _padded(found, len(counts)) + _padded(counts, len(found))
    return found


def _padded(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    return np.pad(counts, (0, max(0, size - len(counts))))


@cache
def _datapath(package: Path) -> Datapath:
    """In a process of the pool."""
    torch.set_num_threads(1)
    return Datapath(Package.load(package))


class Oracle:
    """The rate above each code in each chunk under the nominal registers, from crossings that no controller sees.

    The counts above a code are a Poisson regression over the whole fill: the ln of the rate is a cubic in the ln of
    the pile-up, plus for each sudden change a step and its slope in ln pile-up, plus the ramp's terms up to second
    order. Between codes the ln of the rate is interpolated.

    Args:
        counts: (chunks, codes) crossings with each code.
        events: crossings in each chunk.
    """

    def __init__(self, course: Course, counts: npt.NDArray[np.int64], events: int) -> None:
        above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
        share = above.sum(axis=0) / (events * course.chunks)
        self._codes = np.unique(np.searchsorted(-share, -RATE_GRID))
        design = _design(course)
        fitted = [_poisson(design, above[:, code], events) for code in self._codes]
        self._ln_rate = np.stack([design @ beta for beta, _ in fitted], axis=1)
        self._variance = np.stack([np.einsum("ki,ij,kj->k", design, c, design) for _, c in fitted], axis=1)
        mean = events * np.exp(self._ln_rate)
        chi2 = np.square(above[:, self._codes] - mean) / mean
        self._chi2 = chi2.sum(axis=0) / max(course.chunks - np.linalg.matrix_rank(design), 1)

    def rate(self, chunk: int, cut: float) -> float:
        """Expected share of the chunk's crossings at or above a code."""
        return float(np.exp(np.interp(cut, self._codes, self._ln_rate[chunk])))

    def cut(self, chunk: int, rate: float) -> int:
        """The code at or above which the rate is the nearest to this one."""
        about = int(np.interp(-np.log(rate), -self._ln_rate[chunk], self._codes))
        return min((about, about + 1), key=lambda code: abs(self.rate(chunk, code) - rate))

    def tail(self, chunk: int, rate: float) -> float:
        """Codes by which a cut at this rate moves for a change of 1 in the ln of the rate."""
        low, high = (np.interp(-np.log(rate * x), -self._ln_rate[chunk], self._codes) for x in (1.25, 0.8))
        return float((high - low) / np.log(1.25 / 0.8))

    def error(self, rate: float) -> Floats:
        """Standard error (chunks,) of the ln of the rate at the cut for this one."""
        cuts = [self.cut(chunk, rate) for chunk in range(len(self._ln_rate))]
        variance = [np.interp(cut, self._codes, row) for cut, row in zip(cuts, self._variance, strict=True)]
        return np.sqrt(variance)

    def chi2(self, rate: float) -> float:
        """χ² per degree of freedom of the counts above the code with this rate over the fill."""
        overall = np.exp(self._ln_rate).mean(axis=0)
        return float(self._chi2[np.abs(np.log(overall / rate)).argmin()])


def draw_oracle(course: Course, events: int, seed: int, package: Path, pool: Executor) -> Oracle:
    """From `events` crossings in each chunk."""
    worlds = [(course.fill.pileup(k), course.response(k)) for k in range(course.chunks)]
    futures = [pool.submit(_histogram, package, world, (seed, _ORACLE, k), events) for k, world in enumerate(worlds)]
    found = [future.result() for future in futures]
    size = max(len(counts) for counts in found)
    return Oracle(course, np.stack([_padded(counts, size) for counts in found]), events)


def _design(course: Course) -> Floats:
    """(chunks, terms)."""
    ln = np.log(course.pileup)
    u = (ln - ln.mean()) / max(float(np.ptp(ln)) / 2, 1e-9)
    k = np.arange(course.chunks)
    steps = [(k >= chunk).astype(float) for chunk in course.rates]
    ageing = np.array([course.response(int(chunk)).ageing for chunk in k])
    a = ageing / max(float(ageing.max()), 1e-9)
    columns = [np.ones(course.chunks), u, u**2, u**3, a, a**2, a * u]
    for step in steps:
        columns += [step, step * u, step * a]
    return np.stack(columns, axis=1)


def _poisson(design: Floats, counts: npt.NDArray[np.int64], events: int) -> tuple[Floats, Floats]:
    """Coefficients (terms,) of ln(counts/events) and their covariance, by Newton's method."""
    prior = PRIOR_PRECISION * np.eye(design.shape[1])
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(counts.sum() / (events * len(counts)))
    for _ in range(NEWTON_STEPS):
        mean = events * np.exp(design @ beta)
        hessian = design.T @ (design * mean[:, None]) + prior
        step = np.linalg.solve(hessian, design.T @ (counts - mean) - prior @ beta)
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            break
    return beta, np.linalg.inv(hessian)
