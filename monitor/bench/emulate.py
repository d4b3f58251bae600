"""Figures of the product, each measured by a command."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Answers, Emulator
from firmware.datapath.verilated import VerilatedDatapath
from firmware.errors import CompilerMissing, RtlMissing, VerilatorMissing
from firmware.extras import MissingExtra
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.events import Generator, digitise
from monitor.bench.working_point import DRAWN_AT_ONCE

PAYLOADS = 21


def random_payload(package: Package, random: np.random.Generator) -> Payload:
    """Every register somewhere else: scales and thresholds within 20 %, small offsets, a monotone table, other cuts."""
    nominal, forest = package.nominal, package.model.forest
    scales = {
        field.name: nominal.value(field.name) * np.exp(random.uniform(-0.2, 0.2, field.size))
        for field in nominal.layout.fields
        if field.name.endswith("_scale")
    }
    offsets = {
        name: random.uniform(-2, 2, nominal.layout[name].size)
        for name in ("input_offset", "latent_offset", "output_offset")
    }
    lut = np.sort(random.integers(0, nominal.layout["lut"].size, nominal.layout["lut"].size))
    cuts = np.sort(random.integers(1, nominal.layout["lut"].size, package.model.n_cuts))
    if forest is not None:
        nominal = nominal.replace(
            forest=forest.scaled(np.exp(random.uniform(-0.2, 0.2, forest.shape.n_features)), 1).words
        )
    return nominal.replace_values(**scales, **offsets).replace(lut=lut, cuts=cuts)


def executions(package: Package, cache: Path) -> tuple[dict[str, Callable[..., Answers]], dict[str, str]]:
    """The executions of the datapath that this machine has, NumPy's first, and why it lacks the others."""
    runs: dict[str, Callable[..., Answers]] = {"numpy": Emulator(package.model).run}
    lacking = {}
    for name, datapath in (("compiled", CompiledDatapath), ("verilated", VerilatedDatapath)):
        try:
            runs[name] = datapath(package.model, cache).run
        except (CompilerMissing, MissingExtra, RtlMissing, VerilatorMissing) as error:
            lacking[name] = str(error)
    return runs, lacking


def emulate(package: Package, cache: Path, events: int) -> dict[str, Any]:
    """Events per second of each execution, and the words in which it differs from NumPy's.

    The payloads are the nominal one and 20 random ones.
    """
    drawn = digitise(Generator(7).draw(events, np.random.default_rng(7).uniform(10, 65, events)))
    runs, lacking = executions(package, cache)
    random = np.random.default_rng(7)
    payloads = [package.nominal, *(random_payload(package, random) for _ in range(PAYLOADS - 1))]
    seconds = dict.fromkeys(runs, 0.0)
    mismatches = dict.fromkeys([*runs][1:], 0)
    words = 0
    for payload in payloads:
        for start in range(0, events, DRAWN_AT_ONCE):
            answers = {}
            for name, run in runs.items():
                began = time.perf_counter()
                answers[name] = run(drawn[start : start + DRAWN_AT_ONCE], payload)
                seconds[name] += time.perf_counter() - began
            for part in ("codes", "core_codes", "latent", "accepts"):
                expected = getattr(answers["numpy"], part)
                words += expected.size
                for name in mismatches:
                    mismatches[name] += int((getattr(answers[name], part) != expected).sum())
    return {
        "events": events,
        "payloads": len(payloads),
        "events_per_s": {name: round(events * len(payloads) / spent) for name, spent in seconds.items()},
        "words_compared": words,
        "mismatches": mismatches,
        "lacking": lacking,
    }
