"""`driftd grafana`: dashboards and alert rules from files into a Grafana."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.command import Folder, WorkCommand, config_option, fail, load_config
from monitor.exits import EX_CONFIG, EX_FAILED, EX_UNAVAILABLE
from monitor.shipped import shipped

if TYPE_CHECKING:
    from monitor.daemon.grafana.client import Change, Grafana


@click.group()
def grafana() -> None:
    """Put dashboards and alert rules into a Grafana.

    It is the one that [grafana] in the configuration names.
    """


def _options(function: click.decorators.FC) -> click.decorators.FC:
    folder = click.option(
        "--folder", type=Folder, default=None, help="Folder of the files.  [default: those that came with driftd]"
    )
    alerts = click.option(
        "--dashboards-only",
        "alerts",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Leave alert rules alone, where Alertmanager calls people.",
    )
    return config_option(folder(alerts(function)))


@grafana.command(cls=WorkCommand)
@_options
def apply(config_path: Path, folder: Path | None, alerts: bool) -> None:
    """Make dashboards and alert rules there the same as the files.

    What is the same already is left alone.
    """
    from monitor.daemon.grafana.client import GrafanaError

    try:
        found, datasource = _grafana(config_path)
        for change in found.apply(folder or shipped("dashboards"), datasource, alerts):
            click.echo(_line(change, {"create": "created", "update": "updated", "keep": "as it should be"}))
    except GrafanaError as error:
        fail(EX_UNAVAILABLE, str(error))


@grafana.command(cls=WorkCommand)
@_options
def diff(config_path: Path, folder: Path | None, alerts: bool) -> None:
    """Say what `apply` would change.

    Exits with 1 if it would change anything.
    """
    from monitor.daemon.grafana.client import GrafanaError

    try:
        found, datasource = _grafana(config_path)
        changes = found.plan(folder or shipped("dashboards"), datasource, alerts)
    except GrafanaError as error:
        fail(EX_UNAVAILABLE, str(error))
    for change in changes:
        click.echo(_line(change, {"create": "is not there", "update": "differs", "keep": "is as it should be"}))
        if change.action == "update":
            click.echo(change.diff)
    sys.exit(EX_FAILED if any(change.action != "keep" for change in changes) else 0)


def _grafana(config_path: Path) -> tuple[Grafana, str]:
    from monitor.daemon.grafana.client import Grafana, token

    settings = load_config(config_path).grafana
    if settings is None:
        fail(EX_CONFIG, f"{config_path} has no [grafana]: add it, with url and token_file")
    return Grafana(settings.url, token(settings.token_file)), settings.datasource


def _line(change: Change, words: dict[str, str]) -> str:
    return f"{change.what} {change.name}: {words[change.action]}"
