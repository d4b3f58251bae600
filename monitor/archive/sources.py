"""A reference out of the events of files, or of a live stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np

from firmware.wire import Batch
from monitor.archive import histograms, tap
from monitor.archive.columns import check_pileup, codes_of, inputs_of
from monitor.archive.errors import ArchiveError, FileFault
from monitor.archive.recipe import Pileups, Recipe, default_lsb
from monitor.archive.samples import Rows, rows
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from monitor.stats.count.tally import Chunk
from monitor.stats.errors import StatsError

RowProgress = Callable[[str, int], None]
"""Takes what is being done, and how many rows or lumi sections more of it are."""


def unseen(what: str, steps: int) -> None:
    """Progress that nobody watches."""


def reference_of_files(
    files: Sequence[str], recipe: Recipe, progress: RowProgress = unseen
) -> tuple[Reference, Recipe]:
    """The reference of the events or histograms in `files`, and the recipe with what it left open filled in.

    Raises:
        ArchiveError: naming file, column and row.
    """
    try:
        recipe.check_pileup_column()
        if histograms.holds_histograms(files[0]):
            return histograms.reference_of_histograms(files, recipe)
        return _of_events(files, recipe, progress)
    except FileFault:
        raise
    except (ArchiveError, StatsError) as error:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        raise FileFault(f"{files[0]}{more}: {error}") from None


def _of_events(files: Sequence[str], recipe: Recipe, progress: RowProgress) -> tuple[Reference, Recipe]:
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


def reference_of_stream(
    batches: Iterator[Batch], lumi_sections: int, recipe: Recipe, progress: RowProgress = unseen
) -> tuple[Reference, Recipe]:
    """The reference of so many lumi sections of a live stream. Raises ArchiveError as `tap.chunks` does."""
    if recipe.pileup_slices:
        raise ArchiveError("pile-up slices of a live stream need their edges: the pile-up to come is not known")
    first = next(batches)
    recipe = replace(recipe, floats=first.header.dtype == "f4")
    chunks = tap.chunks(
        chain([first], batches), lumi_sections, recipe.bits, recipe.lsb, partial(progress, "lumi sections")
    )
    return reference_of_sample(chunks, bits=recipe.bits, **recipe.settings()), recipe


def _parts(
    files: Sequence[str], recipe: Recipe, inputs: Sequence[str], progress: Callable[[int], None]
) -> Iterator[Rows]:
    """Stretches of scores, pile-up and some inputs."""
    for part in rows(files, [recipe.scores, *([recipe.pileup] if recipe.pileup else []), *inputs]):
        if recipe.pileup:
            check_pileup(part, recipe.pileup)
        yield part
        progress(len(part.columns[recipe.scores]))


def _completed(files: Sequence[str], recipe: Recipe, progress: RowProgress) -> Recipe:
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
    inputs = inputs_of(part, recipe.inputs) if recipe.inputs else None
    return codes, inputs, part.columns[recipe.pileup] if recipe.pileup else None
