"""`driftd audit`: who ordered what, and whether that was changed afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from monitor.cli.command import config_option, fail, json_option
from monitor.cli.operator.connection import Client, connected
from monitor.cli.state import state_dir
from monitor.exits import EX_CONFIG, EX_FAILED


@click.group()
def audit() -> None:
    """Show and verify the record of all commands.

    It says for each command that was tried: by whom, from where, why, and what became of it.
    """


@audit.command(name="show")
@click.option("--limit", type=click.IntRange(1, 2000), default=20, show_default=True, help="How many, the newest.")
@json_option
@connected
def show_audit(limit: int, as_json: bool, client: Client) -> None:
    """Print the newest entries, oldest first."""
    found = client.get(f"/api/v1/audit?limit={limit}")
    if as_json:
        click.echo(json.dumps(found))
        return
    for entry in reversed(found["entries"]):
        who = f"{entry['who'] or 'nobody known'} ({entry['role'] or 'no role'}) from {entry['peer']}"
        asked = " ".join([entry["command"], entry["stream"], *(f"{k}={v}" for k, v in entry["arguments"].items())])
        became = " ".join(filter(None, [entry["outcome"], str(entry["status"] or ""), entry["text"]]))
        why = f" {entry['reason']!r}" if entry["reason"] else ""
        click.echo(f"{entry['sequence']} {entry['time']} {who}: {asked}{why}: {became}")
    click.echo(f"{found['count']} entries, head {found['head']}")


@audit.command(name="verify")
@config_option
@click.option("--head", default="", help="A hash noted before, from the log or `audit show`; it must be in the chain.")
def verify_audit(config_path: Path, head: str) -> None:
    """Follow the chain of hashes through the file.

    Exits with 1 if an entry was changed, removed or put in.
    """
    from monitor.daemon.http.audit import AuditError, verify

    try:
        path = state_dir(config_path) / "audit.sqlite"
    except (OSError, ValueError) as error:
        fail(EX_CONFIG, f"{config_path}: {error}; --config names the daemon's configuration")
    try:
        found = verify(path, head)
    except AuditError as error:
        fail(EX_FAILED, str(error))
    for fault in found.faults:
        click.echo(fault)
    for sequence in found.open:
        click.echo(f"entry {sequence}: it is not recorded what became of it; the ledger has what was done")
    click.echo(f"{found.count} entries, head {found.head}")
    sys.exit(EX_FAILED if found.faults else 0)
