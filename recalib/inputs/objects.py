"""The object types of a model: where their energies and angles are, and which η ring each is in."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firmware.model.model import Model
from firmware.model.parts import ENERGIES
from recalib.arrays import Events, Floats

FLOOR = 1.5
"""Objects count from this multiple of the softest one in the reference: a corrected scale moves the softest
ones, and what fell below the trigger's own threshold cannot be brought back."""

PLACE_FLOOR = 5
"""The same for energies that are measured at fixed places: in fewer codes the rounding hides a scale."""


@dataclass(frozen=True, eq=False)
class ObjectType:
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
        """η rings whose scales can be told from each other."""
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


def object_types(model: Model) -> list[ObjectType]:
    """All of those that have energies, by name."""
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
        kinds.append(ObjectType(name, energies, registers, ringed, model.fixed_rings(name), top, angles))
    return kinds


def numbers_in_ring(rings: NDArray[np.int64]) -> NDArray[np.int64]:
    """(k,) how many of the places before each are in the same ring: where it is in φ, if they go round in order."""
    return np.array([np.count_nonzero(rings[:i] == ring) for i, ring in enumerate(rings)])
