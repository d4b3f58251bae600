"""Packages that a plain installation leaves out, and what to install where one of them is needed.

They are imported where they are used, inside ``with needed("files"):``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from firmware.errors import FirmwareError

Extra = Literal["plots", "files", "forests"]
"""matplotlib · h5py, pyarrow, uproot · scikit-learn, conifer."""


class MissingExtra(FirmwareError, ImportError):
    """A package is not installed; the message says which extra brings it."""


@contextmanager
def needed(extra: Extra) -> Iterator[None]:
    """Import what ``extra`` brings within this.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise MissingExtra(f"{package} is not installed: pip install 'driftd[{extra}]'", name=package) from None
