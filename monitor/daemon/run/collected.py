"""What a fit or a judgement may look at: judged lumi sections and sampled events of one stream."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.wire import Batch
from monitor.config import RecalibrateSettings
from monitor.daemon.run.loaded import LoadedStream
from monitor.terms import NEVER, Moment
from monitor.watch.policy import Verdict
from monitor.watch.report import LsReport
from recalib.sample import EventSample, Sampler

HISTORY_LS = 2000
"""Judged lumi sections that are kept."""


@dataclass(frozen=True)
class InForce:
    """What the board was last seen to run, and the first generation whose scores mean the same."""

    epoch: int = -1
    generation: int = -1
    scores_since: int = -1

    @property
    def generations(self) -> range:
        """Those whose scores mean what the active payload's mean."""
        return range(self.scores_since, self.generation + 1)

    def includes(self, report: LsReport) -> bool:
        """Whether the scores of a lumi section mean what the active payload's mean."""
        return (report.key.epoch, report.scores_since) == (self.epoch, self.scores_since)


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is to be restored at the mean ``pileup`` of some lumi sections.

    ``p_ref`` (B,) of ``m`` reference events, and the ``rates`` (n_cuts,) to hold.
    """

    p_ref: npt.NDArray[np.float64]
    m: float
    rates: npt.NDArray[np.float64]
    pileup: float | None


class Collected:
    """Keeps the last lumi sections, and a bounded, unbiased sample of the events."""

    def __init__(self, loaded: LoadedStream) -> None:
        self.reports: deque[tuple[LsReport, Verdict]] = deque(maxlen=HISTORY_LS)
        self.in_force = InForce()
        self._loaded = loaded
        self._settings = loaded.settings.recalibrate
        self._alike_since = NEVER
        self._sampler = Sampler(self._settings.memory_events, self._settings.seed)

    def use(self, settings: RecalibrateSettings) -> None:
        """Go by other settings from now on."""
        self._settings = settings
        self._sampler.resize(settings.memory_events)

    def keep(self, batch: Batch) -> None:
        """Offer the sampled events of a message; called in the receiver thread."""
        header = batch.header
        assert batch.events is not None
        assert batch.inclusion is not None
        self._sampler.add(
            batch.events,
            batch.inclusion,
            batch.codes[batch.index],
            header.ls,
            header.generation,
            header.epoch,
            header.run,
        )

    def add(self, report: LsReport, verdict: Verdict) -> None:
        """Keep a judged lumi section."""
        self.reports.append((report, verdict))
        if verdict.level != "thin":
            self._alike_since = verdict.alike_since

    @property
    def events(self) -> int:
        """Events kept whose scores mean what those of the active payload mean."""
        return self._sampler.count(self.in_force.generations, self.in_force.epoch)

    def alike_since(self, moment: Moment) -> Moment:
        """That moment, or the last change of the scores if it was later."""
        return max(moment, self._alike_since)

    def enough(self, since: Moment) -> bool:
        """Whether events and accepts since then suffice for a fit or a judgement."""
        accepts = sum(
            (report.above for report in self._reports_since(since)),
            start=np.zeros(self._loaded.package.model.n_cuts, np.int64),
        )
        events = self._sampler.count(self.in_force.generations, self.in_force.epoch, since)
        return events >= self._settings.min_events and int(accepts.min()) >= self._settings.min_accepts

    def sample(self, since: Moment) -> EventSample:
        """The events kept since then."""
        return self._sampler.sample(self.in_force.generations, self.in_force.epoch, since)

    def wanted(self, since: Moment) -> Wanted:
        """What is to be restored, at the pile-up seen since then."""
        seen = self._reports_since(since)
        weights: Any = [report.n for report in seen]
        pileups: Any = [report.pileup for report in seen]
        pileup = None if not seen or None in pileups else float(np.average(pileups, weights=weights))
        reference = self._loaded.reference
        expected = reference.expected(pileup)
        held = self._loaded.settings.hold == "rate"
        rates = reference.target_rates if held else reference.rates_of(expected.p)
        return Wanted(expected.p, expected.m, rates, pileup)

    def _reports_since(self, since: Moment) -> list[LsReport]:
        return [
            report
            for report, _ in self.reports
            if (report.key.run, report.key.ls) >= since and self.in_force.includes(report)
        ]
