"""E-detectors: alarms with a promised run length."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, log, log1p, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitor.stats.binning import Binning, FloatArray, StatsError
from monitor.stats.reference import Expected
from monitor.stats.tilts import CHANGES, Direction, Tilt, rate_bank

RUN_LENGTH = 1e9
"""Scores between false alarms, unless told otherwise."""
REFERENCE_RISK = 0.01
EXCESSES = (0.003, 0.01, 0.03)
"""Shares of the scores that pile up in one cell, to which its members are tuned."""
CELL_WEIGHT = 0.15
MAX_LOG = 700.0


class EMixture:
    """Shiryaev–Roberts mixture e-detector over a bank of tilts.

    Tilt k turns p into q_kb = p_b h_kb / Z_k. With weights w_k, blocks of counts n_b (N in total)
    and A the target run length::

        R_k ← (R_k + N) (Π_b h_kb^n_b / Z_k^N)^(1/φ),   alarm when Σ_k w_k R_k ≥ A

    Σ w R − Σ N is a supermartingale wherever E h_k ≤ Z_k, so that the mean number of scores to a false
    alarm is at least A, whatever the sizes of the blocks. The null is not p but every distribution p'
    with E_p' h_k ≤ Z_k for all k, and Z_k is an upper limit (empirical Bernstein; L = ln(2K/risk),
    h ranging over r_k)::

        Z_k = E_p h_k + √(2 Var_p h_k) (√δ + √(L/m)) + r_k (δ/3 + 7L/(3m))

    It holds every distribution within KL δ of one that a reference of m events may, but for the
    `risk`, have come from. So the promise stands for a reference of finite m too; what is paid is that
    drifts smaller than the reference's own error and δ are never seen.

    Parameters
    ----------
    tilts
        See `monitor.stats.tilts.bank`.
    cells
        (C,) probabilities of the reference's cells: with them, the bank also holds an excess in each
        single cell, which is what a stuck code is. Without, cells are only seen in their bins.
    target_run_length
        A in scores.
    tolerated
        δ in nats: a smaller KL to the reference is no drift.
    phi
        Overdispersion of the blocks, see `overdispersion`.
    risk
        Probability that a reference of m events is so unlucky that the promise does not hold.

    Attributes
    ----------
    statistic
        ln(1 + Σ w R); the alarm is at `threshold` = ln(1 + A) and lasts until it is below or `reset`.

    References
    ----------
    J. Shin, A. Ramdas, A. Rinaldo, E-detectors: a nonparametric framework for sequential change
    detection, New England J. Stat. Data Sci. 2 (2024) 229. A. Maurer, M. Pontil, Empirical Bernstein
    bounds and sample variance penalization, COLT 2009.

    Examples
    --------
    >>> from monitor.stats.tilts import bank, directions
    >>> rng = np.random.default_rng(7)
    >>> binning, p = Binning(np.array([0, 10, 20, 40, 64])), np.array([0.4, 0.3, 0.2, 0.1])
    >>> detector = EMixture(bank(directions(binning, p)), target_run_length=1e6)
    >>> for block in range(400):
    ...     truth = p if block < 200 else [0.4, 0.3, 0.17, 0.13]
    ...     detector.update(rng.multinomial(250, truth), Expected.known(p))
    ...     if detector.drift_detected:
    ...         print(f"drift in block {block}: {detector.largest}")
    ...         break
    drift in block 208: codes from 40 × 1.31
    """

    def __init__(
        self,
        tilts: Sequence[Tilt],
        target_run_length: float = RUN_LENGTH,
        tolerated: float = 0.0,
        phi: float = 1.0,
        risk: float = REFERENCE_RISK,
        cells: FloatArray | None = None,
    ) -> None:
        if not target_run_length >= 1 or not tolerated >= 0 or not phi >= 1 or not 0 < risk < 1 or not tilts:
            raise StatsError(
                f"target_run_length {target_run_length}, tolerated {tolerated}, phi {phi}, risk {risk}, "
                f"{len(tilts)} tilts: expected at least 1, 0, 1, a probability and 1"
            )
        self.tilts = tuple(tilts)
        self.threshold = log1p(target_run_length)
        self.tolerated = tolerated
        self.phi = phi
        self.risk = risk
        self._log_h = np.stack([tilt.amplitude * tilt.direction.values for tilt in self.tilts])
        self._h = np.exp(self._log_h)
        self._h2 = self._h**2
        share = CELL_WEIGHT if cells is not None else 0.0
        p = np.zeros(0) if cells is None else cells
        self._odds = 1 + np.array(EXCESSES)[:, None] / p
        self._log_odds = np.log(self._odds)
        self._range = np.concatenate([np.ptp(self._h, axis=1), (self._odds - 1).ravel()])
        weight = np.concatenate(
            [
                (1 - share) * np.array([tilt.weight for tilt in self.tilts]),
                np.full(self._odds.size, share / max(self._odds.size, 1)),
            ]
        )
        self._log_weight = np.log(weight)
        self._null: Expected | None = None
        self.reset()

    def reset(self) -> None:
        self.log_evidence = np.full(len(self._log_weight), -inf)
        self.statistic = 0.0

    @property
    def drift_detected(self) -> bool:
        return self.statistic >= self.threshold

    @property
    def largest(self) -> Tilt:
        """The member with most of the evidence."""
        best = int(np.argmax(self.log_evidence + self._log_weight))
        if best < len(self.tilts):
            return self.tilts[best]
        excess, cell = divmod(best - len(self.tilts), self._odds.shape[1])
        inside = np.zeros(self._odds.shape[1])
        inside[cell] = 1.0
        direction = Direction("bin", f"cell {cell}", inside)
        return Tilt(direction, float(self._log_odds[excess, cell]), float(np.exp(self._log_weight[best])))

    def update(self, counts: NDArray[Any], expected: Expected) -> None:
        bins = expected.bins(counts)
        n = int(bins.sum())
        if bins.shape != self._log_h.shape[1:] or (self._odds.size and counts.shape != self._odds.shape[1:]):
            raise StatsError(
                f"{len(bins)} bins, {len(counts)} cells: expected {self._log_h.shape[1]}, {self._odds.shape[1]}"
            )
        if n == 0:
            return
        if self._null is not expected:
            self._null, self._log_z = expected, self._normalisation(expected)
        evidence = self._log_h @ bins
        if self._odds.size:
            evidence = np.concatenate([evidence, (self._log_odds * counts).ravel()])
        before = np.maximum(self.log_evidence, np.log(np.exp(np.minimum(self.log_evidence, MAX_LOG)) + n))
        self.log_evidence = before + (evidence - n * self._log_z) / self.phi
        weighted = self.log_evidence + self._log_weight
        top = weighted.max()
        self.statistic = float(np.logaddexp(0.0, top + np.log(np.exp(weighted - top).sum())))

    def _normalisation(self, expected: Expected) -> FloatArray:
        """ln Z (K,): the largest at any pile-up that the measured one may stand for."""
        known = log(2 * len(self._range) / self.risk) / expected.m
        first_order, second_order = sqrt(self.tolerated) + sqrt(known), (self.tolerated + 7 * known) / 3
        largest = np.full(len(self._range), -inf)
        for cells in (expected.cells, *expected.nearby):
            mean, variance = self._moments(expected.bins(cells), cells)
            limit = mean + np.sqrt(2 * np.maximum(variance, 0)) * first_order + self._range * second_order
            largest = np.maximum(largest, limit)
        log_z: FloatArray = np.log(largest)
        return log_z

    def _moments(self, p: FloatArray, cells: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of h under p, (K,) each."""
        mean = self._h @ p
        variance = self._h2 @ p - mean**2
        if not self._odds.size:
            return mean, variance
        more = (self._odds - 1) * cells
        return (
            np.concatenate([mean, (1 + more).ravel()]),
            np.concatenate([variance, ((self._odds - 1) * more * (1 - cells)).ravel()]),
        )


