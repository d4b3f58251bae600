"""Packages of models that tests train: each trained once, and shared by all workers and all later runs.

A test asks for the file by the settings alone::

    @pytest.fixture(scope="session")
    def package() -> Path:
        return trained(TrainSettings())

The file is named by the SHA-256 of the settings and of every source file that the training depends on, so a change of
either trains anew and nothing stale is ever used. It lies in ``var/trained``, or in the folder that ``DRIFTD_TRAINED``
names, and is read-only: a test that writes to a package copies it first.
"""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from recalib.training.train import TrainSettings, build_package, recipe
from tests.support.places import ROOT

FOLDER = Path(os.environ.get("DRIFTD_TRAINED", ROOT / "var" / "trained"))


def trained(settings: TrainSettings) -> Path:
    """The package of these settings, trained now if nobody has done so yet.

    Of several processes that ask at once, one trains and the others wait for it.
    """
    path = FOLDER / f"{settings.name}-{recipe(settings)[:24]}.driftd"
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_suffix(".lock")):
        if not path.exists():
            aside = path.with_suffix(f".{os.getpid()}")
            build_package(aside, settings)
            aside.chmod(0o444)
            aside.replace(path)
    return path


@contextmanager
def _alone(path: Path) -> Generator[None, None, None]:
    """Hold the lock file; the kernel lets go of it when the process ends, however it ends."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
