"""`driftd token`: who may do what over HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.command import File, fail
from monitor.daemon.http import tokens
from monitor.daemon.http.tokens import Role, Token, TokenError
from monitor.exits import EX_FAILED, EX_USAGE

ROLES = click.Choice([str(role) for role in Role])


file_option = click.option(
    "--file",
    "path",
    type=File,
    default="tokens.toml",
    show_default=True,
    help="The file that `tokens` in [http] names.",
)


@click.group()
def token() -> None:
    """Make, list and revoke the tokens of HTTP callers.

    A daemon that runs takes a change at once.
    """


@token.command()
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help="What the holder may do.")
@click.option(
    "--expires",
    "days",
    type=click.FloatRange(0, 3650, min_open=True),
    help="Days that it is good for; else it is good for ever.",
)
@file_option
def add(name: str, role: str, days: float | None, path: Path) -> None:
    """Make a token for NAME and print it.

    It is printed this once: the file keeps only a hash of it.
    """
    known = _read(path) if path.exists() else {}
    if name in known or name == tokens.OPERATOR:
        fail(EX_USAGE, f"{name!r} has a token already: `driftd token revoke {name}` first, or give another name")
    try:
        text, made = tokens.issue(name, Role(role), days)
    except TokenError as error:
        fail(EX_USAGE, str(error))
    _write(path, known | {name: made})
    click.echo(text)


@token.command(name="list")
@file_option
def list_tokens(path: Path) -> None:
    """Say who has a token, with its role and when it expires."""
    for name, known in _read(path).items():
        until = f"{'expired' if known.expired else 'expires'} {known.expires}" if known.expires else "never expires"
        click.echo(f"{name}: {known.role}, {until}")


@token.command()
@click.argument("name")
@file_option
def revoke(name: str, path: Path) -> None:
    """Take back the token of NAME."""
    known = _read(path)
    if known.pop(name, None) is None:
        fail(EX_USAGE, f"{name!r} has no token in {path}; `driftd token list` says who has")
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
