"""An e-process that learns the shape of a drift while it bets on it."""

from collections.abc import Sequence
from math import log, sqrt

import numpy as np
from scipy.special import chdtri, ndtri

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.tilts import MAX_ODDS, Direction, Tilt
from monitor.stats.count.expected import Expected
from monitor.stats.detect import bets
from monitor.stats.detect.banks import Members
from monitor.stats.detect.bets import EProcesses

RANK_LENGTHS, NORMAL_LENGTHS = (0.15,), (1.5,)
"""Correlation lengths of the shapes that are thought likely, in the rank and in the normal score of the rank."""
LEARNED_SIZES = (2e-4, 2e-3)
"""KL in nats per score of the drifts that are thought likely."""
LEARNED_SMALLNESS = 0.2
"""Weights fall like KL^−LEARNED_SMALLNESS: a small drift has fewer scores within a run length to be found in."""
DIMENSIONS = 16
EXPERTS = 48
GROWTH = 1.3
"""An expert estimates anew when it has seen that many times more scores."""


def smooth(p: FloatArray, dimensions: int = DIMENSIONS) -> tuple[FloatArray, FloatArray]:
    """What smooth shapes are made of: features (d, B), orthonormal under p, and their variances (H, d).

    The features are the leading eigenfunctions of a Gaussian process over the bins, the mean of those
    with each correlation length; row h has the variances, with sum 1, under length h alone.
    """
    rank = np.cumsum(p) - p / 2
    normal = ndtri(np.clip(rank, 1e-9, 1 - 1e-9))
    centre = np.eye(len(p)) - p
    kernels = []
    for place, lengths in ((rank, RANK_LENGTHS), (normal, NORMAL_LENGTHS)):
        for length in lengths:
            kernel = centre @ np.exp(-(((place[:, None] - place) / length) ** 2) / 2) @ centre.T
            kernels.append(kernel / (np.diag(kernel) @ p))
    root = np.sqrt(p)
    variance, vectors = np.linalg.eigh(root[:, None] * np.mean(kernels, axis=0) * root)
    chosen = np.argsort(-variance)[: min(dimensions, len(p) - 1)]
    features = (vectors[:, chosen] / root[:, None]).T
    weighted = features * p
    variances = np.stack([np.einsum("ib,bc,ic->i", weighted, kernel, weighted) for kernel in kernels])
    variances = np.maximum(variances, 1e-6)
    return np.ascontiguousarray(features), variances / variances.sum(axis=1, keepdims=True)


