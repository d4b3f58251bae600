"""`driftd bench`: the figures that the project claims, each measured by a command."""

from __future__ import annotations

import click

from monitor.cli.lazy import LazyGroup

ROOM = "monitor.cli.bench"

SECTIONS = {
    "Seconds": {
        "start": (f"{ROOM}.start:start", "Measure how long the command line takes to start."),
        "emulate": (f"{ROOM}.emulate:emulate", "Measure the datapath's executions, and compare their words."),
        "ingest": (f"{ROOM}.ingest:ingest", "Measure how fast the daemon counts scores."),
        "push": (f"{ROOM}.push:push", "Measure a transaction against bare register access."),
    },
    "Minutes": {
        "detect": (f"{ROOM}.detect:detect", "Measure how soon drifts are found, and false alarms."),
        "recalibrate": (f"{ROOM}.recalibrate:recalibrate", "Measure how well each knob brings a trigger back."),
        "loop": (f"{ROOM}.loop:loop", "Measure how well rates are held over a fill."),
        "lipschitz": (f"{ROOM}.lipschitz:lipschitz", "Measure what norm-constrained training gains and costs."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS)
def bench() -> None:
    """Measure the figures that the project claims."""
