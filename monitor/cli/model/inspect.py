"""`driftd model inspect` and `diff`: what is in a package, and what differs between two."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.command import File, WorkCommand
from monitor.cli.model.package import load_package
from monitor.exits import EX_FAILED

if TYPE_CHECKING:
    from monitor.stats.count.reference import Reference


@click.command(cls=WorkCommand)
@click.argument("path", metavar="PACKAGE", type=File)
def inspect(path: Path) -> None:
    """Say what is in a package, after checking every hash."""
    package, reference = load_package(path)
    forest = package.model.forest
    core = " → ".join(str(len(layer.weight)) for layer in package.model.layers)
    if forest is not None:
        core = f"{forest.shape.n_trees} trees of {forest.shape.n_nodes} nodes on {forest.shape.n_features} inputs"
    click.echo(f"stream     {package.model.name}")
    click.echo(f"package    {package.id}")
    click.echo(f"model      {package.model.id}")
    click.echo(f"network    {core} → {package.model.n_latent}, {package.model.score.kind}")
    click.echo(f"registers  {package.model.layout.n_words} words")
    click.echo(f"payload    {package.nominal.id}, cuts {package.nominal.raw('cuts').tolist()}")
    click.echo(f"reference  {reference.m:,.0f} events, target rates {reference.target_rates.tolist()}")
    click.echo(f"lineage    {json.dumps(package.lineage, sort_keys=True)}")


@click.command(cls=WorkCommand)
@click.argument("a", type=File)
@click.argument("b", type=File)
def diff(a: Path, b: Path) -> None:
    """Say by name what differs between two packages.

    Exits with 1 if anything differs from A to B.
    """
    from firmware.model.package import differences

    (one, reference), (other, reference_b) = load_package(a), load_package(b)
    lines = [*differences(one, other), *_unlike_references(reference, reference_b)]
    for line in lines:
        click.echo(line)
    sys.exit(EX_FAILED if lines else 0)


def _unlike_references(a: Reference, b: Reference) -> Iterator[str]:
    if a.to_bytes() == b.to_bytes():
        return
    told = {
        "events": (f"{a.m:,.0f}", f"{b.m:,.0f}"),
        "cuts": (list(a.binning.cuts), list(b.binning.cuts)),
        "target_rates": (a.target_rates.tolist(), b.target_rates.tolist()),
        "pileup_edges": tuple(None if r.pileup_edges is None else r.pileup_edges.tolist() for r in (a, b)),
        "bins": (a.binning.n_bins, b.binning.n_bins),
    }
    unlike = [f"reference.{name}: {one} → {other}" for name, (one, other) in told.items() if one != other]
    yield from unlike or ["reference: other counts; `driftd reference compare` says how far apart"]
