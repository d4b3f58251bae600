"""Banks of e-processes: each member bets on one kind of drift, and wins where that is what happened."""

from collections.abc import Sequence
from math import log
from typing import Protocol

import numpy as np

from monitor.stats.arrays import FloatArray
from monitor.stats.compare.tilts import Direction, Tilt, rate_bank
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.bets import EProcesses, limit

EXCESSES = (0.003, 0.01, 0.03)
"""Shares of all scores that pile up in one cell, to which members are tuned."""
MISSING = 0.1
"""What a member for missing codes expects to be left of a cell."""
MISSING_WEIGHT = 0.1
"""Share of a cell bank's weight that goes to missing codes."""


class Bank(Protocol):
    """Evidence Σ w R of e-processes R whose growth under the null is at most that of the scores.

    `null` is told what to expect of the blocks that follow; `largest` is the evidence of the member
    that has most of it, and the drift that this one bets on.
    """

    @property
    def evidence(self) -> float:
        """Σ w R of all members."""
        ...

    @property
    def largest(self) -> tuple[float, Tilt]:
        """Evidence of the member that has most, and the drift that it bets on."""
        ...

    def reset(self) -> None:
        """Forget what was seen."""
        ...

    def null(self, expected: Expected, tolerated: float) -> None:
        """Set the limits Z by what is expected of the blocks that follow, and the KL that is tolerated."""
        ...

    def update(self, cells: FloatArray, bins: FloatArray, n: float, phi: float) -> None:
        """Take in the counts of one block, in cells (C,) and bins (B,), N together, at overdispersion φ."""
        ...


class Members:
    """A bank whose evidence is that of `_members`."""

    _members: EProcesses

    def reset(self) -> None:
        """Forget what was seen."""
        self._members.reset()

    @property
    def evidence(self) -> float:
        """Σ w R of all members."""
        return self._members.total


class TiltBank(Members):
    """One member per tilt of the bins.

    Its evidence grows on a block of N scores by::

        R ← (R + N) (Π_b h_b^n_b / Z^N)^(1/φ)

    Args:
        union: ln of (twice the number of limits Z that must hold together over the risk that one does not).
        restart: R + N for the evidence of all onsets together (Shiryaev, Roberts), max(R, N) for that of the most
            likely one (CUSUM), which is less.
    """

    def __init__(self, tilts: Sequence[Tilt], union: float, restart: np.ufunc = np.add) -> None:
        self.tilts = tuple(tilts)
        self._union = union
        self._restart = restart
        log_h = np.stack([tilt.amplitude * tilt.direction.values for tilt in tilts])
        self._h = np.exp(log_h)
        self._h2 = self._h**2
        self._spread = np.ptp(self._h, axis=1)
        self._members = EProcesses(log_h, np.array([tilt.weight for tilt in tilts]))

    @property
    def largest(self) -> tuple[float, Tilt]:
        """Evidence of the member that has most, and the drift that it bets on."""
        shares = self._members.weight * self._members.r
        best = int(np.argmax(shares))
        return float(shares[best]), self.tilts[best]

    def null(self, expected: Expected, tolerated: float) -> None:
        """Set the limits Z by what is expected of the blocks that follow, and the KL that is tolerated."""
        known = self._union / expected.m
        z = np.max([limit(*self._moments(p), self._spread, tolerated, known) for p in expected.possible_bins], axis=0)
        self._members.log_z[:] = np.log(z)

    def update(self, cells: FloatArray, bins: FloatArray, n: float, phi: float) -> None:
        """Take in the counts of one block, in cells (C,) and bins (B,), N together, at overdispersion φ."""
        self._restart(self._members.r, n, out=self._members.r)
        self._members.grow(bins, n, phi)

    def _moments(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance (K,) of each h under p (B,)."""
        mean = self._h @ p
        return mean, self._h2 @ p - mean**2


class RateBank(TiltBank):
    """Tilts of the rates above the cuts alone, against targets where these are given.

    Args:
        targets: (n_cuts,) fractions to hold, exactly known; None for those of the reference.
        tolerated_change: A relative change of a rate that is no drift.
    """

    def __init__(
        self,
        binning: Binning,
        p: FloatArray,
        changes: Sequence[float],
        targets: FloatArray | None,
        tolerated_change: float,
        risk: float,
    ) -> None:
        tilts = rate_bank(binning, p, changes)
        super().__init__(tilts, log(2 * len(tilts) / risk))
        self._binning = binning
        self._targets = targets
        self._tolerated_change = tolerated_change
        self._per_cut = len(tilts) // len(binning.cuts)
        self._below, self._step = self._h[:, 0], self._h[:, -1] - self._h[:, 0]
        if targets is not None:
            self._union = 0.0

    def _moments(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        rates = np.repeat(self._binning.above(p) if self._targets is None else self._targets, self._per_cut)
        mean = self._below + rates * (self._step + self._tolerated_change * np.abs(self._step))
        return mean, self._step**2 * rates * (1 - rates)


class CellBank(Members):
    """Members for an excess in each single cell, which is what a stuck code is, and for missing codes.

    Half of the weight is the same for all cells, half goes by their probability.
    """

    def __init__(self, p: FloatArray, weight: float, union: float) -> None:
        self._union = union
        self._odds = np.vstack([*(1 + excess / p for excess in EXCESSES), np.full(len(p), MISSING)])
        share = np.full(len(self._odds), (1 - MISSING_WEIGHT) / len(EXCESSES))
        share[-1] = MISSING_WEIGHT
        self._members = EProcesses(np.log(self._odds), weight * np.outer(share, (1 / len(p) + p) / 2))

    @property
    def largest(self) -> tuple[float, Tilt]:
        """Evidence of the member that has most, and the drift that it bets on."""
        shares = self._members.weight * self._members.r
        kind, cell = divmod(int(np.argmax(shares)), shares.shape[1])
        inside = np.zeros(shares.shape[1])
        inside[cell] = 1.0
        tilt = Tilt(Direction("bin", f"cell {cell}", inside), float(self._members.log_h[kind, cell]), 0.0)
        return float(shares[kind, cell]), tilt

    def null(self, expected: Expected, tolerated: float) -> None:
        """Set the limits Z by what is expected of the blocks that follow, and the KL that is tolerated."""
        known = self._union / expected.m
        step = self._odds - 1
        z = [limit(1 + step * p, step**2 * p * (1 - p), np.abs(step), tolerated, known) for p in expected.possible]
        self._members.log_z[:] = np.log(np.max(z, axis=0))

    def update(self, cells: FloatArray, bins: FloatArray, n: float, phi: float) -> None:
        """Take in the counts of one block, in cells (C,) and bins (B,), N together, at overdispersion φ."""
        self._members.r += n
        self._members.grow(cells, n, phi)
