"""`driftd approve`, `reject`, `rollback`, `freeze` and `unfreeze`: commands that the loop carries out at once."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from monitor.cli.command import fail
from monitor.cli.operator.connection import Client, connected
from monitor.exits import EX_REFUSED

MIN_NAME = 4
"""Characters of a proposal's name that tell it from others."""

reason_option = click.option(
    "--reason", default="", help="Why, in 3 characters or more; the ledger and the audit keep it."
)


def stream_path(stream: str, *more: str) -> str:
    """The path of a stream in the interface, and of what is below it."""
    return "/".join(["/api/v1/streams", quote(stream, safe=""), *more])


@click.command()
@click.argument("proposal")
@reason_option
@connected
def approve(proposal: str, reason: str, client: Client) -> None:
    """Approve a waiting proposal: it goes to the board.

    PROPOSAL is its name, or the first 4 characters of it or more; `driftd status` shows it.
    """
    _decide("approve", proposal, reason, client)


@click.command()
@click.argument("proposal")
@reason_option
@connected
def reject(proposal: str, reason: str, client: Client) -> None:
    """Reject a waiting proposal: nothing is written.

    PROPOSAL is its name, or the first 4 characters of it or more; `driftd status` shows it.
    """
    _decide("reject", proposal, reason, client)


@click.command()
@click.argument("stream")
@click.option("--to", default="nominal", show_default=True, help="Name of a payload in the ledger, or nominal.")
@reason_option
@connected
def rollback(stream: str, to: str, reason: str, client: Client) -> None:
    """Put an earlier payload of a stream back.

    It becomes a new generation on the board of STREAM.
    """
    _order(client, stream, "rollback", to=to, reason=reason)


@click.command()
@click.argument("stream")
@reason_option
@connected
def freeze(stream: str, reason: str, client: Client) -> None:
    """Stop writing to a stream's board; monitoring goes on.

    It holds until `driftd unfreeze STREAM`, over restarts too.
    """
    _order(client, stream, "freeze", reason=reason)


@click.command()
@click.argument("stream")
@reason_option
@connected
def unfreeze(stream: str, reason: str, client: Client) -> None:
    """Let the loop of a stream write to its board again."""
    _order(client, stream, "unfreeze", reason=reason)


def _order(client: Client, stream: str, word: str, **body: Any) -> None:
    """Give a command, and say where the stream stands then."""
    now = client.post(stream_path(stream, word), **body)
    click.echo(f"{stream}: {now['phase']}")


def _decide(word: str, proposal: str, reason: str, client: Client) -> None:
    streams = client.get("/api/v1/status")["streams"]
    for name, stream in streams.items():
        if len(proposal) >= MIN_NAME and stream["proposal"].startswith(proposal):
            _order(client, name, word, proposal=proposal, reason=reason)
            return
    waiting = ", ".join(stream["proposal"][:12] for stream in streams.values() if stream["proposal"]) or "none"
    fail(EX_REFUSED, f"no stream waits for a decision on proposal {proposal!r}; waiting: {waiting}")
