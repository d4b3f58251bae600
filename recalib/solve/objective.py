"""The objective of a recalibration, differentiable in the scores."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from recalib.errors import SettingsError

RAMP = 0.5
"""Width over which an event passes from one bin into the next, in units of the narrower of the two bins."""

LEAST_P = 1e-300
"""An empty bin's probability, where its logarithm is taken: it adds nothing."""


def rho(x: Tensor, delta: float, form: str = "signed") -> Tensor:
    """ρ_δ(x): how much a score that moved by x counts against the move, at most δ.

    "signed" is clip(x, −δ, δ), which rewards a lower score; "absolute" is its magnitude; "huber" is
    quadratic within ±δ and linear beyond.

    >>> x = torch.tensor([-3.0, -0.5, 0.5, 3.0])
    >>> [rho(x, 1.0, form).tolist() for form in ("signed", "absolute", "huber")]
    [[-1.0, -0.5, 0.5, 1.0], [1.0, 0.5, 0.5, 1.0], [2.5, 0.125, 0.125, 2.5]]
    """
    match form:
        case "signed":
            return x.clamp(-delta, delta)
        case "absolute":
            return x.abs().clamp(max=delta)
        case "huber":
            return torch.where(x.abs() < delta, x * x / (2 * delta), x.abs() - delta / 2)
    raise SettingsError(f"form {form!r} is none of signed, absolute, huber")


def kl(p: Tensor, q: Tensor) -> Tensor:
    """D_KL(p‖q) = Σ p ln(p/q) of two histograms (B,); empty bins of p count nothing, q must be positive."""
    return torch.sum(p * torch.log(p.clamp_min(LEAST_P) / q))


@dataclass(frozen=True, eq=False)
class Bins:
    """A histogram with linear assignment: near an edge an event belongs in part to both sides.

    Args:
        edges: the B−1 inner edges, in score, on which the shares are equal.
        widths: over which the share goes from 0 to 1 around each edge, never beyond the neighbouring ramp.

    With the edges half a code below the first code of a bin, ramps of at most one code leave whole codes
    unshared: that is the ordinary histogram.
    """

    edges: Tensor
    widths: Tensor

    @classmethod
    def of(cls, edges: ArrayLike, lsb: float, ramp: float = RAMP, device: torch.device | None = None) -> Self:
        """The bins of a binning with `edges` (B+1,) in codes; ramp 0 gives the ordinary histogram."""
        codes = np.asarray(edges, dtype=np.float64)
        gaps = np.diff(codes)
        widths = np.maximum(1.0, ramp * np.minimum(gaps[:-1], gaps[1:]))
        return cls(*(torch.as_tensor(array * lsb, device=device) for array in (codes[1:-1] - 0.5, widths)))

    @property
    def size(self) -> int:
        """How many bins there are."""
        return len(self.edges) + 1

    def locate(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For each score: the nearest bin above a ramp's begin, the share in it, d share/d score.

        The rest of the share belongs to the bin below.
        """
        starts = self.edges - self.widths / 2
        above = torch.searchsorted(starts, scores.detach(), right=True)
        ramp = (above - 1).clamp_min(0)
        share = (scores - starts[ramp]) / self.widths[ramp]
        inside = (above > 0) & (share < 1)
        share = torch.where(above > 0, share.clamp(max=1.0), torch.ones_like(share))
        return above, share, inside / self.widths[ramp]

    def probabilities(self, scores: Tensor, weights: Tensor) -> Tensor:
        """The histogram (B,) of scores (n,) with weights (n,), of sum 1, differentiable in the scores."""
        above, share, _ = self.locate(scores)
        counts = torch.zeros(self.size, dtype=scores.dtype, device=scores.device)
        counts = counts.index_add(0, above, weights * share)
        counts = counts.index_add(0, (above - 1).clamp_min(0), weights * (1 - share))
        return counts / weights.sum()

    def tangent(self, scores: Tensor, slopes: Tensor, weights: Tensor) -> Tensor:
        """∂p/∂θ (B, K) from ∂s/∂θ (n, K)."""
        above, _, density = self.locate(scores)
        moved = slopes * (weights * density / weights.sum())[:, None]
        change = torch.zeros((self.size, slopes.shape[1]), dtype=scores.dtype, device=scores.device)
        change.index_add_(0, above, moved)
        return change.index_add_(0, (above - 1).clamp_min(0), -moved)


@dataclass(frozen=True, eq=False)
class Objective:
    """L(θ) = mean_i w_i ρ_δ(s_θ(x_i) − s_ref(x_i)) + β · D_KL(p_θ ‖ p_ref).

    Args:
        bins: of the score; the edges lie on the cuts, so that the KL feels the rates.
        p_ref: (B,), strictly positive, of sum 1.
        s_ref: scores (n,) of the deployed model on the same events.
        weights: (n,), the inverse of each event's inclusion probability; the mean is over Σ w.
        beta: of a score's unit, as the KL is a pure number.
        delta: in units of the score.

    >>> bins = Bins.of([0, 4, 8, 16], lsb=0.5)
    >>> codes = torch.arange(16, dtype=torch.float64)
    >>> even = Objective(bins, torch.tensor([0.25, 0.25, 0.5]), codes / 2, torch.ones(16), 10.0, 1.0)
    >>> float(even(codes / 2)), round(float(even(codes / 2 + 0.5)), 3)
    (0.0, 0.623)
    """

    bins: Bins
    p_ref: Tensor
    s_ref: Tensor
    weights: Tensor
    beta: float
    delta: float
    form: str = "signed"

    def __call__(self, scores: Tensor) -> Tensor:
        """L at scores (n,), differentiable in them."""
        divergence = kl(self.bins.probabilities(scores, self.weights), self.p_ref)
        return self.moved(scores) + self.beta * divergence

    def moved(self, scores: Tensor) -> Tensor:
        """The mean of ρ_δ over the events."""
        cost = rho(scores - self.s_ref, self.delta, self.form)
        return torch.sum(self.weights * cost) / self.weights.sum()

    def pull(self, scores: Tensor) -> Tensor:
        """∂ mean ρ/∂s_i (n,)."""
        leaf = scores.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.moved(leaf), leaf)
        return gradient
