"""What commands have in common: how they fail, and their options."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from monitor.exits import EX_CONFIG, EX_DATA, EX_FAILED

if TYPE_CHECKING:
    from monitor.config import Config

File = click.Path(dir_okay=False, path_type=Path)
Folder = click.Path(file_okay=False, path_type=Path)

config_option = click.option(
    "--config", "config_path", type=File, default="config.toml", show_default=True, help="The configuration file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
seed_option = click.option("--seed", type=int, default=None, help="Seed of all that is drawn.  [default: by the clock]")


def fail(code: int, text: str) -> NoReturn:
    """Say why on standard error, and end the command with an exit code."""
    click.echo(f"driftd: {text}", err=True)
    sys.exit(code)


class WorkCommand(click.Command):
    """A command that does its work in this process: an error of a package becomes an exit code and one line.

    Only such a command pays for the logs and for the packages; one that asks the daemon does not.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        from firmware.errors import FirmwareError, SpecificationError
        from monitor import logs
        from monitor.archive.errors import ArchiveError
        from monitor.stats.errors import StatsError

        logs.configure("error")
        try:
            return super().invoke(ctx)
        except SpecificationError as error:
            fail(EX_CONFIG, str(error))
        except FirmwareError as error:
            fail(EX_FAILED, str(error))
        except (ArchiveError, StatsError) as error:
            fail(EX_DATA, str(error))


class WorkGroup(WorkCommand, click.Group):
    """A group that does such work itself when no command of it is named."""


def progress(text: str) -> None:
    """Say what is going on, on standard error: the answer has the standard output for itself."""
    click.echo(text, err=True)


def drawn(seed: int | None) -> int:
    """The seed that was given, or one by the clock."""
    return time.time_ns() % 2**32 if seed is None else seed


def load_config(path: Path) -> Config:
    """The configuration in a file; one with faults ends the command."""
    from monitor.config import ConfigError, load

    try:
        return load(path)
    except ConfigError as error:
        fail(EX_CONFIG, str(error))


def numbers(text: str) -> tuple[float, ...]:
    """The numbers in a text that has commas between them."""
    try:
        return tuple(float(number) for number in text.split(",") if number.strip())
    except ValueError:
        raise click.UsageError(f"{text!r} is not a list of numbers: expected such as 20,30.5,40") from None
