"""`driftd audit`: who ordered what, and whether that was changed afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from monitor.cli.operator import Client, connected
from monitor.config import state_dir
from monitor.daemon.http.audit import AuditError
from monitor.daemon.http.audit import verify as check
from monitor.exits import EX_CONFIG, EX_FAILED, fail


@click.group()
def audit() -> None:
    """Every command that was tried: by whom, from where, why, and what became of it."""


@audit.command()
@click.option("--limit", type=click.IntRange(1, 2000), default=20, show_default=True, help="Of entries, the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@connected
def show(limit: int, as_json: bool, client: Client) -> None:
    """Print the last entries, oldest first."""
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


@audit.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path), default="config.toml", show_default=True)
@click.option("--head", default="", help="A hash noted before, as the log and /api/v1/audit say it; must be there.")
def verify(config_path: Path, head: str) -> None:
    """Follow the chain through the file; exit 1 if an entry was changed, removed or put in."""
    try:
        path = state_dir(config_path) / "audit.sqlite"
    except (OSError, ValueError) as error:
        fail(EX_CONFIG, f"{config_path}: {error}")
    try:
        found = check(path, head)
    except AuditError as error:
        fail(EX_FAILED, str(error))
    for fault in found.faults:
        click.echo(fault)
    for sequence in found.open:
        click.echo(f"entry {sequence}: nothing is written of what became of it; the ledger says")
    click.echo(f"{found.count} entries, head {found.head}")
    sys.exit(EX_FAILED if found.faults else 0)
