"""`driftd model export` and `patterns`: a package for an offline emulator, and for a test stand."""

from __future__ import annotations

from pathlib import Path

import click

from monitor.cli.command import File, Folder, WorkCommand
from monitor.cli.model.package import load_package


@click.command(cls=WorkCommand)
@click.argument("path", metavar="PACKAGE", type=File)
@click.option("--out", type=Folder, required=True, help="The folder to write.")
def export(path: Path, out: Path) -> None:
    """Write the datapath as C and SystemVerilog, with its proof.

    The emulator with a C interface and its Makefile, golden vectors, nominal payload, address table and RTL.
    """
    from firmware.datapath.export import export as write

    package, _ = load_package(path)
    files = write(package, out)
    click.echo(f"{out}: {len(files)} files; `make -C {out}` builds libdriftd_emulator.so, driftd_emulator.h says how")


@click.command(cls=WorkCommand)
@click.argument("path", metavar="PACKAGE", type=File)
@click.option(
    "--format",
    "name",
    type=click.Choice(["EMPv2", "EMPv1", "MP7"]),
    default="EMPv2",
    show_default=True,
    help="Format of the pattern files.",
)
@click.option("--out", type=File, required=True, help="The pattern file of the events.")
@click.option("--expected", type=File, required=True, help="The pattern file of the codes and accept bits.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="Golden event to begin with.")
@click.option(
    "--events", type=click.IntRange(1), default=None, help="Number of events.  [default: as many as a buffer holds]"
)
@click.option("--first-link", type=click.IntRange(0), default=0, show_default=True, help="First link of both files.")
def patterns(path: Path, name: str, out: Path, expected: Path, first: int, events: int | None, first_link: int) -> None:
    """Write golden events as pattern files for a test stand.

    One file has the events, another what a board must answer; it prints where each field is. There is one event in each
    crossing, from frame 0 on.
    """
    from firmware.datapath.emulator import Emulator
    from firmware.datapath.packing import Packing, answer_raws
    from firmware.datapath.patterns import FORMATS, text

    package, _ = load_package(path)
    model, format = package.model, FORMATS[name]
    drawn = package.golden_events[first : first + (events or format.crossings)]
    if not len(drawn):
        raise click.UsageError(f"--first {first}: there are {len(package.golden_events)} golden events")
    answers = answer_raws(Emulator(model).run(drawn, package.nominal))
    packings = Packing.of_events, Packing.of_answers
    for target, of, raws in zip((out, expected), packings, (drawn, answers), strict=True):
        packing = of(model, format, first_link)
        target.write_text(text(packing.pattern(raws, model.name), format))
        click.echo(f"{target}: {len(raws)} events")
        for place in packing.places:
            link, frame = packing.position(place)
            high = place.low + place.type.width - 1
            click.echo(f"  link {link}, frame {frame}, bits {high}:{place.low}  {place.name} {place.type}")
