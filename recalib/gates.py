"""The conditions that a proposal must meet, on events that neither fit nor choice has seen."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from firmware.emulator import Emulator
from firmware.hls import CompiledDatapath
from firmware.package import Package
from firmware.payload import Payload
from recalib.evidence import SIGMAS, Evidence
from recalib.proposal import Gate
from recalib.request import FitSettings
from recalib.sample import EventSample
from recalib.surrogate import Surrogate

CHECKED = 4096
"""Events on which the executions of the datapath are compared."""

CUT = "cuts"


@dataclass(frozen=True, eq=False)
class Subject:
    """A payload before its gates: `before` and `after` are what base and payload give on `events`."""

    package: Package
    surrogate: Surrogate
    emulator: Emulator
    datapath: CompiledDatapath | None
    settings: FitSettings
    base: Payload
    payload: Payload
    events: EventSample
    before: Evidence
    after: Evidence
    n_events: int
    restores: bool

    @cached_property
    def move(self) -> float:
        """The largest |ln| of a scale's or cut's step, or the largest relative step of the LUT."""
        return max(_moves(self.base, self.payload).values())


def verdicts(subject: Subject) -> tuple[Gate, ...]:
    """All gates of the subject's knob.

    `threshold` leaves p(s) as it is and is gated on the rates and the cuts' move; the others on the fall
    of the KL and on the move of the registers as well.
    """
    return tuple(_gates(subject))


def _gates(s: Subject) -> Iterator[Gate]:
    wanted = s.settings
    n = s.n_events
    yield Gate("events", n, wanted.min_events, n >= wanted.min_events, f"{n} events, at least {wanted.min_events}")
    if s.restores:
        change, error = s.after.kl_change(s.before)
        text = f"KL {s.before.kl:.5f} → {s.after.kl:.5f}, a fall of {-change / max(error, 1e-12):.1f} σ"
        yield Gate("kl", change, -SIGMAS * error, change < -SIGMAS * error, text)
    yield from _rates(s)
    yield from _steps(s)
    yield from _retention(s)
    yield from _agreement(s)


def _rates(s: Subject) -> Iterator[Gate]:
    """Within the tolerance, or one standard error beyond it, where the error is itself within the tolerance."""
    tolerance = s.settings.rate_tolerance
    for k, (ratio, error) in enumerate(zip(s.after.rate_ratios, s.after.rate_errors, strict=True)):
        off, limit = abs(ratio - 1), tolerance + error
        text = f"cut {k}: × {ratio:.3f} ± {error:.3f} of the target rate, tolerance {tolerance:g}"
        yield Gate(f"rate {k}", float(off), float(limit), bool(off <= limit and error <= tolerance), text)


def _steps(s: Subject) -> Iterator[Gate]:
    wanted, nominal = s.settings, s.package.nominal
    step, total = _moves(s.base, s.payload), _moves(nominal, s.payload)
    largest = max(step.values())
    text = f"the largest relative step is {largest:.4f}, at least {wanted.min_move:g}"
    yield Gate("minimal move", largest, wanted.min_move, largest >= wanted.min_move, text)
    for field, size in step.items():
        most = wanted.max_cut_move if field == CUT else wanted.max_move
        if field != "lut":
            text = f"{field}: a step of {size:.3f} in ln, at most {most:g}"
            yield Gate(f"move {field}", size, most, size <= most, text)
    for field, size in total.items():
        if field not in (CUT, "lut"):
            text = f"{field}: {size:.3f} in ln from nominal, at most {wanted.max_total_move:g}"
            yield Gate(f"total {field}", size, wanted.max_total_move, size <= wanted.max_total_move, text)


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
    words = s.emulator.run(events, s.payload)
    registers = {f.name: torch.from_numpy(s.payload.value(f.name)) for f in s.payload.layout.fields}
    with torch.no_grad():
        scores = s.surrogate(torch.from_numpy(events.astype(np.float64)), registers).numpy()
    off = float(np.mean(np.abs(scores / s.package.model.lsb - words.codes) > 1))
    text = f"surrogate and integer emulator differ on {off:.2%} of {len(events)} events"
    yield Gate("surrogate", off, 0.01, off <= 0.01, text)
    if s.datapath is not None:
        golden = s.package.golden_events[:CHECKED]
        differ = _differences(s, golden, s.package.nominal) + _differences(s, events, s.payload)
        text = f"compiled datapath and integer emulator differ on {differ} of {len(golden) + len(events)} events"
        yield Gate("datapath", differ, 0, differ == 0, text)


def _differences(s: Subject, events: "np.typing.NDArray[np.integer]", payload: Payload) -> int:
    assert s.datapath is not None
    ours, theirs = s.emulator.run(events, payload), s.datapath.run(events, payload)
    return int(np.count_nonzero((ours.codes != theirs.codes) | (ours.accepts != theirs.accepts).any(axis=1)))


def _moves(base: Payload, payload: Payload) -> dict[str, float]:
    """The largest |ln| of the steps in each field of scales, in the cuts, and the LUT's largest step over its size."""
    moves = {}
    for field in base.layout.fields:
        if field.name.endswith("_scale") or field.name == CUT:
            old, new = base.value(field.name), payload.value(field.name)
            moves[field.name] = float(np.abs(np.log(np.maximum(new, 1e-9) / np.maximum(old, 1e-9))).max())
    lut = base.raw("lut")
    if lut.size:
        moves["lut"] = float(np.abs(payload.raw("lut") - lut).max() / lut.size)
    return moves
