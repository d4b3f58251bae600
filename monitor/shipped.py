"""Files that come with the package beside its code: the default configuration, dashboards, deployment files."""

from pathlib import Path

FOLDER = Path(__file__).parent / "files"
"""In a checkout links to the top of the repository, in an installation the files themselves."""


def shipped(name: str) -> Path:
    """The path of one of them, such as ``config.toml``, ``dashboards`` or ``deploy/systemd``."""
    return FOLDER / name
