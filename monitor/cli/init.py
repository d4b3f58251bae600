"""`driftd init`: a configuration to start from."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.command import config_option, fail
from monitor.exits import EX_FAILED, EX_USAGE
from monitor.shipped import shipped


@click.command()
@config_option
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def init(config_path: Path, force: bool) -> None:
    """Write a configuration file to start from.

    It fits the simulated board of `driftd board`; every setting has its comment.
    """
    try:
        with config_path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(shipped("config.toml").read_text(encoding="utf-8"))
    except FileExistsError:
        fail(EX_USAGE, f"{config_path} is there already: --force overwrites it, --config names another file")
    except OSError as error:
        fail(EX_FAILED, f"{config_path} cannot be written: {error.strerror}")
    click.echo(
        f"{config_path}: `driftd model train` makes the model that it names, `driftd check` says what is missing"
    )
