"""A model package that no training made: three inputs, random weights, a reference of random events."""

from functools import cache

import numpy as np

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from monitor.stats.count.building import reference_of_sample
from tests.support.rig import tiny_model

EVENTS = 60_000
CUT_RATES = (0.02, 0.005)


def tiny_events(n: int, seed: int = 1) -> np.ndarray:
    """Inputs (n, 3) of the tiny model, as its reference has them."""
    model = tiny_model()
    low, high = model.limits
    drawn = np.random.default_rng(seed).normal(0, 60, (n, model.n_features)).astype(np.int64)
    return np.clip(drawn, low, high)


@cache
def tiny_codes() -> np.ndarray:
    """Score codes (EVENTS,) of the events that the reference is made of, under any cuts."""
    model = tiny_model()
    return Emulator(model).run(tiny_events(EVENTS), Payload.nominal(model, [1, 2])).codes


@cache
def tiny_package() -> Package:
    """The package; its nominal cuts have about the rates `CUT_RATES`."""
    model = tiny_model()
    emulator = Emulator(model)
    events = tiny_events(EVENTS)
    reference = reference_of_sample([(tiny_codes(), events, None)], target_rates=CUT_RATES, bits=18)
    nominal = Payload.nominal(model, reference.binning.cuts)
    golden = tiny_events(64, seed=2)
    return Package(
        model=model,
        nominal=nominal,
        address_table=address_table([(model.name, model.layout, model.n_cuts)]),
        reference=reference.to_bytes(),
        golden_events=golden,
        golden_codes=emulator.codes(golden, nominal),
        lineage={},
    )
