"""`driftd grafana`: dashboards and alert rules from files into a Grafana."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from monitor.config import ConfigError, load
from monitor.exits import EX_CONFIG

if TYPE_CHECKING:
    from monitor.daemon.grafana.client import Change, Grafana

EX_DIFFERENT = 1
EX_UNAVAILABLE = 69


@click.group()
def grafana() -> None:
    """Dashboards and alert rules in the Grafana of [grafana] in the configuration."""


def _options(function: click.decorators.FC) -> click.decorators.FC:
    path = click.Path(path_type=Path)
    config = click.option("--config", "config_path", type=path, default="config.toml", show_default=True)
    folder = click.option("--folder", type=path, default="dashboards", show_default=True, help="Of the files.")
    alerts = click.option(
        "--dashboards-only", "alerts", is_flag=True, flag_value=False, default=True, help="No alert rules."
    )
    return config(folder(alerts(function)))


@grafana.command()
@_options
def apply(config_path: Path, folder: Path, alerts: bool) -> None:
    """Make Grafana's the same as the files; what is so already is left alone."""
    from monitor.daemon.grafana.client import GrafanaError

    try:
        found, datasource = _grafana(config_path)
        for change in found.apply(folder, datasource, alerts):
            click.echo(_line(change, {"create": "created", "update": "updated", "keep": "as it should be"}))
    except GrafanaError as error:
        _fail(EX_UNAVAILABLE, str(error))


@grafana.command()
@_options
def diff(config_path: Path, folder: Path, alerts: bool) -> None:
    """Say what `apply` would change; exit 1 if anything."""
    from monitor.daemon.grafana.client import GrafanaError

    try:
        found, datasource = _grafana(config_path)
        changes = found.plan(folder, datasource, alerts)
    except GrafanaError as error:
        _fail(EX_UNAVAILABLE, str(error))
    for change in changes:
        click.echo(_line(change, {"create": "is not there", "update": "differs", "keep": "is as it should be"}))
        if change.action == "update":
            click.echo(change.diff)
    sys.exit(EX_DIFFERENT if any(change.action != "keep" for change in changes) else 0)


def _grafana(config_path: Path) -> tuple[Grafana, str]:
    from monitor.daemon.grafana.client import Grafana, token

    try:
        settings = load(config_path).grafana
    except ConfigError as error:
        _fail(EX_CONFIG, str(error))
    if settings is None:
        _fail(EX_CONFIG, f"{config_path} has no [grafana]; give it a url and a token_file")
    return Grafana(settings.url, token(settings.token_file)), settings.datasource


def _line(change: Change, words: dict[str, str]) -> str:
    return f"{change.what} {change.name}: {words[change.action]}"


def _fail(code: int, text: str) -> NoReturn:
    click.echo(f"driftd: {text}", err=True)
    sys.exit(code)
