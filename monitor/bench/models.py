"""The models of the re-calibration figures, each with a reference for the bench's working point."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.model import axol1tl
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.events import VIEWS, Generator
from monitor.bench.outside import OutsideDataMissing, lacks, outside_data
from monitor.bench.working_point import GOLDEN, RATES
from recalib.progress import Progress
from recalib.training import train
from recalib.training.sources import digest

ROOT = Path(__file__).parents[2]
WEIGHTS = outside_data("axol1tl_v4_weights.npz")

DEFAULT = ("own", "v4")
"""The models whose figures are shown unless others are asked for."""
ENCODER = train.SETTINGS["axol1tl"]
TRAINED = {
    "own": ENCODER,
    "weights": replace(ENCODER, weights=True),
    "conditioned": replace(ENCODER, conditioned=True),
    "cicada": train.SETTINGS["cicada"],
    "forest": train.SETTINGS["forest"],
}
"""By name, what the project trains itself."""

SEED = 1965
REFERENCE_EVENTS = 6_000_000
PILEUP_EDGES = (20.0, 30.0, 40.0, 50.0, 60.0)
SLICE_SHARES = (1 / 6, 1 / 6, 1 / 2, 1 / 6)
"""Of the events: half are in the slice around the working point, so that the rate there is known to 0.6 %."""
REFERENCE_AT_ONCE = 100_000
"""Events."""


def models(names: Collection[str], own: Path, progress: Progress = print) -> dict[str, Model]:
    """The models of these names, or those of `DEFAULT` as far as there are the data for them.

    Args:
        names: as people gave them; none for `DEFAULT`.
        own: the package of the project's encoder; those of the others are beside it. They are made if need be.
        progress: is told what is made, and what is left out.

    Raises:
        OutsideDataMissing: if a model was asked for by name whose weights are not at hand.
    """
    found = {}
    for name in names or DEFAULT:
        try:
            found[name] = _model(name, own, progress)
        except OutsideDataMissing as missing:
            if names:
                raise
            progress(f"{name} is left out: {missing}")
    return found


def _model(name: str, own: Path, progress: Progress) -> Model:
    if name == "v4":
        return axol1tl_v4()
    path = own if name == "own" else own.with_name(f"{name}.driftd")
    return train.build_package(path, TRAINED[name], progress).model


def axol1tl_v4() -> Model:
    """AXOL1TL v4 with its published weights.

    Raises:
        OutsideDataMissing: if these are not at hand.
    """
    if not WEIGHTS.exists():
        raise OutsideDataMissing(lacks("weights of AXOL1TL v4", WEIGHTS))
    with np.load(WEIGHTS) as arrays:
        weights, biases = ([arrays[name] for name in sorted(arrays.files) if name[0] == kind] for kind in "wb")
        shift, offset = arrays["input_shift"], arrays["input_offset"]
    return axol1tl.model("axol1tl_v4", weights, biases, shift, offset, n_cuts=len(RATES))


def bench_package(model: Model, folder: Path, events: int = REFERENCE_EVENTS, progress: Progress = print) -> Package:
    """The model with a reference of `events`, taken from the folder if the same code has made it before."""
    view = VIEWS[model.n_features]
    path = folder / f"{model.name}-{_recipe(model, events)[:16]}.driftd"
    if path.exists():
        return Package.load(path)

    def generated() -> Iterator[tuple[Any, Any]]:
        source, random = Generator(SEED), np.random.default_rng([SEED, 1])
        for start in range(0, events, REFERENCE_AT_ONCE):
            number = random.choice(len(SLICE_SHARES), min(REFERENCE_AT_ONCE, events - start), p=SLICE_SHARES)
            pileup = random.uniform(np.array(PILEUP_EDGES)[number], np.array(PILEUP_EDGES)[number + 1])
            yield view(source.draw(len(pileup), pileup)), pileup
        progress(f"{model.name}: a reference of {events:,} events")

    reference = train.reference_of(model, generated(), RATES, PILEUP_EDGES, SEED)
    nominal = Payload.nominal(model, reference.binning.cuts)
    golden = view(Generator(SEED + 1).draw(GOLDEN, float(np.mean(PILEUP_EDGES))))
    package = Package(
        model=model,
        nominal=nominal,
        address_table=address_table([(model.name, model.layout, model.n_cuts)]),
        reference=reference.to_bytes(),
        golden_events=golden,
        golden_codes=Emulator(model).codes(golden, nominal),
        lineage={"rates": reference.target_rates.tolist()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    package.save(path)
    return package


def _recipe(model: Model, events: int) -> str:
    """Of all that the package depends on."""
    settings = [model.id, events, SEED, RATES, PILEUP_EDGES, SLICE_SHARES, digest(__name__, ROOT)]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()
