"""Whether inputs look like the reference's: the evidence that tells a scale from a lost acceptance."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import rel_entr

from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from firmware.model.payload import Payload

Floats = NDArray[np.float64]
Events = NDArray[np.integer]

FLOOR = 1.5
"""Objects count from this multiple of the softest one in the reference: a corrected scale moves the softest
ones, and what fell below the trigger's own threshold cannot be brought back."""

PLACE_FLOOR = 5
"""The same for energies that are measured at fixed places: in fewer codes the rounding hides a scale."""

SCALES = np.linspace(-0.4, 0.4, 41)
"""ln of the scales that are tried on an object type."""

ENERGY_SHARES = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.997)
ANGLE_BINS = 16
ENTRIES = 30
"""Energies with fewer of them at and above move in proportion to those with so many."""
STEP = 0.02
"""Of ln(scale), and of an offset in units of a typical energy: over which a curvature is told."""
SEEN = 5.0
"""Standard errors by which a scale must differ from none to be taken from the energies."""


@dataclass(frozen=True, eq=False)
class _Kind:
    """An object type: its energies, the η rings that each is in, and its angles.

    Args:
        energies: (k,) columns.
        ring_registers: its registers of `ring_scale`; none where no η tells its ring.
        ring_columns: (k,) where its energies are among the ringed ones.
        rings: (k,) where each energy has a ring of its own.
        top: the highest energy.
        angles: columns (k,) of each kind of angle that no ring resolves.
    """

    name: str
    energies: NDArray[np.int64]
    ring_registers: range
    ring_columns: list[int]
    rings: NDArray[np.int64] | None
    top: int
    angles: tuple[NDArray[np.int64], ...]

    @property
    def n_rings(self) -> int:
        return max(1, len(self.ring_registers)) if self.rings is None else int(self.rings.max()) + 1

    def slots(self, ring: int) -> NDArray[np.int64]:
        """Which of its energies may be in that ring."""
        return np.arange(len(self.energies)) if self.rings is None else np.flatnonzero(self.rings == ring)

    def told(self, ring_index: Events) -> NDArray[np.int64]:
        """(n, k), which of its registers of `ring_scale` each of its energies has; 0 where it has none."""
        if not self.ring_registers:
            return np.zeros((len(ring_index), len(self.energies)), np.int64)
        return np.asarray(ring_index[:, self.ring_columns] - self.ring_registers.start)

    def pooled(self, by_slot: Floats, ring: int) -> Floats:
        """The sum (bins,) over that ring of (k, told rings, bins)."""
        total: Floats = by_slot[self.slots(ring), ring if self.rings is None else 0].sum(axis=0)
        return total

    def floor(self, energy: Events) -> float:
        """From where on those (n, k) of the reference count."""
        softest = FLOOR * max(1, int(energy[energy > 0].min()))
        return softest if self.rings is None else max(softest, PLACE_FLOOR)

    def angle_codes(self, events: Events) -> Iterator[Events]:
        """(n, k) of each kind of angle; of a fixed place its number in its ring."""
        if self.rings is not None:
            yield np.broadcast_to(numbers_in_ring(self.rings), (len(events), len(self.rings)))
        for columns in self.angles:
            yield events[:, columns]

    def shared(self, entries: Floats) -> Floats:
        """Entries (..., bins) and, last, the objects that are absent, soft or elsewhere."""
        rest = len(self.energies) - entries.sum(axis=-1, keepdims=True)
        return np.concatenate([entries, np.maximum(rest, 0.0)], axis=-1)


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


@dataclass(frozen=True, eq=False)
class Tell:
    """ln of the factors that bring an object type's energies nearest to the reference's, with their errors.

    Args:
        scale, error: of all its objects.
        rings, ring_errors: (rings,) of those in one η ring; the error is infinite where nothing can be told.
        spread: how far the rings are from having one scale, in standard deviations of what chance would do.
    """

    scale: float
    error: float
    rings: Floats
    ring_errors: Floats
    spread: float = 0.0


@dataclass(frozen=True, eq=False)
class Pedestal:
    """ln of a scale and an offset that together bring an object type's energies nearest to the reference's.

    Args:
        offset: what is added behind the scale, in units of `unit`.
        unit: the typical energy of such an object, in codes.
    """

    scale: float
    offset: float
    scale_error: float
    offset_error: float
    unit: float


