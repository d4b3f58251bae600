"""Which pile-up would explain the scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.divergence import checked
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError

GRID_STEPS = 128
"""Steps of pile-up, from the lowest slice to the highest, among which the best one is sought."""


@dataclass(frozen=True, eq=False)
class PileupFit:
    """The pile-up at which the reference comes nearest to the counts, and what it is there.

    `p` (B,) is that of the reference times the ratio, `m` the events behind it, `rates` (n_cuts,) those of the
    reference alone.
    """

    pileup: float
    low: float
    high: float
    p: FloatArray
    m: float
    rates: FloatArray


def fit_pileup(counts: ArrayLike, reference: Reference, ratio: FloatArray | None = None) -> PileupFit:
    """The most likely pile-up of the counts, among those that the reference has slices for.

    `low` and `high` enclose those whose 2 N' KL, N' = NM/(N+M), is larger by 4 at most: two standard
    deviations, if the scores differ by their pile-up only.

    Args:
        counts: (B,) events per bin.
        ratio: (B,) by which p differs from the reference's; 1 if None.

    Raises:
        StatsError: if the reference has no pile-up slices.

    Examples:
        >>> from monitor.stats.count.building import reference_of_sample
        >>> rng = np.random.default_rng(1)
        >>> chunks = [(rng.geometric(0.045 - pileup / 2000, 200_000), None, pileup) for pileup in (30.0, 50.0)]
        >>> reference = reference_of_sample(chunks, cuts=[150], bits=12, pileup_edges=[20, 40, 60])
        >>> found = fit_pileup(reference.binning.count(rng.geometric(0.024, 50_000)), reference)
        >>> found.low < 42 < found.high < found.low + 2
        True
    """
    if reference.pileup_means is None:
        raise StatsError("a reference without pile-up slices tells no pile-up: build one with pile-up")
    n, _ = checked(counts, reference.p, 1)
    places = np.linspace(reference.pileup_means[0], reference.pileup_means[-1], GRID_STEPS + 1)
    at = [reference.expected(float(place)) for place in places]
    p = np.stack([expected.p for expected in at]) * (1.0 if ratio is None else ratio)
    p /= p.sum(axis=1, keepdims=True)
    m = np.array([expected.m for expected in at])
    evidence = 2 * rel_entr(n / n.sum(), p).sum(axis=1) / (1 / n.sum() + 1 / m)
    best = int(np.argmin(evidence))
    near = places[evidence <= evidence[best] + 4]
    return PileupFit(
        float(places[best]), float(near[0]), float(near[-1]), p[best], float(m[best]), reference.rates_of(at[best].p)
    )
