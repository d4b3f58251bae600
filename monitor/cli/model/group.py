"""`driftd model`: make packages, look at them, prove them, take them elsewhere."""

from __future__ import annotations

import click

from monitor.cli.lazy import LazyGroup

MODEL = "monitor.cli.model"

SECTIONS = {
    "Make": {
        "train": (f"{MODEL}.train:train", "Train one of the project's own models and pack it."),
        "import": (f"{MODEL}.bring:import_", "Make a package of a model from elsewhere."),
    },
    "Look at": {
        "inspect": (f"{MODEL}.inspect:inspect", "Say what is in a package, after checking every hash."),
        "diff": (f"{MODEL}.inspect:diff", "Say by name what differs between two packages."),
        "verify": (f"{MODEL}.verify:verify", "Prove the golden events in every execution there is."),
        "cost": (f"{MODEL}.cost:cost", "Count the FPGA cells that re-calibration needs."),
    },
    "Take elsewhere": {
        "export": (f"{MODEL}.export:export", "Write the datapath as C and SystemVerilog, with its proof."),
        "patterns": (f"{MODEL}.export:patterns", "Write golden events as pattern files for a test stand."),
    },
}


@click.group(cls=LazyGroup, sections=SECTIONS)
def model() -> None:
    """Train, import, inspect and verify model packages."""
