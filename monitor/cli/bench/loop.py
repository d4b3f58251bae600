"""`driftd bench loop`: a fill under this loop, and under others."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import File, WorkCommand, drawn, fail, json_option, progress, seed_option
from monitor.exits import EX_USAGE


@click.command(cls=WorkCommand)
@click.option(
    "--package",
    type=File,
    default="var/axol1tl.driftd",
    show_default=True,
    help="Model package; it is trained where there is none.",
)
@click.option(
    "--chunks", type=click.IntRange(10), default=200, show_default=True, help="Chunks of the fill, a lumi section each."
)
@click.option(
    "--events",
    type=click.IntRange(1000),
    multiple=True,
    default=(20_000, 1_000_000),
    show_default=True,
    help="Crossings in a chunk; repeat for several runs.",
)
@click.option(
    "--controller",
    "controllers",
    multiple=True,
    help="Controller to try, beside the oracle; repeatable.  [default: all]",
)
@seed_option
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Processes that draw crossings.")
@json_option
def loop(
    package: Path,
    chunks: int,
    events: tuple[int, ...],
    controllers: tuple[str, ...],
    seed: int | None,
    workers: int,
    as_json: bool,
) -> None:
    """Measure how well rates are held over a fill.

    How often they are in tolerance: under driftd, other controllers, and a cut at the true quantile.
    """
    from monitor.bench.loop import figures
    from recalib.training.train import TrainSettings, build_package

    if unknown := set(controllers) - set(figures.NAMES):
        fail(EX_USAGE, f"--controller {', '.join(sorted(unknown))} is not known: there are {', '.join(figures.NAMES)}")
    build_package(package, TrainSettings(), progress)
    seed = drawn(seed)
    settings = figures.Settings(chunks, events, controllers or figures.NAMES, seed, workers)
    found = figures.loop(package, settings, progress)
    tell(found, as_json, figures.table(found))
