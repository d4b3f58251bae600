"""When a drift began."""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from monitor.stats.binning import FloatArray, StatsError


@dataclass(frozen=True)
class Onset:
    """`index` of the first drifted row, and the log-likelihood ratio of that against no change."""

    index: int
    log_likelihood_ratio: float


def onset(counts: ArrayLike, p: ArrayLike, m: float = 0.0, before: int = 1) -> Onset:
    """The row at which a multinomial most probably changed, and keeps its new shape from there on.

    The rows before k are the reference times one shape h, the rows from k on times another, and k
    maximises the likelihood (h is the ratio of observed to expected counts of the segment)::

        Λ(k) = Σ_b C_b ln(C_b / E_b)  before  +  the same after  −  the same of all rows
        C_b = Σ_t n_tb,  E_b = Σ_t N_t p_tb

    The reference enters as `m` events that precede the first row: 0 ignores its shape (right where a
    lumi section holds more events than the reference), `inf` takes it as known.

    Parameters
    ----------
    counts
        (T, B) events, a row per lumi section.
    p
        (B,) or, if the pile-up changes, (T, B) reference probabilities.
    before
        Rows at the start that are known to be undrifted; at least 1.

    Raises StatsError on shapes that do not fit together and on fewer than before + 1 rows.

    References
    ----------
    J. Chen, A. K. Gupta, Parametric Statistical Change Point Analysis, 2nd ed. (2012), chapter 6.

    Examples
    --------
    >>> rows = np.array([[50, 50], [51, 49], [48, 52], [70, 30], [69, 31]])
    >>> onset(rows, [0.5, 0.5], m=1e6).index
    3
    """
    n, q = np.asarray(counts, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if n.ndim != 2 or q.shape not in (n.shape, n.shape[1:]) or not (n >= 0).all() or not (q > 0).all():
        raise StatsError(f"counts {n.shape} and p {q.shape}: expected (T, B) counts and (B,) or (T, B) p > 0")
    if not 1 <= before < len(n):
        raise StatsError(f"{len(n)} rows with {before} before the change: expected one on either side")
    observed = np.cumsum(n, axis=0)
    expected = np.cumsum(n.sum(axis=1, keepdims=True) * q, axis=0)
    reference = m * np.broadcast_to(q, n.shape)[0]
    late = _gain(observed[-1] - observed[:-1], expected[-1] - expected[:-1], np.zeros_like(reference))
    if m == inf:
        ratio, none = late, 0.0
    else:
        ratio = late + _gain(observed[:-1], expected[:-1], reference)
        none = float(_gain(observed[-1:], expected[-1:], reference)[0])
    k = before + int(np.argmax(ratio[before - 1 :]))
    return Onset(k, max(0.0, float(ratio[k - 1]) - none))


def _gain(observed: FloatArray, expected: FloatArray, prior: FloatArray) -> FloatArray:
    """Σ_b C ln(C/E) per row, `prior` added to both."""
    total = observed + prior
    gain: FloatArray = (xlogy(total, total) - xlogy(total, expected + prior)).sum(axis=-1)
    return gain
