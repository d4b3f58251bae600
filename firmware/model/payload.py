"""The register words of one stream: all that a bank holds."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firmware.errors import ForestError, PayloadError
from firmware.model.fixed import Floats, Integers, Words
from firmware.model.layout import Field, Layout


class Registered(Protocol):
    """What has registers: its id, where they lie, and what some of them hold as trained, as raws by field."""

    @property
    def id(self) -> str:
        """The id that payloads made for it bear as `model_id`."""

    @property
    def layout(self) -> Layout:
        """Where its registers lie in a bank."""

    @property
    def trained(self) -> Mapping[str, NDArray[Any]]:
        """Raws of the registers that hold what was trained, by field."""


@dataclass(frozen=True)
class Change:
    """One register that differs between two payloads."""

    field: str
    index: int
    old_raw: int
    new_raw: int
    old_value: float
    new_value: float


@dataclass(frozen=True, eq=False)
class Payload:
    """The full set of register words of one stream, for one model.

    Equal payloads have equal ids: the SHA-256 of model id and little-endian words.

    Raises:
        PayloadError: if the words do not fill the layout, or one is not a number of its field's type.
        ForestError: if those of a forest are none that every walk through ends.
    """

    model_id: str
    layout: Layout
    words: Words

    def __post_init__(self) -> None:
        words = np.array(self.words, dtype=np.uint32)
        words.flags.writeable = False
        if words.shape != (self.layout.n_words,):
            raise PayloadError(f"words of shape {words.shape}, expected ({self.layout.n_words},)")
        object.__setattr__(self, "words", words)
        for field in self.layout.fields:
            given = words[field.words]
            wrong = np.flatnonzero(field.type.pack(field.type.unpack(given)) != given)
            if wrong.size:
                raise PayloadError(
                    f"{field.name}[{wrong[0]}]: word {given[wrong[0]]:#010x} is no number of {field.type}"
                )
        self.prove()

    def prove(self) -> None:
        """Show that every walk through the forest ends, where there is one.

        Raises:
            ForestError: naming tree, node and fault.
        """
        if self.layout.forest is not None:
            self.layout.forest.prove(self.words[self.layout["forest"].words])

    @classmethod
    def nominal(cls, model: Registered, cuts: ArrayLike) -> Self:
        """The identity: scales of 1, offsets of 0, weights and trees as trained, LUT entry i = i, the given cuts."""
        layout = model.layout
        empty = cls(model.id, layout, np.zeros(layout.n_words, dtype=np.uint32))
        ones = {
            field.name: np.full(field.size, 1 << field.type.frac)
            for field in layout.fields
            if field.name.endswith("_scale")
        }
        return empty.replace(**ones, **model.trained, cuts=cuts, lut=np.arange(layout["lut"].size))

    @classmethod
    def from_bytes(cls, layout: Layout, model_id: str, data: bytes) -> Self:
        """The payload of little-endian words of 4 bytes; a PayloadError if they are not as many as the layout has."""
        if len(data) != 4 * layout.n_words:
            raise PayloadError(f"{len(data)} bytes, expected {4 * layout.n_words} for {layout.n_words} words")
        return cls(model_id, layout, np.frombuffer(data, dtype="<u4").astype(np.uint32))

    @classmethod
    def from_registers(cls, layout: Layout, model_id: str, words: Words) -> Self:
        """The payload that the registers make of bank words: bits above a register's width are not there.

        Words that are no forest count as one whose every score is 0.
        """
        kept = np.concatenate([field.type.pack(field.type.unpack(words[field.words])) for field in layout.fields])
        if layout.forest is not None:
            nodes = kept[layout["forest"].words]
            try:
                layout.forest.prove(nodes)
            except ForestError:
                nodes[:] = 0
        return cls(model_id, layout, kept)

    def to_bytes(self) -> bytes:
        """All words in the order of their addresses, 4 bytes each, little-endian."""
        return self.words.astype("<u4").tobytes()

    @cached_property
    def id(self) -> str:
        """SHA-256 of model id and `to_bytes`, in hexadecimal."""
        return hashlib.sha256(self.model_id.encode() + self.to_bytes()).hexdigest()

    @cached_property
    def crc(self) -> int:
        """CRC-32 of `to_bytes`, which the board computes of a bank too."""
        return zlib.crc32(self.to_bytes())

    def raw(self, name: str) -> Integers:
        """Raw integers (size,) of a field."""
        field = self.layout[name]
        return field.type.unpack(self.words[field.words])

    def value(self, name: str) -> Floats:
        """Values (size,) of a field, each raw · lsb."""
        return self.layout[name].type.value(self.raw(name))

    def replace(self, **raws: ArrayLike) -> Self:
        """The payload with other raws in some fields.

        Raises:
            PayloadError: for an unknown field, a wrong number of raws, or one that is out of range.
        """
        words = self.words.copy()
        for name, raw in raws.items():
            field = self.layout[name]
            words[field.words] = _pack(field, np.asarray(raw))
        return type(self)(self.model_id, self.layout, words)

    def replace_values(self, **values: ArrayLike) -> Self:
        """The payload with other values in some fields, each rounded to the nearest number of its type."""
        return self.replace(
            **{
                name: np.rint(np.ldexp(np.asarray(value, dtype=np.float64), self.layout[name].type.frac))
                for name, value in values.items()
            }
        )

    def diff(self, other: "Payload") -> list[Change]:
        """Each register of this payload that `other` holds differently.

        Raises:
            PayloadError: if the two have different layouts.
        """
        if self.layout != other.layout:
            raise PayloadError("the payloads have different layouts and cannot be compared")
        return [
            Change(
                field.name,
                int(index),
                int(self.raw(field.name)[index]),
                int(other.raw(field.name)[index]),
                float(self.value(field.name)[index]),
                float(other.value(field.name)[index]),
            )
            for field in self.layout.fields
            for index in np.flatnonzero(self.words[field.words] != other.words[field.words])
        ]


def _pack(field: Field, raw: NDArray[Any]) -> Words:
    """The words of one field, or a PayloadError that names what does not fit."""
    raw = np.atleast_1d(raw)
    if raw.shape != (field.size,):
        raise PayloadError(f"{field.name}: raws of shape {raw.shape}, expected ({field.size},)")
    low, high, lsb = field.type.min_raw, field.type.max_raw, field.type.lsb
    wrong = np.flatnonzero(~((raw >= low) & (raw <= high)))
    if wrong.size:
        i = wrong[0]
        raise PayloadError(
            f"{field.name}[{i}]: raw {raw[i]} (value {raw[i] * lsb:g}) is outside {low} to {high} "
            f"({low * lsb:g} to {high * lsb:g}) of {field.type}"
        )
    if not np.array_equal(raw, raw.astype(np.int64)):
        raise PayloadError(f"{field.name}: raws must be integers")
    return field.type.pack(raw.astype(np.int64))
