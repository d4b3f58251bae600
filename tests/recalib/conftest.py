"""A small model of our own, and what a board would publish of drifted events."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.detector import NOMINAL, Response
from firmware.sim.world.events import VIEWS, Generator
from monitor.stats.count.reference import Reference
from recalib.evidence import Evidence, Target
from recalib.fit.engine import Engine
from recalib.proposal import Proposal
from recalib.request import FitRequest, FitSettings
from recalib.sample import EventSample
from recalib.training.train import CICADA, TrainSettings
from tests.support.trained import trained

PILEUP = 45.0
CHUNK = 50_000
SMALL = TrainSettings(training_events=100_000, epochs=8, reference_events=400_000, pileup_edges=(35.0, 45.0, 55.0))
SMALL_CICADA = replace(
    CICADA, training_events=40_000, epochs=5, reference_events=300_000, pileup_edges=(38.0, 43.0, 47.0, 52.0)
)


@dataclass(frozen=True)
class Lab:
    """The package's engine, and the undrifted and drifted twins that only a test may hold."""

    path: Path
    package: Package
    engine: Engine
    emulator: Emulator
    reference: Reference
    draws: dict[Any, Any] = field(default_factory=dict)

    @property
    def nominal(self) -> Payload:
        return self.package.nominal

    def target(self) -> Target:
        expected = self.reference.expected(PILEUP)
        p, m = expected.p, expected.m
        return Target(self.reference.binning.edges, p, m, self.reference.rates_of(p))

    def events(self, n: int, response: Response = NOMINAL, seed: int = 11) -> NDArray[np.int16]:
        key = (n, response, seed)
        if key not in self.draws:
            source, view = Generator(seed), VIEWS[self.package.model.n_features]
            chunks = [view(source.draw(CHUNK, PILEUP), response) for _ in range(n // CHUNK)]
            self.draws[key] = np.concatenate(chunks)
        drawn: NDArray[np.int16] = self.draws[key]
        return drawn

    def sample(
        self,
        n: int = 400_000,
        response: Response = NOMINAL,
        base: Payload | None = None,
        prescale: int = 5,
        tail: float = 0.03,
    ) -> EventSample:
        """As published under `base`: every prescale-th event, and all above the tail's code."""
        base = base or self.nominal
        key = (n, response, base.id, prescale, tail)
        if key not in self.draws:
            self.draws[key] = self._published(self.events(n, response), base, prescale, tail)
        sample: EventSample = self.draws[key]
        return sample

    def _published(self, events: NDArray[np.int16], base: Payload, prescale: int, tail: float) -> EventSample:
        codes = self.emulator.codes(events, base)
        hard = codes > np.quantile(codes, 1 - tail)
        kept = hard | (np.random.default_rng(3).random(len(events)) < 1 / prescale)
        inclusion = np.where(hard, 1, 1 / prescale)[kept].astype(np.float32)
        return EventSample(events[kept], inclusion, codes[kept], np.full(kept.sum(), 7), generation=0)

    def request(self, sample: EventSample, base: Payload | None = None, **settings: Any) -> FitRequest:
        target = self.target()
        words = (base or self.nominal).words
        return FitRequest(words, sample, target.p, target.m, target.rates, PILEUP, FitSettings(**settings))

    def evidence(self, payload: Payload, sample: EventSample) -> Evidence:
        return Evidence.of(self.emulator.run(sample.events, payload), sample.weights, self.target())

    def truth(self, words: NDArray[np.uint32], response: Response) -> tuple[Any, Any]:
        """Rates over those of the undrifted trigger, and overlaps, on twins that no fit has seen."""
        undrifted = self._accepts(self.nominal, NOMINAL)
        accepts = self._accepts(Payload(self.package.model.id, self.package.model.layout, words), response)
        most = np.maximum(accepts.sum(axis=0), undrifted.sum(axis=0))
        return accepts.mean(axis=0) / undrifted.mean(axis=0), (accepts & undrifted).sum(axis=0) / most

    def _accepts(self, payload: Payload, response: Response) -> NDArray[np.bool_]:
        key = ("accepts", payload.id, response)
        if key not in self.draws:
            self.draws[key] = self.emulator.run(self.events(200_000, response, seed=99), payload).accepts
        accepts: NDArray[np.bool_] = self.draws[key]
        return accepts

    def proposed(self, n: int, response: Response, **settings: Any) -> Proposal:
        """What the engine proposes on a sample of n crossings; the same question is put once."""
        key = ("proposed", n, response, tuple(sorted(settings.items())))
        if key not in self.draws:
            self.draws[key] = self.engine.propose(self.request(self.sample(n, response), **settings))
        proposal: Proposal = self.draws[key]
        return proposal


@pytest.fixture(scope="session")
def lab() -> Lab:
    return lab_of(SMALL)


@pytest.fixture(scope="session")
def weighted() -> Lab:
    """With the weights of the last layer in registers."""
    return lab_of(replace(SMALL, weights=True))


@pytest.fixture(scope="session")
def told() -> Lab:
    """With a register that tells the network the pile-up."""
    settings = replace(SMALL, conditioned=True, pileup_edges=(27.5, 32.5, 37.5, 42.5, 47.5, 52.5, 57.5))
    return lab_of(settings)


@pytest.fixture(scope="session")
def calorimeter() -> Lab:
    """With the student that sees the regions."""
    return lab_of(SMALL_CICADA)


def lab_of(settings: TrainSettings) -> Lab:
    path = trained(settings)
    package = Package.load(path)
    engine = Engine(package)
    return Lab(path, package, engine, engine.emulator, engine.reference)


@pytest.fixture(scope="session")
def scaled(lab: Lab) -> Callable[..., Payload]:
    """The nominal payload with input scales by object type."""

    @cache
    def payload(**factors: float) -> Payload:
        scales = [factors.get(f.object, 1.0) if f.kind == "pt" else 1.0 for f in lab.package.model.features]
        return lab.nominal.replace_values(input_scale=scales)

    return payload
