"""`driftd model cost`: what it costs in the FPGA that a model can be re-calibrated."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING

import click

from firmware.tools.yosys import FAMILIES
from monitor.cli.command import File, Folder, WorkCommand, json_option, progress

if TYPE_CHECKING:
    from firmware.datapath.cost import Resources

HEADS = ("LUT", "as SRL", "FF", "RAMB36", "RAMB18", "DSP")
NOTES = """\
Synthesis alone: no placement, no timing. Two small LUTs that may share one count as two.
Yosys spends LUTs to shorten the longest path of a design, so a difference of two may be off by a tenth of their LUTs.
frozen datapath: the network with scales of 1, offsets of 0, fixed cuts, no rings, no LUT: {frozen} clocks, not {all}.
register bank: bus, double buffer, CRC, counters, boot image, and what lets events in.
each knob: what it alone adds to these, its registers in both banks with it; in common: what they need only once.\
"""


@click.command(cls=WorkCommand)
@click.argument("path", metavar="PACKAGE", type=File)
@click.option(
    "--family", type=click.Choice(FAMILIES), default="xcup", show_default=True, help="Device family, as Yosys names it."
)
@click.option("--no-dsp", is_flag=True, help="Multiply in LUTs alone.")
@click.option("--cache", type=Folder, default="var/cost", show_default=True, help="Folder where counts are kept.")
@click.option(
    "--jobs", type=click.IntRange(1), default=os.cpu_count(), help="Syntheses at a time.  [default: one a processor]"
)
@click.option(
    "--limit", type=click.FloatRange(0), default=3600, show_default=True, help="Seconds that each synthesis may take."
)
@json_option
def cost(path: Path, family: str, no_dsp: bool, cache: Path, jobs: int, limit: float, as_json: bool) -> None:
    """Count the FPGA cells that re-calibration needs.

    LUTs, flip-flops, block RAMs and DSPs of the frozen datapath, and what each knob adds to it. Yosys synthesises a
    dozen designs, minutes each for a large network; what it has counted once is kept.
    """
    from firmware.datapath import cost as counting
    from firmware.model.package import Package

    package = Package.load(path)
    settings = counting.Synthesis(family, not no_dsp, cache, jobs, limit)
    found = counting.cost(package.model, package.nominal.raw("cuts"), settings, progress)
    shares = {name: found.total.shares(device) for name, device in counting.DEVICES.items()}
    if as_json:
        parts = {name: asdict(part) for name, part in found.parts.items()}
        total = asdict(found.total)
        click.echo(json.dumps({"model": package.model.id, "parts": parts, "total": total, "shares": shares}))
        return
    click.echo(f"{package.model.name}, model {package.model.id[:12]}, for {family}")
    click.echo(f"{'':28}" + "".join(f"{head:>9}" for head in HEADS))
    for name, part in found.parts.items():
        click.echo(_row(name, part))
    click.echo(_row("total", found.total))
    for name, share in shares.items():
        click.echo(f"of a {name}: " + ", ".join(f"{value:.2%} of {kind.upper()}" for kind, value in share.items()))
    click.echo(NOTES.format(frozen=found.frozen_clocks, all=found.clocks))


def _row(name: str, part: Resources) -> str:
    return f"{name:28}" + "".join(f"{count:>9,}" for count in astuple(part))
