"""The worlds of the re-calibration figures: what drifts, how far, and the crossings drawn there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.datapath.emulator import Answers, Emulator
from firmware.model.payload import Payload
from firmware.sim.world.detector import NOMINAL, Response, Truth
from firmware.sim.world.drifts import LIMITS
from firmware.sim.world.events import VIEWS, Generator, View, digitise
from monitor.bench.working_point import DRAWN_AT_ONCE, PILEUP, PILEUP_RANGE, SIZING_EVENTS
from monitor.stats.count.reference import Reference
from recalib.arrays import Events
from recalib.sample import EventSample

LOSS, GAIN = 0.78, 1.28
"""A scenario is as strong as it takes for the first cut's rate to reach one of these, over the undrifted one."""
STRENGTHS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Tried from the weakest on; between the first that is enough and the one before it follow the bisections."""
BISECTIONS = 6
PRESCALE = 15
"""Of the zero-bias stratum of the fit's sample: the tail is then some 20 % of the sample at a rate of 1 %."""
DRAWS = 10
"""Mixtures that are drawn before one is taken that cannot be sized."""

JET_DOWN, JET_UP, EG_MET, AGEING, PEDESTAL = "jet_down", "jet_up", "eg_met", "ageing", "pedestal"
PILEUPS = ("pileup_down", "pileup_up")
MIXTURES = ("mixture_1", "mixture_2")
DIRECTIONS: dict[str, tuple[dict[str, float], ...]] = {
    JET_DOWN: ({"jet_energy_scale": LIMITS["jet_energy_scale"][0]},),
    JET_UP: ({"jet_energy_scale": LIMITS["jet_energy_scale"][1]},),
    EG_MET: ({"eg_scale": 0.5, "met_noise": 2.0}, {"eg_scale": -0.5, "met_noise": 2.0}),
    AGEING: ({"ageing": LIMITS["ageing"][1]},),
    "dead_region": ({"dead_phi": LIMITS["dead_phi"][1]},),
    "hot_tower": ({"hot_tower": LIMITS["hot_tower"][1]},),
    PEDESTAL: tuple({"jet_pedestal": end} for end in reversed(LIMITS["jet_pedestal"])),
}
"""The response at full strength; where there are two, the first that can be sized is taken."""
MIXED = {"jet_energy_scale": 0.3, "eg_scale": 0.3, "met_noise": 2.0, "ageing": 0.8, "dead_phi": 1.0}
"""What mixtures are made of, each at full strength; the two scales go either way."""
STALE_PILEUP = "stale_pileup"
"""A network that is told a pile-up is told its nominal one while the collisions have another."""
NAMES = (*DIRECTIONS, *PILEUPS, *MIXTURES, STALE_PILEUP)


@dataclass(frozen=True)
class Scenario:
    """One world.

    Args:
        rate: of the first cut over the undrifted one, as the sizing has it.
        sized: whether that reaches `LOSS` or `GAIN`; the strength is the largest where it does not.
        told: the pile-up that the network is told, at which the scores are to be as they were; None where it is none's.
    """

    name: str
    response: Response
    pileup: float
    rate: float
    sized: bool
    told: float | None = None

    @property
    def has_twins(self) -> bool:
        """Whether every crossing has an undrifted twin: another pile-up makes other crossings.

        That of a crossing whose pile-up the network is told wrongly is the same under the right one.
        """
        return self.pileup == PILEUP or self.told is not None

    @property
    def wanted_pileup(self) -> float:
        """At which the reference has what is wanted."""
        return self.pileup if self.told is None else self.told

    @property
    def has_inverse(self) -> bool:
        """Whether the drift is a scale of what is still there."""
        response = self.response
        return (
            self.told is None
            and self.has_twins
            and not (response.dead_phi or response.hot_tower or response.jet_pedestal)
        )

    def drifts(self) -> dict[str, float]:
        """What is not nominal, and by how much."""
        moved = {f.name: getattr(self.response, f.name) for f in fields(self.response)}
        found = {name: round(value, 5) for name, value in moved.items() if value}
        return found if self.pileup == PILEUP else found | {"pileup": round(self.pileup, 2)}


@dataclass(frozen=True, eq=False)
class Trigger:
    """A payload on its datapath."""

    emulator: Emulator
    payload: Payload

    @property
    def view(self) -> View:
        """How its events come from a crossing."""
        return VIEWS[self.emulator.model.n_features]

    def run(self, events: Events) -> Answers:
        """The datapath's answers to events."""
        return self.emulator.run(events, self.payload)

    def told(self, pileup: float) -> Trigger:
        """With the pile-up that its network is told."""
        (condition,) = self.emulator.model.conditions
        return replace(self, payload=self.payload.replace_values(conditioning=[condition.value(pileup)]))

    @property
    def cuts(self) -> npt.NDArray[np.int64]:
        """In codes."""
        return self.payload.raw("cuts")


def truths(seed: int, n: int, pileup: float) -> Iterator[Truth]:
    """So many crossings in chunks, the same for the same seed."""
    source = Generator(seed)
    for start in range(0, n, DRAWN_AT_ONCE):
        yield source.draw(min(DRAWN_AT_ONCE, n - start), pileup)


