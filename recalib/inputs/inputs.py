"""Whether inputs look like the reference's: the evidence that tells a scale from a lost acceptance."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.arrays import Events, Floats
from recalib.inputs.objects import ObjectType, object_types

ENERGY_SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.997)
ANGLE_BINS = 16
ENOUGH = 30
"""Energies with fewer of them at and above move in proportion to those with so many."""


@dataclass(frozen=True, eq=False)
class Observed:
    """The inputs of a weighted sample, as far as they are compared.

    Args:
        energies: by object type, entries per crossing (k, rings, top + 1) by energy code; (k, 1, top + 1) where
            each of the k has a ring of its own.
        angles: by object type, for each kind of angle the shape (bins,) of its histogram above the floor.
        noise: Σw²/(Σw)², the inverse of the effective number of crossings.
    """

    energies: dict[str, Floats]
    angles: dict[str, list[Floats]]
    noise: float

    @cached_property
    def below(self) -> dict[str, Floats]:
        """Entries below each code (k, rings, top + 2)."""
        return {
            name: np.concatenate([np.zeros((*counts.shape[:2], 1)), counts.cumsum(axis=2)], axis=2)
            for name, counts in self.energies.items()
        }


class InputReference:
    """Pooled input histograms of the reference events, by object type.

    Energies are counted per crossing and η ring, with all that is absent or soft in one bin, so that numbers
    of objects matter; other angles are compared in shape. No scale changes an azimuth: a mismatch there stays.

    Args:
        events: reference events (n, n_features).
        weights: (n,).

    Attributes:
        expected: by object type, what `filled` gives of the reference itself.
        typical: of each feature (n_features,) the mean energy over the energy, Σe²/Σe, by object type; else 1.
    """

    def __init__(self, model: Model, events: Events, weights: Floats) -> None:
        self._model = model
        self._types = [kind for kind in object_types(model) if (events[:, kind.energies] > 0).any()]
        self.typical = np.ones(model.n_features)
        self._edges: dict[str, Floats] = {}
        self._angle_edges: dict[str, list[Floats]] = {}
        for kind in self._types:
            energy = events[:, kind.energies]
            self.typical[kind.energies] = (weights @ energy.astype(np.float64) ** 2).sum() / (weights @ energy).sum()
            each = np.broadcast_to(weights[:, None], energy.shape)
            floor = kind.floor(energy)
            hard = energy > floor
            shares = _quantiles(energy[hard], each[hard], ENERGY_SHARES) if hard.any() else np.zeros(0)
            self._edges[kind.name] = np.unique([floor, *shares])
            even = np.arange(1, ANGLE_BINS) / ANGLE_BINS
            self._angle_edges[kind.name] = [
                np.unique(_quantiles(codes[hard], each[hard], even)) + 0.5 if hard.any() else np.zeros(0)
                for codes in kind.angle_codes(events)
            ]
        nominal = Payload.nominal(model, np.zeros(model.n_cuts, np.int64))
        self._observed = self.observe(events, weights)
        self.expected = {kind.name: self.filled(self._observed, kind, nominal) for kind in self._types}

    def observe(self, events: Events, weights: Floats) -> Observed:
        """Count the inputs (n, n_features) of crossings with weights (n,)."""
        total = weights.sum()
        ring = self._model.ring_index(events)
        energies, angles = {}, {}
        for kind in self._types:
            energy = np.clip(events[:, kind.energies], 0, kind.top).astype(np.int64)
            told = max(1, len(kind.ring_registers))
            place = (np.arange(len(kind.energies)) * told + kind.told(ring)) * (kind.top + 1) + energy
            each = np.repeat(weights / total, len(kind.energies))
            shape = len(kind.energies), told, kind.top + 1
            counts: Floats = np.bincount(place.ravel(), each, int(np.prod(shape))).astype(np.float64)
            energies[kind.name] = counts.reshape(shape)
            hard = energy > self._edges[kind.name][0]
            each = each.reshape(energy.shape)[hard]
            angles[kind.name] = [
                np.bincount(np.searchsorted(edges, codes[hard]), each, len(edges) + 1).astype(np.float64)
                for codes, edges in zip(kind.angle_codes(events), self._angle_edges[kind.name], strict=True)
            ]
        return Observed(energies, angles, float((weights**2).sum() / total**2))

    def noise(self, observed: Observed) -> float:
        """The statistics of a sample and of the reference together, as `Observed.noise`."""
        return observed.noise + self._observed.noise

    def mismatch(self, observed: Observed, payload: Payload) -> float:
        """Nats per crossing between inputs behind the payload's input registers and the reference's inputs.

        Σ over the histograms of Σ_b h_b ln(h_b/h_ref,b), free of the mean that statistics alone give.
        """
        noise = self.noise(observed)
        total = 0.0
        for kind in self._types:
            entries, expected = self.filled(observed, kind, payload), self.expected[kind.name]
            total += float(self.divergence(kind.shared(entries.ravel()), kind.shared(expected.ravel())))
            total -= np.count_nonzero(expected) / 2 * noise
            for shape, wanted in zip(observed.angles[kind.name], self._observed.angles[kind.name], strict=True):
                total += float(self.divergence(shape, wanted)) - (len(wanted) - 1) / 2 * noise
        return total

    def resolution(self, observed: Observed) -> float:
        """The standard deviation of a mismatch that is none: √(dof/2) in units of the statistics."""
        bins = [np.count_nonzero(expected) for expected in self.expected.values()]
        dof = sum(bins) + sum(len(shape) - 1 for shapes in self._observed.angles.values() for shape in shapes)
        return float(np.sqrt(dof / 2)) * self.noise(observed)

    def undrifted(self, observed: Observed, events: Events) -> Events:
        """The events (n, n_features) with each energy moved to where the reference has as many above it.

        That undoes any monotone change of an energy's response, by object type and η ring: F_ref⁻¹ of F, both counted
        per crossing and from above, so that what fell below a threshold takes nothing along. What has no such energy
        in the reference is absent. Highest codes stay: they stand for all beyond.

        Args:
            observed: the inputs of these events, or of others from the same detector.
        """
        moved = events.copy()
        ring_index = self._model.ring_index(events)
        for kind in self._types:
            energy = events[:, kind.energies]
            rings = kind.told(ring_index) if kind.rings is None else kind.rings
            maps = np.stack([self._map(observed, kind, ring) for ring in range(kind.n_rings)])
            moved[:, kind.energies] = np.where(energy > 0, maps[rings, np.clip(energy, 0, kind.top)], energy)
        return moved

    def type_of(self, name: str) -> ObjectType | None:
        """None where the reference has no such objects."""
        return next((kind for kind in self._types if kind.name == name), None)

    def _map(self, observed: Observed, kind: ObjectType, ring: int) -> Events:
        """(top + 1,), the code that each above 0 becomes; each code's entries lie evenly in it."""
        here, there = (kind.pooled(of.energies[kind.name], ring)[1:] for of in (observed, self._observed))
        above = here[::-1].cumsum()[::-1] - here / 2
        wanted = np.append(0.0, there[::-1].cumsum())
        edges, codes = np.arange(kind.top + 1)[::-1] + 0.5, np.arange(1, kind.top + 1)
        at = np.interp(above, wanted, edges, right=0.0)
        enough = np.flatnonzero(above >= ENOUGH * max(observed.noise, self._observed.noise))
        last = int(enough[-1]) if enough.size else 0
        at[last:] = at[last] * codes[last:] / codes[last]
        at[-1] = kind.top
        return np.append(0, np.rint(at).clip(0, kind.top)).astype(np.int64)

    def filled(
        self,
        observed: Observed,
        kind: ObjectType,
        payload: Payload,
        factor: float | Floats = 1.0,
        offset: float = 0.0,
    ) -> Floats:
        """Entries per crossing (rings, bins) of calibrated energies above the floor; each code's lie evenly in it.

        Args:
            observed: whose energies they are.
            kind: the object type.
            payload: whose input registers calibrate them.
            factor: of a change behind the payload's registers; of several (F,) the result is (F, rings, bins).
            offset: of the same change.
        """
        factors = np.atleast_1d(factor)
        edges, below = self._edges[kind.name], observed.below[kind.name]
        calibration = np.stack([payload.value(name)[kind.energies] for name in ("input_scale", "input_offset")], axis=1)
        ring_scale = payload.value("ring_scale")[list(kind.ring_registers)] if kind.ring_registers else None
        filled = np.zeros((len(factors), kind.n_rings, len(edges)))
        for r in range(kind.n_rings):
            slots, of_ring = kind.slots(r), 1.0 if ring_scale is None else ring_scale[r]
            distinct, of = np.unique(calibration[slots], axis=0, return_inverse=True)
            for i, (s, o) in enumerate(distinct):
                pooled = below[slots[of.ravel() == i], r if kind.rings is None else 0].sum(axis=0)
                codes = (edges - o - offset) / np.maximum(s * of_ring * factors, 1e-9)[:, None] + 0.5
                inside = np.interp(np.maximum(codes, 1.0), np.arange(kind.top + 2), pooled)
                filled[:, r] += np.diff(inside, append=pooled[-1])
        return filled if np.ndim(factor) else filled[0]

    def divergence(self, entries: Floats, expected: Floats) -> Floats:
        """Σ_b h ln(h/h_ref) over the last axis, h_ref scaled to as many entries."""
        prior = 0.5 * self._observed.noise
        wanted = (expected + prior) / (expected + prior).sum() * entries.sum(axis=-1, keepdims=True)
        found: Floats = rel_entr(entries, wanted).sum(axis=-1)
        return found


def _quantiles(values: NDArray[np.integer], weights: Floats, shares: ArrayLike) -> Floats:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    place = np.searchsorted(below, np.asarray(shares) * below[-1]).clip(max=len(values) - 1)
    found: Floats = values[order][place].astype(np.float64)
    return found
