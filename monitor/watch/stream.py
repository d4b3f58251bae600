"""One stream's counting: windows per lumi section and generation, detectors, and the reports they end in.

Everything here lives in the receiver thread; what leaves it is an immutable `LsReport`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import structlog

from firmware.wire import Batch, Header
from monitor.stats.compare.dispersion import Dispersion
from monitor.stats.compare.divergence import compare
from monitor.stats.count.codes import to_codes
from monitor.stats.count.counter import Counter, Scale
from monitor.stats.count.counting import Crossings
from monitor.stats.count.expected import Expected
from monitor.stats.count.reference import Reference
from monitor.stats.count.window import PILEUP_STEP, Window
from monitor.stats.detect.detectors import Detector
from monitor.stats.errors import StatsError
from monitor.watch.accounting import Accounting
from monitor.watch.report import Alarm, Counts, Expectation, Key, LsReport
from monitor.watch.settings import IngestSettings

log = structlog.get_logger()

EXPECTATIONS_KEPT = 16
SOURCES_KEPT = 256
"""Sources of a stream that are counted; what more of them send is skipped as ``too_many_sources``."""
RUNS_KEPT = 4
"""Runs of a source of which it is known what was received."""
WINDOWS_KEPT = 64
"""Lumi sections and generations that are open, or take late batches; more are skipped as ``too_many_windows``."""
Skipped = Literal["no_mask", "no_collisions", "stale", "score_range", "too_many_sources", "too_many_windows"]
"""Why a sound message was not counted: scores of all crossings before the bunch mask is known; none of its crossings
collides; of a lumi section that is long closed; scores beyond the model's bits; one source or one window too many."""


@dataclass
class _Source:
    """What is known of a (source, run): its messages, its bunch mask, the lumi section that it has reached."""

    account: Accounting = field(default_factory=Accounting)
    crossings: Crossings | None = None
    at: int = -1


