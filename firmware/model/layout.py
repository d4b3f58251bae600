"""Where each register of a stream lies in a bank."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from firmware.errors import PayloadError
from firmware.model.fixed import Fixed
from firmware.model.forest import Shape


@dataclass(frozen=True)
class Field:
    """`size` registers of one type, one word each, from word `address` of the bank on."""

    name: str
    size: int
    type: Fixed
    address: int

    @property
    def words(self) -> slice:
        """The slice of a bank's words (n_words,) that is the field's."""
        return slice(self.address, self.address + self.size)


@dataclass(frozen=True)
class Layout:
    """The fields of a bank, one after the other without gaps; `forest` is the shape of the field of that name."""

    fields: tuple[Field, ...]
    forest: Shape | None = None

    @classmethod
    def build(cls, fields: Iterable[tuple[str, int, Fixed]], forest: Shape | None = None) -> Self:
        """Place fields of (name, size, type) one behind the other, from word 0 on."""
        placed: list[Field] = []
        address = 0
        for name, size, type in fields:
            placed.append(Field(name, size, type, address))
            address += size
        return cls(tuple(placed), forest)

    @property
    def n_words(self) -> int:
        """Words of a bank."""
        return sum(field.size for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        raise PayloadError(f"no field {name!r}: there are {', '.join(field.name for field in self.fields)}")
