"""Exit codes (sysexits.h), and the way out."""

import sys
from typing import NoReturn

import click

EX_FAILED = 1
EX_USAGE = 64
EX_NO_STREAM = 66
EX_UNAVAILABLE = 69
EX_REFUSED = 75
EX_NOPERM = 77
EX_CONFIG = 78


def fail(code: int, text: str) -> NoReturn:
    """Say why on standard error, and end."""
    click.echo(f"driftd: {text}", err=True)
    sys.exit(code)
