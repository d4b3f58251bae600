"""What a payload does to events that no fit has seen, told by their undrifted twins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from firmware.sim.world.detector import Floats32, Response, Truth, respond
from firmware.sim.world.events import SIGNALS, Generator, View, digitise
from monitor.bench.arrays import Array
from monitor.bench.recalibrate.scenarios import Scenario, Trigger, truths
from monitor.bench.working_point import SIGNAL_EVENTS
from recalib.arrays import Events
from recalib.evidence import Evidence, Target

TAIL = 0.08
"""Events whose code, drifted or not, is in that upper part are all kept."""
REST = 10
"""One in so many of the others is."""
LEAST_RESPONSE = 0.05


@dataclass(frozen=True, eq=False)
class Ratio:
    """Σ numerator / Σ denominator over events, and by how much each of these (n,) moves it.

    The events' number is Poisson, so that the variance is Σ influence² to first order, and that of a
    difference of two ratios over the same events is Σ (their influences' difference)².

    >>> half = Ratio.of(np.array([1.0, 0.0, 0.0, 1.0]), np.ones(4))
    >>> half.value, half.error
    (0.5, 0.25)
    """

    value: float
    influence: Array

    @classmethod
    def of(cls, numerator: Array, denominator: Array) -> Self:
        """From what each event adds to numerator and denominator."""
        total = max(float(denominator.sum()), 1e-300)
        value = float(numerator.sum()) / total
        return cls(value, (numerator - value * denominator) / total)

    @property
    def error(self) -> float:
        """One standard deviation."""
        return _norm(self.influence)


@dataclass(frozen=True, eq=False)
class PayloadFigures:
    """One payload's figures, the ratios per cut.

    Args:
        rates: over the undrifted trigger's, or over the target where there are no twins.
        overlaps: n(A ∩ A₀) / max(n(A), n(A₀)); None without twins.
        signals: efficiency of the first cut over that of the deployed payload on undrifted events.
        accepts: events that the first cut accepts, by number.
    """

    rates: tuple[Ratio, ...]
    overlaps: tuple[Ratio, ...] | None
    signals: dict[str, Ratio]
    kl: float
    kl_floor: float
    accepts: int

    def worse_than(self, other: PayloadFigures) -> dict[str, tuple[float, float]]:
        """By how much overlap and rate are worse at the first cut, and the errors of that over the same events."""
        mine, theirs = self.rates[0], other.rates[0]
        signs = np.sign(mine.value - 1), np.sign(theirs.value - 1)
        off = abs(mine.value - 1) - abs(theirs.value - 1)
        found = {"rate": (off, _norm(signs[0] * mine.influence - signs[1] * theirs.influence))}
        if self.overlaps is not None and other.overlaps is not None:
            ours, others = self.overlaps[0], other.overlaps[0]
            found["overlap"] = others.value - ours.value, _norm(others.influence - ours.influence)
        return found


@dataclass(frozen=True, eq=False)
class Signal:
    """Drifted events of one signal, and what the deployed payload accepts (n, n_cuts) of their undrifted twins."""

    events: Events
    undrifted: Array


@dataclass(frozen=True, eq=False)
class Twins:
    """Drifted events of a scenario, as many as make its figures good.

    Args:
        events, weights: (n, width), and crossings (n,) for which each stands.
        undrifted: what the deployed payload accepts (n, n_cuts) of their twins; None without these.
        limit: overlap with the exact inverse of the drift's scales; None where it has none. Scales beyond that,
            such as a smaller one for a noisier MET, can be a little better.
    """

    target: Target
    events: Events
    weights: Array
    undrifted: Array | None
    signals: dict[str, Signal]
    limit: float | None

    @property
    def target_ratio(self) -> Ratio | None:
        """The first cut's target rate over the undrifted one: how well the reference knows it."""
        if self.undrifted is None:
            return None
        return Ratio.of(self.weights * self.target.rates[0], self.weights * self.undrifted[:, 0])

    def judge(self, trigger: Trigger) -> PayloadFigures:
        """The figures of a payload on these events."""
        words = trigger.run(self.events)
        evidence = Evidence.of(words, self.weights, self.target)
        w, a, a0 = self.weights[:, None], words.accepts, self.undrifted
        return PayloadFigures(
            rates=_ratios(w * a, w * (self.target.rates if a0 is None else a0)),
            overlaps=None if a0 is None else _overlaps(w, a, a0),
            signals={name: _efficiency(trigger, signal) for name, signal in self.signals.items()},
            kl=evidence.kl,
            kl_floor=evidence.kl_floor,
            accepts=int(a[:, 0].sum()),
        )


def draw_twins(deployed: Trigger, scenario: Scenario, target: Target, seed: int, n: int) -> Twins:
    """Draw crossings, of which all that matter for the cuts are kept and the others thinned out."""
    random = np.random.default_rng([seed, 1])
    undrifted = deployed if scenario.told is None else deployed.told(scenario.pileup)
    parts: list[tuple[Any, ...]] = []
    ideal, nominal, bound = [], [], 0.0
    for truth in truths(seed, n, scenario.pileup):
        events = deployed.view(truth, scenario.response)
        drifted = deployed.run(events).codes
        twins = undrifted.run(deployed.view(truth)) if scenario.has_twins else None
        codes = drifted if twins is None else twins.codes
        bound = bound or float(np.quantile(codes, 1 - TAIL))
        hard = np.maximum(drifted, codes) > bound
        kept = hard | (random.random(len(truth)) < 1 / REST)
        accepts = codes[kept, None] >= deployed.cuts
        parts.append((events[kept], np.where(hard, 1.0, REST)[kept], accepts))
        if scenario.has_inverse:
            nominal.append(codes)
            ideal.append(deployed.run(corrected(truth, scenario.response, deployed.view)).codes)
    events, weights, accepts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Twins(
        target,
        events,
        weights,
        accepts if scenario.has_twins else None,
        draw_signals(deployed, scenario, seed),
        best_overlap(np.concatenate(ideal), np.concatenate(nominal), int(deployed.cuts[0])) if ideal else None,
    )


def draw_signals(deployed: Trigger, scenario: Scenario, seed: int) -> dict[str, Signal]:
    """Events of each signal, drifted as the scenario says."""
    found = {}
    for kind in SIGNALS:
        truth = Generator(seed).draw_signal(kind, SIGNAL_EVENTS, scenario.pileup)
        undrifted = deployed.run(deployed.view(truth)).accepts
        found[kind] = Signal(deployed.view(truth, scenario.response), undrifted)
    return found


def corrected(truth: Truth, response: Response, view: View = digitise) -> Events:
    """What the trigger would get if every p_T were divided by the mean response at its η, before rounding.

    Smearing, the thresholds and the noise of MET stay as they are.
    """
    pt, eta, phi = respond(truth, response)
    pulse = replace(truth, pt=np.ones_like(truth.pt), smear=np.zeros_like(truth.smear))
    mean: Floats32 = np.maximum(respond(pulse, response)[0], LEAST_RESPONSE)
    return view(replace(truth, pt=pt / mean, eta=eta, phi=phi), Response(met_noise=response.met_noise))


def best_overlap(codes: Array, undrifted: Array, cut: int) -> float:
    """With the accepts of the undrifted codes: at the cut, or where it gives the undrifted rate."""
    a0 = undrifted >= cut
    moved = np.partition(codes, len(codes) - a0.sum())[len(codes) - a0.sum()]
    accepts = [codes >= at for at in (cut, moved)]
    return float(max((a & a0).sum() / max(a.sum(), a0.sum()) for a in accepts))


def _ratios(numerators: Array, denominators: Array) -> tuple[Ratio, ...]:
    return tuple(Ratio.of(a, b) for a, b in zip(numerators.T, denominators.T, strict=True))


def _overlaps(w: Array, a: Array, a0: Array) -> tuple[Ratio, ...]:
    most = np.where((w * a).sum(axis=0) > (w * a0).sum(axis=0), a, a0)
    return _ratios(w * (a & a0), w * most)


def _efficiency(trigger: Trigger, signal: Signal) -> Ratio:
    accepts = trigger.run(signal.events).accepts[:, 0]
    return Ratio.of(accepts.astype(np.float64), signal.undrifted[:, 0].astype(np.float64))


def _norm(influence: Array) -> float:
    return float(np.sqrt((influence**2).sum()))
