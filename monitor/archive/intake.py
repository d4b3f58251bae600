"""A reference out of the events of files, or of a live stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.wire import Batch
from monitor.archive import histograms, tap
from monitor.archive.recipe import Pileups, Recipe, check_pileup, default_lsb
from monitor.archive.samples import Rows, rows
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.codes import to_codes
from monitor.stats.count.reference import Reference
from monitor.stats.count.tally import Chunk
from monitor.stats.errors import StatsError

INPUT_RANGE = (-(1 << 15), (1 << 15) - 1)

Progress = Callable[[str, int], None]
"""Takes what is being done, and how many rows or lumi sections more of it are."""


def unseen(what: str, steps: int) -> None:
    """Progress that nobody watches."""


def build(files: Sequence[str], recipe: Recipe, progress: Progress = unseen) -> tuple[Reference, Recipe]:
    """The reference of the events or histograms in `files`, and the recipe with what it left open filled in.

    Raises:
        StatsError: naming file, column and row.
    """
    try:
        if (recipe.pileup_edges or recipe.pileup_slices) and not recipe.pileup:
            raise StatsError("pile-up slices need a column of pile-up: name it")
        if histograms.holds_histograms(files[0]):
            return histograms.build(files, recipe)
        return _of_events(files, recipe, progress)
    except StatsError as error:
        if any(file in str(error) for file in files):
            raise
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise StatsError(f"{files[0]}{more}: {error}") from None


def _of_events(files: Sequence[str], recipe: Recipe, progress: Progress) -> tuple[Reference, Recipe]:
    recipe = _completed(files, recipe, progress)
    parts = _parts(files, recipe, recipe.inputs, partial(progress, "counting"))
    found = reference_of_sample(
        (_chunk(part, recipe) for part in parts),
        max_events=recipe.max_events,
        seed=recipe.seed,
        bits=recipe.bits,
        **recipe.settings(),
    )
    return found, recipe


def of_stream(
    batches: Iterator[Batch], lumi_sections: int, recipe: Recipe, progress: Progress = unseen
) -> tuple[Reference, Recipe]:
    """The reference of so many lumi sections of a live stream. Raises StatsError as `tap.chunks` does."""
    if recipe.pileup_slices:
        raise StatsError("pile-up slices of a live stream need their edges: the pile-up to come is not known")
    first = next(batches)
    recipe = replace(recipe, floats=first.header.dtype == "f4")
    chunks = tap.chunks(
        chain([first], batches), lumi_sections, recipe.bits, recipe.lsb, partial(progress, "lumi sections")
    )
    return reference_of_sample(chunks, bits=recipe.bits, **recipe.settings()), recipe


def codes_of(part: Rows, name: str, bits: int, lsb: float) -> npt.NDArray[Any]:
    """The scores of a stretch as score codes."""
    values = part.columns[name]
    if values.ndim != 1:
        raise StatsError(f"{part.file}: column {name!r} has rows of {values.shape[1:]}: expected one score a row")
    floats = values.dtype.kind == "f"
    highest = (2**bits - 0.5) * lsb if floats else 2**bits
    with np.errstate(invalid="ignore"):
        part.require(name, (values >= 0) & (values < highest), f"score from 0 to below {highest:g}")
    return to_codes(values, lsb, bits) if floats else values


def _parts(
    files: Sequence[str], recipe: Recipe, inputs: Sequence[str], progress: Callable[[int], None]
) -> Iterator[Rows]:
    """Stretches of scores, pile-up and some inputs."""
    for part in rows(files, [recipe.scores, *([recipe.pileup] if recipe.pileup else []), *inputs]):
        if recipe.pileup:
            check_pileup(part, recipe.pileup)
        yield part
        progress(len(part.columns[recipe.scores]))


def _completed(files: Sequence[str], recipe: Recipe, progress: Progress) -> Recipe:
    """The recipe with lsb and pile-up edges; a pass over the files where these hang on the sample."""
    first = next(rows(files, [recipe.scores], size=1), None)
    recipe = replace(recipe, floats=first is not None and first.columns[recipe.scores].dtype.kind == "f")
    if (recipe.lsb or not recipe.floats) and not recipe.pileup_slices:
        return recipe
    highest, pileups = 0.0, Pileups()
    for part in _parts(files, recipe, (), partial(progress, "looking through")):
        scores = part.columns[recipe.scores]
        part.require(recipe.scores, np.isfinite(scores) & (scores >= 0), "score from 0")
        highest = max(highest, float(scores.max(initial=0)))
        if recipe.pileup:
            pileups.add(part.columns[recipe.pileup])
    lsb = default_lsb(highest, recipe.bits) if recipe.floats else None
    return replace(recipe, lsb=recipe.lsb or lsb, pileup_edges=pileups.edges(recipe))


def _chunk(part: Rows, recipe: Recipe) -> Chunk:
    codes = codes_of(part, recipe.scores, recipe.bits, recipe.unit)
    for name in recipe.inputs:
        values = part.columns[name]
        if values.dtype.kind == "f":
            raise StatsError(f"{part.file}: column {name!r} holds {values.dtype}: expected integer inputs")
        good = np.asarray((values >= INPUT_RANGE[0]) & (values <= INPUT_RANGE[1]))
        part.require(name, np.all(good.reshape(len(codes), -1), axis=1), "input of 16 bits")
    inputs = [part.columns[name].reshape(len(codes), -1) for name in recipe.inputs]
    return codes, np.hstack(inputs) if inputs else None, part.columns[recipe.pileup] if recipe.pileup else None
