"""Reading: the same columns out of every format, a stretch at a time, and faults with file, column and row."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch
import uproot
from pyarrow import parquet

from monitor.archive.errors import ArchiveError
from monitor.archive.samples import Rows, count_rows, expand, rows

N = 1000
RNG = np.random.default_rng(1)
COLUMNS: dict[str, Any] = {
    "scores": RNG.integers(0, 4000, N).astype(np.uint16),
    "pileup": RNG.uniform(15, 60, N).astype(np.float32),
    "inputs": RNG.integers(-100, 100, (N, 3)).astype(np.int16),
}


def structured(path: Path, columns: dict[str, Any]) -> None:
    table = np.zeros(N, [(name, array.dtype, array.shape[1:]) for name, array in columns.items()])
    for name, array in columns.items():
        table[name] = array
    np.save(path, table)


def hdf5(path: Path, columns: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in columns.items():
            file[name] = array


def arrow(path: Path, columns: dict[str, Any]) -> None:
    arrays = {
        name: pa.array(array) if array.ndim == 1 else pa.FixedSizeListArray.from_arrays(array.ravel(), array.shape[1])
        for name, array in columns.items()
    }
    parquet.write_table(pa.table(arrays), path, row_group_size=300)


def root(path: Path, columns: dict[str, Any]) -> None:
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {name: (array.dtype, array.shape[1:]) for name, array in columns.items()})
        for start in range(0, N, 300):
            tree.extend({name: array[start : start + 300] for name, array in columns.items()})


def tensors(path: Path, columns: dict[str, Any]) -> None:
    torch.save(
        {
            name: torch.from_numpy(array.astype(np.int32 if name == "scores" else array.dtype))
            for name, array in columns.items()
        },
        path,
    )


WRITERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "npy": structured,
    "npz": lambda path, columns: np.savez_compressed(path, **columns),
    "h5": hdf5,
    "parquet": arrow,
    "root": root,
    "pt": tensors,
}


@pytest.fixture(params=WRITERS)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"sample.{request.param}"
    WRITERS[request.param](path, COLUMNS)
    return path


def joined(parts: list[Rows], name: str) -> Any:
    return np.concatenate([part.columns[name] for part in parts])


def test_every_format_gives_the_same_columns_in_stretches(file: Path) -> None:
    parts = list(rows([str(file)], ["scores", "inputs"], ["pileup", "absent"], size=128))
    for name, array in COLUMNS.items():
        np.testing.assert_array_equal(joined(parts, name), array)
    assert max(len(part.columns["scores"]) for part in parts) <= 128
    assert [part.first for part in parts] == np.cumsum([0, *(len(part.columns["scores"]) for part in parts)]).tolist()[
        :-1
    ]
    assert count_rows([str(file), str(file)], "scores") == 2 * N


def test_a_missing_column_is_named_with_those_that_are_there(file: Path) -> None:
    with pytest.raises(ArchiveError, match=rf"{file}: no column score; there is .*scores"):
        list(rows([str(file)], ["score"]))


def test_a_file_that_is_cut_off_is_named(file: Path) -> None:
    """Wherever the cut is, no short sample passes for a whole one."""
    whole = file.read_bytes()
    for share in (0.02, 0.5, 0.97):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ArchiveError, match=str(file)):
            list(rows([str(file)], ["scores", "pileup", "inputs"]))


def test_a_file_of_noise_is_named(file: Path) -> None:
    file.write_bytes(RNG.bytes(500))
    with pytest.raises(ArchiveError, match=f"{file}: damaged"):
        list(rows([str(file)], ["scores"]))


@pytest.mark.parametrize("suffix", ["npy", "pt"])
def test_an_array_without_a_name_holds_the_scores(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"scores.{suffix}"
    if suffix == "npy":
        np.save(path, COLUMNS["scores"])
    else:
        torch.save(torch.from_numpy(COLUMNS["scores"]), path)
    np.testing.assert_array_equal(joined(list(rows([str(path)], ["scores"])), "scores"), COLUMNS["scores"])


def test_several_files_and_globs_follow_each_other(tmp_path: Path) -> None:
    for number in (2, 1):
        np.save(tmp_path / f"part{number}.npy", np.full(3, number))
    files = expand([str(tmp_path / "part*.npy"), str(tmp_path / "part1.npy")])
    assert joined(list(rows(files, ["scores"])), "scores").tolist() == [1, 1, 1, 2, 2, 2, 1, 1, 1]
    with pytest.raises(ArchiveError, match="no file matches"):
        expand([str(tmp_path / "*.root")])


def test_integers_and_floats_do_not_mix(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    np.save(tmp_path / "b.npy", np.arange(3.0))
    with pytest.raises(ArchiveError, match=r"b.npy: column 'scores' holds floats, but integers in .*a.npy"):
        list(rows([str(tmp_path / "a.npy"), str(tmp_path / "b.npy")], ["scores"]))


def test_columns_of_different_length_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", scores=np.arange(3), pileup=np.arange(2.0))
    with pytest.raises(ArchiveError, match=r"a.npz: columns of different length: .*3.*2"):
        list(rows([str(tmp_path / "a.npz")], ["scores", "pileup"]))


def test_text_and_objects_are_no_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", scores=np.array(["1", "2"]), other=np.array([{}, {}]))
    with pytest.raises(ArchiveError, match=r"column 'scores' holds <U1"):
        list(rows([str(tmp_path / "a.npz")], ["scores"]))
    np.savez(tmp_path / "b.npz", scores=np.array([{}, {}]))
    with pytest.raises(ArchiveError, match=r"b.npz: column 'scores': expected numbers"):
        list(rows([str(tmp_path / "b.npz")], ["scores"]))


def test_a_missing_value_in_a_parquet_file_has_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"scores": pa.array([1, 2, 3, None, 5])}), path, row_group_size=2)
    with pytest.raises(ArchiveError, match=r"a.parquet: column 'scores', row 3: no value"):
        list(rows([str(path)], ["scores"], size=2))


def test_the_tree_of_a_root_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "two.root"
    with uproot.recreate(path) as file:
        file.mktree("a", {"scores": np.int32}).extend({"scores": np.arange(3)})
        file.mktree("b", {"scores": np.int32}).extend({"scores": np.arange(4)})
    assert len(joined(list(rows([f"{path}:b"], ["scores"])), "scores")) == 4
    with pytest.raises(ArchiveError, match=rf"no tree ''; name one of a, b, as in {path}:a"):
        list(rows([str(path)], ["scores"]))


def test_a_missing_file_and_an_unknown_kind_say_so(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no such file"):
        list(rows([str(tmp_path / "a.npy")], ["scores"]))
    with pytest.raises(ArchiveError, match=r"a.csv: expected one of .npy, .npz"):
        list(rows([str(tmp_path / "a.csv")], ["scores"]))


def test_a_bad_value_is_named_with_file_column_and_row(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([1.0, 2.0, 3.0, np.nan]))
    _, part = rows([str(tmp_path / "a.npy")], ["scores"], size=3)
    with pytest.raises(ArchiveError, match=r"a.npy: column 'scores', row 3: nan is no number"):
        part.require("scores", np.isfinite(part.columns["scores"]), "number")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_file_larger_than_memory_is_read_in_stretches(tmp_path: Path, suffix: str) -> None:
    """240 MB of scores, in a process that may allocate no more than 100 MB on top of what it starts with."""
    path = tmp_path / f"large.{suffix}"
    scores = np.zeros(60_000_000, np.uint32)
    if suffix == "npy":
        np.save(path, scores)
    else:
        np.savez(path, scores=scores)
    code = """
import resource, sys
from pathlib import Path
from monitor.archive.samples import rows
data = next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (data * 1024 + 100_000_000,) * 2)
print(sum(int((part.columns["scores"] + 1).sum()) for part in rows([sys.argv[1]], ["scores"])))
"""
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "60000000"


def test_the_readers_are_loaded_only_when_needed() -> None:
    heavy = {"pyarrow", "uproot", "h5py", "torch"}
    code = f"import sys, monitor.cli.main, monitor.daemon.service; print({{*sys.modules}} & {heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
