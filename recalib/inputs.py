"""Whether inputs look like the reference's: the evidence that tells a scale from a lost acceptance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from firmware.model import Model
from firmware.parts import ENERGIES
from firmware.payload import Payload

Floats = NDArray[np.float64]

FLOOR = 1.3
"""Objects count from this multiple of the softest one in the reference: a corrected scale moves the softest
ones, and what fell below the trigger's own threshold cannot be brought back."""

SCALES = np.linspace(-0.3, 0.3, 61)
"""ln of the scales that are tried on an object type."""

ENERGY_SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.997)
ANGLE_BINS = 16
SEEN = 12.5
"""½·5²: a scale is taken from the energies only where they are five standard errors better with it."""


@dataclass(frozen=True, eq=False)
class _Histogram:
    """Of the energies of an object type, or of an angle of its objects above the floor."""

    energies: NDArray[np.int64]
    angles: NDArray[np.int64] | None
    floor: float
    edges: Floats

    def fill(self, corrected: Floats, weights: Floats) -> Floats:
        """Entries per crossing, by bin."""
        energy = corrected[:, self.energies]
        each = np.broadcast_to(weights[:, None], energy.shape)
        if self.angles is None:
            return self._shares(energy.ravel(), each.ravel(), weights.sum())
        hard = energy > self.floor
        return self._shares(corrected[:, self.angles][hard], each[hard], weights.sum())

    def _shares(self, values: Floats, weights: Floats, total: float) -> Floats:
        counts = np.bincount(np.searchsorted(self.edges[1:-1], values), weights, len(self.edges) - 1)
        return np.asarray(counts / total, dtype=np.float64)


class InputReference:
    """Pooled input histograms of the reference events, by object type.

    Energies are counted per crossing, with all that is absent or soft in one bin, so that numbers of
    objects matter; angles are compared in shape. No scale changes an azimuth: a mismatch there stays.

    Args:
        events: reference events (n, n_features).
        weights: (n,).
        seed: of the dither that spreads whole codes over their width before they are scaled.
    """

    def __init__(self, model: Model, events: NDArray[np.integer], weights: Floats, seed: int = 0) -> None:
        self._energy = np.array([feature.kind in ENERGIES for feature in model.features])
        self._seed = seed
        values = self._spread(events, np.ones(model.n_features), np.zeros(model.n_features))
        self._by_object = {o: _histograms(model, o, values, weights) for o in _objects(model)}
        self._histograms = [h for found in self._by_object.values() for h in found]
        self._expected = [h.fill(values, weights) for h in self._histograms]
        self._m_eff = weights.sum() ** 2 / (weights**2).sum()

    def mismatch(self, events: NDArray[np.integer], weights: Floats, payload: Payload) -> float:
        """Nats per crossing between inputs behind the payload's input registers and the reference's inputs.

        Σ over the histograms of Σ_b h_b ln(h_b/h_ref,b), free of the mean that statistics alone give.
        """
        values = self._spread(events, payload.value("input_scale"), payload.value("input_offset"))
        n_eff = weights.sum() ** 2 / (weights**2).sum()
        total = 0.0
        for histogram, expected in zip(self._histograms, self._expected, strict=True):
            entries = histogram.fill(values, weights)
            total += self._divergence(entries, expected)
            total -= (len(entries) - 1) / 2 * (1 / n_eff + 1 / self._m_eff)
        return total

    def scale(self, events: NDArray[np.integer], weights: Floats, payload: Payload, name: str) -> tuple[float, float]:
        """ln of the factor that brings an object type's energies nearest to the reference's, and its error.

        The minimum of n·KL over the factor, an estimate of maximum likelihood, and from its curvature the
        error of the two samples. 0 where the gain over it is chance; (0, inf) where the reference has no such objects.
        """
        if not self._by_object[name]:
            return 0.0, np.inf
        histogram = self._by_object[name][0]
        expected = self._expected[self._histograms.index(histogram)]
        values = self._spread(events, payload.value("input_scale"), payload.value("input_offset"))
        distances = [self._divergence(histogram.fill(values * np.exp(t), weights), expected) for t in SCALES]
        best = int(np.clip(np.argmin(distances), 1, len(SCALES) - 2))
        around = slice(max(best - 3, 0), best + 4)
        curve, slope, _ = np.polyfit(SCALES[around], distances[around], 2)
        if curve <= 0:
            return float(SCALES[best]), np.inf
        noise = (weights**2).sum() / weights.sum() ** 2 + 1 / self._m_eff
        top = float(np.clip(-slope / (2 * curve), SCALES[0], SCALES[-1]))
        gain = distances[len(SCALES) // 2] - min(distances)
        return top if gain > SEEN * noise else 0.0, float(np.sqrt(noise / (2 * curve)))

    def _divergence(self, entries: Floats, expected: Floats) -> float:
        wanted = (expected + 0.5 / self._m_eff) / (expected + 0.5 / self._m_eff).sum() * entries.sum()
        return float(rel_entr(entries, wanted).sum())

    def _spread(self, events: NDArray[np.integer], scale: Floats, offset: Floats) -> Floats:
        """Calibrated inputs; energies are spread evenly over the width of their code, zero stays zero."""
        dither = np.random.default_rng(self._seed).random(events.shape, np.float32) - 0.5
        values = events + np.where(self._energy & (events > 0), dither, 0)
        return values * scale + offset


def _objects(model: Model) -> list[str]:
    return sorted({feature.object for feature in model.features if feature.kind in ENERGIES})


def _histograms(model: Model, name: str, values: Floats, weights: Floats) -> list[_Histogram]:
    kinds: dict[str, list[int]] = {}
    for i, feature in enumerate(model.features):
        if feature.object == name:
            kinds.setdefault("energy" if feature.kind in ENERGIES else feature.kind, []).append(i)
    energies = np.array(kinds.pop("energy"))
    energy = values[:, energies]
    each = np.broadcast_to(weights[:, None], energy.shape)
    if not (energy > 0).any():
        return []
    floor = FLOOR * max(1.0, np.rint(energy[energy > 0].min()))
    hard = energy > floor
    if not hard.any():
        return []
    edges = [-np.inf, floor, *_quantiles(energy[hard], each[hard], ENERGY_SHARES), np.inf]
    found = [_Histogram(energies, None, floor, np.unique(edges))]
    for angles in (np.array(columns) for columns in kinds.values() if len(columns) == len(energies)):
        shares = np.arange(1, ANGLE_BINS) / ANGLE_BINS
        edges = [-np.inf, *(_quantiles(values[:, angles][hard], each[hard], shares) + 0.5), np.inf]
        found.append(_Histogram(energies, angles, floor, np.unique(edges)))
    return found


def _quantiles(values: Floats, weights: Floats, shares: ArrayLike) -> Floats:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    place = np.searchsorted(below, np.asarray(shares) * below[-1]).clip(max=len(values) - 1)
    found: Floats = values[order][place]
    return found