class RateDetector(EMixture):
    """Two-sided e-detector of the rate above each cut: an `EMixture` over tilts of the cuts alone.

    Parameters
    ----------
    targets
        Fractions to hold instead of those that p gives, exactly known; for a stream that holds its rate.
    tolerated_change
        A smaller relative change of a rate is no drift. (A KL that is tolerable for the whole
        distribution, `tolerated`, hides any change of a rare cut's rate r: that is r c²/2 nats.)

    Examples
    --------
    >>> rng = np.random.default_rng(7)
    >>> binning, p = Binning(np.array([0, 40, 64]), cuts=(40,)), np.array([0.99, 0.01])
    >>> detector = RateDetector(binning, p, target_run_length=1e6)
    >>> for block in range(100):
    ...     detector.update(rng.multinomial(10_000, [0.987, 0.013]), Expected.known(p, m=1e7))
    ...     if detector.drift_detected:
    ...         print(f"block {block}: {detector.largest.direction.where}")
    ...         break
    block 3: rate above cut 40
    """

    def __init__(
        self,
        binning: Binning,
        p: FloatArray,
        targets: Sequence[float] | None = None,
        tolerated_change: float = 0.0,
        changes: Sequence[float] = CHANGES,
        **settings: Any,
    ) -> None:
        if not binning.cuts or (targets is not None and len(targets) != len(binning.cuts)):
            raise StatsError(f"cuts {binning.cuts}, targets {targets}: expected a cut and a target for each")
        if not tolerated_change >= 0:
            raise StatsError(f"tolerated_change {tolerated_change}: expected at least 0")
        tilts = rate_bank(binning, p, changes)
        super().__init__(tilts, **settings)
        self.tolerated_change = tolerated_change
        self._targets = None if targets is None else np.asarray(targets, dtype=np.float64)
        self._binning = binning
        self._per_cut = len(tilts) // len(binning.cuts)
        self._below, self._step = self._h[:, 0], self._h[:, -1] - self._h[:, 0]

    def update(self, counts: NDArray[Any], expected: Expected) -> None:
        if self._targets is not None and self._null is not expected:
            self._null, self._log_z = expected, self._normalisation(replace(expected, m=inf))
        super().update(counts, expected)

    def _moments(self, p: FloatArray, cells: FloatArray) -> tuple[FloatArray, FloatArray]:
        rates = np.repeat(self._binning.above(p) if self._targets is None else self._targets, self._per_cut)
        mean = self._below + rates * (self._step + self.tolerated_change * np.abs(self._step))
        return mean, self._step**2 * rates * (1 - rates)
