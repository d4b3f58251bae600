"""`driftd demo`: the closed loop, shown."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from monitor.cli.command import Folder, WorkCommand, json_option


@click.command(cls=WorkCommand)
@click.option("--folder", type=Folder, default="var/demo", show_default=True, help="Where logs, ledger and plot go.")
@click.option("--serve", is_flag=True, help="Keep board and daemon running at the end, until Ctrl-C.")
@json_option
def demo(folder: Path, serve: bool, as_json: bool) -> None:
    """Show the closed loop on a simulated board.

    The jet energy scale falls by 8 %; the daemon notices, fits, proves and writes a correction. It takes some two
    minutes, and one more the first time, when the model is trained. Exits with 0 only if the board's own counters are
    back within 10 % of their targets and the KL is at its floor.
    """
    from monitor.demo.demo import play_demo

    sys.exit(play_demo(folder, serve, as_json))
