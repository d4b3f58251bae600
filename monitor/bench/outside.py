"""Where data from outside the project lie: measurements and constants of others, which the project does not carry."""

import os
from pathlib import Path

VARIABLE = "DRIFTD_SHARED"
DEFAULT = Path(__file__).parents[2].parent / "shared"


def outside() -> Path:
    """The folder that DRIFTD_SHARED names, or ``shared`` beside the checkout; it may not be there."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


def outside_data(name: str) -> Path:
    """The path of a file of measurements or constants there."""
    return outside() / "data" / name
