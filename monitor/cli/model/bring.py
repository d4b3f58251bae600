"""`driftd model import`: a model from elsewhere, packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from monitor.cli.command import File, WorkCommand, numbers, progress


@click.command(name="import", cls=WorkCommand)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=File, required=True, help="The package to write.")
@click.option("--name", default=None, help="Name of the stream, in place of the specification's.")
@click.option("--weights", type=File, default=None, help="File of weights, in place of the specification's.")
@click.option(
    "--score",
    type=click.Choice(["sum_of_squares", "squared_distance", "linear"]),
    default=None,
    help="How a score is made of the network's outputs, in place of the specification's.",
)
@click.option("--center", default=None, help="Centre of squared_distance: values with commas between.")
@click.option("--cut", "codes", type=int, multiple=True, help="Cut as a score code; repeat for several.")
@click.option(
    "--target-rate",
    "target_rates",
    type=click.FloatRange(0, 1, True, True),
    multiple=True,
    help="Share of crossings that a cut accepts; repeat for several.",
)
@click.option(
    "--events", "files", multiple=True, help="File of events in hardware integers, or a pattern of files; repeatable."
)
@click.option("--inputs", default="inputs", show_default=True, help="Columns of the inputs, with commas between.")
@click.option("--pileup", default=None, help="Column of the pile-up.")
@click.option("--pileup-edges", default="", help="Edges of the pile-up slices, with commas between.")
@click.option("--pileup-slices", type=click.IntRange(0), default=0, help="Number of pile-up slices with equal shares.")
@click.option(
    "--generated", type=click.IntRange(1), default=None, help="Take so many of the project's own events instead."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the events that are drawn.")
def import_(
    source: Path,
    out: Path,
    files: tuple[str, ...],
    inputs: str,
    pileup: str | None,
    pileup_edges: str,
    pileup_slices: int,
    generated: int | None,
    seed: int,
    **given: Any,
) -> None:
    """Make a package of a model from elsewhere.

    SOURCE is a specification in TOML, or the folder of an hls4ml project; firmware/IMPORT.md describes both, and the
    events. The same source, events and options give the same package.
    """
    from firmware.imports.specification import Specification
    from monitor.archive.recipe import Recipe
    from monitor.archive.samples import expand
    from monitor.offline import packing

    if bool(files) == bool(generated):
        raise click.UsageError("give either --events FILE or --generated N")
    specification = Specification.load(source, _given(**given))
    if generated:
        sample = packing.of_generator(generated, seed)
    else:
        recipe = Recipe(pileup=pileup, pileup_edges=numbers(pileup_edges), pileup_slices=pileup_slices)
        sample = packing.of_files(expand(files), [name for name in inputs.split(",") if name], recipe)
    package = packing.pack(specification, sample, seed, progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    package.save(out)
    click.echo(f"{out}: model {package.model.id[:12]}, cuts {package.nominal.raw('cuts').tolist()}")


def _given(
    name: str | None,
    weights: Path | None,
    score: str | None,
    center: str | None,
    codes: tuple[int, ...],
    target_rates: tuple[float, ...],
) -> dict[str, Any]:
    """The entries of a specification that options put in place of the file's."""
    found: dict[str, Any] = {}
    if name:
        found["name"] = name
    if weights:
        found["weights"] = weights.resolve()
    parts = {"kind": score, "center": numbers(center) if center else None}
    if any(parts.values()):
        found["score"] = {key: value for key, value in parts.items() if value}
    if codes or target_rates:
        found["cuts"] = {"codes": codes, "target_rates": target_rates}
    return found
