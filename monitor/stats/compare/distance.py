"""How far scores have moved: distances between cumulative distributions."""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import kolmogorov

from monitor.stats.compare.divergence import checked
from monitor.stats.errors import StatsError


@dataclass(frozen=True)
class Distance:
    """Distances of the current distribution to the reference.

    `wasserstein` is in units of the score, `wasserstein_floor` its mean without drift;
    `ks` the largest difference of the cumulative distributions, `ks_p_value` its p-value without drift.
    """

    wasserstein: float
    wasserstein_floor: float
    ks: float
    ks_p_value: float


def distance(counts: ArrayLike, p: ArrayLike, edges: ArrayLike, m: float = inf, lsb: float = 1.0) -> Distance:
    r"""Wasserstein-1 and Kolmogorov–Smirnov distance on the same counts.

    With Δ_b the difference of the cumulative distributions after bin b, w_b the width of the bin,
    and 1/N' = 1/N + 1/M; a score stands at the lowest code of its bin, so that the last bin,
    which reaches to the largest code, has no width::

        wasserstein = Σ w_b |Δ_b|,   floor = Σ w_b √(2 F_b (1 − F_b) / π N')
        ks = max |Δ_b|,              p-value = 2 Σ_k (−1)^(k−1) exp(−2 k² N' ks²)

    The finer the bins, the better: take the cells of a reference. The p-value is an upper limit,
    since binning hides differences.

    Args:
        counts, p: (B,) events and reference probabilities per bin.
        edges: (B + 1,) codes.
        m: Events behind p.
        lsb: Score of one code.

    Raises:
        StatsError: as `compare` does, and on edges that do not fit.

    Examples:
        >>> found = distance([400, 300, 300], [0.5, 0.3, 0.2], [0, 10, 20, 1000], lsb=0.5)
        >>> round(found.wasserstein, 3), round(found.ks, 3), f"{found.ks_p_value:.1e}"
        (1.0, 0.1, '4.1e-09')
    """
    n, q = checked(counts, p, m)
    bounds = np.asarray(edges, dtype=np.float64)
    if bounds.shape != (len(n) + 1,) or not (np.diff(bounds) > 0).all():
        raise StatsError(f"edges {bounds.shape}: expected {len(n) + 1} increasing codes")
    widths = np.diff(bounds)[:-1] * lsb
    below = np.cumsum(q)[:-1]
    difference = np.abs(np.cumsum(n / n.sum())[:-1] - below)
    variance = (1 / n.sum() + 1 / m) * below * np.maximum(1 - below, 0.0)
    ks = float(difference.max())
    return Distance(
        wasserstein=float(widths @ difference),
        wasserstein_floor=float(widths @ np.sqrt(2 * variance / np.pi)),
        ks=ks,
        ks_p_value=float(kolmogorov(ks / sqrt(1 / n.sum() + 1 / m))),
    )
