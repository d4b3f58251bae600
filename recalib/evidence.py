"""What a payload makes of a weighted sample: distribution, KL, rates, and how two payloads compare."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from firmware.datapath.emulator import Answers
from recalib.arrays import Floats

SIGMAS = 3.0
"""From here on a difference is significant."""


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be restored.

    Args:
        edges: (B+1,) of the reference's bins, in codes.
        p: (B,), strictly positive, of sum 1.
        m: reference events behind p.
        rates: (n_cuts,).
    """

    edges: NDArray[np.int64]
    p: Floats
    m: float
    rates: Floats


@dataclass(frozen=True, eq=False)
class Evidence:
    """Codes (n,) and accept bits (n, n_cuts) of events with weights (n,), held against a target.

    Errors are those of the weighted sum (n independent terms) to first order.
    """

    codes: NDArray[np.uint32]
    accepts: NDArray[np.bool_]
    weights: Floats
    target: Target

    @classmethod
    def of(cls, words: Answers, weights: Floats, target: Target) -> "Evidence":
        """From what an execution of the datapath gave."""
        return cls(words.codes, words.accepts, weights / weights.sum(), target)

    @classmethod
    def of_codes(
        cls, codes: NDArray[np.integer], cuts: NDArray[np.int64], weights: Floats, target: Target
    ) -> "Evidence":
        """The accept bits are those of codes at or above the cuts."""
        return cls(codes.astype(np.uint32), codes[:, None] >= cuts, weights / weights.sum(), target)

    def take(self, which: NDArray[Any] | slice) -> "Evidence":
        """That of some of the events, by index, mask or slice."""
        weights = self.weights[which]
        return Evidence(self.codes[which], self.accepts[which], weights / weights.sum(), self.target)

    @cached_property
    def bins(self) -> NDArray[np.int64]:
        """(n,), the bin of each code."""
        return np.asarray(np.searchsorted(self.target.edges, self.codes, side="right") - 1)

    @cached_property
    def p(self) -> Floats:
        """(B,), of sum 1."""
        return np.bincount(self.bins, self.weights, len(self.target.p)).astype(np.float64)

    @cached_property
    def squares(self) -> Floats:
        """(B,), Σw² of the events in each bin."""
        return np.bincount(self.bins, self.weights**2, len(self.target.p)).astype(np.float64)

    @property
    def n_eff(self) -> float:
        """(Σw)²/Σw²: how many equally weighted events would be as precise."""
        return float(1 / (self.weights**2).sum())

    @cached_property
    def kl(self) -> float:
        """D_KL(p‖p_ref), nats."""
        return float(rel_entr(self.p, self.target.p).sum())

    @cached_property
    def kl_floor(self) -> float:
        """The mean of the KL where p is p_ref and only statistics differ: ½ Σ_b Var(p̂_b)/p_b + (B−1)/2m."""
        squares = self.squares
        variance = squares * (1 - 2 * self.p) + self.p**2 * squares.sum()
        return float((variance / self.target.p).sum() / 2 + (len(self.p) - 1) / (2 * self.target.m))

    @cached_property
    def rates(self) -> Floats:
        """(n_cuts,)."""
        return self.weights @ self.accepts

    @cached_property
    def rate_ratios(self) -> Floats:
        """Rates over their targets, (n_cuts,)."""
        return self.rates / self.target.rates

    @cached_property
    def rate_errors(self) -> Floats:
        """Of `rate_ratios`, with the reference's own statistics."""
        spread = np.sqrt((self.weights**2) @ (self.accepts - self.rates) ** 2)
        return np.hypot(spread, np.sqrt(self.target.rates / self.target.m)) / self.target.rates

    def kl_change(self, before: "Evidence") -> tuple[float, float]:
        """KL minus that of another payload on the same events, and its error.

        What the events have in common cancels: an event counts w·(ln p/p_ref at its bin now, minus that at
        its bin before).
        """
        now, then = (np.log(np.maximum(e.p, 1e-300) / e.target.p) for e in (self, before))
        change = self.kl - before.kl
        each = now[self.bins] - then[before.bins] - change
        return change, float(np.sqrt(((self.weights * each) ** 2).sum()))

    def rate_change(self, before: "Evidence") -> tuple[Floats, Floats]:
        """How much farther the rates are from their targets than before, relative, and the errors of that."""
        signs = [np.sign(e.rate_ratios - 1) for e in (self, before)]
        worse = np.abs(self.rate_ratios - 1) - np.abs(before.rate_ratios - 1)
        each = signs[0] * self.accepts - signs[1] * before.accepts
        each = (each - self.weights @ each) / self.target.rates
        return worse, np.sqrt((self.weights**2) @ each**2)

    def overlap(self, undrifted: NDArray[np.bool_]) -> Floats:
        """n(A ∩ A₀) / max(n(A), n(A₀)) per cut, with A₀ (n, n_cuts) what the undrifted trigger would accept."""
        return self._overlap(undrifted)[0]

    def overlap_change(self, other: "Evidence", undrifted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """The overlap minus that of another payload on the same events, and its error."""
        (mine, influence), (its, others) = (e._overlap(undrifted) for e in (self, other))
        return mine - its, np.sqrt(((influence - others) ** 2).sum(axis=0))

    def _overlap(self, undrifted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """(n_cuts,), and what each event adds to its error (n, n_cuts)."""
        most = np.where(self.rates > self.weights @ undrifted, self.accepts, undrifted)
        n = np.maximum(self.weights @ most, 1e-300)
        both = self.accepts & undrifted
        found = self.weights @ both / n
        return found, self.weights[:, None] * (both - found * most) / n

    def retention(self, before: "Evidence") -> Floats:
        """Share of the events accepted before that still are, per cut; 1 where there were none."""
        kept = self.weights @ (self.accepts & before.accepts)
        return np.where(before.rates > 0, kept / np.maximum(before.rates, 1e-300), 1.0)


def quantile_map(codes: ArrayLike, p: Floats, target: Target) -> Floats:
    """The monotone map of `codes` that gives p (B,) the distribution p_ref: Q_ref(F(code)).

    Both distributions are even within a bin.
    """
    edges = target.edges.astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(p / p.sum())])
    wanted = np.concatenate([[0.0], np.cumsum(target.p)])
    share = np.interp(np.asarray(codes, dtype=np.float64) + 0.5, edges, below)
    mapped: Floats = np.interp(share, wanted, edges) - 0.5
    return mapped