class Learner(Members):
    """E-processes whose tilt is the best estimate so far: q ∝ p exp(θ·f), f the features of `smooth`.

    An expert starts at some block with new capital, one unit a score. Under each hypothesis h on the
    size and smoothness of the drift, θ ~ N(0, τ_h), it holds the posterior mean of θ from the deviations
    S = Σ (f(x) − E_p f) of the n scores it has seen, bets on it in the next block, and never looks back::

        θ_h = S / (n + φ/τ_h),   M_h ← M_h (Π_b exp(n_b θ_h·f_b) / Z^N)^(1/φ)

    so that Σ M − Σ N is a supermartingale whatever the estimates. Of too many experts, the two whose ages
    are most alike become the one that has fared better, with the capital of both: ages end up in a
    geometric sequence, in flat memory.

    No tilt is decided on beforehand, so the limit Z holds for all tilts at once: with the stated risk the
    reference is off by less than κ = χ²(B−1)/2m. Estimates shrink by what such a reference and the
    tolerated KL explain; an expert that is left with nothing to bet on pays δ + κ a score, so that idle
    capital does not add up.

    References:
        G. Lorden, M. Pollak, Nonanticipating estimation applied to sequential analysis and changepoint
        detection, Ann. Stat. 33 (2005) 1422. A. P. Dawid, Prequential analysis, J. R. Stat. Soc. A 147 (1984) 278.
    """

    def __init__(
        self, p: FloatArray, weight: float, risk: float, sizes: Sequence[float] = LEARNED_SIZES, experts: int = EXPERTS
    ) -> None:
        self._features, variances = smooth(p)
        tau = 2 * np.asarray(sizes)[:, None, None] * variances
        self._precision: FloatArray = 1 / tau.reshape(-1, variances.shape[1])
        prior = np.repeat(np.asarray(sizes) ** -LEARNED_SMALLNESS, len(variances))
        self._prior = weight * prior / prior.sum()
        self._known = float(chdtri(len(p) - 1, risk)) / 2
        hypotheses, dimensions = self._precision.shape
        members = experts * hypotheses
        self._members = EProcesses(np.zeros((members, dimensions)), np.ones((experts, hypotheses)))
        self._theta = self._members.log_h.reshape(experts, hypotheses, dimensions)
        self._seen = np.zeros((experts, dimensions))
        self._age = np.zeros(experts)
        self._estimated = np.zeros(experts)
        self._order = np.zeros(1 + experts)
        self._scratch = np.zeros(dimensions + len(p))

    def reset(self) -> None:
        """Forget what was seen."""
        super().reset()
        self._order[0] = 0

    @property
    def opened(self) -> list[int]:
        """The experts, oldest first."""
        return [int(expert) for expert in self._order[1 : 1 + int(self._order[0])]]

    @property
    def largest(self) -> tuple[float, Tilt]:
        """Evidence of the member that has most, and the drift that it bets on."""
        capital = self._members.r
        expert, hypothesis = divmod(int(np.argmax(capital)), capital.shape[1])
        theta = self._theta[expert, hypothesis]
        amplitude = float(np.linalg.norm(theta))
        direction = Direction("shape", "", theta @ self._features / max(amplitude, 1e-300))
        return float(capital[expert, hypothesis]), Tilt(direction, amplitude, 0.0)

    def null(self, expected: Expected, tolerated: float) -> None:
        """Set the limits Z by what is expected of the blocks that follow, and the KL that is tolerated."""
        self._possible = np.stack(expected.possible_bins)
        self._means = self._features @ expected.p
        self._slack = tolerated, self._known / expected.m
        self._bet(self.opened, self._theta[self.opened])

    def update(self, cells: FloatArray, bins: FloatArray, n: float, phi: float) -> None:
        """Take in the counts of one block, in bins (B,), N together, at overdispersion φ."""
        if bets.betting is None:
            return self._update(bins, n, phi)
        m = self._members
        state = m.r, m.log_h, m.log_z, self._seen, self._age, self._estimated, self._order, m.gain, self._scratch
        fixed = self._features, self._means, self._precision, self._prior, self._possible
        limits = *self._slack, GROWTH, log(MAX_ODDS), bets.MAX_GAIN, bets.MAX_EVIDENCE
        m.total = bets.betting.learn(*state, m.weight, bins, *fixed, n, phi, *limits)
        return None

    def _update(self, bins: FloatArray, n: float, phi: float) -> None:
        sums = self._features @ bins
        self._members.r[self._open()] += n * self._prior
        self._members.grow(sums, n, phi)
        # The block is paid for: only now may the experts learn from it, or they would bet on what they know.
        self._seen += sums - n * self._means
        self._age += n
        stale = [expert for expert in self.opened if self._age[expert] > GROWTH * self._estimated[expert]]
        theta = self._seen[stale, None] / (self._age[stale, None, None] + phi * self._precision)
        explained = sum(sqrt(2 * kl) for kl in self._slack)
        theta *= np.maximum(0, 1 - explained / np.maximum(np.linalg.norm(theta, axis=-1, keepdims=True), 1e-300))
        self._bet(stale, theta)
        self._estimated[stale] = self._age[stale]

    def _open(self) -> int:
        """A new expert, in place of one of the two that are most alike if there are too many."""
        order, capital = self.opened, self._members.r
        free = len(order)
        if free == len(self._age):
            ages = self._age[order]
            i = int(np.argmin(ages[:-1] / ages[1:]))
            pair = order[i : i + 2]
            worse = int(np.argmin(capital[pair].sum(axis=1)))
            free = order.pop(i + worse)
            capital[pair[1 - worse]] += capital[free]
        order.append(free)
        self._order[: 1 + len(order)] = [len(order), *order]
        for state in (self._age, self._estimated, self._seen, capital, self._theta, self._members.log_z):
            state[free] = 0.0
        return free

    def _bet(self, experts: Sequence[int], theta: FloatArray) -> None:
        log_z = bets.limits(theta, self._features, self._possible, *self._slack, log(MAX_ODDS))
        self._members.log_z[experts] = np.where(theta.any(axis=-1), log_z, sum(self._slack))
        self._theta[experts] = theta
