"""A package of an imported model: its reference and golden vectors from events of files or of the generator."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.errors import ModelError, SpecificationError
from firmware.imports.specification import Specification
from firmware.model.axol1tl import FEATURES
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.events import Generator, digitise
from monitor.archive.columns import INPUT_RANGE, check_pileup
from monitor.archive.errors import FileFault
from monitor.archive.formats import path_of
from monitor.archive.recipe import Pileups, Recipe
from monitor.archive.samples import Rows, rows
from monitor.stats.arrays import FloatArray
from recalib.training.train import reference_of

GOLDEN = 2048
GOLDEN_RANDOM = 256
"""Of them, flat over the range of every feature."""
CHUNK_EVENTS = 100_000
PILEUP_EDGES = tuple(np.arange(7.5, 68.0, 5.0).tolist())

Events = npt.NDArray[np.int16]
EventChunks = Iterator[tuple[Events, FloatArray | None]]
"""Events (n, n_features) and, where it is known, their pile-up (n,)."""


@dataclass(frozen=True)
class Sample:
    """Events that a model's scores are to be known for.

    Args:
        chunks: passes over them, each as events (n, n_features) and their pile-up (n,).
        described: where they come from, for the lineage.
    """

    chunks: Callable[[Model], EventChunks]
    pileup_edges: tuple[float, ...] | None
    described: dict[str, Any]


def of_files(files: Sequence[str], inputs: Sequence[str], recipe: Recipe) -> Sample:
    """Hardware integers in columns of files; the recipe names that of the pile-up and its slices, if there are any.

    Raises:
        ArchiveError: pile-up slices without a column; of a file that does not fit, a FileFault.
    """
    pileup = recipe.pileup
    recipe.check_pileup_column()
    edges = recipe.pileup_edges
    if pileup and not edges:
        seen = Pileups()
        for part in rows(files, [pileup]):
            check_pileup(part, pileup)
            seen.add(part.columns[pileup])
        edges = seen.edges(recipe)

    def chunks(model: Model) -> EventChunks:
        for part in rows(files, [*inputs, *([pileup] if pileup else [])]):
            if pileup:
                check_pileup(part, pileup)
            yield _inputs(part, inputs, model), part.columns[pileup] if pileup else None

    return Sample(chunks, edges or None, {path_of(file).name: _digest(file) for file in files})


def _digest(file: str) -> str:
    try:
        with path_of(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise FileFault(f"{file}: {error.strerror}") from None


def of_generator(n: int, seed: int) -> Sample:
    """The project's own crossings, evenly over the range of pile-up."""

    def chunks(model: Model) -> EventChunks:
        if [feature.type for feature in model.features] != [feature.type for feature in FEATURES]:
            raise SpecificationError(
                f"the generator makes {len(FEATURES)} inputs of the types of AXOL1TL, which are not those of "
                f"{model.name}: give events of files"
            )
        source, random = Generator(seed), np.random.default_rng(seed)
        for start in range(0, n, CHUNK_EVENTS):
            pileup = random.uniform(PILEUP_EDGES[0], PILEUP_EDGES[-1], min(CHUNK_EVENTS, n - start))
            yield digitise(source.draw(len(pileup), pileup)), pileup

    return Sample(chunks, PILEUP_EDGES, {"generated": n, "seed": seed})


def pack(specification: Specification, sample: Sample, seed: int, progress: Callable[[str], None]) -> Package:
    """The package of an imported model, its reference and its golden vectors from the sample.

    Raises:
        FirmwareError: if there is no such model, or its features are wider than events can be.
        ArchiveError: if the events do not fit it.
        StatsError: if they are too few for its cuts.
    """
    model = specification.model
    _check_width(model)
    cuts = specification.cuts
    reference = reference_of(
        model,
        _told(sample.chunks(model), progress),
        cuts.target_rates or None,
        sample.pileup_edges,
        seed,
        cuts.codes or None,
    )
    nominal = Payload.nominal(model, reference.binning.cuts)
    events = golden_events(model, reference.events, seed)
    return Package(
        model=model,
        nominal=nominal,
        address_table=address_table([(model.name, model.layout, model.n_cuts)]),
        reference=reference.to_bytes(),
        golden_events=events,
        golden_codes=Emulator(model).codes(events, nominal),
        lineage={
            "specification": specification.digest,
            "events": sample.described,
            "rates": reference.target_rates.tolist(),
            "seed": seed,
        },
    )


def golden_events(model: Model, events: Events, seed: int) -> Events:
    """Corners of the inputs, numbers at random, and the rest out of the sample (n, n_features), `GOLDEN` or more.

    The corners are all lowest, all highest, nothing, and each feature at its ends within an event of the sample.
    """
    random = np.random.default_rng(seed)
    low, high = model.limits
    n = model.n_features
    ends = np.repeat(events[random.integers(0, len(events), n)], 2, axis=0)
    ends[np.arange(0, 2 * n, 2), np.arange(n)] = low
    ends[np.arange(1, 2 * n, 2), np.arange(n)] = high
    corners = np.array([low, high, np.clip(0, low, high)])
    anywhere = random.integers(low, high + 1, (GOLDEN_RANDOM, n))
    rest = max(0, GOLDEN - len(ends) - len(corners) - GOLDEN_RANDOM)
    drawn = events[random.choice(len(events), min(rest, len(events)), replace=False)]
    return np.concatenate([drawn, corners, ends, anywhere]).astype(np.int16)


def _check_width(model: Model) -> None:
    lowest, highest = INPUT_RANGE
    for feature in model.features:
        if feature.type.min_raw < lowest or feature.type.max_raw > highest:
            raise SpecificationError(
                f"{feature.name} is {feature.type}, but events carry inputs from {lowest} to {highest}: "
                "give it the type that its numbers need"
            )


def _inputs(part: Rows, names: Sequence[str], model: Model) -> Events:
    columns = [part.columns[name] for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind == "f":
            raise FileFault(f"{part.file}: column {name!r} holds {column.dtype}: expected hardware integers")
    events = np.hstack([column.reshape(len(column), -1) for column in columns])
    try:
        model.check_events(events)
    except ModelError as error:
        raise FileFault(f"{part.file}, rows from {part.first} on: {error}") from None
    return events.astype(np.int16)


def _told(chunks: EventChunks, progress: Callable[[str], None]) -> EventChunks:
    done = 0
    for events, pileup in chunks:
        yield events, pileup
        done += len(events)
        progress(f"reference: {done:,} events")
