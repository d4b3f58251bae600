"""Where the cuts of a stream that holds its rates should be, by what the tail has been and the pile-up will be."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray, IntArray
from monitor.stats.count.expected import Expected
from monitor.stats.count.reference import Reference

LEARNED_TAIL = 0.3
"""Share of the reference from whose cells the tail is learned."""

BENDS = (0.05, 0.01)
"""Exceedances at which the slope of ln(seen/expected) against ln(exceedance) may change."""

SPREAD = np.array([0.2, 0.1, 0.1, 0.1])
"""Standard deviations, by a sudden change, of its value at the target, of its slope and of the change at each bend."""

PRIOR_SPREAD = 0.5
"""What is not known of new scores, in `SPREAD`."""

PACES = np.array([0.03, 1.0])
"""How far the tail goes from one lumi section to the next, in `SPREAD`: creeping, and at once."""

STAY = 0.98
"""Probability that the tail keeps its pace."""

NEWTON_STEPS = 20
TINY = 1e-12
"""Least expectation whose logarithm is taken."""
TREND_LS = 24
"""Lumi sections from which the pile-up is extrapolated."""


class Tail:
    """The coefficients of a tail that mostly creeps and sometimes jumps, by what was counted in it.

    ln(rate/expected) = shapes β, with Poisson counts. β is a random walk of one of `PACES`, between which it changes
    with probability 1 - `STAY`: a Kalman filter for each pace, their states mixed at every step by how well each
    has foretold the counts (H. A. P. Blom, Y. Bar-Shalom, IEEE Trans. Autom. Control 33 (1988) 780).

    Args:
        shapes: (C, K).
    """

    def __init__(self, shapes: FloatArray) -> None:
        self._shapes = shapes
        paces = len(PACES)
        self._weights = np.full(paces, 1 / paces)
        self._means = np.zeros((paces, shapes.shape[1]))
        self._covariances = np.stack([np.diag(np.square(PRIOR_SPREAD * SPREAD))] * paces)

    def update(self, counts: IntArray, expected: FloatArray) -> None:
        """Counts (C,) of a lumi section, and what was expected."""
        means, covariances, weights = self._mixed()
        ln_likelihoods = np.zeros(len(PACES))
        for i, pace in enumerate(PACES):
            walked = covariances[i] + np.diag(np.square(pace * SPREAD))
            fitted = _fit(self._shapes, counts, expected, means[i], walked)
            self._means[i], self._covariances[i], ln_likelihoods[i] = fitted
        posterior = weights * np.exp(ln_likelihoods - ln_likelihoods.max())
        self._weights = posterior / posterior.sum()

    @property
    def factors(self) -> FloatArray:
        """(C,) rates over what is expected."""
        return np.asarray(np.exp(self._shapes @ (self._weights @ self._means)))

    def _mixed(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Means, covariances and weights by the pace to come."""
        leave = (1 - STAY) / (len(PACES) - 1)
        joint = self._weights[:, None] * np.where(np.eye(len(PACES), dtype=bool), STAY, leave)
        weights = joint.sum(axis=0)
        share = joint / weights
        means = share.T @ self._means
        apart = self._means[:, None] - means
        around = self._covariances[:, None] + apart[..., :, None] * apart[..., None, :]
        return means, np.einsum("ij,ijkl->jkl", share, around), weights


class Steering:
    """Predicts the rates above any code, and puts the cuts where they meet their targets.

    The tail is the reference's at the pile-up times exp(a + b x), x the ln of the reference's exceedance over the
    target, with a slope b that may change on the way (`BENDS`), so that what is far above the cut, where more is
    counted, helps to know the rate at it.

    Args:
        targets: (n_cuts,) rates to be held.
        band: |ln| of a rate over its target that is left alone.
    """

    def __init__(self, reference: Reference, targets: FloatArray, band: float) -> None:
        self._edges = reference.cells.edges
        self._targets = targets
        self.band = band
        exceedance = np.cumsum(reference.cell_p[::-1])[::-1]
        self._inside = np.flatnonzero(exceedance <= LEARNED_TAIL)
        within = exceedance[self._inside] - reference.cell_p[self._inside] / 2
        self._shapes = [_shapes(within, target) for target in targets]
        self._pileups: deque[float | None] = deque(maxlen=TREND_LS)
        self._known: dict[str, list[Tail]] = {}
        self.begin_anew("")

    def begin_anew(self, scores: str) -> None:
        """From now on the scores are others, of this name: their tail is learned anew.

        The tail of the scores before these is remembered, for when they come back (a rollback).
        """
        tails = self._known.pop(scores, None) or [Tail(shapes) for shapes in self._shapes]
        self._known = dict([*list(self._known.items())[-1:], (scores, tails)])

    @property
    def _tails(self) -> list[Tail]:
        return list(self._known.values())[-1]

    def update(self, counts: IntArray, expected: Expected, pileup: float | None) -> None:
        """Add a lumi section: its counts (C,) in the reference's cells and what the payload should give."""
        should = counts.sum() * expected.cells[self._inside]
        for tail in self._tails:
            tail.update(counts[self._inside], should)
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
            off = np.abs(np.log(self._exceedance(self._learned(expected.cells, k), codes) / target))
            if off[min(int(active[k]), len(codes) - 1)] > self.band:
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

    def _learned(self, cells: FloatArray, k: int) -> FloatArray:
        """(C,) with the tail as it was seen."""
        learned = cells.copy()
        learned[self._inside] *= self._tails[k].factors
        return learned


def _shapes(inside: FloatArray, target: float) -> FloatArray:
    """(C, 2 + bends) of exceedances (C,): 1, x = ln(exceedance/target), and what bends x, all but the first 0 at it."""
    x = np.log(inside / target)
    bends = [np.minimum(np.log(inside / bend), 0.0) - min(np.log(target / bend), 0.0) for bend in BENDS]
    return np.column_stack([np.ones_like(x), x, *bends])


def _fit(
    shapes: FloatArray, counts: NDArray[np.int64], expected: FloatArray, mean: FloatArray, covariance: FloatArray
) -> tuple[FloatArray, FloatArray, float]:
    """Posterior mean (K,), covariance and ln of the evidence up to a constant, by Newton's method and Laplace's."""
    precision = np.linalg.inv(covariance)
    beta = mean
    for _ in range(NEWTON_STEPS):
        rate = expected * np.exp(np.clip(shapes @ beta, -5, 5))
        hessian = shapes.T @ (shapes * rate[:, None]) + precision
        step = np.linalg.solve(hessian, shapes.T @ (counts - rate) - precision @ (beta - mean))
        beta = beta + step
        if np.abs(step).max() < 1e-6:
            break
    off = beta - mean
    ln_likelihood = counts @ np.log(np.maximum(rate, TINY)) - rate.sum() - off @ precision @ off / 2
    ln_volume = np.linalg.slogdet(precision)[1] - np.linalg.slogdet(hessian)[1]
    return beta, np.asarray(np.linalg.inv(hessian)), float(ln_likelihood + ln_volume / 2)
