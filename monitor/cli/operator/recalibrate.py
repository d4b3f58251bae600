"""`driftd recalibrate`: a fit by hand, and what came of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from monitor.cli.command import WorkCommand
from monitor.cli.operator.connection import Client, connected
from monitor.cli.operator.orders import reason_option, stream_path
from monitor.cli.operator.proposal import plot_option, show_proposal
from monitor.exits import EX_FAILED

POLL_S = 0.3
ENDS = ("watching", "awaiting_approval", "rolled_back", "frozen", "fault")
"""Phases in which nothing more comes of a fit by itself."""


@click.command(cls=WorkCommand)
@click.argument("stream")
@click.option("--dry-run", is_flag=True, help="Fit and judge, but write nothing.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit with 0 only if the board confirmed it.")
@plot_option
@reason_option
@connected
def recalibrate(stream: str, dry_run: bool, wait: bool, plot: Path | None, reason: str, client: Client) -> None:
    """Collect events and fit a new payload now.

    STREAM is re-calibrated as if its scores had drifted: the same gates decide. With --wait or --plot the command
    stays until the end and shows the proposal.
    """
    before = client.get(stream_path(stream))
    known = _newest(client, stream)
    client.post(stream_path(stream, "recalibrate"), dry_run=dry_run, reason=reason)
    if not (wait or plot):
        click.echo(f"{stream}: collecting events")
        return
    now = _followed(client, stream)
    proposal = _newest(client, stream)
    if proposal == known:
        proposal = None
    if proposal is not None:
        show_proposal(proposal, plot)
    elif plot:
        click.echo(f"driftd: no proposal was made, {plot} is not written", err=True)
    if dry_run:
        sys.exit(0 if proposal is not None and proposal["accepted"] else EX_FAILED)
    done = now["phase"] == "watching" and now["generation"] > before["generation"]
    sys.exit(0 if done or now["phase"] == "awaiting_approval" else EX_FAILED)


def _followed(client: Client, stream: str) -> dict[str, Any]:
    """Say each phase until the last, and the reason then given; how the stream stands."""
    said = ""
    while said not in ENDS:
        time.sleep(POLL_S)
        now: dict[str, Any] = client.get(stream_path(stream))
        if now["phase"] != said:
            said = now["phase"]
            click.echo(f"{stream}: {said}")
    click.echo(now["reason"])
    return now


def _newest(client: Client, stream: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = client.get(stream_path(stream, "proposals"))
    return found[0] if found else None
