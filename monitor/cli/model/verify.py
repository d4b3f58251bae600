"""`driftd model verify`: the golden events, in every execution and as a board answered them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from monitor.cli.command import File, Folder, WorkCommand, json_option
from monitor.cli.model.package import load_package
from monitor.exits import EX_FAILED

if TYPE_CHECKING:
    from firmware.datapath.emulator import Answers
    from firmware.model.package import Package

SHOWN = 5
"""Mismatches that are named; the others are counted."""
PARTS = ("codes", "core_codes", "latent", "accepts")


@click.command(cls=WorkCommand)
@click.argument("path", metavar="PACKAGE", type=File)
@click.option("--captured", type=File, default=None, help="Pattern file of a board's answers to `model patterns`.")
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Golden event that was played first."
)
@click.option("--first-link", type=click.IntRange(0), default=0, show_default=True, help="First link of the answers.")
@click.option(
    "--cache", type=Folder, default="var/datapath", show_default=True, help="Folder where built datapaths are kept."
)
@json_option
def verify(path: Path, captured: Path | None, first: int, first_link: int, cache: Path, as_json: bool) -> None:
    """Prove the golden events in every execution there is.

    NumPy integers always, C++ and RTL where this machine can build them: every word must agree. With --captured the
    words that a board gave are compared instead. Exits with 1 if a word differs.
    """
    package, _ = load_package(path)
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
"""Answers that were compared, and each that differs."""


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
