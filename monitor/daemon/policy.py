"""From evidence to a verdict: is this lumi section ok, to be watched, or drifting, and what to tell the shifter."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from monitor.daemon.config import Detect
from monitor.daemon.loop import NEVER, Level, Moment
from monitor.daemon.stream import LsReport
from monitor.stats.divergence import Divergence, compare
from monitor.stats.onset import onset
from monitor.stats.reference import Reference

HISTORY_LS = 64


@dataclass(frozen=True)
class Verdict:
    """What one lumi section, seen with those before it, says.

    ``ratios``: rate over expected rate at each cut; ``pull``: their distance from 1 in standard deviations.
    """

    level: Level
    text: str
    onset: Moment = NEVER
    ratios: tuple[float, ...] = ()
    pulls: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Counts of one or more lumi sections against what was expected of them."""

    divergence: Divergence
    ratios: npt.NDArray[np.float64]
    pulls: npt.NDArray[np.float64]

    def faults(self, detect: Detect, hold: str) -> list[str]:
        """What is both significant and larger than tolerated, in words."""
        found = []
        if hold == "distribution" and self.divergence.p_value < detect.p_value:
            kl = self.divergence.kl_corrected
            if kl > detect.tolerated_kl:
                found.append(f"KL {kl:.4f} (tolerated {detect.tolerated_kl:g})")
        limit = norm.isf(detect.p_value / 2)
        for cut, (ratio, pull) in enumerate(zip(self.ratios, self.pulls, strict=True)):
            if abs(ratio - 1) > detect.rate_tolerance and abs(pull) > limit:
                found.append(f"rate at cut {cut} × {ratio:.2f}")
        return found


class Policy:
    """Judges the lumi sections of one stream in turn.

    A lumi section is at fault when a difference is both significant (``p_value``) and larger than
    tolerated; ``consecutive_ls`` of them in a row are a drift. An alarm of a detector has the lumi
    sections since the most probable onset judged together, so that what is too small for one of them
    is found as well. Generations are never mixed.
    """

    def __init__(self, detect: Detect, hold: Literal["distribution", "rate"], reference: Reference) -> None:
        self._detect = detect
        self._hold = hold
        self._reference = reference
        self._recent: deque[LsReport] = deque(maxlen=HISTORY_LS)
        self._bad = 0

    def assess(self, report: LsReport) -> Verdict:
        """Judge ``report``; lumi sections must come in order."""
        if self._recent and self._identity(self._recent[-1]) != self._identity(report):
            self._recent.clear()
            self._bad = 0
        if report.n < self._detect.min_scores:
            return Verdict("thin", f"only {report.n} scores, {self._detect.min_scores} are needed")
        self._recent.append(report)
        evidence = self._evidence([report])
        faults = evidence.faults(self._detect, self._hold)
        alarms = [alarm.detector for alarm in report.alarms if alarm.drift]
        self._bad = self._bad + 1 if faults else 0
        began = self._onset() if faults or alarms else 0
        since = list(self._recent)[began:]
        level: Level = "watch" if faults or alarms else "ok"
        if alarms and not faults:
            faults = self._evidence(since).faults(self._detect, self._hold)
            if faults and len(since) >= self._detect.consecutive_ls:
                level = "drift"
        if self._bad >= self._detect.consecutive_ls:
            level = "drift"
        first = since[0].key
        return Verdict(
            level=level,
            text=self._words(level, faults, alarms, first.ls, evidence),
            onset=(first.run, first.ls) if level != "ok" else NEVER,
            ratios=tuple(float(ratio) for ratio in evidence.ratios),
            pulls=tuple(float(pull) for pull in evidence.pulls),
        )

    @staticmethod
    def _identity(report: LsReport) -> tuple[int, int]:
        return report.key.epoch, report.key.generation

    def _expected_rates(self, report: LsReport) -> npt.NDArray[np.float64]:
        return report.expected_rates if self._hold == "distribution" else self._reference.target_rates

    def _evidence(self, reports: Sequence[LsReport]) -> _Evidence:
        n = np.array([report.n for report in reports], dtype=np.float64)
        counts = np.sum([report.counts for report in reports], axis=0)
        share = n / n.sum()
        p = np.sum([weight * report.expected.p for weight, report in zip(share, reports, strict=True)], axis=0)
        m = float(min(report.expected.m for report in reports))
        above = np.sum([report.above for report in reports], axis=0)
        rates = [self._expected_rates(report) for report in reports]
        expected = np.sum([count * rate for count, rate in zip(n, rates, strict=True)], axis=0)
        sigma = np.sqrt(np.maximum(expected, 1.0) * (1.0 + n.sum() / m))
        return _Evidence(compare(counts, p, m), above / np.maximum(expected, 1e-12), (above - expected) / sigma)

    def _onset(self) -> int:
        """Index among the recent lumi sections at which the change most probably began."""
        if len(self._recent) < 2:
            return 0
        counts = np.stack([report.counts for report in self._recent])
        p = np.stack([report.expected.p for report in self._recent])
        return onset(counts, p, m=self._recent[-1].expected.m).index

    def _words(self, level: Level, faults: list[str], alarms: list[str], since: int, evidence: _Evidence) -> str:
        rates = ", ".join(f"× {ratio:.2f}" for ratio in evidence.ratios)
        if level == "ok":
            return f"as expected: KL {evidence.divergence.kl_corrected:.4f}, rates {rates}"
        said = "; ".join([*faults, *(f"{name} alarms" for name in alarms)])
        if level == "watch":
            return f"to be watched: {said}"
        return f"drift since lumi section {since}: {said}"
