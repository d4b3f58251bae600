"""When a drift began, and whether at once or gradually."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from monitor.stats.arrays import FloatArray
from monitor.stats.errors import StatsError

Course = Literal["sudden", "gradual", "unclear"]
CLEAR_LOG_ODDS = 2.0
"""Log-odds of ramp against step from which the course is told."""
CREDIBLE = 0.95
"""Probability of the onset's being in the interval that is told."""


@dataclass(frozen=True)
class Onset:
    """`index` of the first drifted row; with 95 % probability it is among `first` to `last`.

    `log_odds` are those of a ramp against a step.
    """

    index: int
    first: int
    last: int
    course: Course
    log_odds: float


def onset(values: ArrayLike, errors: ArrayLike, durations: ArrayLike | None = None, offset_error: float = 0.0) -> Onset:
    """The row from which on a size is no longer zero: by a step, or by a ramp that lasts to the end.

    For each row k and either course g_k(t), a step 1(t ≥ k) or a ramp that rises from 0 at the begin of
    k to 1 in the last row, the rows y_t ± σ_t follow c + A g_k(t), c = 0 ± `offset_error`. With A and c
    fitted the log-likelihood gains::

        L_k = ½ (Σ w g y − Σ w g Σ w y / W)² / (Σ w g² − (Σ w g)² / W),   w = 1/σ², W = Σ w + 1/offset_error²

    Where even the best of them leaves residuals of χ² above T − 2, all errors are taken to be too small by
    the root of the ratio. All k are as likely beforehand, so that exp(L_k) is their probability afterwards, and
    ln Σ_k exp(L_k) what speaks for the course.

    Args:
        values, errors: (T,) size of the drift in each row, and its standard deviation.
        durations: (T,) of the rows in time; all the same if None.
        offset_error: Standard deviation of what the rows have in common without drift: the error of the reference.

    Raises:
        StatsError: on shapes that do not fit together, no rows, and errors that are not above 0.

    References:
        J. Chen, A. K. Gupta, Parametric Statistical Change Point Analysis, 2nd ed. (2012), chapter 2.

    Examples:
        >>> rng = np.random.default_rng(1)
        >>> noise = rng.normal(size=60)
        >>> step = onset(noise + 3.0 * (np.arange(60) >= 40), np.ones(60))
        >>> step.index, step.first, step.last, step.course
        (40, 40, 41, 'sudden')
        >>> onset(noise + np.linspace(-8, 8, 60).clip(0), np.ones(60)).course
        'gradual'
    """
    y, sigma = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    time = np.ones_like(y) if durations is None else np.asarray(durations, dtype=np.float64)
    if y.ndim != 1 or not len(y) or not y.shape == sigma.shape == time.shape:
        raise StatsError(f"values {y.shape}, errors {sigma.shape}, durations {time.shape}: expected one of each a row")
    if not (sigma > 0).all() or not (time > 0).all() or not offset_error >= 0:
        raise StatsError(f"errors {sigma.tolist()}, {offset_error} and durations {time.tolist()}: expected above 0")
    begin = np.cumsum(time) - time
    middle = begin + time / 2
    step = np.tri(len(y)).T
    ramp = step * (middle - begin[:, None]) / (middle[-1] - begin)[:, None]
    w = sigma**-2
    total = w.sum() + (offset_error**-2 if offset_error else np.inf)
    gains = np.stack([_gain(g, y, w, total) for g in (step, ramp)])
    left = y @ (w * y) - (w @ y) ** 2 / total - 2 * gains.max()
    by_step, by_ramp = gains / max(1.0, left / max(len(y) - 2, 1))
    log_odds = float(logsumexp(by_ramp) - logsumexp(by_step))
    course: Course = "unclear" if abs(log_odds) < CLEAR_LOG_ODDS else "gradual" if log_odds > 0 else "sudden"
    gain = by_ramp if course == "gradual" else by_step
    probability = np.exp(gain - logsumexp(gain))
    order = np.argsort(-probability)
    within = order[: 1 + int(np.searchsorted(np.cumsum(probability[order]), CREDIBLE))]
    return Onset(int(order[0]), int(within.min()), int(within.max()), course, log_odds)


def _gain(g: FloatArray, y: FloatArray, w: FloatArray, total: float) -> FloatArray:
    """L_k for the courses g (K, T)."""
    common = g @ w
    numerator = g @ (w * y) - common * (w @ y) / total
    gain: FloatArray = numerator**2 / (g**2 @ w - common**2 / total) / 2
    return gain
