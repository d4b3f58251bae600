"""The events that a recalibration may look at: a bounded, unbiased sample of what the trigger saw."""

from dataclasses import dataclass
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recalib.errors import SampleError

SHARES = (0.5, 0.25, 0.25)
"""Of the events: to fit, to choose among knobs and stop early, to gate."""

LS_SHARE = 8
"""The events of one lumi section and stratum fill at most one part in so many of the memory."""


@dataclass(frozen=True, eq=False)
class EventSample:
    """Events of generations that differ in cuts at most, each with the probability π with which it came to be here.

    Any sum over all crossings is estimated without bias by the sum over the sample with weights 1/π
    (Horvitz and Thompson, 1952).

    Args:
        events: hardware integers int16 (n, width).
        inclusion: π in (0, 1], float32 (n,).
        codes: score codes as the board published them, uint32 (n,).
        ls: lumi sections, int64 (n,).

    Raises:
        SampleError: if lengths differ or an inclusion probability is no probability.
    """

    events: NDArray[np.int16]
    inclusion: NDArray[np.float32]
    codes: NDArray[np.uint32]
    ls: NDArray[np.int64]
    generation: int
    epoch: int = 0

    def __post_init__(self) -> None:
        shapes = {len(self.events), len(self.inclusion), len(self.codes), len(self.ls)}
        if self.events.ndim != 2 or len(shapes) != 1:
            raise SampleError(
                f"events of shape {self.events.shape} with {len(self.inclusion)} inclusion probabilities, "
                f"{len(self.codes)} codes and {len(self.ls)} lumi sections: expected one each"
            )
        if not ((self.inclusion > 0) & (self.inclusion <= 1)).all():
            raise SampleError("inclusion probabilities must lie in (0, 1]")

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def weights(self) -> NDArray[np.float64]:
        """(n,), 1/π."""
        return 1 / self.inclusion.astype(np.float64)

    @property
    def n_eff(self) -> float:
        """(Σw)²/Σw²: how many equally weighted events would be as precise."""
        w = self.weights
        return float(w.sum() ** 2 / (w**2).sum()) if len(w) else 0.0

    def take(self, which: NDArray[Any]) -> "EventSample":
        """The events of an index or mask."""
        return EventSample(
            self.events[which],
            self.inclusion[which],
            self.codes[which],
            self.ls[which],
            self.generation,
            self.epoch,
        )

    def joined(self, other: "EventSample") -> "EventSample":
        """The events of this one, then those of another of the same generation."""
        return EventSample(
            np.concatenate([self.events, other.events]),
            np.concatenate([self.inclusion, other.inclusion]),
            np.concatenate([self.codes, other.codes]),
            np.concatenate([self.ls, other.ls]),
            self.generation,
            self.epoch,
        )

    def split(self, seed: int) -> "Split":
        """Disjoint random parts of 50, 25 and 25 %, the same for the same seed."""
        order = np.random.default_rng(seed).permutation(len(self))
        ends = np.rint(np.cumsum(SHARES)[:-1] * len(self)).astype(int)
        return Split(*(self.take(np.sort(part)) for part in np.split(order, ends)))


class Split(NamedTuple):
    """Disjoint parts: to fit, to choose among knobs and stop early, to gate."""

    fit: EventSample
    choice: EventSample
    gates: EventSample


