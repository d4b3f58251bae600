"""Golden vectors for a payload: events that every execution of it must give the same codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.board.board import Board
from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Answers, Emulator, Execute
from firmware.errors import ValidationError
from firmware.model.fixed import Integers
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.tools.compiler import compiler

SPREAD = 64
"""Golden events that are taken all over the range of the codes."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Events (n, n_features), the codes (n,) that a payload gives them, and the executions that agree on that."""

    events: Integers
    codes: NDArray[np.uint32]
    executions: tuple[str, ...]


class Validation:
    """Makes the golden vectors of a model's payloads and holds executions and boards against them.

    Args:
        events: golden events (n, n_features) of the model's package; the empty event is added.
        cache: where the compiled datapath is kept, which is built there if there is a compiler; None for
            NumPy integers alone.
        require_playback: whether a board that cannot play events back is refused.
    """

    def __init__(
        self, model: Model, events: NDArray[Any], cache: Path | None, *, require_playback: bool = True
    ) -> None:
        model.check_events(events)
        self.model = model
        self._golden = np.concatenate([events.astype(np.int64), [np.clip(0, *model.limits)]])
        self._cache = cache
        self._require_playback = require_playback

    def vectors(self, payload: Payload) -> Vectors:
        """Golden events next to each cut and all over the codes, and corners of the inputs, under this payload.

        Raises:
            ValidationError: if two executions differ; it names the event and what each gives.
            PayloadError: if the payload is for another model.
            ForestError: if a walk through its forest might not end.
        """
        payload.prove()
        emulator = Emulator(self.model)
        ranked = self._golden[np.argsort(emulator.codes(self._golden, payload), kind="stable")]
        above = np.searchsorted(emulator.codes(ranked, payload), payload.raw("cuts"))
        spread = np.linspace(0, len(ranked) - 1, SPREAD).astype(np.int64)
        picked = np.unique(np.clip(np.concatenate([spread, above - 1, above]), 0, len(ranked) - 1))
        events = np.concatenate([ranked[picked], corners(self.model, ranked[len(ranked) // 2])])
        expected = emulator.run(events, payload)
        if self._compiled is not None:
            for fault in _differences(self._compiled(events, payload), expected):
                raise ValidationError(f"the compiled datapath differs from NumPy integers: {fault}")
        return Vectors(events, expected.codes, ("numpy", "compiled") if self._compiled else ("numpy",))

    def play(self, board: Board, stream: str, vectors: Vectors) -> int:
        """Events that the shadow bank of a board has given the codes of the vectors: all, or 0 without playback.

        Raises:
            ValidationError: if a code differs; it names the event. Or if the board has no playback, but needs it.
        """
        capacity = board.playback(stream)
        if not capacity:
            if self._require_playback:
                raise ValidationError(
                    "the board's address table has no playback: add it, or set push.require_playback = false"
                )
            return 0
        for start in range(0, len(vectors.events), capacity):
            part = slice(start, start + capacity)
            got, expected = board.play(stream, vectors.events[part], "shadow"), vectors.codes[part]
            if (wrong := np.flatnonzero(got != expected)).size:
                event = int(wrong[0])
                raise ValidationError(
                    f"the board differs on {wrong.size} of {len(expected)} events, first event {start + event} "
                    f"({_spelt(vectors.events[start + event])}): code {got[event]}, expected {expected[event]}"
                )
        return len(vectors.events)

    @cached_property
    def _compiled(self) -> Execute | None:
        if self._cache is None or compiler() is None:
            return None
        return CompiledDatapath(self.model, self._cache).run


def corners(model: Model, event: Integers) -> Integers:
    """Where inputs, and sums of them, saturate: all features at one limit, and each at both in an event."""
    low, high = model.limits
    single = [np.where(np.eye(model.n_features, dtype=np.bool_), limit, event) for limit in (low, high)]
    return np.concatenate([[low, high], *single])


def _differences(words: Answers, expected: Answers) -> Iterator[str]:
    for part in ("codes", "core_codes", "latent", "accepts"):
        given, wanted = getattr(words, part), getattr(expected, part)
        for event in np.flatnonzero((given != wanted).reshape(len(wanted), -1).any(axis=1)):
            yield f"event {event}: {part} {_spelt(given[event])}, expected {_spelt(wanted[event])}"


def _spelt(numbers: Any) -> str:
    return " ".join(map(str, np.atleast_1d(numbers).astype(np.int64)))
