"""What tests of an installation share: the wheel, built once, in an environment of its own."""

from pathlib import Path

import pytest

from tests.support import wheel as made


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return made.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel and its requirements, no extra, and no source tree."""
    return made.install(wheel, tmp_path_factory.mktemp("installed"))
