"""The model package: everything that belongs to one model, in one verified zip."""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from firmware.errors import FirmwareError, PackageError
from firmware.model.model import Model
from firmware.model.payload import Payload

FORMAT = 1
MAX_BYTES = 1 << 30
MANIFEST = "manifest.json"
_ARRAYS = "arrays/"
_SIGNALS = "signals."


@dataclass(frozen=True, eq=False)
class Package:
    """The travelling model: network, nominal payload, address table, reference, golden vectors, lineage.

    `reference` is opaque here. `golden_codes` are the codes of `golden_events` under the nominal payload.
    `signals` are undrifted events (n, n_features) of what the trigger is to find, by name; there may be none.

    Raises:
        PackageError: if the payload is made for another model, the golden vectors or the signals do not
            fit, or a signal's name is no identifier.
    """

    model: Model
    nominal: Payload
    address_table: str
    reference: bytes
    golden_events: NDArray[Any]
    golden_codes: NDArray[Any]
    lineage: dict[str, Any]
    signals: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.nominal.model_id != self.model.id or self.nominal.layout != self.model.layout:
            raise PackageError(f"the nominal payload is made for model {self.nominal.model_id}, not {self.model.id}")
        self._check_events("golden events", self.golden_events)
        for name, events in self.signals.items():
            if not name.isidentifier():
                raise PackageError(f"signal {name!r}: expected a name of letters, digits and underscores")
            self._check_events(f"signal {name}", events)
            if not len(events):
                raise PackageError(f"signal {name}: it has no events")
        if self.golden_codes.shape != (len(self.golden_events),):
            raise PackageError(f"{self.golden_codes.shape} golden codes for {len(self.golden_events)} events")

    def _check_events(self, what: str, events: NDArray[Any]) -> None:
        try:
            self.model.check_events(events)
        except FirmwareError as error:
            raise PackageError(f"{what}: {error}") from error

    @cached_property
    def id(self) -> str:
        """SHA-256 of the manifest, which names the content of every member."""
        return hashlib.sha256(_manifest(self._members())).hexdigest()

    def save(self, path: Path) -> None:
        """Write the zip; the same content gives the same bytes."""
        members = self._members()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for name, data in sorted((members | {MANIFEST: _manifest(members)}).items()):
                archive.writestr(zipfile.ZipInfo(name), data)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and verify a package.

        Raises:
            PackageError: if the file is no zip, of another format, or a member is changed, missing or
                not listed; the text names it.
        """
        members = _verified(path)
        try:
            arrays = {
                name.removeprefix(_ARRAYS).removesuffix(".npy"): np.load(io.BytesIO(data), allow_pickle=False)
                for name, data in members.items()
                if name.startswith(_ARRAYS)
            }
            model = Model.from_arrays(json.loads(members["model.json"]), arrays)
            return cls(
                model=model,
                nominal=Payload.from_bytes(model.layout, model.id, members["nominal.bin"]),
                address_table=members["address_table.xml"].decode(),
                reference=members["reference.bin"],
                golden_events=arrays["golden.events"],
                golden_codes=arrays["golden.codes"],
                lineage=json.loads(members["lineage.json"]),
                signals={
                    name.removeprefix(_SIGNALS): events for name, events in arrays.items() if name.startswith(_SIGNALS)
                },
            )
        except (KeyError, ValueError, FirmwareError) as error:
            raise PackageError(f"{path} holds no usable package: {error}") from error

    def _members(self) -> dict[str, bytes]:
        description, arrays = self.model.to_arrays()
        arrays |= {"golden.events": self.golden_events, "golden.codes": self.golden_codes}
        arrays |= {f"{_SIGNALS}{name}": events for name, events in self.signals.items()}
        return {
            "model.json": _json(description),
            "nominal.bin": self.nominal.to_bytes(),
            "address_table.xml": self.address_table.encode(),
            "reference.bin": self.reference,
            "lineage.json": _json(self.lineage),
            **{f"{_ARRAYS}{name}.npy": _npy(array) for name, array in arrays.items()},
        }


def differences(a: Package, b: Package) -> Iterator[str]:
    """What differs between two packages, by name, save their references: what `a` has, then what `b` has."""
    (described_a, arrays_a), (described_b, arrays_b) = a.model.to_arrays(), b.model.to_arrays()
    yield from _unlike("model", described_a, described_b)
    vectors = "golden.events", "golden.codes"
    arrays_a |= dict(zip(vectors, (a.golden_events, a.golden_codes), strict=True))
    arrays_b |= dict(zip(vectors, (b.golden_events, b.golden_codes), strict=True))
    arrays_a |= {f"{_SIGNALS}{name}": events for name, events in a.signals.items()}
    arrays_b |= {f"{_SIGNALS}{name}": events for name, events in b.signals.items()}
    for name in sorted(arrays_a.keys() | arrays_b.keys()):
        yield from _unlike_arrays(name, arrays_a.get(name), arrays_b.get(name))
    for name in [part.name for part in a.nominal.layout.fields if part in b.nominal.layout.fields]:
        yield from _unlike_arrays(f"nominal.{name}", a.nominal.raw(name), b.nominal.raw(name))
    if a.address_table != b.address_table:
        yield "address_table: another map"
    yield from _unlike("lineage", a.lineage, b.lineage)


def _unlike(path: str, a: Any, b: Any) -> Iterator[str]:
    """Where two JSON-able values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(a.keys() | b.keys()):
            yield from _unlike(f"{path}.{name}", a.get(name), b.get(name))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from _unlike(f"{path}.{i}", one, other)
    elif isinstance(a, list) and isinstance(b, list):
        yield f"{path}: {len(a)} → {len(b)} entries"
    elif a != b:
        yield f"{path}: {a} → {b}"


def _unlike_arrays(name: str, a: NDArray[Any] | None, b: NDArray[Any] | None) -> Iterator[str]:
    if a is None or b is None or a.shape != b.shape:
        yield f"{name}: " + " → ".join("none" if array is None else f"shape {array.shape}" for array in (a, b))
        return
    unlike = np.argwhere(a != b)
    if len(unlike):
        first = tuple(unlike[0].tolist())
        at = ", ".join(map(str, first))
        yield f"{name}: {len(unlike)} of {a.size} differ, the first [{at}]: {a[first]} → {b[first]}"


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _manifest(members: dict[str, bytes]) -> bytes:
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    return _json({"format": FORMAT, "sha256": hashes})


def _verified(path: Path) -> dict[str, bytes]:
    """The members of the zip, each with the hash that the manifest gives it."""
    members = _read(path)
    try:
        manifest = json.loads(members.pop(MANIFEST))
        version, hashes = manifest["format"], dict(manifest["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise PackageError(f"{path} has no readable {MANIFEST}: {error!r}") from error
    if version != FORMAT:
        raise PackageError(f"{path} is of format {version}, expected {FORMAT}")
    for name in sorted(hashes.keys() | members.keys()):
        if name not in members:
            raise PackageError(f"{path}: member {name} is missing")
        if hashlib.sha256(members[name]).hexdigest() != hashes.get(name):
            raise PackageError(f"{path}: member {name} is changed")
    return members


def _read(path: Path) -> dict[str, bytes]:
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise PackageError(f"{path} unpacks to more than {MAX_BYTES} bytes")
            members = {}
            for name in archive.namelist():
                members[name] = archive.read(name)
            return members
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error) as error:
        where = f": member {name} is changed" if name else ""
        raise PackageError(f"{path} is no readable package{where} ({error})") from error
