"""Events and answers packed onto the links that a pattern file plays or captures.

The packing of events is this project's own: fields follow one another from bit 0 of word 0 on, in two's complement; one
that does not fit what is left of a word starts the next. A link takes as many words in a crossing as it has frames
there, the next link the words after them; every crossing holds one event.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from firmware.datapath.emulator import Answers
from firmware.datapath.patterns import Format, Frame, Pattern
from firmware.errors import PatternError
from firmware.model.fixed import Fixed, Integers
from firmware.model.model import Model

Words64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Place:
    """Where a field lies in the words of an event."""

    name: str
    type: Fixed
    word: int
    low: int


@dataclass(frozen=True)
class Packing:
    """Fields on links from `first_link` on.

    Raises:
        PatternError: if a field is wider than a word.
    """

    format: Format
    first_link: int
    places: tuple[Place, ...]

    @classmethod
    def build(cls, format: Format, first_link: int, fields: Iterable[tuple[str, Fixed]]) -> Self:
        """Place fields one behind the other from bit 0 of word 0 on, none of them across two words."""
        places: list[Place] = []
        word = low = 0
        for name, type in fields:
            if type.width > format.word_bits:
                raise PatternError(f"{name} has {type.width} bits, but a word of {format.name} has {format.word_bits}")
            if low + type.width > format.word_bits:
                word, low = word + 1, 0
            places.append(Place(name, type, word, low))
            low += type.width
        return cls(format, first_link, tuple(places))

    @classmethod
    def of_events(cls, model: Model, format: Format, first_link: int = 0) -> Self:
        """The packing of a model's events: its features in their order."""
        return cls.build(format, first_link, ((feature.name, feature.type) for feature in model.features))

    @classmethod
    def of_answers(cls, model: Model, format: Format, first_link: int = 0) -> Self:
        """The packing of a model's answers: the code, then an accept bit for each cut."""
        code = Fixed(model.code_type.width, model.code_type.width, signed=False)
        bits = [(f"accept{i}", Fixed(1, 1, signed=False)) for i in range(model.n_cuts)]
        return cls.build(format, first_link, [("code", code), *bits])

    @property
    def n_words(self) -> int:
        """Words of one event."""
        return self.places[-1].word + 1

    @property
    def words_of(self) -> dict[int, slice]:
        """The words of an event that each link carries, one a frame."""
        step = self.format.frames
        starts = range(0, self.n_words, step)
        return {self.first_link + i: slice(a, min(a + step, self.n_words)) for i, a in enumerate(starts)}

    def position(self, place: Place) -> tuple[int, int]:
        """Link and frame of the crossing."""
        return self.first_link + place.word // self.format.frames, place.word % self.format.frames

    def pack(self, raws: Integers) -> Words64:
        """(n, n_words) of raws (n, fields) that are numbers of their types."""
        words = np.zeros((len(raws), self.n_words), np.uint64)
        for place, column in zip(self.places, raws.T, strict=True):
            mask = np.uint64((1 << place.type.width) - 1)
            words[:, place.word] |= (column.astype(np.int64).astype(np.uint64) & mask) << np.uint64(place.low)
        return words

    def unpack(self, words: Words64) -> Integers:
        """The raws (n, fields) of words (n, n_words)."""
        columns = [(words[:, place.word] >> np.uint64(place.low)).astype(np.int64) for place in self.places]
        wrapped = [
            place.type.cast(column & ((1 << place.type.width) - 1), place.type.frac)
            for place, column in zip(self.places, columns, strict=True)
        ]
        return np.stack(wrapped, axis=1)

    def pattern(self, raws: Integers, name: str) -> Pattern:
        """An event a crossing, from frame 0 on."""
        words = self.pack(raws).tolist()
        links = {link: tuple(self._frames(words, own)) for link, own in self.words_of.items()}
        return Pattern(name, links)

    def _frames(self, words: list[list[int]], own: slice) -> Iterator[Frame]:
        packets, idle = self.format.packets, self.format.frames - (own.stop - own.start)
        for event, row in enumerate(words):
            mine = row[own]
            for i, word in enumerate(mine):
                first, last = packets and i == 0, packets and i == len(mine) - 1
                yield Frame(word, True, first and event == 0, first, last)
            yield from [Frame()] * idle

    def raws(self, pattern: Pattern) -> Integers:
        """The raws (n, fields) of the events in a pattern, which may begin at any frame.

        Raises:
            PatternError: if a link is missing, its valid words are no whole number of events, a packet does not
                start or end with its event, or the links hold different numbers of events.
        """
        parts = {link: self._valid(pattern, link, own.stop - own.start) for link, own in self.words_of.items()}
        counts = {link: len(words) for link, words in parts.items()}
        if len(set(counts.values())) != 1:
            raise PatternError(f"{pattern.name}: links hold different numbers of events: {counts}")
        return self.unpack(np.concatenate(list(parts.values()), axis=1))

    def _valid(self, pattern: Pattern, link: int, size: int) -> Words64:
        """(events, size) valid words of a link."""
        if link not in pattern.links:
            raise PatternError(f"{pattern.name}: no link {link}: there are {', '.join(map(str, pattern.links))}")
        found = [(i, frame) for i, frame in enumerate(pattern.links[link]) if frame.valid]
        if len(found) % size:
            raise PatternError(f"{pattern.name}: link {link} has {len(found)} valid words, expected {size} an event")
        for k, (i, frame) in enumerate(found):
            wanted = (k % size == 0, k % size == size - 1)
            if self.format.packets and (frame.start, frame.end) != wanted:
                marks = f"start {frame.start:d}, end {frame.end:d}"
                raise PatternError(
                    f"{pattern.name}: link {link}, frame {i}: {marks}, expected {wanted[0]:d}, {wanted[1]:d}: "
                    f"an event is a packet of {size} words"
                )
        return np.array([frame.data for _, frame in found], np.uint64).reshape(-1, size)


def answer_raws(answers: Answers) -> Integers:
    """Codes and accept bits (n, 1 + n_cuts), as `Packing.of_answers` has them."""
    return np.column_stack([answers.codes.astype(np.int64), answers.accepts.astype(np.int64)])


def mismatches(captured: Integers, expected: Integers, names: Sequence[str]) -> Iterator[str]:
    """What differs, event by event, of the events that both have."""
    n = min(len(captured), len(expected))
    for event, column in np.argwhere(captured[:n] != expected[:n]):
        yield f"event {event}: {names[column]} is {captured[event, column]}, expected {expected[event, column]}"
