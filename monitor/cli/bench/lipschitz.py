"""`driftd bench lipschitz`: norm-constrained training."""

from __future__ import annotations

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import WorkCommand, drawn, fail, json_option, progress, seed_option
from monitor.exits import EX_FAILED


@click.command(cls=WorkCommand)
@click.option(
    "--bound",
    "bounds",
    type=click.FloatRange(min=0, min_open=True),
    multiple=True,
    default=(1.0, 2.0, 4.0),
    show_default=True,
    help="Bound of a constrained encoder, as `model train --lipschitz` takes it; repeatable.",
)
@click.option("--trainings", type=click.IntRange(1), default=3, show_default=True, help="Trainings of each model.")
@click.option("--events", type=click.IntRange(100_000), default=400_000, show_default=True, help="Crossings to draw.")
@seed_option
@json_option
def lipschitz(bounds: tuple[float, ...], trainings: int, events: int, seed: int | None, as_json: bool) -> None:
    """Measure what norm-constrained training gains and costs.

    How much less such a model drifts, and how many signal events it loses.
    """
    from monitor.bench import lipschitz as measured
    from monitor.stats.errors import StatsError

    seed = drawn(seed)
    settings = measured.Settings(bounds, trainings, events=events, seed=seed)
    try:
        found = measured.lipschitz(settings, progress)
    except StatsError as error:
        fail(EX_FAILED, f"a bound is so low that the scores hardly differ: {error}")
    tell(found, as_json, measured.table(found))
