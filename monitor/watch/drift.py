"""A drift, and what a shifter reads about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.description import describe
from monitor.stats.compare.divergence import compare
from monitor.stats.compare.exceedance import exceedance
from monitor.stats.compare.onset import Course, onset
from monitor.stats.compare.pileup import fit_pileup
from monitor.stats.compare.stretch import Stretch, together
from monitor.stats.count.reference import Reference
from monitor.terms import Hold, Moment

LATE = 3
"""The size of a gradual drift is that of the last third of it."""
WANDER = 0.5
"""Share of the pile-up's error that differs from one lumi section to another."""
REST = 0.1
"""Share of the tolerated KL that another pile-up may leave unexplained."""
ADVICE = {
    "stuck code": "Recalibration does not mend a stuck code: look at what produces it.",
    "missing codes": "Recalibration does not bring missing codes back: look at what produces them.",
    "rate only": "Another cut may help.",
}
ADVICE_ELSE = "Recalibration may help."
CHECK = "Check the luminosity measurement first."
TRUST = "That pile-up is far outside the error of the luminosity."
PLAUSIBLE = 4.0
"""Errors of the pile-up within which another one is plausible."""


@dataclass(frozen=True)
class CodeRange:
    """Codes from ``low`` to ``high``: how many there are over how many are expected."""

    low: int
    high: int
    ratio: float


