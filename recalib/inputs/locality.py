"""Whether what is too much is confined to few codes or few places: a signal, or a fault, but no drift."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from firmware.model.payload import Payload
from monitor.stats.count.reference import Reference
from recalib.inputs.inputs import FLOOR, Floats, numbers_in_ring
from recalib.sample import EventSample

SIGNIFICANT = 5.0
"""Standard errors from which on an excess is one; thousands of intervals are looked at."""
CHANCE = 3.0
"""Standard errors by which what is elsewhere may be too much before it counts: as more of the local excess, where
it lies in as few codes, or as what is not local."""
CARRIED = 0.8
"""Share of the whole excess that a local one carries at least."""
FEW = 0.05
"""Share of the reference that the codes of a local excess hold at most."""
TAIL = 0.02
"""The same for scores: a small drift of everything is seen in the tail before it is in the bulk."""
RISE = 0.15
"""Of the rate at a cut, relative to its target, from which on a local excess of the scores matters."""
BUMP = 0.01
"""Share of the crossings from which on a local excess of the scores matters whatever the rates."""
ENTRIES = 0.002
"""Share of an object's entries from which on a local excess of them matters."""
TIMES = 1.5
"""A local excess of objects is at least this multiple of what the reference has there."""
MISSING = 0.5
"""What a region has lost at least, to be called a confined deficit,"""
REGION = 0.3
"""and the share of the reference that it holds at most."""
PARTS = 8
"""Disjoint intervals that a local excess may consist of at most."""
HARD = (0.0, 0.8, 0.98)
"""Energies are looked at from these quantiles of the reference's objects on: a hot tower shows among hard ones."""
GROUPS = 32
"""Equal parts of an axis whose median ratio to the reference tells how much there is of everything."""
NOTHING = 1e-6
"""A share of the entries that is less than one event of the reference: its neighbours tell nothing of a code."""
COARSE = 16
"""Cells in η and in φ."""
AROUND = 8
"""Codes on either side of an energy that tell how often it should occur."""


@dataclass(frozen=True)
class Locality:
    """What is confined to few codes, in words; "" where nothing is.

    Args:
        excess: a local excess, for a human to decide about.
        deficit: a region that has lost most of what it should have.
    """

    excess: str = ""
    deficit: str = ""


@dataclass(frozen=True, eq=False)
class Counted:
    """Entries per crossing in cells (C,) and their variances; `one` is the entry that an event counts, on average."""

    entries: Floats
    squares: Floats
    one: Floats | float

    @classmethod
    def of(cls, cells: NDArray[np.int64], weights: Floats, n: int) -> "Counted":
        entries, squares = (np.bincount(cells, x, n).astype(np.float64) for x in (weights, weights**2))
        return cls(entries, squares, float((weights**2).sum() / weights.sum()))

    def times(self, ratio: Floats | float) -> "Counted":
        return Counted(self.entries * ratio, self.squares * ratio**2, self.one * ratio)


@dataclass(frozen=True, eq=False)
class Axis:
    """What is seen and what is expected in cells (C,) that lie side by side.

    Args:
        of: what is counted, in words.
        where: what the cells are, in words.
        labels: (C,) names of the cells.
        joined: whether neighbouring cells may be taken together.
    """

    of: str
    where: str
    labels: Sequence[str]
    seen: Counted
    expected: Counted
    joined: bool = True

    @cached_property
    def excess(self) -> Floats:
        found: Floats = self.seen.entries - self.expected.entries
        return found

    @cached_property
    def mass(self) -> Floats:
        """(C,) of sum 1."""
        found: Floats = self.expected.entries / self.expected.entries.sum()
        return found

    def squares(self, sign: int = 1) -> Floats:
        """Variance (C,) of the excess, or of the lack for sign −1, if both sides have the same true entries.

        A cell that is low by chance would show too small a variance of its own; that side's is taken from
        what both sides together have.
        """
        high, low = (self.seen, self.expected) if sign > 0 else (self.expected, self.seen)
        both = (high.entries * low.one + low.entries * high.one) / (high.one + low.one)
        return high.squares + high.one**2 + np.maximum(low.squares, both * low.one) + low.one**2

    def scaled(self) -> "Axis":
        """Expected as many as there are: times the median, over equal parts, of seen by expected.

        So a scale that has moved, or a pile-up that is not quite known, is no excess of anything.
        """
        group = np.minimum((np.cumsum(self.mass) - self.mass / 2) * GROUPS, GROUPS - 1).astype(np.int64)
        seen, expected = (np.bincount(group, side.entries, GROUPS) for side in (self.seen, self.expected))
        ratio = float(np.median(seen[expected > 0] / expected[expected > 0]))
        return replace(self, expected=self.expected.times(ratio)) if ratio > 0 else self

    def smoothed(self) -> "Axis":
        """Expected by each cell's neighbours: a code that stands out, and no change of the whole shape.

        Cells with too few around them, such as the outermost, are expected as they are.
        """
        seen, expected = (_neighbours(side.entries) for side in (self.seen, self.expected))
        known = (seen > 0) & (expected > 0)
        found = self.expected.times(np.divide(seen, expected, out=np.ones_like(seen), where=known))
        return replace(self, expected=replace(found, entries=np.where(known, found.entries, self.seen.entries)))


