"""From evidence to a verdict: is this lumi section ok, to be watched, or drifting, and what to tell the shifter."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.divergence import compare
from monitor.stats.compare.stretch import Stretch
from monitor.stats.count.reference import PILEUP_SIGMAS, Reference
from monitor.terms import NEVER, Hold, Level, Moment
from monitor.watch.drift import Drift, Scene, find
from monitor.watch.history import History, Look
from monitor.watch.levels import Levels, watched
from monitor.watch.report import LsReport
from monitor.watch.settings import DetectSettings

BLIND_SIGMAS = 5.0
"""Standard deviations by which a KL must be beyond the tolerated for the pile-up to be told as what explains it."""


@dataclass(frozen=True)
class Verdict:
    """What one lumi section, seen with those before it, says.

    ``text`` is a sentence for the shifter, ``details`` what stands behind it. ``ratios``: rate over
    expected rate at each cut of this lumi section; ``pulls``: their distance from 1 in standard deviations.
    ``drift`` is there unless the level is ok or thin; ``pileup_only`` says that a reference that knows no
    pile-up would have taken the pile-up for a drift. ``alike_since``: from then on the scores are alike.
    """

    level: Level
    text: str
    details: str = ""
    onset: Moment = NEVER
    ratios: tuple[float, ...] = ()
    pulls: tuple[float, ...] = ()
    drift: Drift | None = None
    pileup_only: bool = False
    alike_since: Moment = NEVER


class Policy:
    """Judges the lumi sections of one stream, one after the other.

    With each lumi section, windows of ever more of them, all ending now, are asked whether their shape
    or the rate at a cut differs (`History.look`): without a drift the smallest of the p-values is
    below p in at most a share p of the lumi sections (and references), however long the run. `Levels` says from
    them when a drift is entered and left. A push that changes more than the cuts begins a new history.
    Lumi sections with few scores are judged together.
    """

    def __init__(self, detect: DetectSettings, hold: Hold, reference: Reference) -> None:
        self._detect = detect
        self._hold = hold
        self._reference = reference
        self._asks_shape = hold == "distribution" or reference.pileup_means is not None
        self._history = History()
        self._levels = Levels(detect)
        self._thin: Stretch | None = None
        self._identity: tuple[int, int] | None = None

    def use(self, detect: DetectSettings) -> None:
        """Judge by other settings from now on; what was seen stays, unless it stands on another pile-up error."""
        anew = detect.pileup_error != self._detect.pileup_error
        self._detect = detect
        if anew:
            self._begin(settle_ls=0)

    def _begin(self, settle_ls: int) -> None:
        """Forget all lumi sections."""
        self._history.clear()
        self._levels.begin(self._detect, settle_ls)
        self._thin = None

    def assess(self, report: LsReport) -> Verdict:
        """Judge ``report``; the lumi sections of a generation must come in order."""
        identity = report.key.epoch, report.scores_since
        if self._identity is not None and identity != self._identity:
            if identity < self._identity and identity[0] == self._identity[0]:
                return Verdict("thin", f"late, of generation {report.key.generation}, which is no longer active")
            self._begin(self._detect.settle_ls)
        self._identity = identity
        if not self._reference.covers(report.pileup):
            assert self._reference.pileup_edges is not None
            low, high = self._reference.pileup_edges[[0, -1]].tolist()
            return Verdict("thin", f"pile-up {report.pileup:.1f} is beyond the reference's {low:g} to {high:g}")
        here = self._stretch(report) if self._thin is None else self._thin + self._stretch(report)
        self._thin = here if here.n < self._detect.min_scores else None
        if self._thin is not None:
            return Verdict("thin", f"only {here.n} scores, {self._detect.min_scores} are needed")
        self._history.add(here)
        held, drifting = self._hold == "rate", self._levels.drifting
        look = self._history.look(self._detect, watched(self._detect), self._asks_shape, held, drifting)
        alarms = [alarm.detector for alarm in report.alarms if alarm.drift]
        level = self._levels.after(None if look is None else look.p_value, alarms, self._detect)
        found = None if look is None else self._drift(look, report)
        ratios, _, pulls = here.rate_ratios(held)
        blind = self._blind(report) if level == "ok" else None
        text, details = self._said(level, found, report, ratios.tolist(), blind)
        alike_since = self._history.alike_since(self._detect.tolerated_kl)
        if self._levels.drifting and look is None:  # what was drifted must not count against what is back
            self._begin(settle_ls=0)
        return Verdict(
            level=level,
            text=text,
            details=details,
            onset=NEVER if level == "ok" else found.onset if found else here.since,
            ratios=tuple(ratios.tolist()),
            pulls=tuple(pulls.tolist()),
            drift=found,
            pileup_only=blind is not None,
            alike_since=alike_since,
        )

    def _stretch(self, report: LsReport) -> Stretch:
        expected, moment = report.expected, (report.key.run, report.key.ls)
        around = np.stack([expected.p, expected.p])
        if len(expected.nearby):  # within one error: of several lumi sections, few are off by more
            around = expected.p * (expected.bins(expected.nearby) / expected.p) ** (1 / PILEUP_SIGMAS)
            around /= around.sum(axis=1, keepdims=True)
        if self._hold == "distribution":
            nearby = self._reference.rates_of(around / self._ratio(report))
            rates = np.stack([report.expected_rates, *nearby])
        else:
            rates = self._reference.target_rates[None]
        return Stretch(
            counts=report.counts,
            expected=report.n * np.stack([expected.p, *around]),
            root_m=report.n / sqrt(expected.m),
            above=report.above,
            expected_above=report.n * rates,
            since=moment,
            until=moment,
        )

    def _drift(self, look: Look, report: LsReport) -> Drift:
        scene = Scene(
            reference=self._reference,
            hold=self._hold,
            tolerated_kl=self._detect.tolerated_kl,
            rate_tolerance=self._detect.rate_tolerance,
            limit=watched(self._detect),
            cuts=report.cuts,
            pileup=report.pileup,
            pileup_error=self._detect.pileup_error,
            ratio=self._ratio(report),
        )
        return find(self._history.rows, look.window, look.cut, look.p_value, scene)

    def _ratio(self, report: LsReport) -> FloatArray:
        """(B,) what the active payload should give, over the reference."""
        base = report.window.expected(self._reference, self._detect.pileup_error)
        ratio: FloatArray = report.expected.p / base.p
        return ratio

    def _blind(self, report: LsReport) -> float | None:
        """The KL to a reference that knows no pile-up, if it would be a drift."""
        if self._reference.pileup_means is None or report.pileup is None:
            return None
        p, m, tolerated = self._reference.p * self._ratio(report), self._reference.m, self._detect.tolerated_kl
        found = compare(report.counts, p / p.sum(), m)
        spread = sqrt(found.dof / 2 + 2 * tolerated / found.unit) * found.unit
        return found.kl_corrected if found.kl_corrected > tolerated + BLIND_SIGMAS * spread else None

    def _said(
        self, level: Level, drift: Drift | None, report: LsReport, ratios: list[float], blind: float | None
    ) -> tuple[str, str]:
        """The sentence, and the details."""
        alarms = ", ".join(alarm.detector for alarm in report.alarms if alarm.drift)
        alarm = f"; {alarms} in alarm" if alarms else ""
        if drift is not None:
            return drift.sentence(certain=level == "drift"), drift.details(self._detect.tolerated_kl) + alarm
        rates = ", ".join(f"× {ratio:.2f}" for ratio in ratios)
        text = f"{'to be watched' if alarms else 'as expected'}: KL {report.divergence.kl_corrected:.4f}"
        text += f" ± {report.divergence.kl_error:.4f}, rates {rates}{alarm}"
        if blind is not None:
            text += f"; pile-up {report.pileup:.1f} explains what would else be a KL of {blind:.4f}"
        return text, ""
