"""Overdispersion: how much more the counts of blocks vary than independent scores would."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.arrays import FloatArray, IntArray
from monitor.stats.errors import StatsError

MEMORY_BLOCKS = 2000
"""Blocks after which a difference counts 1/e."""
SIGNIFICANT = 5.0
"""Standard deviations by which an excess must show before φ is raised."""
OUTLIER = 9.0
"""A difference counts at most so many times what φ lets expect."""
LEAST_DIFFERENCES = 100
"""Differences that have come before any excess is believed."""
ORDER = 3
"""Highest power of the rank among the shapes that are looked at."""


def overdispersion(blocks: NDArray[Any]) -> float:
    """φ >= 1: variance between the blocks (T, B) over the multinomial one.

    φ = Σ_tb (n_tb − N_t p_b)² / (N_t p_b) / ((T−1)(B−1)), p from all blocks together. Blocks should
    hold several events per bin. Bins that are empty in every block do not count.

    References:
        P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed. (1989), section 4.5.

    Examples:
        >>> overdispersion(np.array([[60, 40], [40, 60]]))
        8.0
    """
    counts = np.asarray(blocks, dtype=np.float64)
    if counts.ndim == 2:
        counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if counts.ndim != 2 or min(counts.shape) < 2:
        raise StatsError(f"blocks {np.shape(blocks)}: expected at least two filled blocks and bins")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    dof = int((counts.shape[0] - 1) * (counts.shape[1] - 1))
    return max(1.0, chi2 / dof)


class Dispersion:
    r"""Running φ of a stream of blocks, from the differences between neighbours.

    With shares f = n/N, differences e = (f_t − p_t) − (f_{t−1} − p_{t−1}) and 1/N' = 1/N_t + 1/N_{t−1},
    the shape s (B,) has an excess x, of mean φ_s, and all bins together one of mean φ_all, h being the
    shares of both blocks together::

        x_s   = N' (s·e)² / Var_h(s)          s the first polynomials in the rank
        x_all = N' Σ_b e_b² / h_b / (B−1)     over the bins that are filled

    Neighbours differ by what comes and goes within blocks: a drift, the fall of the pile-up and the
    error of the reference, which is common to both, are not in e. Each φ is the exponentially forgetting
    mean of its x, which enters at most `OUTLIER`-fold, so that a step, of which one difference tells,
    cannot hide itself. A common cause, such as the pile-up of the bunches, varies one shape and leaves
    most bins alone: φ is the largest of the means whose excess over 1 is significant, and 1 if none is.

    φ rises with the size of the blocks, for which alone it holds.

    Args:
        memory: Blocks after which a difference counts 1/e.

    Attributes:
        phi: What the blocks seen so far say, at least 1.

    References:
        P. McCullagh, J. A. Nelder, Generalized Linear Models, 2nd ed. (1989), section 4.5. J. von Neumann,
        Distribution of the ratio of the mean square successive difference to the variance, Ann. Math. Stat.
        12 (1941) 367.

    Examples:
        >>> rng = np.random.default_rng(1)
        >>> p = np.array([0.4, 0.3, 0.2, 0.1])
        >>> even, clumped = Dispersion(), Dispersion()
        >>> for block in range(1000):
        ...     even.update(rng.multinomial(1000, p), p)
        ...     clumped.update(4 * rng.multinomial(250, p), p)
        >>> even.phi, round(clumped.phi)
        (1.0, 4)
    """

    def __init__(self, memory: float = MEMORY_BLOCKS) -> None:
        if not memory >= 1:
            raise StatsError(f"memory {memory}: expected at least one block")
        self._forget = 1 / memory
        self.reset()

    def reset(self) -> None:
        """Forget all blocks."""
        self.phi = 1.0
        self._before: tuple[float, IntArray, FloatArray] | None = None
        self._p: FloatArray | None = None
        self._mean: FloatArray = np.ones(1)
        self._weight = self._weight2 = 0.0

    def update(self, counts: IntArray, p: FloatArray) -> None:
        """Counts (B,) of the next block, and the probabilities (B,) expected of it."""
        n = float(counts.sum())
        if not n:
            return
        if self._p is not p:
            self._p, self._shapes = p, _shapes(p)
        rest = counts / n - p
        if self._before is not None:
            size, others, before = self._before
            self._add((rest - before) / sqrt(1 / n + 1 / size), (counts + others) / (n + size))
        self._before = n, counts, rest

    def _add(self, pull: FloatArray, share: FloatArray) -> None:
        filled = share > 0
        variance = self._shapes**2 @ share - (self._shapes @ share) ** 2
        dof = np.append(np.ones(len(self._shapes)), max(filled.sum() - 1.0, 1.0))
        excess = np.append(
            (self._shapes @ pull) ** 2 / np.maximum(variance, np.finfo(float).tiny),
            (pull[filled] ** 2 / share[filled]).sum() / dof[-1],
        )
        self._weight = 1 + (1 - self._forget) * self._weight
        self._weight2 = 1 + (1 - self._forget) ** 2 * self._weight2
        # Bounded by the mean before this difference, or a step would raise its own bound.
        bounded = np.minimum(excess, OUTLIER * np.maximum(self._mean, 1.0))
        self._mean = self._mean + (bounded - self._mean) / max(self._weight, LEAST_DIFFERENCES)
        error = np.sqrt(3 / dof * self._weight2) / self._weight
        significant = self._mean > 1 + SIGNIFICANT * error
        self.phi = float(self._mean[significant].max(initial=1.0))


def _shapes(p: FloatArray) -> FloatArray:
    """(≤ ORDER, B) polynomials in the rank, of mean 0, variance 1 and covariance 0 under p."""
    rank = np.cumsum(p) - p / 2
    powers = np.stack([rank**power for power in range(min(ORDER + 1, len(p)))])
    triangle = np.linalg.cholesky((powers * p) @ powers.T)
    shapes: FloatArray = np.linalg.solve(triangle, powers)[1:]
    return shapes