def _neighbours(entries: Floats) -> Floats:
    """The sum of the cells around each, as many on either side, without it and those next to it."""
    n = len(entries)
    below, i = np.append(0.0, np.cumsum(entries)), np.arange(n)
    reach = np.minimum(np.minimum(i, n - 1 - i), AROUND)
    near = np.minimum(reach, 1)
    around = below[i + reach + 1] - below[i - reach] - (below[i + near + 1] - below[i - near])
    return np.where(around > NOTHING * below[-1], around, 0.0)


@dataclass(frozen=True, eq=False)
class Place:
    """Cells (a mask) of an axis in which there is too much: by how many σ, and what share of all excess."""

    axis: Axis
    cells: NDArray[np.bool_]
    sigmas: float
    share: float

    @property
    def times(self) -> float:
        """Seen by expected."""
        seen, expected = (side.entries[self.cells].sum() for side in (self.axis.seen, self.axis.expected))
        return float(seen / expected) if expected > 0 else float("inf")

    def __str__(self) -> str:
        axis, cells = self.axis, np.flatnonzero(self.cells)
        peak = axis.labels[cells[np.argmax(axis.excess[cells])]]
        return (
            f"{self.share:.0%} of the excess of {axis.of} lies in {len(cells)} of {len(axis.labels)} {axis.where}, "
            f"around {peak}, {self.sigmas:.0f} σ; × {self.times:.3g} of the reference, "
            f"which has {axis.mass[cells].sum():.2%} there"
        )


def locality(
    model: Model,
    reference: Reference,
    weights: Floats,
    sample: EventSample,
    base: Payload,
    p_ref: Floats,
    rates: Floats,
    pileup: float | None,
) -> Locality:
    """Look at the scores, and at the places of each object type, for more than the reference has there.

    An excess is local if it is significant (5 σ), large enough to matter, and if at least 80 % of all
    excess lies in codes that hold at most 5 % (scores: 2 %) of the reference. Scores are held against
    p_ref, in the reference's cells; objects, by their energies, η and φ, against the reference's events,
    free of how many there are in all. Intervals of codes are scanned, after M. Kulldorff, Commun. Stat.
    26 (1997) 1481.

    Args:
        weights: (k,) of the reference's events.
        base: the payload under which the sample was taken; its input registers correct the energies.
        p_ref: (B,) to restore.
        rates: (n_cuts,) targets.
    """
    places = [_scores(reference, sample, p_ref, rates, pileup)]
    deficit = ""
    if len(reference.events):
        axes = list(_axes(model, reference, weights, sample, base))
        local = [place for place in map(_local_objects, axes) if place]
        places.append(str(max(local, key=lambda place: place.sigmas)) if local else "")
        deficit = next(filter(None, map(_deficit, axes)), "")
    return Locality("; ".join(filter(None, places)), deficit)