@dataclass
class _Open:
    """A window that still takes batches: a counter for each pile-up slice."""

    scale: Scale
    counters: dict[int | None, Counter] = field(default_factory=dict)
    alarmed: dict[str, str] = field(default_factory=dict)

    def closed(self, key: Key) -> Window:
        moment = key.run, key.ls
        totals = {number: counter.total() for number, counter in self.counters.items()}
        above = np.sum([above for _, above in totals.values()], axis=0)
        return Window({number: part for number, (part, _) in totals.items()}, above, moment, moment)


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
        ingest: IngestSettings,
        close: Callable[[LsReport], None],
        sample: Callable[[Batch], None],
        pileup_error: float = 0.0,
    ) -> None:
        self.name = name
        self.reference = reference
        self.detectors = detectors
        self.skipped: dict[Skipped, int] = {}
        self._said: set[tuple[str, str]] = set()
        self.scores = 0
        self._ingest = ingest
        self._close = close
        self._sample = sample
        self._pileup_error = pileup_error
        self._nominal = Expectation(tuple(cuts))
        self._expectations: dict[tuple[int, int], Expectation] = {}
        self._sources: dict[tuple[str, int], _Source] = {}
        self._past: dict[str, Accounting] = {}
        self._runs_lock = threading.Lock()
        self._open: dict[Key, _Open] = {}
        self._closed: dict[Key, _Open] = {}
        self._active: tuple[int, int] | None = None
        self._seen: tuple[int, int] = (0, 0)
        self._dispersion = Dispersion()
        self._slice_of = lru_cache(1)(reference.slice_of)
        self._expected = lru_cache(32)(self._expect_block)
        self._scale = lru_cache(4)(lambda cuts: Scale(reference.cells, cuts, reference.lsb))

    def expect(self, epoch: int, generation: int, expectation: Expectation) -> None:
        """From this generation on, test against ``expectation``."""
        self._expectations[(epoch, generation)] = expectation
        while len(self._expectations) > EXPECTATIONS_KEPT:
            del self._expectations[next(iter(self._expectations))]

    def use(self, detectors: Mapping[str, Detector], pileup_error: float) -> None:
        """Test with other detectors, or at another error of the pile-up, from now on. In the receiver thread."""
        self.detectors = detectors
        for window in self._open.values():
            window.alarmed = {name: words for name, words in window.alarmed.items() if name in detectors}
        if pileup_error != self._pileup_error:
            self._pileup_error = pileup_error
            self._expected.cache_clear()

    def add(self, batch: Batch, counts: Counts | None = None) -> None:
        """Count one message, or in place of its scores `counts` (P,) that were made elsewhere.

        Messages without use are counted in ``skipped`` by their cause (`Skipped`).
        """
        header = batch.header
        name = header.source, header.run
        source = self._sources.get(name) or self._new_source(*name)
        if source is None:
            return self._skip("too_many_sources")
        if not source.account.accept(header.seq):
            return None
        if header.kind == "batch":
            self._count(batch, source, counts)
        elif batch.mask is not None:
            source.crossings = Crossings(batch.mask)
        if header.ls > source.at or header.kind == "end":
            self._advance(source, header)
        return None

    def totals(self) -> dict[str, Accounting]:
        """By source, over all runs."""
        with self._runs_lock:
            totals, sources = self._past.copy(), self._sources.copy()
        for (name, _), source in sources.items():
            totals[name] = totals[name].plus(source.account)
        return totals

    @property
    def filled(self) -> int | None:
        """Colliding crossings of an orbit in the newest run whose bunch mask has come."""
        with self._runs_lock:
            masked = [(run, source.crossings) for (_, run), source in self._sources.items() if source.crossings]
        return max(masked, key=lambda each: each[0])[1].filled if masked else None

    def _new_source(self, name: str, run: int) -> _Source | None:
        if name not in self._past and len(self._past) >= SOURCES_KEPT:
            return None
        self._past.setdefault(name, Accounting())
        known = [other for other in self._sources if other[0] == name]
        with self._runs_lock:
            for old in [other for other in known if other[1] < run] or known[: -RUNS_KEPT + 1]:
                self._past[name] = self._past[name].plus(self._sources.pop(old).account)
            source = self._sources[name, run] = _Source()
        return source

    def _count(self, batch: Batch, source: _Source, counts: Counts | None) -> None:
        header = batch.header
        crossings = None
        if header.bx_class == "all":
            crossings = source.crossings
            if crossings is None:
                return self._skip("no_mask", header.source)
            if not crossings.filled:
                return self._skip("no_collisions", header.source)
        key = Key(header.run, header.ls, header.epoch, header.generation)
        window = self._open.get(key) or self._window(key, header.source, source)
        if window is None:
            return None
        number = self._slice_of(header.pileup)
        counter = window.counters.get(number)
        if counter is None:
            counter = window.counters[number] = Counter(window.scale)
        try:
            if counts is None:
                self.scores += counter.add(batch.codes, crossings, header.pileup or 0.0)
            else:
                self.scores += counter.add_counts(counts, header.pileup or 0.0)
        except StatsError as error:
            return self._skip("score_range", header.source, str(error))
        if batch.events is not None:
            self._sample(self._of_colliding(batch, crossings))
        if counter.n >= self._ingest.block_scores:
            self._end_block(key, window, number, counter)
        return None

    def _skip(self, cause: Skipped, source: str = "", why: str = "") -> None:
        """Count by cause; say so once per cause and source."""
        self.skipped[cause] = self.skipped.get(cause, 0) + 1
        if (cause, source) not in self._said:
            self._said.add((cause, source))
            log.warning("message skipped", stream=self.name, cause=cause, source=source, why=why)

    def _window(self, key: Key, name: str, source: _Source) -> _Open | None:
        """One that takes late batches, or a new one."""
        if key in self._closed:
            source.account.late += 1
            return self._closed[key]
        run, positions = self._positions()
        if key.run < run or (positions and key.ls < max(positions) - self._ingest.late_ls):
            self._skip("stale", name)
            return None
        if len(self._open) + len(self._closed) >= WINDOWS_KEPT:
            self._skip("too_many_windows", name)
            return None
        source.account.late += key.ls < source.at
        window = self._open[key] = _Open(self._scale(self._expectation(key).cuts))
        return window

    def _end_block(self, key: Key, window: _Open, number: int | None, counter: Counter) -> None:
        """The detectors see it if its window is open, of the newest generation and at a pile-up that is known."""
        pileup = None if number is None else PILEUP_STEP * round(counter.pileup / PILEUP_STEP)
        counts = counter.take()
        if key not in self._open:
            return
        identity = (key.epoch, self._scores_since(key))
        if identity != self._active and (key.run, key.ls) >= self._seen:
            self._active = identity
            for detector in self.detectors.values():
                detector.reset()
        if identity != self._active or not self.reference.covers(pileup):
            return
        self._seen = max(self._seen, (key.run, key.ls))
        expected = self._expected(self._expectation(key), pileup)
        for name, detector in self.detectors.items():
            detector.update(counts, expected, self._dispersion.phi)
            if detector.drift_detected and name not in window.alarmed:
                window.alarmed[name] = detector.words
                log.warning("alarm", stream=self.name, run=key.run, ls=key.ls, detector=name, words=detector.words)
        self._dispersion.update(expected.bins(counts), expected.p)

    def _expect_block(self, expectation: Expectation, pileup: float | None) -> Expected:
        return expectation.on(self.reference.expected(pileup, self._pileup_error))

    def _expectation(self, key: Key) -> Expectation:
        return self._expectations.get((key.epoch, key.generation), self._nominal)

    def _scores_since(self, key: Key) -> int:
        since = self._expectation(key).scores_since
        return key.generation if since is None else since

    def _positions(self) -> tuple[int, list[int]]:
        """The newest run and the lumi section that each of its sources has reached."""
        reached = [(run, source.at) for (_, run), source in self._sources.items() if source.at >= 0]
        newest = max((run for run, _ in reached), default=0)
        return newest, [at for run, at in reached if run == newest]

    def _advance(self, source: _Source, header: Header) -> None:
        position = header.ls + (header.kind == "end")
        if position <= source.at:
            return
        source.at = position
        run, positions = self._positions()
        newest, slowest = max(positions), min(positions)
        for key in sorted(self._open):
            if key.run < run or key.ls < slowest or key.ls <= newest - 2:
                self._finish(key, header.t_ns)
        for key in sorted(self._closed):
            if key.run < run or key.ls < newest - self._ingest.late_ls:
                del self._closed[key]

    def _finish(self, key: Key, t_ns: int) -> None:
        window = self._open[key]
        for number, counter in window.counters.items():
            if counter.n:
                self._end_block(key, window, number, counter)
        self._closed[key] = self._open.pop(key)
        if not window.counters:
            return
        counted = window.closed(key)
        expectation = self._expectation(key)
        base = counted.expected(self.reference, self._pileup_error)
        expected = expectation.on(base)
        counts = expected.bins(counted.counts)
        alarms = tuple(
            Alarm(name, name in window.alarmed, float(detector.statistic), window.alarmed.get(name, ""))
            for name, detector in self.detectors.items()
        )
        for name in window.alarmed:
            self.detectors[name].reset()
        self._close(
            LsReport(
                key=key,
                window=counted,
                counts=counts,
                cuts=window.scale.cuts,
                scores_since=self._scores_since(key),
                expected=expected,
                expected_rates=self.reference.rates_of(base.p),
                divergence=compare(counts, expected.p, expected.m),
                to_reference=compare(counts, base.p, base.m),
                alarms=alarms,
                t_ns=t_ns,
            )
        )

    def _of_colliding(self, batch: Batch, crossings: Crossings | None) -> Batch:
        """Without the sampled events of crossings that do not collide, and their scores as codes."""
        if batch.events is None or batch.index is None or batch.inclusion is None:
            return batch
        events, index, inclusion = batch.events, batch.index, batch.inclusion
        if crossings is not None:
            keep = crossings.mask[index % crossings.period]
            events, index, inclusion = events[keep], index[keep], inclusion[keep]
        codes = batch.codes
        if batch.header.dtype == "f4":
            codes = to_codes(codes[index], self.reference.lsb, self.reference.cells.bits)
            index = np.arange(len(index), dtype=np.uint32)
        return Batch(batch.header, codes, events, index, inclusion)
