"""What goes wrong with files names the file, once, whoever finds it out; what goes wrong without one does not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monitor.archive import references
from monitor.archive.errors import ArchiveError, FileFault
from monitor.archive.recipe import Recipe
from monitor.archive.samples import expand, rows
from monitor.archive.sources import reference_of_files, reference_of_stream
from monitor.offline.replay import StreamSetup
from monitor.stats.count.building import reference_of_histogram
from monitor.stats.errors import StatsError

SCORES = np.arange(2000) % 50


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "sample.npz")


def build(file: str, **settings: object) -> None:
    reference_of_files([file], Recipe(bits=12, **settings))  # type: ignore[arg-type]


def replayed(file: str) -> None:
    StreamSetup(reference_of_histogram([0, 8, 16], [[70, 30]])).on_archive([file])


@pytest.mark.parametrize(
    ("columns", "act", "why"),
    [
        ({"other": SCORES}, build, "no column scores"),
        ({"scores": SCORES[:20]}, build, "20 reference events"),
        ({"scores": SCORES}, lambda file: build(file, cuts=(2.5,)), "cut 2.5: the scores are codes"),
        ({"scores": SCORES}, lambda file: build(file, pileup_slices=2), "pile-up slices need a column"),
        ({"scores": SCORES - 1}, build, "column 'scores', row 0: -1"),
        ({"scores": SCORES, "x": SCORES / 2}, lambda file: build(file, inputs=("x",)), "column 'x' holds float64"),
        ({"scores": SCORES, "x": SCORES * 1000}, lambda file: build(file, inputs=("x",)), "row 33: 33000 is no input"),
        ({"scores": SCORES, "mu": -SCORES}, lambda file: build(file, pileup="mu"), "row 1: -1 is no pile-up"),
        ({"counts": SCORES}, build, "column 'counts' without a column 'edges'"),
        ({"counts": SCORES}, replayed, "column 'counts' without a column 'edges'"),
        ({"counts": np.ones(3), "edges": np.array([0, 3, 5, 16])}, replayed, "none in common"),
    ],
)
def test_the_file_at_fault_comes_first_and_once(
    file: str, columns: dict[str, object], act: Callable[[str], None], why: str
) -> None:
    np.savez(file, **columns)  # type: ignore[arg-type]
    with pytest.raises(FileFault, match=why) as found:
        act(file)
    said = str(found.value)
    assert said.startswith(file)
    assert said.count(file) == 1


def test_a_file_that_holds_no_reference_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.ref"
    path.write_bytes(b"none")
    with pytest.raises(FileFault, match=f"{path}: not a reference"):
        references.load(path)


def test_what_is_asked_of_no_file_or_of_a_stream_is_the_archives_fault_alone(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no file matches"):
        expand([str(tmp_path / "*.npz")])
    with pytest.raises(ArchiveError, match="of a live stream need their edges") as found:
        reference_of_stream(iter(()), 1, Recipe(pileup="mu", pileup_slices=2))
    assert not isinstance(found.value, FileFault)


def test_an_error_of_the_archive_is_none_of_the_statistics(file: str) -> None:
    assert not issubclass(ArchiveError, StatsError)
    np.savez(file, scores=np.array(["a"]))
    with pytest.raises(ArchiveError, match="expected numbers"):
        list(rows([file], ["scores"]))