class Reservoir:
    """A uniform random sample of at most `capacity` of the rows offered (algorithm R, Vitter 1985).

    Once more were offered, each is here with probability capacity/offered.

    >>> reservoir = Reservoir(2, np.random.default_rng(1))
    >>> reservoir.add(np.arange(8))
    >>> len(reservoir), reservoir.kept, len(reservoir.columns()[0])
    (2, 0.25, 2)
    """

    def __init__(self, capacity: int, random: np.random.Generator) -> None:
        self.capacity = capacity
        self.offered = 0
        self._random = random
        self._columns: tuple[NDArray[Any], ...] = ()

    def __len__(self) -> int:
        return min(self.offered, self.capacity)

    @property
    def kept(self) -> float:
        """The probability with which an offered row is here."""
        return len(self) / self.offered if self.offered else 1.0

    def add(self, *columns: NDArray[Any]) -> None:
        """Offer rows, given as columns of one length."""
        n, held = len(columns[0]), len(self)
        free = min(n, self.capacity - held)
        self._columns = tuple(self._grown(column, held + free) for column in self._columns or [c[:0] for c in columns])
        rank = self.offered + 1 + np.arange(free, n)
        slot = (self._random.random(n - free) * rank).astype(np.int64)
        taken = slot < self.capacity
        for kept, new in zip(self._columns, columns, strict=True):
            kept[held : held + free] = new[:free]
            kept[slot[taken]] = new[free:][taken]
        self.offered += n

    def _grown(self, column: NDArray[Any], rows: int) -> NDArray[Any]:
        """The column with room for so many rows, and some to spare, but for no more than the capacity."""
        if rows <= len(column):
            return column
        grown = np.empty((min(self.capacity, 2 * rows), *column.shape[1:]), column.dtype)
        grown[: len(column)] = column
        return grown

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Copies of what is kept."""
        return tuple(column[: len(self)].copy() for column in self._columns)


class _Key(NamedTuple):
    epoch: int
    generation: int
    run: int
    ls: int
    tail: bool


class Sampler:
    """Keeps events as they come from the wire, in bounded memory, per generation and lumi section.

    Two strata have a reservoir each: the tail, published with inclusion 1, and the zero-bias rest. A
    full reservoir lowers the inclusion of its own stratum and lumi section alone; when the whole memory
    is full the oldest lumi section goes. So what happened since an onset is always well represented.
    Safe to use from several threads.
    """

    def __init__(self, capacity: int = 400_000, seed: int = 0) -> None:
        self.capacity = capacity
        self._random = np.random.default_rng(seed)
        self._parts: dict[_Key, Reservoir] = {}
        self._size = 0
        self._lock = Lock()

    def add(
        self,
        events: NDArray[Any],
        inclusion: NDArray[Any],
        codes: NDArray[Any],
        ls: int,
        generation: int,
        epoch: int,
        run: int = 0,
    ) -> None:
        """Offer the sampled events (m, width) of one message, with their published codes."""
        tail = np.asarray(inclusion) >= 1
        with self._lock:
            for stratum, rows in ((True, tail), (False, ~tail)):
                if rows.any():
                    key = _Key(epoch, generation, run, ls, stratum)
                    self._offer(key, events[rows], inclusion[rows], codes[rows])

    def resize(self, capacity: int) -> None:
        """Keep as many events from now on; the oldest lumi sections go if that is fewer."""
        with self._lock:
            self.capacity = capacity
            self._trim()

    def sample(self, generations: range, epoch: int, since: tuple[int, int] = (0, 0)) -> EventSample:
        """What is kept of generations whose scores mean the same, from (run, LS) `since` on."""
        generation = generations[-1]
        with self._lock:
            parts = [(key.ls, part.kept, part.columns()) for key, part in self._of(generations, epoch, since)]
        if not parts:
            return EventSample(*_NOTHING, generation, epoch)
        events, inclusion, codes = zip(*(columns for _, _, columns in parts), strict=True)
        sizes = [len(column) for column in codes]
        kept = np.repeat([kept for _, kept, _ in parts], sizes)
        return EventSample(
            np.concatenate(events),
            (np.concatenate(inclusion) * kept).astype(np.float32),
            np.concatenate(codes),
            np.repeat(np.array([ls for ls, _, _ in parts], np.int64), sizes),
            generation,
            epoch,
        )

    def count(self, generations: range, epoch: int, since: tuple[int, int] = (0, 0)) -> int:
        """How many events `sample` would give."""
        with self._lock:
            return sum(len(part) for _, part in self._of(generations, epoch, since))

    def _of(self, generations: range, epoch: int, since: tuple[int, int]) -> list[tuple[_Key, Reservoir]]:
        return [
            (key, part)
            for key, part in sorted(self._parts.items())
            if key.epoch == epoch and key.generation in generations and (key.run, key.ls) >= since
        ]

    def _offer(self, key: _Key, events: NDArray[Any], inclusion: NDArray[Any], codes: NDArray[Any]) -> None:
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = Reservoir(max(1, self.capacity // LS_SHARE), self._random)
        before = len(part)
        part.add(
            events.astype(np.int16, copy=False),
            inclusion.astype(np.float32, copy=False),
            codes.astype(np.uint32, copy=False),
        )
        self._size += len(part) - before
        self._trim()

    def _trim(self) -> None:
        while self._size > self.capacity:
            oldest = next(iter(self._parts))
            for tail in (False, True):
                part = self._parts.pop(oldest._replace(tail=tail), None)
                self._size -= len(part) if part is not None else 0


_NOTHING = (
    np.empty((0, 0), np.int16),
    np.empty(0, np.float32),
    np.empty(0, np.uint32),
    np.empty(0, np.int64),
)
