"""`driftd model train`: the project's own models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from monitor.cli.command import File, WorkCommand, progress


@click.command(cls=WorkCommand)
@click.option(
    "--model",
    "kind",
    type=click.Choice(["axol1tl", "cicada", "forest"]),
    default="axol1tl",
    show_default=True,
    help="Which of the models.",
)
@click.option("--out", type=File, default=None, help="The package to write.  [default: var/MODEL.driftd]")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of events and training.")
@click.option(
    "--lipschitz",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Bound on how much axol1tl's encoder amplifies its normalised inputs (2-norm), some 7 without a bound. "
    "2 keeps the signals; 1 halves what a jet scale does to the rates and costs most of the soft leptons.",
)
@click.option("--weights", is_flag=True, help="Put the last layer of axol1tl into registers, for the knob `weights`.")
@click.option(
    "--conditioned",
    is_flag=True,
    help="Tell axol1tl the pile-up through a register, for the knob `conditioning`.",
)
def train(kind: str, out: Path | None, seed: int, lipschitz: float | None, weights: bool, conditioned: bool) -> None:
    """Train one of the project's own models and pack it.

    It takes a minute or two on generated events, and no time where the package is there already. axol1tl sees the
    global trigger's objects, cicada the calorimeter's regions; forest is trees that have learnt axol1tl's score, for
    conifer's Forest Processing Unit.
    """
    from recalib.errors import TrainingError
    from recalib.training.train import SETTINGS, build_package

    path = out or Path("var") / f"{kind}.driftd"
    settings = replace(SETTINGS[kind], seed=seed, lipschitz=lipschitz, weights=weights, conditioned=conditioned)
    try:
        package = build_package(path, settings, progress=progress)
    except TrainingError as error:
        raise click.UsageError(str(error)) from None
    gain = f", gain of its network at most {package.lineage['gain']:.2f}" if package.model.layers else ""
    click.echo(f"{path}: model {package.model.id[:12]}{gain}")