def published(trigger: Trigger, scenario: Scenario, seed: int, n: int, tail_code: int) -> EventSample:
    """The first n events that a board publishes: one in `PRESCALE`, and each from `tail_code` on."""
    source, random = Generator(seed), np.random.default_rng([seed, 1])
    parts: list[tuple[Any, ...]] = []
    while sum(len(part[0]) for part in parts) < n:
        events = trigger.view(source.draw(DRAWN_AT_ONCE, scenario.pileup), scenario.response)
        codes = trigger.run(events).codes
        tail = codes >= tail_code
        kept = tail | (random.random(DRAWN_AT_ONCE) < 1 / PRESCALE)
        parts.append((events[kept], np.where(tail, 1.0, 1 / PRESCALE)[kept].astype(np.float32), codes[kept]))
    events, inclusion, codes = (np.concatenate(column)[:n] for column in zip(*parts, strict=True))
    return EventSample(events, inclusion, codes, np.ones(n, np.int64), generation=0)


def crossings(scenario: Scenario, seed: int, n: int, view: View = digitise) -> Events:
    """The first n of the crossings from which `published` takes its events."""
    source = Generator(seed)
    chunks = [view(source.draw(DRAWN_AT_ONCE, scenario.pileup), scenario.response) for _ in range(0, n, DRAWN_AT_ONCE)]
    return np.concatenate(chunks)[:n]


def scenarios(names: Sequence[str], trigger: Trigger, reference: Reference, seed: int) -> Iterator[Scenario]:
    """Each with the strength that its rate takes; mixtures are other ones for another seed."""
    random = np.random.default_rng([seed, 1])
    mixed = {name: [mixture(random) for _ in range(DRAWS)] for name in MIXTURES}
    drawn = list(truths(seed, SIZING_EVENTS, PILEUP))
    accepted = sum(trigger.run(trigger.view(truth)).accepts[:, 0].sum() for truth in drawn)

    def ratio(response: Response) -> float:
        drifted = sum(trigger.run(trigger.view(truth, response)).accepts[:, 0].sum() for truth in drawn)
        return float(drifted / accepted)

    for name in names:
        if name == STALE_PILEUP:
            yield from _stale_pileup(trigger)
        elif name in PILEUPS:
            yield _at_pileup(name, reference)
        else:
            yield _sized(name, DIRECTIONS.get(name) or mixed[name], ratio)


def mixture(random: np.random.Generator) -> dict[str, float]:
    """Two or three of the kinds with random shares, the scales up or down."""
    kinds = random.choice(list(MIXED), size=random.integers(2, 4), replace=False)
    signs = {kind: random.choice([-1.0, 1.0]) if kind.endswith("scale") else 1.0 for kind in kinds}
    return {str(kind): float(signs[kind] * random.uniform(0.2, 1) * MIXED[kind]) for kind in kinds}


def crossing(ratio: Callable[[float], float]) -> tuple[float, float, bool]:
    """The least strength in (0, 1], to a hundredth of itself, at which the ratio reaches `LOSS` or `GAIN`.

    Returns:
        Strength, the ratio there, and whether it is reached; if not, the strength is 1.

    >>> strength, rate, sized = crossing(lambda strength: 1 - strength)
    >>> round(strength, 2), round(rate, 2), sized
    (0.22, 0.78, True)
    """

    def reached(value: float) -> bool:
        return value <= LOSS or value >= GAIN

    low, value = 0.0, 1.0
    for high in STRENGTHS:
        value = ratio(high)
        if reached(value):
            break
        low = high
    else:
        return 1.0, value, False
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        found = ratio(middle)
        low, high, value = (low, middle, found) if reached(found) else (middle, high, value)
    return high, value, True


def _sized(name: str, directions: Sequence[dict[str, float]], ratio: Callable[[Response], float]) -> Scenario:
    tried = []
    for direction in directions:
        strength, rate, sized = crossing(lambda s, d=direction: ratio(_along(d, s)))  # type: ignore[misc]
        tried.append(Scenario(name, _along(direction, strength), PILEUP, rate, sized))
        if sized:
            return tried[-1]
    return max(tried, key=lambda scenario: abs(np.log(scenario.rate)))


def _along(direction: dict[str, float], strength: float) -> Response:
    return replace(NOMINAL, **{kind: strength * full for kind, full in direction.items()})


def _stale_pileup(trigger: Trigger) -> Iterator[Scenario]:
    """At the highest pile-up that the network was trained on; nothing if it is told none."""
    for condition in trigger.emulator.model.conditions:
        if condition.name == "pileup":
            told, pileup = condition.quantity(condition.nominal), condition.quantity(condition.high)
            n = SIZING_EVENTS
            accepted = [
                sum(at.run(trigger.view(truth)).accepts[:, 0].sum() for truth in truths(1, n, pileup))
                for at in (trigger, trigger.told(pileup))
            ]
            rate = float(accepted[0] / accepted[1])
            yield Scenario(STALE_PILEUP, NOMINAL, pileup, rate, not LOSS < rate < GAIN, told)


def _at_pileup(name: str, reference: Reference) -> Scenario:
    """Where the reference expects such a rate."""
    end = PILEUP_RANGE[PILEUPS.index(name)]

    def rate(pileup: float) -> float:
        return float(reference.rates_of(reference.expected(pileup).p)[0])

    strength, ratio, sized = crossing(lambda s: rate(PILEUP + s * (end - PILEUP)) / rate(PILEUP))
    return Scenario(name, NOMINAL, PILEUP + strength * (end - PILEUP), ratio, sized)
