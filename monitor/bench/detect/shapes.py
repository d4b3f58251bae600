"""The world of the detection figures: scores, their drifts, and the least delay with which one can be found."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, rel_entr

from monitor.bench.arrays import Array
from monitor.bench.working_point import RATES
from monitor.stats.count.building import reference_of_histogram
from monitor.stats.count.reference import Reference

CODES = 1 << 12
BODY, TAIL = (60.0, 0.6, 0.97), (60.0, 1.3, 0.03)
"""Median code, log-width and share of the two log-normals that make the scores."""
RANDOM_KL = (1e-4, 1e-2)
"""Between these in nats per score are the drifts of random shape."""


def bound(kl: float, run_length: float) -> float:
    """D*, the least mean delay in scores for a drift of `kl` nats per score at this run length.

    With (e^h − h − 1)/K = A, D* = (h − 1 + e^−h)/K: CUSUM in continuous time (A. N. Shiryaev 1996).

    >>> round(bound(1e-3, 1e6))
    5917
    """
    h = brentq(lambda h: (np.expm1(h) - h) / kl - run_length, 1e-9, 500)
    return float((h - 1 + np.exp(-h)) / kl)


def scores(stretch: float = 1.0, about: float = 0.0, tail: float = 1.0) -> Array:
    """(CODES,) probabilities of the codes; stretched about a code by a factor, `tail` times as many in the tail."""
    edges = np.maximum(about + (np.arange(CODES + 1) - about) / stretch, 1e-9)
    (median, width, share), (tail_median, tail_width, tail_share) = BODY, TAIL
    below = share * ndtr(np.log(edges / median) / width)
    below += tail * tail_share * ndtr(np.log(edges / tail_median) / tail_width)
    below[[0, -1]] = 0, share + tail * tail_share
    return _sum_to_one(np.diff(below) + 1e-12)


def drifts(random: np.random.Generator) -> dict[str, Array]:
    """Distributions of the codes after a drift; those called random were built into no bank."""
    p = scores()
    rank = np.cumsum(p) - p / 2
    accepted = 1 - rank < RATES[0]
    stuck = 0.99 * p
    stuck[random.choice(CODES, p=p)] += 0.01
    found = {
        "gain +2 %": scores(1.02),
        "width +2 %": scores(1.02, about=float(np.searchsorted(rank, 0.5))),
        "rate +5 %": _more(p, accepted, 1.05),
        "rate -5 %": _more(p, accepted, 0.95),
        "slope": _sum_to_one(p * np.exp(0.1 * rank)),
        "stuck code 1 %": stuck,
        "bulk +4 %": _more(p, np.abs(rank - 0.5) < 0.125, 1.04),
    }
    for name in ("random 1", "random 2"):
        shape, kl = _smooth(rank, random), float(np.exp(random.uniform(*np.log(RANDOM_KL))))
        found[name] = _sized(p, shape, kl)
    return found


def reference(histogram: Array) -> Reference:
    """Of a histogram (CODES,) of reference events, with cuts at `RATES`."""
    return reference_of_histogram(np.arange(CODES + 1), histogram[None], target_rates=RATES)


def information(q: Array, p: Array) -> float:
    """K in nats per score, on the codes."""
    return float(rel_entr(q, p).sum())


def _more(p: Array, where: Array, factor: float) -> Array:
    share = p[where].sum()
    return np.where(where, factor * p, p * (1 - factor * share) / (1 - share))


def _smooth(rank: Array, random: np.random.Generator) -> Array:
    """A Gaussian process in the rank, of random correlation length."""
    grid, length = np.linspace(0, 1, 60), random.uniform(0.1, 0.5)
    covariance = np.exp(-0.5 * ((grid[:, None] - grid) / length) ** 2) + 1e-9 * np.eye(len(grid))
    return np.interp(rank, grid, np.linalg.cholesky(covariance) @ random.standard_normal(len(grid)))


def _sized(p: Array, shape: Array, kl: float) -> Array:
    def tilted(amplitude: float) -> Array:
        return _sum_to_one(p * np.exp(amplitude * (shape - shape.max())))

    return tilted(brentq(lambda a: information(tilted(a), p) - kl, 0, 20))


def _sum_to_one(weights: Array) -> Array:
    return np.asarray(weights / weights.sum())
