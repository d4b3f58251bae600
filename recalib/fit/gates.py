"""The conditions that a proposal must meet, on events that neither fit nor choice has seen."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from firmware.datapath.compiled import CompiledDatapath
from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.arrays import Floats
from recalib.evidence import SIGMAS, Evidence
from recalib.inputs.locality import Locality
from recalib.knobs import forest
from recalib.knobs.weights import bias_unit, trained_weights
from recalib.lipschitz import rise
from recalib.loaded import LoadedModel
from recalib.proposal import Gate
from recalib.request import FitSettings
from recalib.sample import EventSample

CHECKED = 4096
"""Events on which the executions of the datapath are compared."""

CUT = "cuts"
UNITS = {"input_offset": " of a typical energy", "weights": " of the trained norm", "biases": " of a column's norm"}
"""What a step that is no ln is counted in."""

MOVE_SIGMAS = 2.5
"""Standard errors by which a move, or the rate that calls for it, must differ from nothing."""

SIGNAL_LOSS = 0.05
"""Relative loss of a signal from which on a human is told."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A payload before its gates.

    Args:
        before, after: what base and payload give on `events`, which neither fit nor choice has seen.
        n_events, n_eff: of the whole sample.
        locality: what of the drift is confined to few codes.
        typical: energy of each feature (n_features,).
        moves: what was turned by how much, and `errors` the standard errors of those that a fit has found.
    """

    loaded: LoadedModel
    datapath: CompiledDatapath | None
    settings: FitSettings
    base: Payload
    payload: Payload
    events: EventSample
    before: Evidence
    after: Evidence
    n_events: int
    n_eff: float
    restores: bool
    locality: Locality
    typical: Floats
    moves: Mapping[str, float]
    errors: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def move(self) -> float:
        """The largest |ln| of a scale's or cut's step, or the largest relative step of weights or of the LUT."""
        return max(self.steps(self.base).values())

    def steps(self, base: Payload) -> dict[str, float]:
        """The largest relative step in each field from another payload."""
        return _moves(self.loaded.model, base, self.payload, self.typical)


def verdicts(subject: Subject) -> tuple[Gate, ...]:
    """All gates of the subject's knob.

    `threshold` leaves p(s) as it is and is gated on the rates and the cuts' move; the others on the fall
    of the KL, on the move of the registers and on how steep the score becomes as well.
    """
    return tuple(_gates(subject))


def vetoes(gates: Iterable[Gate]) -> list[str]:
    """What speaks against a proposal; advice does not."""
    return [gate.text for gate in gates if not (gate.passed or gate.advice)]


def _gates(s: Subject) -> Iterator[Gate]:
    wanted = s.settings
    n = s.n_events
    yield Gate("events", n, wanted.min_events, n >= wanted.min_events, f"{n} events, at least {wanted.min_events}")
    text = f"the sample is as precise as {s.n_eff:.0f} equally weighted events, at least {wanted.min_effective:g}"
    yield Gate("effective", s.n_eff, wanted.min_effective, s.n_eff >= wanted.min_effective, text)
    if s.restores:
        change, error = s.after.kl_change(s.before)
        text = f"KL {s.before.kl:.5f} → {s.after.kl:.5f}, a fall of {-change / max(error, 1e-12):.1f} σ"
        yield Gate("kl", change, -SIGMAS * error, change < -SIGMAS * error, text)
    yield from _significance(s)
    yield from _rates(s)
    yield from _steps(s)
    if s.loaded.model.conditions:
        yield from _conditions(s)
    if s.restores:
        steeper = rise(s.loaded.model, s.payload, s.loaded.nominal)
        text = f"the score is at most × {steeper:.2f} as steep as nominal in an input, limit {wanted.max_lipschitz:g}"
        yield Gate("lipschitz", steeper, wanted.max_lipschitz, steeper <= wanted.max_lipschitz, text)
    yield from _retention(s)
    yield from _agreement(s)
    yield from _advice(s)


def _significance(s: Subject) -> Iterator[Gate]:
    """Whether there was anything to turn the knob for: a rate that was off, or a scale that is not 1."""
    if not s.restores:
        off = float((np.abs(s.before.rate_ratios - 1) / np.maximum(s.before.rate_errors, 1e-12)).max())
        text = f"the rates were off by {off:.1f} σ, at least {MOVE_SIGMAS:g}"
    elif s.errors:
        off = max(abs(s.moves[name]) / max(error, 1e-12) for name, error in s.errors.items())
        text = f"the largest move is {off:.1f} σ, at least {MOVE_SIGMAS:g}"
    else:
        return
    yield Gate("significant", off, MOVE_SIGMAS, off >= MOVE_SIGMAS, text)


def _advice(s: Subject) -> Iterator[Gate]:
    """What a human should know: whether the drift is confined, and what becomes of the stored signals."""
    found = s.locality
    text = "; ".join(filter(None, (found.excess or "no excess is confined to few codes", found.deficit)))
    yield Gate("local excess", float(bool(found.excess)), 0.0, not found.excess, text, advice=True)
    for name, events in sorted(s.loaded.package.signals.items()):
        before, after = (s.loaded.emulator.run(events, payload).accepts.mean(axis=0) for payload in (s.base, s.payload))
        kept = float((after / np.maximum(before, 1 / len(events))).min())
        shares = ", ".join(f"{old:.3f} → {new:.3f}" for old, new in zip(before, after, strict=True))
        text = f"{name}, undrifted: efficiency {shares} at the cuts"
        yield Gate(f"signal {name}", kept, 1 - SIGNAL_LOSS, kept >= 1 - SIGNAL_LOSS, text, advice=True)


def _rates(s: Subject) -> Iterator[Gate]:
    """Within the tolerance, or one standard error beyond it, where the error is itself within the tolerance."""
    tolerance = s.settings.rate_tolerance
    for k, (ratio, error) in enumerate(zip(s.after.rate_ratios, s.after.rate_errors, strict=True)):
        off, limit = abs(ratio - 1), tolerance + error
        text = f"cut {k}: × {ratio:.3f} ± {error:.3f} of the target rate, tolerance {tolerance:g}"
        yield Gate(f"rate {k}", float(off), float(limit), bool(off <= limit and error <= tolerance), text)


def _steps(s: Subject) -> Iterator[Gate]:
    wanted, step, total = s.settings, s.steps(s.base), s.steps(s.loaded.nominal)
    largest = max(step.values())
    text = f"the largest relative step is {largest:.4f}, at least {wanted.min_move:g}"
    yield Gate("minimal move", largest, wanted.min_move, largest >= wanted.min_move, text)
    for name, size in step.items():
        most = wanted.max_cut_move if name == CUT else wanted.max_move
        if name != "lut" and not name.startswith("condition"):
            text = f"{name}: a step of {size:.3f}{UNITS.get(name, ' in ln')}, at most {most:g}"
            yield Gate(f"move {name}", size, most, size <= most, text)
    for name, size in total.items():
        if name not in (CUT, "lut") and not name.startswith("condition"):
            text = f"{name}: {size:.3f}{UNITS.get(name, ' in ln')} from nominal, at most {wanted.max_total_move:g}"
            yield Gate(f"total {name}", size, wanted.max_total_move, size <= wanted.max_total_move, text)


def _conditions(s: Subject) -> Iterator[Gate]:
    """A network is told nothing that it was not trained on."""
    for condition, raw in zip(s.loaded.model.conditions, s.payload.raw("conditioning"), strict=True):
        beyond = max(condition.low - int(raw), int(raw) - condition.high, 0)
        text = f"condition {condition.name}: raw {raw}, trained from {condition.low} to {condition.high}"
        yield Gate(f"trained {condition.name}", beyond, 0, beyond == 0, text)


def _retention(s: Subject) -> Iterator[Gate]:
    """What is accepted now must stay accepted, as far as the new rate lets it."""
    kept = s.after.retention(s.before)
    room = np.minimum(1.0, s.after.rates / np.maximum(s.before.rates, 1e-300))
    for k, (share, most) in enumerate(zip(kept, room, strict=True)):
        limit = float(s.settings.min_retention * most)
        text = f"cut {k}: {share:.2f} of the accepted events stay, at least {limit:.2f}"
        yield Gate(f"retention {k}", float(share), limit, bool(share >= limit), text)


def _agreement(s: Subject) -> Iterator[Gate]:
    events = s.events.events[:CHECKED]
    words = s.loaded.emulator.run(events, s.payload)
    registers = {f.name: torch.from_numpy(s.payload.value(f.name)) for f in s.payload.layout.fields}
    with torch.no_grad():
        scores = s.loaded.surrogate(torch.from_numpy(events.astype(np.float64)), registers).numpy()
    off = float(np.mean(np.abs(scores / s.loaded.model.lsb - words.codes) > 1))
    text = f"surrogate and integer emulator differ on {off:.2%} of {len(events)} events"
    yield Gate("surrogate", off, 0.01, off <= 0.01, text)
    if s.datapath is not None:
        golden = s.loaded.package.golden_events[:CHECKED]
        differ = _differences(s, golden, s.loaded.nominal) + _differences(s, events, s.payload)
        text = f"compiled datapath and integer emulator differ on {differ} of {len(golden) + len(events)} events"
        yield Gate("datapath", differ, 0, differ == 0, text)


def _differences(s: Subject, events: "np.typing.NDArray[np.integer]", payload: Payload) -> int:
    assert s.datapath is not None
    ours, theirs = s.loaded.emulator.run(events, payload), s.datapath.run(events, payload)
    return int(np.count_nonzero((ours.codes != theirs.codes) | (ours.accepts != theirs.accepts).any(axis=1)))


def _moves(model: Model, base: Payload, payload: Payload, typical: Floats) -> dict[str, float]:
    """The largest |ln| of the steps in each field of scales, in the cuts and the forest, and the LUT's over its size.

    Of input offsets it is the step over a typical energy (n_features,).
    Of conditions it is the step over the range trained on; of weights the largest step of those of one input over
    their trained norm, of biases over `bias_unit`.
    """
    moves = {}
    for part in base.layout.fields:
        if part.name.endswith("_scale") or part.name == CUT:
            old, new = base.value(part.name), payload.value(part.name)
            moves[part.name] = float(np.abs(np.log(np.maximum(new, 1e-9) / np.maximum(old, 1e-9))).max())
    offset = np.abs(payload.value("input_offset") - base.value("input_offset"))
    moves["input_offset"] = float((offset / typical).max())
    if model.forest is not None:
        moves[forest.FIELD] = forest.move(model, base, payload)
    if model.has_weights:
        weight, _ = trained_weights(model)
        step = (payload.value("weights") - base.value("weights")).reshape(weight.shape)
        norms = np.maximum(np.linalg.norm(weight, axis=1), bias_unit(model) / len(weight))
        moves["weights"] = float((np.linalg.norm(step, axis=1) / norms).max())
        moves["biases"] = float(np.abs(payload.value("biases") - base.value("biases")).max() / bias_unit(model))
    for i, c in enumerate(model.conditions):
        change = int(payload.raw("conditioning")[i]) - int(base.raw("conditioning")[i])
        moves[f"condition {c.name}"] = abs(change) / max(c.high - c.low, 1)
    lut = base.raw("lut")
    if lut.size:
        moves["lut"] = float(np.abs(payload.raw("lut") - lut).max() / lut.size)
    return moves
