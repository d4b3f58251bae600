"""Lumi sections together, beside what was expected of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import rel_entr

from monitor.stats.arrays import FloatArray, IntArray
from monitor.stats.compare.exceedance import exceedance
from monitor.stats.compare.noncentral import chi2_tail

BETWEEN = np.linspace(0.25, 1, 4)
OVER = 7.0
"""Log-likelihood ratio by which a part of a stretch must look undrifted for the drift to be over."""


@dataclass(frozen=True, eq=False)
class Stretch:
    """Counts and expectations of one stream and generation; those that follow each other add.

    Args:
        counts: (B,) scores per bin.
        expected: (1 + J, B) scores expected at the measured pile-up, and at those that it may stand for.
        root_m: Σ N/√M, M the events behind the expectation: the errors of the reference are common to all.
        above, expected_above: (n_cuts,) scores at and above the cuts, and (1 + J, n_cuts) those expected.
        since, until: (run, lumi section) of the first and the last.
        length: Lumi sections.
    """

    counts: IntArray
    expected: FloatArray
    root_m: float
    above: IntArray
    expected_above: FloatArray
    since: tuple[int, int]
    until: tuple[int, int]
    length: int = 1

    def __add__(self, other: "Stretch") -> "Stretch":
        return Stretch(
            self.counts + other.counts,
            self.expected + other.expected,
            self.root_m + other.root_m,
            self.above + other.above,
            self.expected_above + other.expected_above,
            min(self.since, other.since),
            max(self.until, other.until),
            self.length + other.length,
        )

    @cached_property
    def n(self) -> int:
        """N, the number of scores."""
        return int(self.counts.sum())

    @property
    def m(self) -> float:
        """Events behind the expectation."""
        return (self.n / self.root_m) ** 2 if self.root_m else np.inf

    @property
    def p(self) -> FloatArray:
        """(B,) what is expected of a score."""
        share: FloatArray = self.expected[0] / self.expected[0].sum()
        return share

    @cached_property
    def nearest(self) -> FloatArray:
        """(B,) what is expected at that pile-up, of all that the measured one may stand for, which fits best."""
        logs = np.log(self.expected)
        between = (logs[1:] - logs[0])[:, None] * BETWEEN[:, None] + logs[0]
        p = np.exp(np.concatenate([logs[:1], between.reshape(-1, len(self.counts))]))
        p /= p.sum(axis=1, keepdims=True)
        best: FloatArray = p[int(np.argmax(np.log(p) @ self.counts))]
        return best

    def shape_p_value(self, tolerated: float, doubt: float) -> float:
        """For no drift, whatever pile-up the measured one stands for; 1 unless the KL is larger than tolerated.

        That it is not has to have a p-value below `doubt`.
        """
        inverse_n = 1 / self.n + 1 / self.m
        dof, noncentrality = len(self.counts) - 1, 2 * tolerated / inverse_n
        for nearest in (False, True):
            p = self.nearest if nearest else self.p
            chi2 = 2 * float(rel_entr(self.counts / self.n, p).sum()) / inverse_n
            if chi2 <= dof + noncentrality or chi2_tail(chi2, dof, noncentrality) > doubt:
                return 1.0
        return chi2_tail(chi2, dof)

    def differs(self, other: "Stretch", tolerated: float, doubt: float) -> bool:
        """Whether another stretch, each over what is expected of it, has another shape.

        The p-value of its having a KL of no more than tolerated to this one is below `doubt`.
        """
        inverse_n = 1 / self.n + 1 / other.n
        seen, seen_other = ((part.counts + 0.5) / part.n / part.p for part in (self, other))
        both = (self.counts + other.counts) / (self.n + other.n)
        chi2 = float(both @ np.square(np.log(seen / seen_other))) / inverse_n
        dof, noncentrality = len(self.counts) - 1, 2 * tolerated / inverse_n
        if chi2 <= dof + noncentrality:  # below the mean: p is above 0.3 whatever the degrees of freedom
            return False
        return chi2_tail(chi2, dof, noncentrality) < doubt

    def rate_ratios(self, known: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n_cuts,) rates over the expected ones, their errors, and their distances from 1 in standard deviations."""
        expected = np.maximum(self.expected_above[0], 1e-12)
        reference = 0.0 if known else self.n / self.m
        ratios = self.above / expected
        errors = np.sqrt((np.maximum(self.above, 1) + reference * self.above * ratios) / expected**2)
        return ratios, errors, (self.above - expected) / np.sqrt(np.maximum(expected, 1.0) * (1 + reference))

    def rate_p_values(self, tolerance: float, doubt: float, known: bool) -> FloatArray:
        """(n_cuts,) the same for the rates and their relative change; `known`: they are targets without error."""
        nearest = np.clip(self.above, self.expected_above.min(axis=0), self.expected_above.max(axis=0))
        if (np.abs(self.above - nearest) <= tolerance * nearest).all():
            return np.ones(len(nearest))
        m = np.inf if known else self.m
        beyond = exceedance(self.above, nearest, self.n, m, tolerance) < doubt
        if not beyond.any():
            return np.ones(len(nearest))
        return np.where(beyond, exceedance(self.above, nearest, self.n, m), 1.0)

    def along(self, shape: FloatArray) -> tuple[float, float, float]:
        """Amplitude of the drift along a shape (B,), its statistical error, and that of the pile-up."""
        middle = self.expected[0] @ shape
        information = self.expected[0] @ shape**2 - middle**2 / self.n
        size = (self.counts @ shape - middle) / information
        others = np.abs(self.expected @ shape - middle).max() / information
        return float(size), float(information**-0.5), float(others)

    def still(self, part: "Stretch", cut: int | None = None) -> bool:
        """Whether the drift of this stretch, of its shape or of the rate at a cut, is not over in a part of it.

        The log-likelihood ratio of the part, drifted as the whole against not drifted, is above −`OVER`.
        """
        if cut is None:
            ratio = (self.counts + 0.5) / (self.expected[0] + 0.5)
            evidence = part.counts @ np.log(ratio) - part.n * np.log(part.p @ ratio)
        else:
            rate = (self.above[cut] + 0.5) / (self.expected_above[0, cut] + 0.5)
            evidence = part.above[cut] * np.log(rate) - part.expected_above[0, cut] * (rate - 1)
        return bool(evidence > -OVER)


