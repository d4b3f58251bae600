"""How a bench says what it found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click


def tell(found: Any, as_json: bool, lines: Iterable[str]) -> None:
    """Print the figures as one JSON object, or else the lines that a person reads."""
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in lines:
        click.echo(line)
