"""One stream's counting: windows per lumi section and generation, detectors, and the reports they end in.

Everything here lives in the receiver thread; what leaves it is an immutable `LsReport`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from firmware.wire import CROSSINGS, Batch, Header
from monitor.daemon.config import Ingest
from monitor.stats.binning import StatsError, to_codes
from monitor.stats.detectors import Detector
from monitor.stats.divergence import Divergence, compare
from monitor.stats.reference import Expected, Reference
from monitor.stats.window import Slice, Window

log = structlog.get_logger()

Counts = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]
EXPECTATIONS_KEPT = 16
SOURCES_KEPT = 256
"""Sources of a stream that are counted; what more of them send is skipped as ``too_many_sources``."""
RECENT = 4096
"""Sequence numbers a source may be late by and still be told from a duplicate."""


@dataclass
class Accounting:
    """What became of every message of one (source, run): counted once, or reported."""

    received: int = 0
    lost: int = 0
    duplicates: int = 0
    late: int = 0
    next_seq: int | None = None
    missing: dict[int, None] = field(default_factory=dict)

    def accept(self, seq: int) -> bool:
        """Count a message in; False if it is a duplicate."""
        if self.next_seq is None or seq >= self.next_seq:
            gap = range(self.next_seq if self.next_seq is not None else seq, seq)
            self.lost += len(gap)
            self.missing.update(dict.fromkeys(gap[-RECENT:]))
            while len(self.missing) > RECENT:
                del self.missing[next(iter(self.missing))]
            self.next_seq = seq + 1
        elif seq in self.missing:
            del self.missing[seq]
            self.lost -= 1
        else:
            self.duplicates += 1
            return False
        self.received += 1
        return True

    def plus(self, other: Accounting) -> Accounting:
        """The totals of both, without the sequence."""
        return Accounting(
            self.received + other.received,
            self.lost + other.lost,
            self.duplicates + other.duplicates,
            self.late + other.late,
        )


@dataclass(frozen=True, order=True)
class Key:
    """What a window belongs to; counts of different keys are never mixed."""

    run: int
    ls: int
    epoch: int
    generation: int


@dataclass
class _Open:
    """A window that still takes batches, counted in cells; ``block`` is what the detectors have not seen yet."""

    window: Window
    block: Window
    cuts: tuple[int, ...] = ()
    alarmed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Alarm:
    """A detector at the end of a lumi section, and whether it raised an alarm within."""

    detector: str
    drift: bool
    statistic: float


@dataclass(frozen=True, eq=False)
class LsReport:
    """A closed lumi section of one stream and generation.

    ``window`` holds the counts (C,) in the reference's cells and the scores (n_cuts,) at or above the
    cuts active then, ``counts`` (B,) are those of its bins; ``expected`` what the active payload should
    give at these pile-ups; ``divergence`` is against ``expected``, ``to_reference`` against p_ref.
    """

    key: Key
    window: Window
    counts: Counts
    cuts: tuple[int, ...]
    expected: Expected
    expected_rates: Probabilities
    divergence: Divergence
    to_reference: Divergence
    alarms: tuple[Alarm, ...]
    t_ns: int

    @property
    def n(self) -> int:
        return self.window.n

    @property
    def above(self) -> Counts:
        return self.window.above

    @property
    def pileup(self) -> float | None:
        return self.window.pileup

    @property
    def rates(self) -> Probabilities:
        return np.asarray(self.above / max(self.n, 1), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Expectation:
    """What a payload should give: p_ref at the pile-up, times ``ratio`` (B,) where a knob leaves p(s) changed."""

    cuts: tuple[int, ...]
    ratio: Probabilities | None = None
    m: float = np.inf

    def on(self, base: Expected) -> Expected:
        return base if self.ratio is None else base.times(self.ratio, self.m)


class StreamMonitor:
    """Counts the batches of one stream and closes its lumi sections.

    A lumi section closes when every source that is in the run has moved past it, or when one is
    two ahead; late batches are then added to its window, but no detector sees them.
    """

    def __init__(
        self,
        name: str,
        reference: Reference,
        cuts: Sequence[int],
        detectors: Mapping[str, Detector],
        ingest: Ingest,
        close: Callable[[LsReport], None],
        sample: Callable[[Batch], None],
        pileup_error: float = 0.0,
    ) -> None:
        self.name = name
        self.reference = reference
        self.detectors = detectors
        self.accounts: dict[tuple[str, int], Accounting] = {}
        self.skipped: dict[str, int] = {}
        self.scores = 0
        self._ingest = ingest
        self._close = close
        self._sample = sample
        self._pileup_error = pileup_error
        self._base: tuple[float | None, Expected] | None = None
        self._nominal = Expectation(tuple(cuts))
        self._expectations: dict[tuple[int, int], Expectation] = {}
        self._masks: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
        self._past: dict[str, Accounting] = {}
        self._open: dict[Key, _Open] = {}
        self._closed: dict[Key, _Open] = {}
        self._at: dict[tuple[str, int], int] = {}
        self._active: tuple[int, int] | None = None
        self._seen: tuple[int, int] = (0, 0)

    def expect(self, epoch: int, generation: int, expectation: Expectation) -> None:
        """From this generation on, test against ``expectation``."""
        self._expectations[(epoch, generation)] = expectation
        while len(self._expectations) > EXPECTATIONS_KEPT:
            del self._expectations[next(iter(self._expectations))]

    def add(self, batch: Batch) -> None:
        """Count one message.

        Messages without use are counted in ``skipped`` by cause: ``no_mask`` (scores of all crossings
        before the bunch mask is known), ``stale`` (of a lumi section that is long closed),
        ``score_range`` (scores beyond the model's bits), ``too_many_sources``.
        """
        header = batch.header
        source = (header.source, header.run)
        account = self.accounts.get(source) or self._new_source(source)
        if account is None:
            return self._skip("too_many_sources")
        if not account.accept(header.seq):
            return
        if header.kind == "begin" and batch.mask is not None:
            self._masks[source] = batch.mask
        if header.kind == "batch":
            try:
                self._count(batch, source, account)
            except StatsError as error:
                self._skip("score_range")
                log.warning("scores not counted", stream=self.name, source=header.source, why=str(error))
        self._advance(source, header)
        return None

    def totals(self) -> dict[str, Accounting]:
        """By source, over all runs."""
        totals = self._past.copy()
        for (source, _), account in self.accounts.copy().items():
            totals[source] = totals.get(source, Accounting()).plus(account)
        return totals

    def _new_source(self, source: tuple[str, int]) -> Accounting | None:
        name, run = source
        if name not in self._past and len(self._past) >= SOURCES_KEPT:
            return None
        past = self._past.setdefault(name, Accounting())
        for old in [known for known in self.accounts if known[0] == name and known[1] < run]:
            past = self._past[name] = past.plus(self.accounts.pop(old))
            self._masks.pop(old, None)
            self._at.pop(old, None)
        account = self.accounts[source] = Accounting()
        return account

    def _count(self, batch: Batch, source: tuple[str, int], account: Accounting) -> None:
        header = batch.header
        codes = batch.codes
        if header.dtype == "f4":
            codes = to_codes(codes, self.reference.lsb, self.reference.binning.bits)
        if header.bx_class == "all":
            mask = self._masks.get(source)
            if mask is None:
                return self._skip("no_mask")
            mask = np.tile(mask, header.n // CROSSINGS)
            counted = codes[mask]
            batch = _of_colliding(batch, mask)
        else:
            counted = codes
        counts = self.reference.cells.count(counted)
        key = Key(header.run, header.ls, header.epoch, header.generation)
        window = self._open.get(key)
        if window is None:
            window = self._window(key, source, account)
            if window is None:
                return self._skip("stale")
        above = np.array([np.count_nonzero(counted >= cut) for cut in window.cuts], np.int64)
        moment, pileup = (header.run, header.ls), header.pileup
        part = Slice(counts, counted.size * (pileup or 0.0))
        message = Window({self.reference.slice_of(pileup): part}, above, moment, moment, length=0)
        window.window += message
        self.scores += counted.size
        if batch.events is not None:
            self._sample(batch)
        if key in self._open:
            window.block += message
            if window.block.n >= self._ingest.block_scores:
                self._detect_on(key, window)

    def _skip(self, cause: str) -> None:
        self.skipped[cause] = self.skipped.get(cause, 0) + 1

    def _window(self, key: Key, source: tuple[str, int], account: Accounting) -> _Open | None:
        if key in self._closed:
            account.late += 1
            return self._closed[key]
        run, positions = self._positions()
        if key.run < run or (positions and key.ls < max(positions) - self._ingest.late_ls):
            return None
        expectation = self._expectations.get((key.epoch, key.generation), self._nominal)
        moment = key.run, key.ls
        empty = Window({}, np.zeros(len(expectation.cuts), np.int64), moment, moment)
        window = _Open(empty, empty, cuts=expectation.cuts)
        account.late += key.ls < self._at.get(source, key.ls)
        self._open[key] = window
        return window

    def _detect_on(self, key: Key, window: _Open) -> None:
        identity = (key.epoch, key.generation)
        if identity != self._active and (key.run, key.ls) >= self._seen:
            self._active = identity
            for detector in self.detectors.values():
                detector.reset()
        if identity == self._active:
            self._seen = max(self._seen, (key.run, key.ls))
            expected = self._expectation(key).on(self._reference_for(window.block))
            for name, detector in self.detectors.items():
                detector.update(window.block.counts, expected)
                if detector.drift_detected:
                    window.alarmed.add(name)
        window.block = Window({}, np.zeros_like(window.block.above))

    def _reference_for(self, window: Window) -> Expected:
        if self._base is None or self._base[0] != window.pileup:
            self._base = window.pileup, window.expected(self.reference, self._pileup_error)
        return self._base[1]

    def _expectation(self, key: Key) -> Expectation:
        return self._expectations.get((key.epoch, key.generation), self._nominal)

    def _positions(self) -> tuple[int, list[int]]:
        """The newest run and the lumi section that each of its sources has reached."""
        run = max((run for _, run in self._at), default=0)
        return run, [ls for (_, of), ls in self._at.items() if of == run]

    def _advance(self, source: tuple[str, int], header: Header) -> None:
        position = header.ls + (header.kind == "end")
        if position <= self._at.get(source, -1):
            return
        self._at[source] = position
        run, positions = self._positions()
        newest, slowest = max(positions), min(positions)
        for key in sorted(self._open):
            if key.run < run or key.ls < slowest or key.ls <= newest - 2:
                self._finish(key, header.t_ns)
        for key in sorted(self._closed):
            if key.run < run or key.ls < newest - self._ingest.late_ls:
                del self._closed[key]

    def _finish(self, key: Key, t_ns: int) -> None:
        window = self._closed[key] = self._open.pop(key)
        if window.block.slices:
            self._detect_on(key, window)
        expectation = self._expectation(key)
        base = self._reference_for(window.window)
        expected = expectation.on(base)
        counts = expected.bins(window.window.counts)
        alarms = tuple(
            Alarm(name, name in window.alarmed, float(detector.statistic)) for name, detector in self.detectors.items()
        )
        for name in window.alarmed:
            self.detectors[name].reset()
        self._close(
            LsReport(
                key=key,
                window=window.window,
                counts=counts,
                cuts=window.cuts,
                expected=expected,
                expected_rates=self.reference.rates_of(base.p),
                divergence=compare(counts, expected.p, expected.m),
                to_reference=compare(counts, base.p, base.m),
                alarms=alarms,
                t_ns=t_ns,
            )
        )


def _of_colliding(batch: Batch, mask: npt.NDArray[np.bool_]) -> Batch:
    """Leave out the sampled events of crossings that do not collide."""
    if batch.events is None or batch.index is None or batch.inclusion is None:
        return batch
    keep = mask[batch.index]
    arrays: Any = (batch.events[keep], batch.index[keep], batch.inclusion[keep])
    return Batch(batch.header, batch.codes, *arrays)
