"""Whether a rate is further from what is expected of it than is tolerated."""

from math import inf

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincc, gammainc, gammaincc

from monitor.stats.arrays import FloatArray


def exceedance(
    above: ArrayLike, expected: ArrayLike, n: ArrayLike, m: ArrayLike = inf, tolerance: float = 0.0
) -> FloatArray:
    """p-values for rates within `tolerance` of what is expected.

    k scores above a cut are Poisson with mean E; E itself is N/M times the c = M E/N of the m reference
    events that were above it. Of k + c, k are then binomial, and exactly so for few as for many::

        P(≥ k) = I_x(k, c + 1),   P(≤ k) = 1 − I_x(k + 1, c),   x = N (1 ± tolerance) / (N (1 ± tolerance) + M)

    and twice the smaller of the two is the p-value. With m infinite, both are of Poisson's distribution.

    Args:
        above, expected, n, m: Arrays of any shapes that broadcast: scores above the cut, those expected, all scores,
            and events of the reference.

    References:
        J. Przyborowski, H. Wilenski, Homogeneity of results in testing samples from Poisson series,
        Biometrika 31 (1940) 313.

    Examples:
        >>> [f"{p:.1e}" for p in exceedance([130, 130], 100, 1e5, [inf, 1e5])]
        ['4.6e-03', '5.6e-02']
    """
    k, e, total, events = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (above, expected, n, m)))
    known = np.isinf(events)
    c = np.where(known, 1.0, events * e / total)
    finite = np.where(known, 1.0, events)
    high, low = total * (1 + tolerance), total * (1 - tolerance)
    at_least = np.where(
        known, gammainc(np.maximum(k, 1), e * (1 + tolerance)), betainc(np.maximum(k, 1), c + 1, high / (high + finite))
    )
    at_most = np.where(known, gammaincc(k + 1, e * (1 - tolerance)), betaincc(k + 1, c, low / (low + finite)))
    p_values: FloatArray = np.minimum(1.0, 2 * np.minimum(np.where(k > 0, at_least, 1.0), at_most))
    return p_values
