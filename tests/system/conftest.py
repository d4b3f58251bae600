"""Real processes: a simulated board and the daemon, with the project's own models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recalib.training.train import SETTINGS
from tests.support.datapaths import built
from tests.support.site import Site, opened
from tests.support.trained import trained


@pytest.fixture(scope="session")
def package() -> Path:
    """The encoder of the objects."""
    return built(trained(SETTINGS["axol1tl"]))


@pytest.fixture
def site(tmp_path: Path, package: Path) -> Iterator[Site]:
    with opened(tmp_path, package) as site:
        yield site
