"""`driftd board`: the simulated board, and the world around it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from monitor.cli.command import File, WorkCommand, WorkGroup, fail
from monitor.exits import EX_FAILED

CONTROL_ADDRESS = "tcp://127.0.0.1:5556"


@click.group(cls=WorkGroup, invoke_without_command=True)
@click.option(
    "--package",
    "packages",
    type=File,
    multiple=True,
    default=["var/axol1tl.driftd"],
    show_default=True,
    help="Model package of a stream; repeat for several streams.",
)
@click.option(
    "--publish",
    multiple=True,
    default=["tcp://127.0.0.1:5555"],
    show_default=True,
    help="ZeroMQ address to publish scores at; repeat for several.",
)
@click.option("--pattern", type=click.Choice(["push", "pub"]), default="push", show_default=True, help="ZeroMQ socket.")
@click.option("--ipbus-port", type=int, default=50001, show_default=True, help="UDP port of the registers.")
@click.option(
    "--control", default=CONTROL_ADDRESS, show_default=True, help="ZeroMQ address that `board set` speaks to."
)
@click.option("--source", default="board", show_default=True, help="Name of the sender in each message.")
@click.option("--run", "run_number", type=int, default=1, show_default=True, help="Run number to begin with.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the crossings.")
@click.option(
    "--orbits-per-ls", type=int, default=40, show_default=True, help="Orbits in a lumi section, of 2556 crossings each."
)
@click.option(
    "--ls-seconds",
    type=float,
    default=1.5,
    show_default=True,
    help="Seconds a lumi section lasts; 0: as fast as it can.",
)
@click.option(
    "--duration-ls", type=int, default=0, show_default=True, help="Lumi sections to run for; 0: until it is stopped."
)
@click.option("--orbits-per-message", type=int, default=4, show_default=True, help="Orbits in a message.")
@click.option(
    "--zero-bias-prescale",
    type=int,
    default=4,
    show_default=True,
    help="Publish one event in so many, and all high scores.",
)
@click.option(
    "--execution",
    type=click.Choice(["numpy", "compiled"]),
    default="numpy",
    show_default=True,
    help="How scores are made.",
)
@click.option("--rtl", is_flag=True, help="Run registers and datapath as SystemVerilog in Verilator.")
@click.option(
    "--condition",
    "conditions",
    multiple=True,
    help="Condition of the world from the start, as `board set` takes it; repeatable.",
)
@click.pass_context
def board(
    ctx: click.Context,
    /,
    packages: tuple[Path, ...],
    run_number: int,
    zero_bias_prescale: int,
    rtl: bool,
    **settings: Any,
) -> None:
    """Run the simulated board, or change the world around it.

    The board makes crossings, decides on them, publishes the scores and serves its registers over IPbus.
    """
    if ctx.invoked_subcommand is not None:
        return
    from firmware.sim.board import run_board
    from firmware.sim.settings import BoardSettings
    from firmware.sim.stream import Sampling

    if rtl:
        settings["execution"] = "rtl"
    run_board(
        BoardSettings(packages=packages, run=run_number, sampling=Sampling(zero_bias_prescale), **settings),
        ready=lambda status: click.echo(json.dumps(status)),
    )


@board.command(name="set", cls=WorkCommand)
@click.argument("text")
@click.option("--control", default=CONTROL_ADDRESS, show_default=True, help="The `--control` of the board that runs.")
def set_world(text: str, control: str) -> None:
    """Change the world around the simulated board.

    TEXT is "jet_energy_scale=-0.08", or "ageing=0.3 ramp=20" (over 20 lumi sections), or "clear" for the world as
    it was. It is in force from the next lumi section on.
    """
    from monitor.demo.world import WorldError, operate

    order = {"do": "clear"} if text == "clear" else {"do": "condition", "text": text}
    try:
        click.echo(json.dumps(operate(control, **order)))
    except WorldError as error:
        fail(EX_FAILED, str(error))
