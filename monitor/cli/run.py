"""`driftd run`, `check` and `health`: the daemon, what it needs, and whether it answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from monitor.cli.command import WorkCommand, config_option, fail, json_option, load_config
from monitor.exits import EX_UNAVAILABLE


@click.command(cls=WorkCommand)
@config_option
def run(config_path: Path) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    SIGHUP has it read the configuration again.
    """
    from monitor.daemon.main import run as run_service

    sys.exit(run_service(load_config(config_path), config_path))


@click.command(cls=WorkCommand)
@config_option
@click.option("--offline", is_flag=True, help="Do not ask the boards.")
@json_option
def check(config_path: Path, offline: bool, as_json: bool) -> None:
    """Check that everything the daemon needs is there and sound.

    Exits with 78 if something must be changed first, and with 69 if only a board does not answer.
    """
    from monitor.daemon import check as checks

    found = []
    for finding in checks.findings(config_path, offline):
        found.append(finding)
        if not as_json:
            click.echo(str(finding))
    code = checks.exit_code(found)
    if as_json:
        click.echo(json.dumps({"exit_code": code, "findings": [vars(finding) for finding in found]}))
    sys.exit(code)


@click.command(cls=WorkCommand)
@config_option
def health(config_path: Path) -> None:
    """Ask whether the daemon of a configuration answers.

    Exits with 69 if it does not.
    """
    from monitor.daemon import health as own

    http = load_config(config_path).http
    if not own.alive(http):
        fail(EX_UNAVAILABLE, f"no daemon answers on {own.url(http)}: start it with `driftd run`")
