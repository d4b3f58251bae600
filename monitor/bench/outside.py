"""Where data from outside the project lie: measurements and constants of others, which the project does not carry."""

import os
from pathlib import Path

VARIABLE = "DRIFTD_SHARED"
DEFAULT = Path(__file__).parents[2].parent / "shared"


class OutsideDataMissing(Exception):
    """What was asked for needs a file from outside the project that is not there."""


def outside() -> Path:
    """The folder that DRIFTD_SHARED names, or ``shared`` beside the checkout; it may not be there."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


def outside_data(name: str) -> Path:
    """The path of a file of measurements or constants there."""
    return outside() / "data" / name


def lacks(what: str, path: Path) -> str:
    """What to say of a file that is not there, and what to do about it."""
    return f"no {what} at {path}: put the file there, or name the folder that holds data/ in {VARIABLE}"
