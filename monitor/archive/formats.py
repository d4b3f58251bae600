"""Files of columns, by their suffix: NumPy, HDF5, Parquet, ROOT, torch; each reader is loaded when it is needed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from firmware.extras import MissingExtra, needed
from monitor.archive.errors import ArchiveError, FileFault
from monitor.stats.arrays import Array

PLAIN = "scores"
"""The name of the column in a file that holds one array without a name."""


@dataclass(frozen=True, eq=False)
class Table:
    """An open file: its columns, how many rows one has, and how to read some of them."""

    columns: Sequence[str]
    length: Callable[[str], int]
    read: Callable[[Sequence[str], int], Iterator[Mapping[str, Array]]]


@contextmanager
def open_table(file: str) -> Iterator[Table]:
    """An open file, by its suffix; ``file.root:tree`` names the tree of a ROOT file.

    Raises:
        ArchiveError: on a file that is missing, of another kind or damaged.
    """
    path = path_of(file)
    if path.suffix not in _FORMATS:
        raise FileFault(f"{file}: expected one of {', '.join(_FORMATS)}; convert it")
    with _named(file):
        if not path.is_file():
            raise ArchiveError("there is no such file")
        with _FORMATS[path.suffix](file) as opened:
            yield opened


def path_of(file: str) -> Path:
    """The file itself, without the name of a tree in it."""
    head, colon, _ = file.rpartition(".root:")
    return Path(f"{head}.root" if colon else file)


@contextmanager
def _named(file: str) -> Iterator[None]:
    """Name the file in whatever goes wrong with it; what a reader raises on a damaged one is its own affair."""
    try:
        yield
    except (FileFault, MissingExtra):
        raise
    except ArchiveError as error:
        raise FileFault(f"{file}: {error}") from None
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise FileFault(f"{file}: damaged, cut off or of another kind ({why}); fetch or write it again") from error


def _sliced(columns: Sequence[str], array_of: Callable[[str], Any]) -> Table:
    """A table of arrays that are read by slicing."""

    def length(name: str) -> int:
        shape = array_of(name).shape
        if not shape:
            raise ArchiveError(f"column {name!r} is a single value: expected one a row")
        return int(shape[0])

    def read(names: Sequence[str], size: int) -> Iterator[Mapping[str, Array]]:
        for start in range(0, length(names[0]), size):
            yield {name: np.asarray(array_of(name)[start : start + size]) for name in names}

    return Table(columns, length, read)


@contextmanager
def _npy(file: str) -> Iterator[Table]:
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if array.dtype.names:
        yield _sliced(array.dtype.names, lambda name: array[name])
    else:
        yield _sliced([PLAIN], lambda name: array)


class _Member:
    """An array in an npz file, decompressed only as far as it is read."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._stream = archive.open(name)
        version = np.lib.format.read_magic(self._stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, fortran, self.dtype = header(self._stream)
        if self.dtype.hasobject or (fortran and len(self.shape) > 1):
            raise ArchiveError(f"column {name.removesuffix('.npy')!r}: expected numbers, rows in order (C); save it so")
        self._start = self._stream.tell()
        self._width = self.dtype.itemsize * int(np.prod(self.shape[1:]))

    def __getitem__(self, part: slice) -> Array:
        start, stop, _ = part.indices(self.shape[0])
        self._stream.seek(self._start + start * self._width)
        data = self._stream.read((stop - start) * self._width)
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


@contextmanager
def _npz(file: str) -> Iterator[Table]:
    with zipfile.ZipFile(file) as archive:
        columns = [name.removesuffix(".npy") for name in archive.namelist()]
        yield _sliced(columns, cache(lambda name: _Member(archive, f"{name}.npy")))


@contextmanager
def _hdf5(file: str) -> Iterator[Table]:
    with needed("files"):
        import h5py

    with h5py.File(file, "r") as opened:
        columns: list[str] = []
        opened.visititems(lambda name, item: columns.append(name) if isinstance(item, h5py.Dataset) else None)
        yield _sliced(columns, opened.__getitem__)


@contextmanager
def _torch(file: str) -> Iterator[Table]:
    import torch

    loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    tensors = {PLAIN: loaded} if torch.is_tensor(loaded) else loaded
    yield _sliced(list(tensors), lambda name: tensors[name].numpy())


@contextmanager
def _parquet(file: str) -> Iterator[Table]:
    with needed("files"):
        from pyarrow import parquet

    with parquet.ParquetFile(file, memory_map=True) as opened:

        def read(names: Sequence[str], size: int) -> Iterator[Mapping[str, Array]]:
            first = 0
            for batch in opened.iter_batches(size, columns=list(names)):
                yield {name: _numbers(name, batch.column(name), first) for name in names}
                first += len(batch)

        yield Table(opened.schema_arrow.names, lambda name: opened.metadata.num_rows, read)


def _numbers(name: str, column: Any, first: int) -> Array:
    if column.null_count:
        row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise ArchiveError(f"column {name!r}, row {row}: no value; fill or drop the row")
    if hasattr(column, "flatten") and hasattr(column, "values"):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)  # type: ignore[no-any-return]
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


@contextmanager
def _root(file: str) -> Iterator[Table]:
    with needed("files"):
        import uproot

    path = path_of(file)
    with uproot.open(path) as opened:
        name = file[len(str(path)) + 1 :]
        trees = opened.keys(cycle=False, filter_classname=["TTree", "ROOT::RNTuple"])
        if name not in trees and (name or len(trees) != 1):
            raise ArchiveError(
                f"no tree {name!r}; name one of {', '.join(trees)}, as in {path}:{(trees or ['tree'])[0]}"
            )
        tree = opened[name or trees[0]]

        def read(names: Sequence[str], size: int) -> Iterator[Mapping[str, Array]]:
            for part in tree.iterate(list(names), step_size=size, library="np"):
                yield {name: part[name] for name in names}

        yield Table(tree.keys(), lambda name: int(tree.num_entries), read)


_FORMATS: dict[str, Callable[[str], AbstractContextManager[Table]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".parquet": _parquet,
    ".root": _root,
    ".pt": _torch,
}
