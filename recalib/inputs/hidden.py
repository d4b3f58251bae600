"""What the last layer gets and gives, held against what it got and gave of the reference's events."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import rel_entr

from firmware.model.payload import Payload
from recalib.arrays import TINY, Floats
from recalib.surrogate.surrogate import CACHED_EVENTS, Surrogate

BINS = 32
"""Of each latent value's histogram: quantiles of the reference."""

LEAST_SPREAD = 0.5
"""In units of a number's lsb: from here on it varies."""


class HiddenEstimate(NamedTuple):
    """Of each number (n_in,) the gain that gives it the reference's spread, and its means in the reference and now.

    `error` is the standard error of the gain, which is 1 where nothing varies.
    """

    gain: Floats
    error: Floats
    then: Floats
    now: Floats


class Moments(NamedTuple):
    """Mean and standard deviation (n_in,), and the relative standard error of the latter."""

    mean: Floats
    spread: Floats
    error: Floats

    @staticmethod
    def of(values: Floats, weights: Floats) -> "Moments":
        """Of values (n, n_in) with weights (n,); errors to first order."""
        share = weights / weights.sum()
        mean = share @ values
        away = (values - mean) ** 2
        variance = share @ away
        scatter = share @ away**2 - variance**2
        error = np.sqrt(scatter * (share**2).sum()) / (2 * np.maximum(variance, TINY))
        return Moments(mean, np.sqrt(variance), error)


@dataclass(frozen=True, eq=False)
class HiddenReference:
    """The reference's events in the trained network.

    Args:
        events, weights: (k, n_features), (k,).
    """

    surrogate: Surrogate
    nominal: Payload
    events: NDArray[np.integer]
    weights: Floats

    def tell(self, hidden: Floats, weights: Floats) -> HiddenEstimate:
        """What events tell whose last layer got hidden (n, n_in), in units of its lsb.

        After Y. Li et al., arXiv:1603.04779, who take the statistics of a batch normalisation anew where the data
        have changed.
        """
        then, now = self._then, Moments.of(hidden, weights)
        varies = np.minimum(then.spread, now.spread) > LEAST_SPREAD
        gain = np.where(varies, then.spread / np.where(varies, now.spread, 1.0), 1.0)
        lsb = self.surrogate.hidden_lsb
        error = np.where(varies, gain * np.hypot(then.error, now.error), 0.0)
        return HiddenEstimate(gain, error, then.mean * lsb, now.mean * lsb)

    def mismatch(self, latent: Floats, weights: Floats) -> float:
        """Nats per crossing between latent values (n, n_latent) before their registers and the reference's.

        The mean over the values' histograms of Σ_b h_b ln(h_b/h_ref,b), free of what statistics alone give, each by
        its share in the reference's variance: what hardly varies hardly matters for the score.
        """
        noise = sum(float((w**2).sum() / w.sum() ** 2) for w in (weights, self.weights))
        prior = 0.5 / len(self.weights)
        each = []
        for column, edges, wanted in zip(latent.T, self._edges, self._shares, strict=True):
            found = _shares(column, weights, edges)
            divergence = float(rel_entr(found, (wanted + prior) / (wanted + prior).sum()).sum())
            each.append(divergence - (len(wanted) - 1) / 2 * noise)
        return float(np.average(each, weights=Moments.of(self._latent, self.weights).spread ** 2))

    @cached_property
    def _hidden(self) -> torch.Tensor:
        at = self.surrogate.of(self.nominal)
        device = self.surrogate.device
        with torch.no_grad():
            chunks = torch.split(torch.tensor(self.events, device=device), CACHED_EVENTS)
            return torch.cat([self.surrogate.hidden(x.double(), at) for x in chunks])

    @cached_property
    def _then(self) -> Moments:
        return Moments.of(self._hidden.double().cpu().numpy(), self.weights)

    @cached_property
    def _latent(self) -> Floats:
        with torch.no_grad():
            found = self.surrogate.latent(self._hidden, self.surrogate.of(self.nominal))
        return np.asarray(found.cpu().numpy(), dtype=np.float64)

    @cached_property
    def _edges(self) -> list[Floats]:
        even = np.arange(1, BINS) / BINS
        return [np.unique(np.quantile(column, even, method="lower")) for column in self._latent.T]

    @cached_property
    def _shares(self) -> list[Floats]:
        return [_shares(column, self.weights, e) for column, e in zip(self._latent.T, self._edges, strict=True)]


def _shares(values: Floats, weights: Floats, edges: Floats) -> Floats:
    """Of the weights between the edges, which belong below."""
    counts = np.bincount(np.searchsorted(edges, values), weights, len(edges) + 1)
    return np.asarray(counts / weights.sum(), dtype=np.float64)
