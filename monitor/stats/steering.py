"""Where the cuts of a stream that holds its rates should be, by what the tail has been and the pile-up will be."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitor.stats.binning import FloatArray, IntArray
from monitor.stats.reference import Expected, Reference
from monitor.stats.window import Dyadic

TAIL = 0.3
"""Share of the reference from whose cells the tail is learned."""

BENDS = (0.05, 0.01)
"""Exceedances at which the slope of ln(seen/expected) against ln(exceedance) may change."""

PRIOR = (0.2, 0.1, 0.1, 0.1)
"""Standard deviations of its value at the target, of its slope and of the change of that at each bend."""

APART = 3.0
"""Standard errors by which what the last lumi sections say may differ from what fewer of them say."""

STEPS = 20
TINY = 1e-12
TREND_LS = 24
"""Lumi sections from which the pile-up is extrapolated."""


@dataclass(frozen=True, eq=False)
class Tail:
    """Counts (C,) in the reference's cells and what was expected there, over some lumi sections."""

    counts: IntArray
    expected: FloatArray

    def __add__(self, other: "Tail") -> "Tail":
        return Tail(self.counts + other.counts, self.expected + other.expected)


class Steering:
    """Predicts the rates above any code, and puts the cuts where they meet their targets.

    The tail is the reference's at the pile-up times exp(a + b x), x the ln of the reference's exceedance over the
    target, with a slope b that may change on the way (`BENDS`): a Poisson regression with a normal prior, so that
    little is learned from little, on the longest stretch of lumi sections that agrees with the shorter ones
    (O. Lepski, Theory Probab. Appl. 35 (1991) 454).

    Args:
        targets: (n_cuts,) rates to be held.
        band: |ln| of a rate over its target that is left alone.
    """

    def __init__(self, reference: Reference, targets: FloatArray, band: float) -> None:
        self._edges = reference.cells.edges
        self._targets = targets
        self._band = band
        exceedance = np.cumsum(reference.cell_p[::-1])[::-1]
        self._tail = np.flatnonzero(exceedance <= TAIL)
        inside = exceedance[self._tail] - reference.cell_p[self._tail] / 2
        self._shapes = [_shapes(inside, target) for target in targets]
        self._past = Dyadic[Tail]()
        self._pileups: deque[float | None] = deque(maxlen=TREND_LS)

    def clear(self) -> None:
        """Forget the tail: the scores are other ones from now on."""
        self._past.clear()

    def update(self, counts: IntArray, expected: Expected, pileup: float | None) -> None:
        """Add a lumi section: its counts (C,) in the reference's cells and what the payload should give."""
        self._past.push(Tail(counts, counts.sum() * expected.cells))
        self._pileups.append(pileup)

    def ahead(self, by: float) -> float | None:
        """The pile-up `by` lumi sections from now, on a straight line; None if it is not known."""
        if not self._pileups or None in self._pileups:
            return None
        y = np.array(self._pileups, dtype=np.float64)
        if len(y) < 3:
            return float(y[-1])
        t = np.arange(len(y)) - (len(y) - 1.0)
        slope, now = np.polyfit(t, y, 1)
        return float(now + slope * by)

    def cuts(self, expected: Expected, active: IntArray) -> IntArray:
        """Where each cut should be for a lumi section that is expected to be so: the active one, within its band."""
        found = np.array(active)
        codes = np.arange(self._edges[0], self._edges[-1])
        for k, target in enumerate(self._targets):
            off = np.abs(np.log(self._exceedance(expected.cells * self._learned(k)[0], codes) / target))
            if off[min(int(active[k]), len(codes) - 1)] > self._band:
                found[k] = codes[off.argmin()]
        return found

    def change(self, now: Expected, then: Expected, cuts: IntArray) -> FloatArray:
        """The factors (n_cuts,) by which the rates at the cuts change between what is expected now and then."""
        return self._exceedance(then.cells, cuts) / self._exceedance(now.cells, cuts)

    def _exceedance(self, cells: FloatArray, codes: IntArray) -> FloatArray:
        """The share at or above each code, its ln on a straight line within a cell."""
        at_least = np.append(np.cumsum(cells[::-1])[::-1], 0.0)
        found: FloatArray = np.exp(np.interp(codes, self._edges, np.log(np.maximum(at_least, TINY))))
        return found

    def _learned(self, k: int) -> tuple[FloatArray, float]:
        """(C,) seen over expected, 1 below the tail, and the error of ln of the rate at the target."""
        shapes = self._shapes[k]
        best = np.zeros(len(PRIOR)), np.diag(np.square(PRIOR))
        shorter: list[tuple[float, float]] = []
        for stretch in self._past.ending_now():
            fitted = _fit(shapes, stretch.counts[self._tail], stretch.expected[self._tail])
            value, variance = fitted[0][0], fitted[1][0, 0]
            if any(abs(value - v) > APART * np.sqrt(max(s - variance, 0.0)) + 1e-9 for v, s in shorter):
                break
            shorter.append((value, variance))
            best = fitted
        factor = np.ones(len(self._edges) - 1)
        factor[self._tail] = np.exp(shapes @ best[0])
        return factor, float(np.sqrt(best[1][0, 0]))


def _shapes(inside: FloatArray, target: float) -> FloatArray:
    """(C, 2 + bends) of exceedances (C,): 1, x = ln(exceedance/target), and what bends x, all but the first 0 at it."""
    x = np.log(inside / target)
    bends = [np.minimum(np.log(inside / bend), 0.0) - min(np.log(target / bend), 0.0) for bend in BENDS]
    return np.column_stack([np.ones_like(x), x, *bends])


def _fit(shapes: FloatArray, counts: NDArray[np.int64], expected: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients (K,) of ln(rate/expected) and their covariance, by Newton's method on the posterior."""
    prior = np.diag(1 / np.square(PRIOR))
    beta = np.zeros(len(PRIOR))
    for _ in range(STEPS):
        mean = expected * np.exp(np.clip(shapes @ beta, -5, 5))
        hessian = shapes.T @ (shapes * mean[:, None]) + prior
        step = np.linalg.solve(hessian, shapes.T @ (counts - mean) - prior @ beta)
        beta = beta + step
        if np.abs(step).max() < 1e-6:
            break
    return beta, np.asarray(np.linalg.inv(hessian), dtype=np.float64)
