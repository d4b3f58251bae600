"""The hot loops of banks of e-processes: compiled, or the same by NumPy."""

from math import sqrt
from types import ModuleType

import numpy as np

from monitor.stats.arrays import FloatArray

betting: ModuleType | None
try:
    from monitor.stats.detect import betting
except ImportError:
    betting = None

MAX_EVIDENCE = 1e280
MAX_GAIN = 50.0
"""In nats, of one block; a larger one is cut: no evidence overflows."""


class EProcesses:
    """The evidence (K,) of K e-processes, and what each gains on a block.

    Both are cut, so that no evidence overflows::

        R ← min(R exp(min(gain, 50)), 1e280),   gain_k = (Σ_b n_b ln h_kb − N ln Z_k) / φ

    Args:
        log_h: (K, B); or (E, B) where member (e, b) has ln h ≠ 0 in bin b alone, then K = E·B.
        weight: (K,) or (E, B).
    """

    def __init__(self, log_h: FloatArray, weight: FloatArray) -> None:
        self.log_h = np.ascontiguousarray(log_h, dtype=np.float64)
        self.weight = np.ascontiguousarray(weight, dtype=np.float64)
        self.r: FloatArray = np.zeros(self.weight.shape)
        self.log_z = np.zeros(self.weight.shape)
        self.gain = np.zeros(self.weight.shape)
        self.total = 0.0
        """Σ w R"""

    def reset(self) -> None:
        """Take all evidence away."""
        self.r[:] = 0.0
        self.total = 0.0

    def grow(self, counts: FloatArray, n: float, phi: float) -> None:
        """Take in the counts (B,) of one block of N scores, at overdispersion φ."""
        if betting is None:
            self._grow(counts, n, phi)
        else:
            self.total = betting.grow(
                self.r, self.gain, self.weight, self.log_h, counts, self.log_z, n, phi, MAX_GAIN, MAX_EVIDENCE
            )

    def _grow(self, counts: FloatArray, n: float, phi: float) -> None:
        single = self.log_h.shape == self.r.shape
        sums = self.log_h * counts if single else (self.log_h @ counts).reshape(self.r.shape)
        gain = np.minimum((sums - n * self.log_z) / phi, MAX_GAIN)
        np.minimum(self.r * np.exp(gain), MAX_EVIDENCE, out=self.r)
        self.total = float(np.vdot(self.weight, self.r))


def limits(
    theta: FloatArray, features: FloatArray, possible: FloatArray, tolerated: float, known: float, max_range: float
) -> FloatArray:
    """Limits ln Z (...) of the tilts h = exp(θ·f), see `limit`, the largest for any of the `possible` (J, B).

    A tilt θ (..., d) whose ln h ranges over more than `max_range` is shortened, in place.
    """
    first, second = sqrt(tolerated) + sqrt(known), (tolerated + 7 * known) / 3
    if betting is None:
        return _limits(theta, features, possible, first, second, max_range)
    log_z = np.empty(theta.shape[:-1])
    betting.limits(theta, log_z, features, possible, np.empty(possible.shape[1]), first, second, max_range)
    return log_z


def _limits(
    theta: FloatArray, features: FloatArray, possible: FloatArray, first: float, second: float, max_range: float
) -> FloatArray:
    log_h = theta @ features
    factor = np.minimum(1, max_range / np.maximum(np.ptp(log_h, axis=-1, keepdims=True), 1e-300))
    theta *= factor
    h = np.exp(log_h * factor)
    mean = h @ possible.T
    variance = np.maximum(h**2 @ possible.T - mean**2, 0)
    z = mean + first * np.sqrt(2 * variance) + second * np.ptp(h, axis=-1)[..., None]
    log_z: FloatArray = np.log(z.max(axis=-1))
    return log_z


def limit(mean: FloatArray, variance: FloatArray, spread: FloatArray, tolerated: float, known: float) -> FloatArray:
    """The largest mean of h under any distribution that is no drift.

    By the empirical Bernstein bound it is at most::

        Z = E_p h + √(2 Var_p h) (√δ + √κ) + r (δ + 7κ)/3

    with h ranging over r, the tolerated KL δ, and κ the KL by which the reference may be wrong.

    References:
        A. Maurer, M. Pontil, Empirical Bernstein bounds and sample variance penalization, COLT 2009.
    """
    deviation = np.sqrt(2 * np.maximum(variance, 0)) * (sqrt(tolerated) + sqrt(known))
    z: FloatArray = mean + deviation + spread * (tolerated + 7 * known) / 3
    return z
