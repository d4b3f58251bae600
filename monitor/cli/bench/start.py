"""`driftd bench start`: how long the command line takes to start."""

from __future__ import annotations

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import json_option


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Starts of each command.")
@json_option
def start(rounds: int, as_json: bool) -> None:
    """Measure how long the command line takes to start.

    `driftd --help` and `driftd status` beside a bare interpreter: medians, and their ratios to it.
    """
    from monitor.bench import start as figures

    found = figures.measure(rounds)
    tell(found, as_json, figures.table(found))
