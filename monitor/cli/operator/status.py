"""`driftd status`: how boards and streams are doing."""

from __future__ import annotations

import json

import click

from monitor.cli.command import json_option
from monitor.cli.operator.connection import Client, connected


@click.command()
@json_option
@connected
def status(client: Client, as_json: bool) -> None:
    """Show how every board and stream is doing."""
    found = client.get("/api/v1/status")
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, board in found["boards"].items():
        said = "answers" if board["up"] else f"does not answer: {board['error']}"
        click.echo(f"board {name} ({board['uri']}) {said}")
    for name, stream in found["streams"].items():
        last = stream["last"]
        click.echo(f"{name}: {stream['phase']} ({stream['mode']}), {stream['reason'] or 'nothing to say'}")
        if last:
            click.echo(f"  lumi section {last['ls']} of run {last['run']}: {last['text']}")
            if last["details"]:
                click.echo(f"    {last['details']}")
        payload = stream["payload"][:12] or "unknown"
        click.echo(f"  generation {stream['generation']}, payload {payload}; {stream['datapath']}")
        if stream["proposal"]:
            click.echo(f"  proposal {stream['proposal'][:12]} waits for approval")