def concentrated(axis: Axis, few: float = FEW) -> Place | None:
    """Where nearly all of a significant excess lies in cells with so few of the reference."""
    cells = np.zeros(len(axis.labels), np.bool_)
    squares, limit = axis.squares(), SIGNIFICANT
    for _ in range(PARTS):
        free = ~cells
        room = few - axis.mass[cells].sum()
        found = _best(axis.excess * free, squares, np.where(free, axis.mass, 1), room, limit, axis.joined)
        if found is None:
            break
        cells[found] = True
        limit = CHANCE
    if not cells.any():
        return None
    local = float(axis.excess[cells].sum())
    share = local / (local + _elsewhere(axis, squares, cells))
    sigmas = local / float(np.sqrt(squares[cells].sum()))
    return Place(axis, cells, sigmas, share) if share >= CARRIED else None


def _best(excess: Floats, squares: Floats, mass: Floats, most: float, limit: float, joined: bool) -> slice | None:
    """The interval of at most so much mass whose excess is the most significant, beyond the limit."""
    d, v, m = (np.append(0.0, np.cumsum(x)) for x in (excess, squares, mass))
    low, high = np.triu_indices(len(d), 1) if joined else (np.arange(len(d) - 1), np.arange(1, len(d)))
    allowed = m[high] - m[low] <= most
    low, high = low[allowed], high[allowed]
    if not low.size:
        return None
    sigmas = (d[high] - d[low]) / np.sqrt(np.maximum(v[high] - v[low], squares.min()))
    best = int(np.argmax(sigmas))
    return slice(int(low[best]), int(high[best])) if sigmas[best] >= limit else None


def _elsewhere(axis: Axis, squares: Floats, cells: NDArray[np.bool_]) -> float:
    """The excess without those cells, as far as chance does not explain it.

    That of the interval with the largest one; of all cells that have one, where they do not belong together.
    """
    excess = np.where(cells, 0, axis.excess)
    if not axis.joined:
        return float(np.maximum(excess - CHANCE * np.sqrt(squares), 0).sum())
    d, v = (np.append(0.0, np.cumsum(x)) for x in (excess, np.where(cells, 0, squares)))
    low, high = np.triu_indices(len(d), 1)
    return max(float((d[high] - d[low] - CHANCE * np.sqrt(np.maximum(v[high] - v[low], 0))).max()), 0.0)


def _scores(reference: Reference, sample: EventSample, p_ref: Floats, rates: Floats, pileup: float | None) -> str:
    """What is local in the reference's cells of scores and matters, in words."""
    expected = reference.expected(pileup)
    cells = expected.times(p_ref / expected.p, np.inf).cells
    starts = reference.cells.edges[:-1]
    seen = Counted.of(
        np.searchsorted(starts, sample.codes, side="right") - 1, sample.weights / sample.weights.sum(), len(cells)
    )
    known = Counted(cells, cells / expected.m, 1 / expected.m)
    place = concentrated(Axis("the scores", "cells of codes", [str(code) for code in starts], seen, known), TAIL)
    if place is None:
        return ""
    excess = place.axis.excess * place.cells
    added = np.array([excess[starts >= cut].sum() for cut in reference.binning.cuts]) / rates
    if added.max() < RISE and excess.sum() < BUMP:
        return ""
    return f"{place}; it adds {', '.join(f'{rise:.0%}' for rise in added)} to the rates at the cuts"


def _local_objects(axis: Axis) -> Place | None:
    """What is local in an object type and matters."""
    place = concentrated(axis)
    if place is None or place.times < TIMES:
        return None
    return place if axis.excess[place.cells].sum() >= ENTRIES * axis.seen.entries.sum() else None


def _deficit(axis: Axis) -> str:
    """Neighbouring cells in which most of what should be there is missing, in words."""
    region = _best(-axis.excess, axis.squares(-1), axis.mass, REGION, SIGNIFICANT, axis.joined) if axis.joined else None
    if region is None:
        return ""
    missing = -axis.excess[region].sum() / axis.expected.entries[region].sum()
    if missing < MISSING:
        return ""
    first, *_, last = (*axis.labels[region], axis.labels[region][-1])
    where = f"{axis.where} {first} to {last}"
    return f"{missing:.0%} of {axis.of} are missing at {where}, where the reference has {axis.mass[region].sum():.1%}"


def _axes(model: Model, reference: Reference, weights: Floats, sample: EventSample, base: Payload) -> Iterator[Axis]:
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
    return np.unique(np.linspace(edges[0], edges[-1], COARSE + 1).astype(np.int64))


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
