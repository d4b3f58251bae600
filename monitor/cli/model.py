"""`driftd model`: make packages, look at them, prove them, take them elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from firmware.errors import FirmwareError, SpecificationError
from monitor.archive.errors import ArchiveError
from monitor.cli.reference import DataFault, File, numbers
from monitor.stats.errors import StatsError

if TYPE_CHECKING:
    from firmware.datapath.emulator import Answers
    from firmware.model.package import Package
    from monitor.stats.count.reference import Reference

EX_FAILED = 1
SHOWN = 5
"""Mismatches that are named; the others are counted."""
PARTS = ("codes", "core_codes", "latent", "accepts")

Folder = click.Path(file_okay=False, path_type=Path)


class SpecificationFault(DataFault):
    exit_code = 78


class PackageFault(DataFault):
    exit_code = EX_FAILED


class ModelCommand(click.Command):
    """A command that ends with the words of a fault, and 78 for a specification, 65 for events, 1 for a package."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SpecificationError as error:
            raise SpecificationFault(str(error)) from None
        except FirmwareError as error:
            raise PackageFault(str(error)) from None
        except (ArchiveError, StatsError) as error:
            raise DataFault(str(error)) from None


def _progress(text: str) -> None:
    """What goes on, beside the answer on the standard output."""
    click.echo(text, err=True)


def _cache_option(function: Any) -> Any:
    return click.option(
        "--cache", type=Folder, default="var/datapath", show_default=True, help="Where built datapaths are kept."
    )(function)


@click.group()
def model() -> None:
    """Make model packages, look at them, prove them, take them elsewhere."""


@model.command(cls=ModelCommand)
@click.option(
    "--model", "kind", type=click.Choice(["axol1tl", "cicada", "forest"]), default="axol1tl", show_default=True
)
@click.option("--out", type=File, default=None, help="The package to write; var/MODEL.driftd without it.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option(
    "--lipschitz",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Bound on how much axol1tl's encoder amplifies its normalised inputs (2-norm); without one it is some 7. "
    "2 keeps the signals; 1 halves what a jet scale does to the rates and costs most of the soft leptons.",
)
@click.option("--weights", is_flag=True, help="The weights of axol1tl's last layer in registers, for the knob weights.")
@click.option("--conditioned", is_flag=True, help="The pile-up an input of axol1tl, from a register, for the knob.")
def train(kind: str, out: Path | None, seed: int, lipschitz: float | None, weights: bool, conditioned: bool) -> None:
    """Train one of the project's own models on generated events and pack it; instant if it is there already.

    axol1tl sees the global trigger's objects, cicada the calorimeter's regions; forest is trees that have learnt
    axol1tl's score, for conifer's Forest Processing Unit.
    """
    from recalib.errors import TrainingError
    from recalib.training.train import SETTINGS, build_package

    path = out or Path("var") / f"{kind}.driftd"
    settings = replace(SETTINGS[kind], seed=seed, lipschitz=lipschitz, weights=weights, conditioned=conditioned)
    try:
        package = build_package(path, settings, progress=_progress)
    except TrainingError as error:
        raise click.UsageError(str(error)) from None
    gain = f", gain of its network at most {package.lineage['gain']:.2f}" if package.model.layers else ""
    click.echo(f"{path}: model {package.model.id[:12]}{gain}")


