"""`driftd bench emulate`: NumPy integers, C++ and RTL on the same events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import File, WorkCommand, json_option, progress


@click.command(cls=WorkCommand)
@click.option(
    "--package",
    type=File,
    default="var/axol1tl.driftd",
    show_default=True,
    help="Model package; it is trained where there is none.",
)
@click.option("--events", type=int, default=100_000, show_default=True, help="Events for each payload.")
@json_option
def emulate(package: Path, events: int, as_json: bool) -> None:
    """Measure the datapath's executions, and compare their words.

    They run with the nominal and 20 random payloads. The model is that of the package, or the project's own, trained,
    where there is none.
    """
    from firmware.model.package import Package
    from monitor.bench import emulate as figures
    from recalib.training.train import TrainSettings, build_package

    model = Package.load(package) if package.exists() else build_package(package, TrainSettings(), progress)
    found = figures.emulate(model, package.parent / "build", events)
    tell(found, as_json, _lines(found, events))


def _lines(found: dict[str, Any], events: int) -> Iterator[str]:
    for name, rate in found["events_per_s"].items():
        yield f"{name:10} {rate:>12,} events/s"
    for name, differing in found["mismatches"].items():
        yield f"{name:10} {differing:>12,} of {found['words_compared']:,} words differ from numpy's"
    for name, why in found["lacking"].items():
        yield f"{name:10} was skipped: {why}"
    yield f"{events:,} events, {found['payloads']} payloads"
