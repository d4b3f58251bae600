"""From evidence to a verdict: is this lumi section ok, to be watched, or drifting, and what to tell the shifter."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from monitor.stats.compare.divergence import compare
from monitor.stats.compare.stretch import Endings, Stretch
from monitor.stats.count.reference import PILEUP_SIGMAS, Reference
from monitor.stats.count.window import Dyadic
from monitor.terms import NEVER, Level, Moment
from monitor.watch.drift import Drift, Scene, find
from monitor.watch.report import LsReport
from monitor.watch.settings import Detect

RECENT_LS = 64
"""Lumi sections kept one by one, for the onset; older ones are kept at dyadic lengths."""

BLIND_SIGMAS = 5.0
"""Standard deviations by which a KL must be beyond the tolerated for the pile-up to be told as what explains it."""
DOUBT, STAYING = 0.01, 0.5
"""p-values of a difference's being tolerated below which a drift is entered and stays."""


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


@dataclass(frozen=True, eq=False)
class Look:
    """A window in which the scores, or their rate at a cut, differ: how probable that is after all looks."""

    p_value: float
    window: Stretch
    cut: int | None


class Policy:
    """Judges the lumi sections of one stream in turn.

    With each lumi section, windows of ever more of them, all ending now, are asked whether their shape
    or the rate at a cut differs. The i-th of them pays i (i + 1) for being looked at, since
    Σ 1/(i (i + 1)) = 1, and its questions share that: without a drift the smallest of the p-values is
    below p in at most a share p of the lumi sections (and references), however long the run. A difference that may be
    within the tolerances (with a p-value above `DOUBT`) does not count, nor does a window whose drift is
    over in its later part.

    A drift is entered where that is below ``p_value`` (or, while an e-detector, which promises its run
    length, alarms, below √``p_value``) in the last of ``consecutive_ls`` lumi sections that were all
    below √``p_value``, and left where it is no longer or is more likely within the tolerances. A lumi
    section below √``p_value``, or an alarm, is to be watched. A push that changes more than the cuts begins a new
    history, and no drift is called in its first ``settle_ls``. Lumi sections with few scores are
    judged together.
    """

    def __init__(self, detect: Detect, hold: Literal["distribution", "rate"], reference: Reference) -> None:
        self._detect = detect
        self._hold = hold
        self._reference = reference
        self._asks_shape = hold == "distribution" or reference.pileup_means is not None
        self._past = Dyadic[Stretch]()
        self._recent: deque[Stretch] = deque()
        self._before = Dyadic[Stretch]()
        self._identity: tuple[int, int] | None = None
        self._begin(settle_ls=0)

    def turn(self, detect: Detect) -> None:
        """Judge by other settings from now on; what was seen stays, unless it stands on another pile-up error."""
        anew = detect.pileup_error != self._detect.pileup_error
        self._detect = detect
        if anew:
            self._begin(settle_ls=0)

    @property
    def _watch(self) -> float:
        return sqrt(self._detect.p_value)

    def _begin(self, settle_ls: int) -> None:
        """Forget all lumi sections."""
        self._past.clear()
        self._recent.clear()
        self._before.clear()
        self._thin: Stretch | None = None
        self._settle = settle_ls
        self._age = 0
        self._row = 0
        self._alarmed = self._detect.consecutive_ls
        self._drifting = False

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
        self._past.push(here)
        self._recent.append(here)
        if len(self._recent) > RECENT_LS:
            self._before.push(self._recent.popleft())
        look = self._look()
        level = self._level(look, report)
        found = None if look is None else self._drift(look, report)
        ratios, _, pulls = here.rate_ratios(self._hold == "rate")
        blind = self._blind(report) if level == "ok" else None
        text, details = self._said(level, found, report, ratios.tolist(), blind)
        alike_since = self._alike_since()
        if self._drifting and look is None:
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

    def _alike_since(self) -> Moment:
        """The begin of the longest window, ending now, that differs from its own end by no more than is tolerated."""
        newest, *older = self._past.newest_first()
        for before in older:
            if newest.differs(before, self._detect.tolerated_kl, DOUBT):
                break
            newest = before + newest
        return newest.since

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

    def _look(self) -> Look | None:
        """The least probable of the windows that end now, if it is to be watched: by its shape, else by a rate."""
        windows = Endings(list(self._past.newest_first()))
        cuts: list[int | None] = list(range(len(windows[0].above)))
        asked = [None, *cuts] if self._asks_shape else cuts
        doubt = STAYING if self._drifting else DOUBT
        looks = []
        for i in windows.beyond(self._detect.tolerated_kl, self._detect.rate_tolerance, self._asks_shape):
            window = windows[i]
            rates = window.rate_p_values(self._detect.rate_tolerance, doubt, known=self._hold == "rate")
            for cut in asked:
                p_value = window.shape_p_value(self._detect.tolerated_kl, doubt) if cut is None else float(rates[cut])
                looks.append((p_value * (i + 1) * (i + 2) * len(asked), i, cut))
        looks = [look for look in looks if look[0] < self._watch]
        for p_value, i, cut in sorted(looks, key=lambda look: (look[2] is not None, look[0])):
            if all(windows[i].still(windows[part], cut) for part in range(i)):
                return Look(p_value, windows[i], cut)
        return None

    def _level(self, look: Look | None, report: LsReport) -> Level:
        """Keep count, and say where the stream stands."""
        alarms = [alarm.detector for alarm in report.alarms if alarm.drift]
        self._age += 1
        self._row = 0 if look is None else self._row + 1
        promised = any(name.startswith("e_") for name in alarms)
        self._alarmed = 0 if promised else self._alarmed + 1
        limit = self._watch if self._alarmed < self._detect.consecutive_ls else self._detect.p_value
        if look is None:
            return "watch" if alarms else "ok"
        if look.p_value < limit and self._row >= self._detect.consecutive_ls and self._age > self._settle:
            self._drifting = True
        return "drift" if self._drifting else "watch"

    def _drift(self, look: Look, report: LsReport) -> Drift:
        rows = [*reversed(list(self._before.newest_first())), *self._recent]
        scene = Scene(
            reference=self._reference,
            hold=self._hold,
            tolerated_kl=self._detect.tolerated_kl,
            rate_tolerance=self._detect.rate_tolerance,
            limit=self._watch,
            cuts=report.cuts,
            pileup=report.pileup,
            pileup_error=self._detect.pileup_error,
            ratio=self._ratio(report),
        )
        return find(rows, look.window, look.cut, look.p_value, scene)

    def _ratio(self, report: LsReport) -> npt.NDArray[np.float64]:
        """(B,) what the active payload should give, over the reference."""
        base = report.window.expected(self._reference, self._detect.pileup_error)
        ratio: npt.NDArray[np.float64] = report.expected.p / base.p
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
