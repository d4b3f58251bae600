"""What a plain installation leaves out is asked for by the name of its extra."""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from firmware.datapath import compiled
from firmware.errors import FirmwareError
from firmware.extras import Extra, MissingExtra
from monitor.archive.formats import open_table
from monitor.plots.canvas import pyplot
from recalib.training import boosted
from tests.support.forests import forest_model
from tests.support.places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def name(requirement: str) -> str:
    return re.split(r"[\[<>=!~;]", requirement)[0]


def test_all_has_every_extra_and_each_requirement_a_floor() -> None:
    known = set(get_args(Extra))
    assert known == EXTRAS.keys() - {"all", "dev"}
    (everything,) = EXTRAS["all"]
    assert set(everything.removeprefix("driftd[").rstrip("]").split(",")) == known
    wanted = [each for extra in known for each in EXTRAS[extra]] + PROJECT["dependencies"]
    assert all(">=" in each for each in wanted)
    assert len({name(each) for each in wanted}) == len(wanted), "what is an extra is not in the base"


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("matplotlib", "plots", lambda path: pyplot()),
        ("h5py", "files", lambda path: open_table(str(path / "a.h5")).__enter__()),
        ("pyarrow", "files", lambda path: open_table(str(path / "a.parquet")).__enter__()),
        ("uproot", "files", lambda path: open_table(str(path / "a.root")).__enter__()),
        ("sklearn", "forests", lambda path: boosted.train(1, np.zeros((1, 57), np.int32), 2)),
    ],
)
def test_a_package_that_is_not_there_is_asked_for_by_its_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, extra: str, use: Callable[[Path], object]
) -> None:
    for suffix in ("h5", "parquet", "root"):
        (tmp_path / f"a.{suffix}").touch()
    monkeypatch.setitem(sys.modules, package, None)
    for loaded in [name for name in sys.modules if name.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, loaded)  # an earlier test may have imported parts of it
    with pytest.raises(MissingExtra, match=rf"^{package} is not installed: pip install 'driftd\[{extra}\]'$"):
        use(tmp_path)


def test_a_forest_without_conifer_is_not_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = importlib.metadata.version

    def without_conifer(package: str) -> str:
        if package == "conifer":
            raise importlib.metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(importlib.metadata, "version", without_conifer)
    with pytest.raises(MissingExtra, match=r"conifer is not installed: pip install 'driftd\[forests\]'"):
        compiled.CompiledDatapath(forest_model(), tmp_path)


def test_it_is_an_error_of_firmware_and_of_an_import() -> None:
    assert issubclass(MissingExtra, FirmwareError)
    assert issubclass(MissingExtra, ImportError)