class InputReference:
    """Pooled input histograms of the reference events, by object type.

    Energies are counted per crossing and η ring, with all that is absent or soft in one bin, so that numbers
    of objects matter; other angles are compared in shape. No scale changes an azimuth: a mismatch there stays.

    Args:
        events: reference events (n, n_features).
        weights: (n,).

    Attributes:
        typical: of each feature (n_features,) the mean energy over the energy, Σe²/Σe, by object type; else 1.
    """

    def __init__(self, model: Model, events: Events, weights: Floats) -> None:
        self._model = model
        self._kinds = [kind for kind in _kinds(model) if (events[:, kind.energies] > 0).any()]
        self.typical = np.ones(model.n_features)
        self._edges: dict[str, Floats] = {}
        self._angle_edges: dict[str, list[Floats]] = {}
        for kind in self._kinds:
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
        self._expected = {kind.name: self._fill(self._observed, kind, nominal) for kind in self._kinds}

    def observe(self, events: Events, weights: Floats) -> Observed:
        """Count the inputs (n, n_features) of crossings with weights (n,)."""
        total = weights.sum()
        ring = self._model.ring_index(events)
        energies, angles = {}, {}
        for kind in self._kinds:
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

    def mismatch(self, observed: Observed, payload: Payload) -> float:
        """Nats per crossing between inputs behind the payload's input registers and the reference's inputs.

        Σ over the histograms of Σ_b h_b ln(h_b/h_ref,b), free of the mean that statistics alone give.
        """
        noise = observed.noise + self._observed.noise
        total = 0.0
        for kind in self._kinds:
            entries, expected = self._fill(observed, kind, payload), self._expected[kind.name]
            total += float(self._divergence(kind.shared(entries.ravel()), kind.shared(expected.ravel())))
            total -= np.count_nonzero(expected) / 2 * noise
            for shape, wanted in zip(observed.angles[kind.name], self._observed.angles[kind.name], strict=True):
                total += float(self._divergence(shape, wanted)) - (len(wanted) - 1) / 2 * noise
        return total

    def resolution(self, observed: Observed) -> float:
        """The standard deviation of a mismatch that is none: √(dof/2) in units of the statistics."""
        bins = [np.count_nonzero(expected) for expected in self._expected.values()]
        dof = sum(bins) + sum(len(shape) - 1 for shapes in self._observed.angles.values() for shape in shapes)
        return float(np.sqrt(dof / 2)) * (observed.noise + self._observed.noise)

    def tell(self, observed: Observed, payload: Payload, name: str) -> Tell:
        """What the energies alone tell of an object type's scale behind the payload's registers.

        The minimum of n·KL over the factor, an estimate of maximum likelihood, and from its curvature the
        error of the two samples. 0 where the gain over it is chance; an error of infinity where the reference
        has no such objects.
        """
        kind = self._kind(name)
        if kind is None:
            return Tell(0.0, np.inf, np.zeros(0), np.zeros(0))
        filled = np.stack([self._fill(observed, kind, payload, np.exp(t)) for t in SCALES])
        noise = observed.noise + self._observed.noise
        expected = self._expected[name]
        together = self._divergence(kind.shared(filled.sum(axis=1)), kind.shared(expected.sum(axis=0)))
        scale, error = _minimum(together, noise)
        scale = scale if abs(scale) > SEEN * error else 0.0
        if kind.n_rings == 1:
            return Tell(scale, error, np.zeros(0), np.zeros(0))
        each = self._divergence(kind.shared(filled), kind.shared(expected)).T
        rings, errors = np.array([_minimum(distances, noise) for distances in each]).T
        heard = np.isfinite(errors)
        gain = 2 * (each.sum(axis=0).min() - each.min(axis=1).sum()) / noise
        return Tell(scale, error, rings, errors, float((gain - heard.sum()) / np.sqrt(2 * max(heard.sum(), 1))))

    def pedestal(self, observed: Observed, payload: Payload, name: str) -> Pedestal | None:
        """What the energies alone tell of an object type's scale and offset behind the payload's registers.

        The estimate of maximum likelihood, as in `tell`; None where a scale alone is as good within statistics.
        """
        kind = self._kind(name)
        if kind is None:
            return None
        noise, unit = observed.noise + self._observed.noise, float(self.typical[kind.energies[0]])
        expected = kind.shared(self._expected[name].sum(axis=0))

        def surprise(move: Floats) -> float:
            filled = self._fill(observed, kind, payload, np.exp(move[0]), move[1] * unit)
            return float(self._divergence(kind.shared(filled.sum(axis=0)), expected)) / noise

        ends = SCALES[0], SCALES[-1]
        alone = minimize_scalar(lambda scale: surprise(np.array([scale, 0.0])), bounds=ends, method="bounded")
        simplex = np.array([alone.x, 0.0]) + STEP * np.array([[0, 0], [1, 0], [0, 1]])
        best = minimize(surprise, simplex[0], method="Nelder-Mead", options={"initial_simplex": simplex})
        if 2 * (alone.fun - best.fun) < SEEN**2:
            return None
        curvature = _hessian(surprise, best.x)
        if np.linalg.eigvalsh(curvature)[0] <= 0:
            return None
        errors = np.sqrt(np.diag(np.linalg.inv(curvature)))
        (scale, offset), (scale_error, offset_error) = best.x.tolist(), errors.tolist()
        return Pedestal(scale, offset, scale_error, offset_error, unit)

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
        for kind in self._kinds:
            energy = events[:, kind.energies]
            rings = kind.told(ring_index) if kind.rings is None else kind.rings
            maps = np.stack([self._map(observed, kind, ring) for ring in range(kind.n_rings)])
            moved[:, kind.energies] = np.where(energy > 0, maps[rings, np.clip(energy, 0, kind.top)], energy)
        return moved

    def _kind(self, name: str) -> _Kind | None:
        """None where the reference has no such objects."""
        return next((kind for kind in self._kinds if kind.name == name), None)

    def _map(self, observed: Observed, kind: _Kind, ring: int) -> Events:
        """(top + 1,), the code that each above 0 becomes; each code's entries lie evenly in it."""
        here, there = (kind.pooled(of.energies[kind.name], ring)[1:] for of in (observed, self._observed))
        above = here[::-1].cumsum()[::-1] - here / 2
        wanted = np.append(0.0, there[::-1].cumsum())
        edges, codes = np.arange(kind.top + 1)[::-1] + 0.5, np.arange(1, kind.top + 1)
        at = np.interp(above, wanted, edges, right=0.0)
        enough = np.flatnonzero(above >= ENTRIES * max(observed.noise, self._observed.noise))
        last = int(enough[-1]) if enough.size else 0
        at[last:] = at[last] * codes[last:] / codes[last]
        at[-1] = kind.top
        return np.append(0, np.rint(at).clip(0, kind.top)).astype(np.int64)

    def _fill(
        self, observed: Observed, kind: _Kind, payload: Payload, factor: float = 1.0, offset: float = 0.0
    ) -> Floats:
        """Entries per crossing (rings, bins) of calibrated energies above the floor; each code's lie evenly in it.

        Args:
            factor, offset: of a change behind the payload's registers.
        """
        edges, below = self._edges[kind.name], observed.below[kind.name]
        calibration = np.stack([payload.value(name)[kind.energies] for name in ("input_scale", "input_offset")], axis=1)
        ring_scale = payload.value("ring_scale")[list(kind.ring_registers)] if kind.ring_registers else None
        filled = np.zeros((kind.n_rings, len(edges)))
        for r in range(kind.n_rings):
            slots, of_ring = kind.slots(r), 1.0 if ring_scale is None else ring_scale[r]
            distinct, of = np.unique(calibration[slots], axis=0, return_inverse=True)
            for i, (s, o) in enumerate(distinct):
                pooled = below[slots[of.ravel() == i], r if kind.rings is None else 0].sum(axis=0)
                codes = (edges - o - offset) / max(s * of_ring * factor, 1e-9) + 0.5
                inside = np.interp(np.maximum(codes, 1.0), np.arange(kind.top + 2), pooled)
                filled[r] += np.diff(inside, append=pooled[-1])
        return filled

    def _divergence(self, entries: Floats, expected: Floats) -> Floats:
        """Σ_b h ln(h/h_ref) over the last axis, h_ref scaled to as many entries."""
        prior = 0.5 * self._observed.noise
        wanted = (expected + prior) / (expected + prior).sum() * entries.sum(axis=-1, keepdims=True)
        found: Floats = rel_entr(entries, wanted).sum(axis=-1)
        return found


