"""Where a daemon of this host keeps its state, read without checking the rest of its configuration."""

import tomllib
from pathlib import Path

from monitor.terms import STATE_DIR


def state_dir(path: Path) -> Path:
    """The folder of the ledger and the audit, whatever else the configuration at ``path`` says.

    Raises:
        OSError, ValueError: the file cannot be read, or is not TOML.
    """
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return path.resolve().parent / str(data.get("state_dir", STATE_DIR))
