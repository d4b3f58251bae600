"""`driftd reference`: build, show, compare."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.archive import references
from monitor.cli.command import File, WorkCommand, json_option, numbers
from monitor.stats.compare.references import comparison, contents
from monitor.terms import SCORES_PER_LS

if TYPE_CHECKING:
    from rich.progress import TaskID

CHANCE = 0.01
"""Smaller p-values are not put down to chance."""


@contextmanager
def progress_bar(total: float) -> Iterator[Callable[[str, int], None]]:
    """Bars by name that are advanced by a number of steps out of `total`; only a terminal shows them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(name: str, steps: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.advance(tasks[name], steps)

        yield advance


@click.group()
def reference() -> None:
    """Build, show and compare reference distributions."""


@reference.command(cls=WorkCommand)
@click.argument("files", nargs=-1)
@click.option("--out", type=File, required=True, help="The reference to write.")
@click.option("--scores", default="scores", show_default=True, help="Column of the scores.")
@click.option("--pileup", default=None, help="Column of the pile-up.")
@click.option("--inputs", default="", help="Columns of the event inputs, with commas between.")
@click.option(
    "--bits", type=click.IntRange(1, 24), default=18, show_default=True, help="Width of a score code in bits."
)
@click.option(
    "--lsb", type=click.FloatRange(0, min_open=True), default=None, help="Score of one code, where scores are floats."
)
@click.option("--cut", "cuts", type=float, multiple=True, help="Cut in the units of the scores; repeat for several.")
@click.option(
    "--target-rate",
    "target_rates",
    type=click.FloatRange(0, 1, True, True),
    multiple=True,
    help="Share of crossings that a cut accepts; repeat for several.",
)
@click.option("--pileup-edges", default="", help="Edges of the pile-up slices, with commas between.")
@click.option("--pileup-slices", type=click.IntRange(0), default=0, help="Number of pile-up slices with equal shares.")
@click.option(
    "--events", "max_events", type=click.IntRange(0), default=200_000, show_default=True, help="Events to keep."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the choice of the events that are kept.")
@click.option("--from-stream", "address", default=None, help="Count the live stream at tcp://host:port instead.")
@click.option("--stream", default="axol1tl", show_default=True, help="Name of the live stream.")
@click.option(
    "--pattern", type=click.Choice(["sub", "pull"]), default="sub", show_default=True, help="ZeroMQ socket for it."
)
@click.option(
    "--lumi-sections", type=click.IntRange(1), default=10, show_default=True, help="Lumi sections of it to count."
)
@click.option(
    "--silent-s", type=float, default=60.0, show_default=True, help="Seconds without a message after which to give up."
)
@json_option
def build(
    files: tuple[str, ...],
    out: Path,
    inputs: str,
    pileup_edges: str,
    address: str | None,
    stream: str,
    pattern: Any,
    lumi_sections: int,
    silent_s: float,
    as_json: bool,
    **settings: Any,
) -> None:
    """Build a reference from files or from the live stream.

    FILES are npy, npz, hdf5, parquet, root or pt; patterns such as 'run*.npz' too. A file holds a score an event, or a
    histogram: columns `edges` and `counts`. A plain array is the column `scores`; FILE.root:TREE names a tree. A
    subscriber (sub) takes nothing away from others.
    """
    from monitor.archive import sources, tap
    from monitor.archive.recipe import Recipe
    from monitor.archive.samples import count_rows, expand

    if bool(files) == bool(address):
        raise click.UsageError("give either FILES or --from-stream ADDRESS")
    recipe = Recipe(
        inputs=tuple(name for name in inputs.split(",") if name), pileup_edges=numbers(pileup_edges), **settings
    )
    if address:
        with progress_bar(lumi_sections) as progress:
            batches = tap.messages(address, pattern, stream, silent_s)
            found, recipe = sources.reference_of_stream(batches, lumi_sections, recipe, progress)
    else:
        names = expand(files)
        with progress_bar(count_rows(names, recipe.scores)) as progress:
            found, recipe = sources.reference_of_files(names, recipe, progress)
    references.save(found, out)
    if as_json:
        click.echo(json.dumps(contents(found, SCORES_PER_LS) | {"file": str(out)}))
        return
    click.echo(f"{out}: {found.m:,.0f} events in {found.binning.n_bins} bins, {len(found.cell_counts)} pile-up slices")
    if recipe.floats:
        top = 2**recipe.bits * found.lsb
        click.echo(f"float scores: a code is {found.lsb:g} (lsb), {recipe.bits} bits reach to {top:g}")
    for cut, rate in zip(found.binning.cuts, found.target_rates, strict=True):
        click.echo(f"cut {cut} (score {cut * found.lsb:g}): target rate {rate:.3g}")


@reference.command(cls=WorkCommand)
@click.argument("path", type=File)
@click.option(
    "--scores-per-ls",
    type=click.FloatRange(1),
    default=SCORES_PER_LS,
    show_default=True,
    help="Scores in a lumi section.",
)
@click.option("--plot", type=File, default=None, help="Draw the reference into this PNG file.")
@json_option
def show(path: Path, scores_per_ls: float, plot: Path | None, as_json: bool) -> None:
    """Say what a reference holds, and how small a drift it can show.

    PATH is a reference, or a model package for the one in it.
    """
    found = references.load(path)
    if plot:
        from monitor.plots.reference_figure import reference_figure

        reference_figure(plot, found, path.name)
    said = contents(found, scores_per_ls)
    if as_json:
        click.echo(json.dumps(said))
        return
    click.echo(f"events     {said['events']:,}; {said['stored_events']:,} kept with {said['inputs']} inputs")
    click.echo(f"codes      {said['bits']} bits, a code is {said['lsb']:g}")
    click.echo(f"bins       {said['bins']}, divided into {said['cells']} cells; edges {_few(said['edges'])}")
    for part in said["slices"]:
        low, high, mean, n = (part[name] for name in ("low", "high", "mean", "events"))
        click.echo(f"pile-up    {low:g} to {high:g}: {n:,} events, mean {mean:.2f}")
    for cut in said["cuts"]:
        error = "no event" if cut["relative_error"] is None else f"± {100 * cut['relative_error']:.2g} %"
        click.echo(
            f"cut        {cut['code']} (score {cut['score']:g}): rate {cut['rate']:.4g} {error}, target"
            f" {cut['target']:.4g}; a change of {100 * cut['visible_change']:.2g} % shows at 5 σ"
        )
    click.echo(
        f"no drift   KL {said['kl_floor']:.2g} ± {said['kl_floor_error']:.1g}, PSI {said['psi_floor']:.2g}"
        f" at {scores_per_ls:,.0f} scores; KL {said['kl_floor_of_reference']:.2g} of it is the reference's own"
    )


@reference.command(cls=WorkCommand)
@click.argument("a", type=File)
@click.argument("b", type=File)
@json_option
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Say how far the reference B is from A.

    KL both ways, PSI, χ² and the rates at the cuts; at the pile-up of B too, where A knows slices of it.
    """
    said = comparison(references.load(a), references.load(b))
    if as_json:
        click.echo(json.dumps(said))
        return
    found, (bins, of_a, of_b) = said["divergence"], said["bins"]
    click.echo(f"events     {said['events'][0]:,} and {said['events'][1]:,}")
    click.echo(f"bins       {bins} in common of {of_a} and {of_b}")
    if said["cuts_left_out"]:
        click.echo(f"cuts       {said['cuts_left_out']} are no edges of {b.name}: left out")
    click.echo(f"KL         {found['kl']:.3g} (B‖A), {found['kl_reverse']:.3g} (A‖B)")
    click.echo(f"corrected  KL {found['kl_corrected']:.3g} ± {found['kl_error']:.1g}, PSI {found['psi_corrected']:.3g}")
    click.echo(f"χ²         {found['chi2']:.1f} for {found['dof']}: p = {found['p_value']:.2g}, {_chance(found)}")
    if said["given_pileup"]:
        given = said["given_pileup"]
        click.echo(f"at B's pile-up: KL {given['kl_corrected']:.3g}, p = {given['p_value']:.2g}, {_chance(given)}")
    for rate in said["rates"]:
        click.echo(f"cut {rate['cut']}: rate {rate['value']:.4g}, × {rate['ratio']:.3f} ± {rate['ratio_error']:.3f}")
    if found["p_value"] < CHANCE:
        click.echo(f"shape      {said['text']}")


def _chance(found: dict[str, Any]) -> str:
    return "which chance explains" if found["p_value"] >= CHANCE else "which chance does not explain"


def _few(edges: list[int]) -> str:
    head = ", ".join(map(str, edges[:6]))
    return head if len(edges) < 7 else f"{head} … {', '.join(map(str, edges[-4:]))}"
