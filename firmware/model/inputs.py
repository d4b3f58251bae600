"""What a model takes: the features of an event, and the η rings of their objects."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from firmware.errors import ModelError
from firmware.model.fixed import WORD_BITS, Fixed, Integers
from firmware.model.parts import ENERGIES, Feature, Rings


class RingedFeature(NamedTuple):
    """An energy whose scale is register `first` + ring of `ring_scale`, where `eta` tells the ring.

    `energy` and `eta` are columns of the events.
    """

    energy: int
    eta: int
    shift: int
    size: int
    first: int


@dataclass(frozen=True, eq=False)
class Inputs:
    """The features of an event of the algorithm `name`, and where η tells the ring of an object.

    Raises:
        ModelError: if features or rings do not fit together; the text names them.
    """

    name: str
    features: tuple[Feature, ...]
    rings: tuple[Rings, ...]

    def __post_init__(self) -> None:
        self._check_features()
        self._check_fixed_rings()
        self._check_rings()

    @property
    def n_features(self) -> int:
        """Features that an event consists of."""
        return len(self.features)

    @property
    def input_type(self) -> Fixed:
        """The smallest integer type that holds every feature."""
        types = [feature.type for feature in self.features]
        signed = any(t.signed for t in types)
        width = max(t.width + (signed and not t.signed) for t in types)
        return Fixed(width, width, signed)

    @property
    def n_rings(self) -> int:
        """Registers in `ring_scale`, which holds the rings of one object after those of another."""
        return sum(rings.size for rings in self.rings)

    @cached_property
    def limits(self) -> tuple[Integers, Integers]:
        """The lowest and the highest number that each feature can take."""
        types = [feature.type for feature in self.features]
        return np.array([t.min_raw for t in types]), np.array([t.max_raw for t in types])

    def in_range(self, events: NDArray[Any]) -> NDArray[np.bool_]:
        """Which of the events (n, n_features) the firmware's inputs can carry, as (n,)."""
        low, high = self.limits
        return np.asarray(((events >= low) & (events <= high)).all(axis=1))

    def check_events(self, events: NDArray[Any]) -> None:
        """Check that the firmware's inputs can carry these events.

        Raises:
            ModelError: unless events are integers of shape (n, n_features), within each feature's range.
        """
        if events.ndim != 2 or events.shape[1] != self.n_features or events.dtype.kind not in "iu":
            raise ModelError(
                f"events of shape {events.shape}, {events.dtype}: expected integers (n, {self.n_features})"
            )
        bad = np.flatnonzero(~self.in_range(events))
        if bad.size:
            event = events[bad[0]]
            column = int(np.flatnonzero((event < self.limits[0]) | (event > self.limits[1]))[0])
            feature = self.features[column]
            raise ModelError(f"event {bad[0]}: {feature.name} = {event[column]} is outside {feature.type}")

    def energies(self, name: str) -> list[int]:
        """The columns of an object's energies."""
        return self._energies_and_etas(name)[0]

    def fixed_rings(self, name: str) -> Integers | None:
        """The η ring (k,) of each energy of an object, where it is the same in every event."""
        rings = [self.features[column].ring for column in self.energies(name)]
        return None if None in rings else np.array(rings, dtype=np.int64)

    def ring_registers(self, name: str) -> range:
        """Those of `ring_scale` that are an object's; none where no η tells its ring."""
        first = 0
        for rings in self.rings:
            if rings.object == name:
                return range(first, first + rings.size)
            first += rings.size
        return range(0)

    @cached_property
    def ringed(self) -> tuple[RingedFeature, ...]:
        """The features whose scale depends on the ring."""
        return tuple(
            RingedFeature(energy, eta, rings.shift, rings.size, self.ring_registers(rings.object).start)
            for rings in self.rings
            for energy, eta in zip(*self._energies_and_etas(rings.object), strict=True)
        )

    def ring_index(self, events: NDArray[Any]) -> NDArray[np.int16]:
        """The register in `ring_scale` of each ringed feature, (n, ringed features).

        Args:
            events: hardware integers (n, n_features).
        """
        _, eta, shift, size, first = self._ring_columns
        eta_codes = events[:, eta].astype(np.int32)
        ring = np.clip((eta_codes >> shift.astype(np.int32)) + (size // 2).astype(np.int32), 0, size - 1)
        return np.asarray(ring + first, dtype=np.int16)

    @cached_property
    def _ring_columns(self) -> Integers:
        """The ringed features by column: energy, eta, shift, size and first, (5, ringed features)."""
        return np.array(self.ringed, dtype=np.int64).reshape(-1, len(RingedFeature._fields)).T

    @cached_property
    def is_energy(self) -> NDArray[np.bool_]:
        """Which features are energies, (n_features,)."""
        return np.array([feature.kind in ENERGIES for feature in self.features])

    def present(self, events: NDArray[Any]) -> NDArray[np.bool_]:
        """Where the input offset is added, (n, n_features): everywhere but to an energy of code 0.

        Args:
            events: hardware integers (n, n_features).
        """
        return np.asarray((events != 0) | ~self.is_energy)

    def _energies_and_etas(self, name: str) -> tuple[list[int], list[int]]:
        """The columns of the energies and of the η of an object."""
        own = [(i, feature.kind) for i, feature in enumerate(self.features) if feature.object == name]
        return [i for i, kind in own if kind in ENERGIES], [i for i, kind in own if kind == "eta"]

    def _check_features(self) -> None:
        names = [feature.name for feature in self.features]
        if not names or len(set(names)) != len(names):
            raise ModelError("features must be one or more, each with a name of its own")
        for feature in self.features:
            if feature.type.frac:
                raise ModelError(f"feature {feature.name}: {feature.type} is no integer type")

    def _check_fixed_rings(self) -> None:
        by_eta = {rings.object for rings in self.rings}
        for name in {feature.object for feature in self.features if feature.ring is not None}:
            rings = self.fixed_rings(name)
            if rings is None or rings.min(initial=0) < 0 or name in by_eta:
                raise ModelError(
                    f"features of {name}: expected a ring of 0 or more for each energy, and no rings by its eta"
                )

    def _check_rings(self) -> None:
        objects = [rings.object for rings in self.rings]
        for rings in self.rings:
            part = f"rings of {rings.object}"
            if objects.count(rings.object) > 1:
                raise ModelError(f"{part}: given more than once")
            energies, etas = self._energies_and_etas(rings.object)
            if not energies or len(energies) != len(etas):
                raise ModelError(
                    f"{part}: it has {len(energies)} features of kind {' or '.join(ENERGIES)} and {len(etas)} of kind "
                    "eta, expected one eta for each of one or more"
                )
            if rings.size < 1 or rings.size & (rings.size - 1):
                raise ModelError(f"{part}: size {rings.size} is no power of two")
            if not 0 <= rings.shift < WORD_BITS:
                raise ModelError(f"{part}: shift {rings.shift} is outside 0 to {WORD_BITS - 1}")
