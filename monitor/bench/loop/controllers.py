"""Controllers of others for the figures of the loop: each moves one cut, by the scores of whole chunks."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from firmware.model.payload import Payload
from monitor.bench.arrays import Codes
from recalib.arrays import Events, Floats

DELAY = 2
"""A payload that is wanted after chunk k is in force from chunk k + 2 on."""

PD_GAINS = (15.0, 0.0)
"""Proportional and differential, for an anomaly score: its units a percent of crossings."""
PD_GRID = tuple((kp, share * kp) for kp in (15.0, 30.0, 60.0, 120.0, 240.0) for share in (0.0, 1 / 6))
"""The published differential gain for H_T is a sixth of the proportional one."""
PUBLISHED_TAIL = 58.3
"""Units of the published anomaly score for an e-fold of the rate at 0.25 %.

Mean over 83 chunks of run 283408 of (cut at 0.25 % − cut at 0.275 %)/ln 1.1, from the quantiles published with the code
of arXiv:2606.23993.
"""

DSPOT_GRID = ((1, 1), (3, 3), (5, 5), (10, 5), (20, 10))
"""Window and depth, in chunks."""
DSPOT = (5, 5)
INITIAL_QUANTILE = 0.98
KEPT = 0.90
"""Quantile of a chunk from which its scores are kept, as the window's initial quantile may be lower than its own."""


class Controller(Protocol):
    """Sees chunk after chunk, and says which payload it wants from then on."""

    @property
    def payload(self) -> Payload:
        """What it wants from now on."""

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """A chunk: its pile-up by the header, its events (n, n_features), their codes (n,) under what was in force."""


class Cut(NamedTuple):
    """The cut that is moved, by its place in the payload, and the share of crossings that is to be above it."""

    place: int
    target: float

    def of(self, payload: Payload) -> int:
        """Its code in a payload."""
        return int(payload.raw("cuts")[self.place])

    def moved(self, payload: Payload, to: float) -> Payload:
        """The payload with this cut at the nearest code."""
        cuts = payload.raw("cuts").copy()
        cuts[self.place] = np.clip(np.rint(to), 0, payload.layout["cuts"].type.max_raw)
        return payload.replace(cuts=cuts)


class Fixed:
    """Wants what it has."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """Nothing comes of it."""


class Pd:
    """cut ← cut + Kp·e + Kd·(e − e'), e the rate minus its target in percent, e' that of the chunk before.

    After the self-driving trigger, arXiv:2601.08910; e' is 0 at first.

    Args:
        gains: Kp and Kd in units of the published score for a percent.
        unit: codes in such a unit.
    """

    def __init__(self, payload: Payload, cut: Cut, unit: float, gains: tuple[float, float] = PD_GAINS) -> None:
        self.payload = payload
        self._cut, self._unit = cut, unit
        self._kp, self._kd = gains
        self._at, self._before = float(cut.of(payload)), 0.0
        self._coming = deque([cut.of(payload)] * DELAY)

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """Move the cut by the rate above the one that was in force."""
        error = 100 * (float((codes >= self._coming.popleft()).mean()) - self._cut.target)
        self._at += self._unit * (self._kp * error + self._kd * (error - self._before))
        self._before = error
        self.payload = self._cut.moved(self.payload, self._at)
        self._coming.append(self._cut.of(self.payload))


class _Kept(NamedTuple):
    """The tail of a chunk: its scores over the moving average, how many of each, and of how many crossings."""

    scores: Floats
    counts: npt.NDArray[np.int64]
    crossings: int


class Dspot:
    """A generalised Pareto distribution of the recent peaks over a quantile of 98 %, extrapolated to the target.

    Scores are taken relative to the mean of the `depth` chunks before theirs, and the cut is set above that of the
    newest ones. As in A. Siffer et al., KDD 2017 (DSPOT), save that peaks beyond the cut count as well, since they
    are no anomalies here but the rate that is to be held, and that only those of the last `window` chunks do.
    """

    def __init__(self, payload: Payload, cut: Cut, window: int = DSPOT[0], depth: int = DSPOT[1]) -> None:
        self.payload = payload
        self._cut = cut
        self._means: deque[float] = deque(maxlen=depth)
        self._kept: deque[_Kept] = deque(maxlen=window)

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        """Fit the tail anew, and put the cut at its quantile."""
        mean = float(codes.mean())
        counts = np.bincount(codes)
        above = np.cumsum(counts[::-1])[::-1]
        tail = np.flatnonzero((counts > 0) & (above <= (1 - KEPT) * len(codes)))
        level = float(np.mean(self._means)) if self._means else mean
        self._kept.append(_Kept(tail.astype(np.float64) + 0.5 - level, counts[tail], len(codes)))
        self._means.append(mean)
        scores, weights = (np.concatenate(part) for part in list(zip(*self._kept, strict=True))[:2])
        relative = _quantile(scores, weights, sum(kept.crossings for kept in self._kept), self._cut.target)
        self.payload = self._cut.moved(self.payload, float(np.mean(self._means)) + relative)


def _quantile(scores: Floats, counts: npt.NDArray[np.int64], crossings: int, rate: float) -> float:
    """The score above which the fitted tail has this share of the crossings.

    z = t + (σ/ξ)((rate·n/n_t)^−ξ − 1), n_t the peaks over the initial quantile t of n crossings.
    """
    order = np.argsort(scores)
    scores, counts = scores[order], counts[order]
    above = np.cumsum(counts[::-1])[::-1]
    first = int(np.searchsorted(-above, -(1 - INITIAL_QUANTILE) * crossings))
    threshold = float(scores[first - 1])
    peaks, weights = scores[first:] - threshold, counts[first:]
    shape, scale = pareto(peaks, weights)
    share = rate * crossings / weights.sum()
    tail = -np.log(share) if abs(shape) < 1e-6 else np.expm1(-shape * np.log(share)) / shape
    return threshold + scale * float(tail)


def pareto(peaks: Floats, weights: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Shape ξ and scale σ of the generalised Pareto distribution that is the likeliest for these peaks.

    The likelihood is maximised along ξ = mean ln(1 + θ y), σ = ξ/θ (S. Grimshaw, Technometrics 35 (1993) 185), which
    leaves a function of one number, here θ·mean y.

    Args:
        peaks: (n,) positive.
        weights: how often each occurs.
    """
    mean = float(np.average(peaks, weights=weights))

    def shape(x: float) -> float:
        return float(np.average(np.log1p(x * peaks / mean), weights=weights))

    def loss(x: float) -> float:
        """Minus the ln of the likelihood for a peak."""
        return 1 + np.log(mean) if abs(x) < 1e-6 else float(shape(x) + np.log(shape(x) * mean / x) + 1)

    least = -0.95 * mean / float(peaks.max())
    x = float(minimize_scalar(loss, bounds=(least, 5.0), method="bounded").x)
    return (0.0, mean) if abs(x) < 1e-6 else (shape(x), shape(x) * mean / x)
