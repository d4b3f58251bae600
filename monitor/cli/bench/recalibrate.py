"""`driftd bench recalibrate`: each knob, the engine's choice and simpler ways on drifts of known twins."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import File, WorkCommand, drawn, fail, json_option, progress, seed_option
from monitor.exits import EX_FAILED, EX_USAGE


@click.command(cls=WorkCommand)
@click.option(
    "--package",
    type=File,
    default="var/axol1tl.driftd",
    show_default=True,
    help="Model package; it is trained where there is none.",
)
@click.option(
    "--model",
    "chosen",
    type=click.Choice(["own", "v4", "cicada", "forest", "weights", "conditioned"]),
    multiple=True,
    help="Model to try; repeat for several.  [default: own, and v4 where its weights are at hand]",
)
@click.option("--scenario", "names", multiple=True, help="Drift to try; repeat for several.  [default: all]")
@click.option(
    "--events", type=click.IntRange(40_000), default=200_000, show_default=True, help="Events in a fit's sample."
)
@click.option(
    "--verdict-events",
    type=click.IntRange(100_000),
    default=1_300_000,
    show_default=True,
    help="Crossings for the verdict.",
)
@seed_option
@click.option(
    "--choices", is_flag=True, help="Measure what each choice in the objective does too, on jets scaled down."
)
@json_option
def recalibrate(
    package: Path,
    chosen: tuple[str, ...],
    names: tuple[str, ...],
    events: int,
    verdict_events: int,
    seed: int | None,
    choices: bool,
    as_json: bool,
) -> None:
    """Measure how well each knob brings a trigger back.

    Beside the knobs stand the engine's choice of them, moved cuts, quantile maps and a retrain.
    """
    from monitor.bench import models as bench_models
    from monitor.bench.outside import OutsideDataMissing
    from monitor.bench.recalibrate import figures
    from monitor.bench.recalibrate.scenarios import NAMES

    if unknown := set(names) - set(NAMES):
        fail(EX_USAGE, f"--scenario {', '.join(sorted(unknown))} is not known: there are {', '.join(NAMES)}")
    try:
        models = bench_models.models(chosen, package, progress)
    except OutsideDataMissing as missing:
        fail(EX_FAILED, str(missing))
    packages = {
        name: bench_models.bench_package(model, package.parent / "bench", progress=progress)
        for name, model in models.items()
    }
    seed = drawn(seed)
    settings = figures.Settings(events, verdict_events, names or NAMES, seed, choices)
    found = figures.recalibrate(packages, settings)
    tell(found, as_json, figures.table(found))
