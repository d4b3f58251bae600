"""`driftd token`: who may do what over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.daemon.http import tokens
from monitor.daemon.http.tokens import Role, Token, TokenError
from monitor.exits import EX_FAILED, EX_USAGE, fail

ROLES = click.Choice([str(role) for role in Role])


def _file_option(function: click.decorators.FC) -> click.decorators.FC:
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option(
        "--file", "path", type=path, default="tokens.toml", show_default=True, help="That [http] tokens names."
    )(function)


@click.group()
def token() -> None:
    """Tokens by which callers are known; a daemon that runs takes a change at once."""


@token.command()
@click.argument("name")
@click.option("--role", type=ROLES, required=True)
@click.option("--expires", "days", type=click.FloatRange(0, 3650, min_open=True), help="Days from now; without, never.")
@_file_option
def add(name: str, role: str, days: float | None, path: Path) -> None:
    """Make a token for NAME and print it: it can never be shown again."""
    known = _read(path) if path.exists() else {}
    if name in known or name == tokens.OPERATOR:
        fail(EX_USAGE, f"there is a token of {name!r} already: revoke it, or give another name")
    try:
        text, made = tokens.issue(name, Role(role), days)
    except TokenError as error:
        fail(EX_USAGE, str(error))
    _write(path, known | {name: made})
    click.echo(text)


@token.command(name="list")
@_file_option
def show(path: Path) -> None:
    """Say whose tokens there are."""
    for name, known in _read(path).items():
        until = f"{'expired' if known.expired else 'expires'} {known.expires}" if known.expires else "never expires"
        click.echo(f"{name}: {known.role}, {until}")


@token.command()
@click.argument("name")
@_file_option
def revoke(name: str, path: Path) -> None:
    """Take the token of NAME back."""
    known = _read(path)
    if known.pop(name, None) is None:
        fail(EX_USAGE, f"no token of {name!r} in {path}")
    _write(path, known)


def _read(path: Path) -> dict[str, Token]:
    try:
        return tokens.read(path)
    except TokenError as error:
        fail(EX_FAILED, str(error))


def _write(path: Path, known: dict[str, Token]) -> None:
    try:
        tokens.write(path, known)
    except OSError as error:
        fail(EX_FAILED, f"{path} cannot be written: {error.strerror}")
