"""`driftd bench`: the figures that the project claims, each measured by a command."""

from __future__ import annotations

import click

from monitor.cli.lazy import LazyGroup

BENCH = "monitor.cli.bench"

SECTIONS = {
    "Seconds": {
        "start": (f"{BENCH}.start:start", "Measure how long the command line takes to start."),
        "emulate": (f"{BENCH}.emulate:emulate", "Measure the datapath's executions, and compare their words."),
        "ingest": (f"{BENCH}.ingest:ingest", "Measure how fast the daemon counts scores."),
        "push": (f"{BENCH}.push:push", "Measure a transaction against bare register access."),
    },
    "Minutes": {
        "detect": (f"{BENCH}.detect:detect", "Measure how soon drifts are found, and false alarms."),
        "recalibrate": (f"{BENCH}.recalibrate:recalibrate", "Measure how well each knob brings a trigger back."),
        "loop": (f"{BENCH}.loop:loop", "Measure how well rates are held over a fill."),
        "lipschitz": (f"{BENCH}.lipschitz:lipschitz", "Measure what norm-constrained training gains and costs."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS)
def bench() -> None:
    """Measure the figures that the project claims."""
