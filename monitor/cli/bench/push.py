"""`driftd bench push`: a transaction beside bare register access."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import Folder, WorkCommand, drawn, json_option, seed_option


@click.command(cls=WorkCommand)
@click.option("--rounds", type=click.IntRange(1), default=100, show_default=True, help="Payloads, each armed twice.")
@click.option(
    "--cache", type=Folder, default="var/datapath", show_default=True, help="Folder where built datapaths are kept."
)
@seed_option
@json_option
def push(rounds: int, cache: Path, seed: int | None, as_json: bool) -> None:
    """Measure a transaction against bare register access.

    Both write the same words over uHAL to a simulated board.
    """
    from monitor.bench import push as figures

    found = figures.push(figures.Settings(rounds, drawn(seed), cache))
    tell(found, as_json, figures.table(found))
