"""`driftd bench ingest`: counting, beside a loop that only receives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from monitor.cli.bench.output import tell
from monitor.cli.command import WorkCommand, config_option, json_option, load_config, progress


@click.command(cls=WorkCommand)
@config_option
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds to measure.")
@click.option(
    "--orbits", type=click.IntRange(18), default=18_000, show_default=True, help="Orbits in a run; 4 runs in a round."
)
@json_option
def ingest(config_path: Path, rounds: int, orbits: int, as_json: bool) -> None:
    """Measure how fast the daemon counts scores.

    Beside it stands a loop that only receives the same messages.
    """
    from monitor.bench.ingest import ingest as measure

    load_config(config_path)
    found = measure(config_path, rounds, orbits, progress)
    tell(found, as_json, _lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for size in ("orbit", "64k"):
        for dtype, rates in found["by_dtype"].items():
            spent = ", ".join(f"{what} {us}" for what, us in found["us_per_message"][dtype][size].items())
            rate = rates[f"scores_per_s_{size}"] / 1e6
            yield f"{dtype} {size:5} {rate:6.0f} M scores/s, × {rates[f'ratio_{size}']:.2f} of bare; µs: {spent}"
    rss = [found[name] for name in ("rss_mb_start", "rss_mb", "rss_mb_peak")]
    yield f"lost {found['lost']}; counting is {found['counting']}; MB at start, end, peak: {rss}"