@model.command(name="import", cls=ModelCommand)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=File, required=True, help="The package to write.")
@click.option("--name", default=None, help="Of the stream, in place of the specification's.")
@click.option("--weights", type=File, default=None, help="In place of the specification's.")
@click.option("--score", type=click.Choice(["sum_of_squares", "squared_distance", "linear"]), default=None)
@click.option("--center", default=None, help="Of squared_distance: values with commas between.")
@click.option("--cut", "codes", type=int, multiple=True, help="A score code; and others so given.")
@click.option("--target-rate", "target_rates", type=click.FloatRange(0, 1, True, True), multiple=True)
@click.option("--events", "files", multiple=True, help="File of hardware integers; globs, and others so given.")
@click.option("--inputs", default="inputs", show_default=True, help="Their columns, with commas between.")
@click.option("--pileup", default=None, help="Column of the pile-up.")
@click.option("--pileup-edges", default="", help="Edges of the pile-up slices, with commas between.")
@click.option("--pileup-slices", type=click.IntRange(0), default=0, help="Slices with equal shares.")
@click.option("--generated", type=click.IntRange(1), default=None, help="So many events of the project's own instead.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the events that are drawn.")
def import_(
    source: Path,
    out: Path,
    files: tuple[str, ...],
    inputs: str,
    pileup: str | None,
    pileup_edges: str,
    pileup_slices: int,
    generated: int | None,
    seed: int,
    **given: Any,
) -> None:
    """Make a package of the model in SOURCE: a specification, or the folder of an hls4ml project.

    Specification, what is taken of hls4ml, and events are described in firmware/IMPORT.md. The same source, events and
    options give the same package.
    """
    from firmware.imports.specification import Specification
    from monitor.archive.recipe import Recipe
    from monitor.archive.samples import expand
    from monitor.offline import packing

    if bool(files) == bool(generated):
        raise click.UsageError("give --events FILE or --generated N")
    specification = Specification.load(source, _given(**given))
    if generated:
        sample = packing.of_generator(generated, seed)
    else:
        recipe = Recipe(pileup=pileup, pileup_edges=numbers(pileup_edges), pileup_slices=pileup_slices)
        sample = packing.of_files(expand(files), [name for name in inputs.split(",") if name], recipe)
    package = packing.pack(specification, sample, seed, _progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    package.save(out)
    click.echo(f"{out}: model {package.model.id[:12]}, cuts {package.nominal.raw('cuts').tolist()}")


def _given(
    name: str | None,
    weights: Path | None,
    score: str | None,
    center: str | None,
    codes: tuple[int, ...],
    target_rates: tuple[float, ...],
) -> dict[str, Any]:
    """The entries of a specification that options put in place of the file's."""
    found: dict[str, Any] = {}
    if name:
        found["name"] = name
    if weights:
        found["weights"] = weights.resolve()
    parts = {"kind": score, "center": numbers(center) if center else None}
    if any(parts.values()):
        found["score"] = {key: value for key, value in parts.items() if value}
    if codes or target_rates:
        found["cuts"] = {"codes": codes, "target_rates": target_rates}
    return found


@model.command(cls=ModelCommand)
@click.argument("path", type=click.Path(path_type=Path))
def inspect(path: Path) -> None:
    """Say what is in a package, after checking every hash."""
    package, reference = _load(path)
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


@model.command(cls=ModelCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--captured", type=File, default=None, help="A board's answers, as `patterns` packs them.")
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Golden event that was played first."
)
@click.option("--first-link", type=click.IntRange(0), default=0, show_default=True, help="Of the answers.")
@_cache_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(path: Path, captured: Path | None, first: int, first_link: int, cache: Path, as_json: bool) -> None:
    """Check every hash, and the golden vectors in every execution that this machine has; 1 if a word differs.

    With --captured it is the words that a board was seen to give that are compared.
    """
    package, _ = _load(path)
    if captured:
        found = {"captured": _captured(package, captured, first, first_link)}
        lacking: dict[str, str] = {}
    else:
        found, lacking = _executed(package, cache)
    if as_json:
        said = {name: {"words": words, "mismatches": wrong} for name, (words, wrong) in found.items()}
        click.echo(json.dumps({"executions": said, "lacking": lacking}))
    else:
        for name, (words, wrong) in found.items():
            click.echo(f"{name:10} {words:>10,} words compared, {len(wrong)} differ")
            for line in wrong[:SHOWN]:
                click.echo(f"           {line}")
        for name, why in lacking.items():
            click.echo(f"{name:10} was skipped: {why}")
    sys.exit(EX_FAILED if any(wrong for _, wrong in found.values()) else 0)


Compared = tuple[int, list[str]]
"""Words that were compared, and each that differs."""


def _executed(package: Package, cache: Path) -> tuple[dict[str, Compared], dict[str, str]]:
    """What each execution makes of the golden events: NumPy's codes beside the package's, all else beside NumPy."""
    from monitor.bench.emulate import executions

    runs, lacking = executions(package, cache)
    events = package.golden_events
    words = {name: run(events, package.nominal) for name, run in runs.items()}
    stored = package.golden_codes
    wrong = [
        f"event {i}: codes is {words['numpy'].codes[i]}, the package has {stored[i]}"
        for i in (words["numpy"].codes != stored).nonzero()[0]
    ]
    found: dict[str, Compared] = {"numpy": (len(stored), wrong)}
    for name in [*words][1:]:
        found[name] = _compared(words[name], words["numpy"])
    return found, lacking


def _compared(words: Answers, expected: Answers) -> Compared:
    import numpy as np

    size, wrong = 0, []
    for part in PARTS:
        is_, should = getattr(words, part), getattr(expected, part)
        size += should.size
        for at in map(tuple, np.argwhere(is_ != should)):
            where = f"event {at[0]}: {part}" + "".join(f"[{i}]" for i in at[1:])
            wrong.append(f"{where} is {is_[at]}, expected {should[at]}")
    return size, wrong


def _captured(package: Package, path: Path, first: int, first_link: int) -> Compared:
    from firmware.datapath.emulator import Emulator
    from firmware.datapath.packing import Packing, answer_raws, mismatches
    from firmware.datapath.patterns import read
    from firmware.errors import PatternError

    format, pattern = read(path)
    packing = Packing.of_answers(package.model, format, first_link)
    answers = packing.raws(pattern)
    events = package.golden_events[first : first + len(answers)]
    if not len(answers) or len(answers) > len(events):
        raise PatternError(f"{path}: {len(answers)} answers, but golden events from {first} on are {len(events)}")
    expected = answer_raws(Emulator(package.model).run(events, package.nominal))
    names = [place.name for place in packing.places]
    return expected.size, list(mismatches(answers, expected, names))


@model.command(cls=ModelCommand)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
def diff(a: Path, b: Path) -> None:
    """Say by name what differs from package A to package B; 1 if anything does."""
    from firmware.model.package import differences

    (one, reference), (other, reference_b) = _load(a), _load(b)
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


@model.command(cls=ModelCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=Folder, required=True, help="The folder to write.")
def export(path: Path, out: Path) -> None:
    """Write the emulator with a C interface, its Makefile, golden vectors, nominal payload, address table and RTL."""
    from firmware.datapath.export import export as write

    package, _ = _load(path)
    files = write(package, out)
    click.echo(f"{out}: {len(files)} files; `make -C {out}` builds libdriftd_emulator.so, driftd_emulator.h says how")


@model.command(cls=ModelCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "name", type=click.Choice(["EMPv2", "EMPv1", "MP7"]), default="EMPv2", show_default=True)
@click.option("--out", type=File, required=True, help="The pattern file of the events.")
@click.option("--expected", type=File, required=True, help="That of the codes and accept bits.")
@click.option("--first", type=click.IntRange(0), default=0, show_default=True, help="Golden event to begin with.")
@click.option("--events", type=click.IntRange(1), default=None, help="How many; as many as a buffer holds without.")
@click.option("--first-link", type=click.IntRange(0), default=0, show_default=True, help="Of both files.")
def patterns(path: Path, name: str, out: Path, expected: Path, first: int, events: int | None, first_link: int) -> None:
    """Write golden events and what a board must answer as pattern files, and print where each field is.

    There is one event in each crossing, from frame 0 on.
    """
    from firmware.datapath.emulator import Emulator
    from firmware.datapath.packing import Packing, answer_raws
    from firmware.datapath.patterns import FORMATS, text

    package, _ = _load(path)
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


def _load(path: Path) -> tuple[Package, Reference]:
    from firmware.model.package import Package
    from monitor.stats.count.reference import Reference

    package = Package.load(path)
    return package, Reference.from_bytes(package.reference)