def numbers_in_ring(rings: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k,) how many of the places before each are in the same ring: where it is in φ, if they go round in order."""
    return np.array([np.count_nonzero(rings[:i] == ring) for i, ring in enumerate(rings)])


def _minimum(distances: Floats, noise: float) -> tuple[float, float]:
    """Where the distances over `SCALES` are least, and its error; (0, inf) where nothing can be told."""
    best = int(np.clip(np.argmin(distances), 3, len(SCALES) - 4))
    around = slice(best - 3, best + 4)
    curve, slope, _ = np.polyfit(SCALES[around], distances[around], 2)
    if curve <= noise:
        return 0.0, np.inf
    top = float(np.clip(-slope / (2 * curve), SCALES[0], SCALES[-1]))
    return top, float(np.sqrt(noise / (2 * curve)))


def _hessian(function: Callable[[Floats], float], at: Floats) -> Floats:
    """Second derivatives (k, k) by differences over `STEP`."""
    steps = STEP * np.eye(len(at))
    found = [
        [function(at + a + b) - function(at + a - b) - function(at - a + b) + function(at - a - b) for a in steps]
        for b in steps
    ]
    return np.array(found) / (2 * STEP) ** 2


def _kinds(model: Model) -> list[_Kind]:
    kinds = []
    for name in sorted({feature.object for feature in model.features if feature.kind in ENERGIES}):
        columns: dict[str, list[int]] = {}
        for i, feature in enumerate(model.features):
            if feature.object == name:
                columns.setdefault("energy" if feature.kind in ENERGIES else feature.kind, []).append(i)
        energies = np.array(columns.pop("energy"))
        ringed = [k for k, feature in enumerate(model.ringed) if feature.energy in energies]
        registers = model.ring_registers(name)
        if registers:
            columns.pop("eta")
        angles = tuple(np.array(of) for of in columns.values() if len(of) == len(energies))
        top = max(model.features[i].type.max_raw for i in energies)
        kinds.append(_Kind(name, energies, registers, ringed, model.fixed_rings(name), top, angles))
    return kinds


def _quantiles(values: NDArray[np.integer], weights: Floats, shares: ArrayLike) -> Floats:
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    place = np.searchsorted(below, np.asarray(shares) * below[-1]).clip(max=len(values) - 1)
    found: Floats = values[order][place].astype(np.float64)
    return found