@dataclass(frozen=True)
class Drift:
    """What drifted, since when, how much, and whether the pile-up may be the cause.

    ``size`` with ``error`` is the relative change of what ``kind`` says, and ``words`` say both.
    ``onset`` lies between ``onset_first`` and ``onset_last`` with 95 % probability; ``open``: no lumi
    section before it is known. ``codes`` contribute most to the KL, largest first. ``cut`` is the score
    code of the cut whose ``rate`` over the expected one is off most significantly. ``kl`` and ``psi`` with
    their intervals are of ``window_ls`` lumi sections. ``p_value`` accounts for all looks.
    ``other_pileup`` and the range around it would explain the scores; None if there is none, or if
    nothing is known of pile-up. ``plausible``: it is as near to the measured one as its error lets expect.
    """

    kind: str
    course: Course
    size: float
    error: float
    words: str
    onset: Moment
    onset_first: Moment
    onset_last: Moment
    open: bool
    codes: tuple[CodeRange, ...]
    cut: int | None
    rate: float
    rate_error: float
    kl: float
    kl_interval: tuple[float, float]
    psi: float
    psi_interval: tuple[float, float]
    window_ls: int
    p_value: float
    pileup: float | None
    other_pileup: tuple[float, float, float] | None
    plausible: bool

    def sentence(self, certain: bool) -> str:
        """What a shifter reads first."""
        said = [self.words + {"gradual": " by now, gradual", "sudden": ", sudden", "unclear": ""}[self.course]]
        if self.cut is not None and self.kind != "rate only":
            said.append(f"rate at cut {self.cut} × {self.rate:.2f} ± {self.rate_error:.2f}")
        advice = ADVICE.get(self.kind, ADVICE_ELSE)
        if self.other_pileup:
            best, low, high = self.other_pileup
            said.append(f"would fit pile-up {best:.1f} ({low:.1f}–{high:.1f}) instead of {self.pileup:.1f}")
            advice = CHECK if self.plausible else f"{advice} {TRUST}"
        elif self.pileup is not None:
            said.append("not explained by pile-up")
        start = f"{self.onset[1]} or before" if self.open else _between(self.onset, self.onset_first, self.onset_last)
        return f"Scores {'drift' if certain else 'may drift'} since LS {start}: {'; '.join(said)}. {advice}"

    def details(self, tolerated: float) -> str:
        """What stands behind the sentence."""
        (kl_low, kl_high), (psi_low, psi_high) = self.kl_interval, self.psi_interval
        codes = ", ".join(f"{each.low} to {each.high} × {each.ratio:.2f}" for each in self.codes)
        return (
            f"over {self.window_ls} LS: KL {self.kl:.4f} ({kl_low:.4f}–{kl_high:.4f}, tolerated {tolerated:g}), "
            f"PSI {self.psi:.4f} ({psi_low:.4f}–{psi_high:.4f}), p-value {self.p_value:.1g}; most in codes {codes}"
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """What drifts are seen against.

    ``cuts`` are those active; ``ratio`` (B,) is what the active payload should give over the reference;
    another pile-up explains a drift where it leaves a p-value above ``limit``.
    """

    reference: Reference
    hold: Hold
    tolerated_kl: float
    rate_tolerance: float
    limit: float
    cuts: tuple[int, ...]
    pileup: float | None
    pileup_error: float
    ratio: FloatArray


def find(rows: Sequence[Stretch], window: Stretch, cut: int | None, p_value: float, scene: Scene) -> Drift:
    """Describe the drift that shows in ``window``, as a whole or at a cut; ``rows`` end with it, oldest first."""
    binning = scene.reference.binning
    held = cut if scene.hold == "rate" else None
    seen = describe(window.counts, window.p, window.m, binning)
    began = onset(*(_sizes(rows, seen.direction.values) if held is None else _rates(rows, held)))
    since = rows[began.index :]
    drifted = together(since[-max(1, len(since) // LATE) :] if began.course == "gradual" else since)
    seen = describe(drifted.counts, drifted.p, drifted.m, binning, drifted.expected[1:] / drifted.n)
    kind, size, error, words = seen.kind, seen.size, seen.error, seen.words
    ratios, errors, pulls = drifted.rate_ratios(known=scene.hold == "rate")
    worst = held
    if held is not None:
        kind, size, error = "rate only", float(ratios[held] - 1), float(errors[held])
        words = f"rate at cut {scene.cuts[held]} × {ratios[held]:.2f} ± {errors[held]:.2f}"
    elif len(pulls):
        worst = int(np.argmax(np.abs(pulls)))
    other = _other_pileup(drifted, scene) if held is None else None
    divergence = compare(drifted.counts, drifted.p, drifted.m)
    over = drifted.counts / np.maximum(drifted.expected[0], 1e-12)
    edges = binning.edges.tolist()
    return Drift(
        kind=kind,
        course=began.course,
        size=size,
        error=error,
        words=words,
        onset=rows[began.index].since,
        onset_first=rows[began.first - 1 if began.first and rows[began.first - 1].length > 1 else began.first].since,
        onset_last=rows[began.last].until,
        open=began.index == 0,
        codes=tuple(CodeRange(edges[b], edges[b + 1] - 1, float(over[b])) for b in seen.bins),
        cut=None if worst is None else scene.cuts[worst],
        rate=1.0 if worst is None else float(ratios[worst]),
        rate_error=0.0 if worst is None else float(errors[worst]),
        kl=divergence.kl_corrected,
        kl_interval=divergence.kl_interval(),
        psi=divergence.psi_corrected,
        psi_interval=divergence.psi_interval(),
        window_ls=drifted.length,
        p_value=p_value,
        pileup=None if scene.reference.pileup_means is None or held is not None else scene.pileup,
        other_pileup=other,
        plausible=bool(other and scene.pileup and abs(other[0] / scene.pileup - 1) <= PLAUSIBLE * scene.pileup_error),
    )


_Series = tuple[FloatArray, FloatArray, list[int], float]
"""Sizes (T,) of a drift over time, their errors, lengths in lumi sections, and the error that all have in common."""


def _sizes(rows: Sequence[Stretch], shape: FloatArray) -> _Series:
    """Amplitudes along a shape of drift.

    The error of the pile-up is common to them, as that of the reference is; `WANDER` of it comes and goes.
    """
    sizes, errors, by_pileup = np.transpose([row.along(shape) for row in rows])
    common = float(np.hypot(rows[-1].m ** -0.5, np.median(by_pileup)))
    return sizes, np.hypot(errors, WANDER * by_pileup), [row.length for row in rows], common


def _rates(rows: Sequence[Stretch], cut: int) -> _Series:
    """Relative changes of the rate at a cut, whose target is known."""
    expected = np.array([row.expected_above[0, cut] for row in rows])
    above = np.array([row.above[cut] for row in rows])
    return above / expected - 1, expected**-0.5, [row.length for row in rows], 0.0


def _other_pileup(drifted: Stretch, scene: Scene) -> tuple[float, float, float] | None:
    """The pile-up with which the drifted lumi sections would be no drift, and the range around it."""
    if scene.pileup is None or scene.reference.pileup_means is None:
        return None
    fit = fit_pileup(drifted.counts, scene.reference, scene.ratio)
    rates = exceedance(drifted.above, drifted.n * fit.rates, drifted.n, fit.m, scene.rate_tolerance)
    left = compare(drifted.counts, fit.p, fit.m, tolerated=REST * scene.tolerated_kl).p_value_tolerated
    return (fit.pileup, fit.low, fit.high) if min(left, *rates) > scene.limit else None


def _between(at: Moment, first: Moment, last: Moment) -> str:
    return f"{at[1]}" if first == last else f"{at[1]} ({first[1]}–{last[1]})"
