"""`driftd proposal`: what a fit proposed, in words and as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from monitor.cli.command import File, WorkCommand, fail, json_option
from monitor.cli.operator.connection import Client, connected
from monitor.exits import EX_FAILED, EX_USAGE

plot_option = click.option("--plot", type=File, help="Draw the proposal into this PNG, PDF or SVG file.")


@click.group()
def proposal() -> None:
    """Show what a fit proposed."""


@proposal.command(cls=WorkCommand)
@click.argument("name")
@plot_option
@json_option
@connected
def show(name: str, plot: Path | None, as_json: bool, client: Client) -> None:
    """Print a proposal: distributions, rates, knobs and gates.

    NAME is any unique beginning of its name, or a file that --json wrote.
    """
    asked = f"/api/v1/proposals/{quote(name, safe='')}"
    show_proposal(_read(Path(name)) if Path(name).is_file() else client.get(asked), plot, as_json)


def show_proposal(data: dict[str, Any], plot: Path | None, as_json: bool = False) -> None:
    """Print a proposal, and draw it if that is wanted."""
    from monitor.plots.proposal_figure import proposal_figure
    from monitor.plots.proposal_rows import lines
    from recalib.proposal import Proposal

    found = Proposal.from_dict(data)
    for line in [json.dumps(data)] if as_json else lines(found):
        click.echo(line)
    if plot is None:
        return
    try:
        proposal_figure(plot, found)
    except (ValueError, OSError) as error:
        fail(EX_FAILED, f"the proposal was not drawn: {error}")
    click.echo(f"plot: {plot}", err=True)


def _read(path: Path) -> dict[str, Any]:
    """The proposal in a file, checked."""
    from recalib.proposal import Proposal

    try:
        data: dict[str, Any] = json.loads(path.read_text())
        Proposal.from_dict(data)
    except (ValueError, KeyError, TypeError) as error:
        fail(EX_USAGE, f"{path} does not hold a proposal, as `driftd proposal show --json` writes it: {error!r}")
    return data
