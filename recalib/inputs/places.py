"""Where the objects of a sample are, held against where the reference has them: the axes that are scanned."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from firmware.model.payload import Payload
from monitor.stats.count.reference import Reference
from recalib.arrays import Floats
from recalib.inputs.objects import FLOOR, numbers_in_ring
from recalib.inputs.scan import AROUND, FEW, Axis, Counted
from recalib.sample import EventSample

REGION = 0.3
"""Share of the reference that a confined deficit holds at most."""
HARD = (0.0, 0.8, 0.98)
"""Energies are looked at from these quantiles of the reference's objects on: a hot tower shows among hard ones."""
PLACES = 16
"""Cells in η and in φ."""


def object_axes(
    model: Model, reference: Reference, weights: Floats, sample: EventSample, base: Payload
) -> Iterator[Axis]:
    """The energies of each object type; from several energies on its η, φ and η × φ."""
    calibrated = _calibrated(model, sample.events, base)
    for name in sorted({feature.object for feature in model.features}):
        columns = _columns(model, name)
        energies = columns.pop("energy", [])
        if not energies:
            continue
        sides = ((reference.events, weights), (sample.events, sample.weights))
        yield from _energies(name, *(_Side.of(e[:, energies], w, e[:, energies] > 0) for e, w in sides))
        rings = model.fixed_rings(name)
        angles = {kind: found for kind, found in columns.items() if len(found) == len(energies)}
        known = reference.events[:, energies].astype(np.float64)
        seen = calibrated[:, energies]
        for threshold in _thresholds(known, weights):
            hard = known > threshold, seen > threshold
            codes = {kind: [e[:, columns] for e, _ in sides] for kind, columns in angles.items()}
            if rings is not None:
                places = {"eta": rings, "phi": numbers_in_ring(rings)}
                codes |= {kind: [np.broadcast_to(of, h.shape) for h in hard] for kind, of in places.items()}
            objects = {
                kind: [_Side.of(c, w, h) for c, (_, w), h in zip(both, sides, hard, strict=True)]
                for kind, both in codes.items()
            }
            yield from _places(f"{name} objects above {threshold:.0f}", objects)


def _calibrated(model: Model, events: NDArray[np.int16], base: Payload) -> Floats:
    """Events (n, n_features) behind the input registers of the payload."""
    found = events * base.value("input_scale")
    if model.rings:
        columns = [feature.energy for feature in model.ringed]
        found[:, columns] *= base.value("ring_scale")[model.ring_index(events)]
    return np.asarray(found + base.value("input_offset") * model.present(events), np.float64)


@dataclass(frozen=True, eq=False)
class _Side:
    """Codes (m,) of the objects of one of the two samples, and their weights per crossing."""

    codes: NDArray[np.int64]
    weights: Floats

    @classmethod
    def of(cls, codes: NDArray[np.int16], weights: Floats, chosen: NDArray[np.bool_]) -> "_Side":
        each = np.broadcast_to((weights / weights.sum())[:, None], codes.shape)
        return cls(codes[chosen].astype(np.int64), each[chosen])

    def counted(self, edges: NDArray[np.int64]) -> Counted:
        return Counted.of(_cell(self.codes, edges), self.weights, len(edges) - 1)


def _energies(name: str, known: _Side, seen: _Side) -> Iterator[Axis]:
    """Single codes, each held against its neighbours."""
    if not (known.codes.size and seen.codes.size):
        return
    edges = np.arange(known.codes.min(), max(known.codes.max(), seen.codes.max()) + 2)
    if len(edges) > 2 * AROUND + 2:
        labels = [str(code) for code in edges[:-1]]
        counted = seen.counted(edges), known.counted(edges)
        yield Axis(f"{name} objects", "energy codes", labels, *counted, joined=False).smoothed()


def _places(name: str, objects: dict[str, list[_Side]]) -> Iterator[Axis]:
    edges = {}
    for kind, (known, seen) in objects.items():
        if known.codes.size and seen.codes.size:
            edges[kind] = np.arange(known.codes.min(), known.codes.max() + 2)
            if len(edges[kind]) > 1 / REGION:
                labels = [str(code) for code in edges[kind][:-1]]
                counted = seen.counted(edges[kind]), known.counted(edges[kind])
                yield Axis(name, f"{kind} codes", labels, *counted).scaled()
    if len(edges) == 2:
        first, second = (_coarse(e) for e in edges.values())
        cells = (len(first) - 1) * (len(second) - 1)
        if cells > 1 / FEW:
            kinds = list(edges)
            both = [
                Counted.of(_cell(one.codes, first) * (len(second) - 1) + _cell(other.codes, second), one.weights, cells)
                for one, other in zip(objects[kinds[0]], objects[kinds[1]], strict=True)
            ]
            labels = [f"{kinds[0]} {a}, {kinds[1]} {b}" for a in first[:-1] for b in second[:-1]]
            yield Axis(name, f"cells in {' × '.join(kinds)}", labels, both[1], both[0], joined=False).scaled()


def _coarse(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(np.linspace(edges[0], edges[-1], PLACES + 1).astype(np.int64))


def _cell(codes: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cell of each code; what is outside counts to the nearest."""
    low = codes.min(initial=0)
    known = np.arange(low, codes.max(initial=0) + 1)
    cells = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    return np.asarray(cells[codes - low], np.int64)


def _thresholds(energies: Floats, weights: Floats) -> list[float]:
    """Of the energies: above the softest objects, and at quantiles of those above."""
    present = energies[energies > 0]
    if not present.size:
        return []
    floor = FLOOR * float(present.min())
    hard = energies > floor
    if not hard.any():
        return []
    values, each = energies[hard], np.broadcast_to(weights[:, None], energies.shape)[hard]
    order = np.argsort(values)
    below = np.cumsum(each[order]) / each.sum()
    return sorted({max(floor, float(values[order][np.searchsorted(below, share)])) for share in HARD})


def _columns(model: Model, name: str) -> dict[str, list[int]]:
    """The columns of an object type by kind, with its energies as one kind."""
    columns: dict[str, list[int]] = {}
    for i, feature in enumerate(model.features):
        if feature.object == name:
            columns.setdefault("energy" if feature.kind in ENERGIES else feature.kind, []).append(i)
    return columns