@dataclass(frozen=True, eq=False)
class Endings:
    """The newest stretch, and ever longer ones that end with it: the sums of the first 1, 2, 3 … `parts`.

    Args:
        parts: Stretches that follow each other, newest first.
    """

    parts: Sequence[Stretch]

    @cached_property
    def _sums(self) -> tuple[FloatArray, ...]:
        """Counts (W, B), expected (W, 1 + J, B), root_m (W,), above (W, n_cuts), expected_above (W, 1 + J, n_cuts)."""
        names = ("counts", "expected", "root_m", "above", "expected_above")
        return tuple(np.cumsum([getattr(part, name) for part in self.parts], axis=0) for name in names)

    def __getitem__(self, i: int) -> Stretch:
        counts, expected, root_m, above, expected_above = self._sums
        length = sum(part.length for part in self.parts[: i + 1])
        since, until = self.parts[i].since, self.parts[0].until
        return Stretch(counts[i], expected[i], float(root_m[i]), above[i], expected_above[i], since, until, length)

    def beyond(self, tolerated: float, tolerance: float, shapes: bool) -> list[int]:
        """Those whose shape or one of whose rates is off by more than is tolerated, significant or not."""
        counts, expected, root_m, above, expected_above = self._sums
        n = counts.sum(axis=1)
        nearest = np.clip(above, expected_above.min(axis=1), expected_above.max(axis=1))
        off = (np.abs(above - nearest) > tolerance * nearest).any(axis=1)
        if shapes:
            p = expected[:, 0] / expected[:, 0].sum(axis=1, keepdims=True)
            kl = rel_entr(counts / n[:, None], p).sum(axis=1)
            off |= 2 * kl > (counts.shape[1] - 1) * (1 / n + (root_m / n) ** 2) + 2 * tolerated
        return [int(i) for i in np.flatnonzero(off)]


def together(stretches: Sequence[Stretch]) -> Stretch:
    """The sum of at least one."""
    return sum(stretches[1:], stretches[0])
