"""The beam: the mean pile-up of a fill, and which crossings collide."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from firmware.errors import WorldError
from firmware.sim.world.drifts import LIMITS
from firmware.wire import CROSSINGS


@dataclass(frozen=True, slots=True)
class Fill:
    """Mean pile-up of a fill: from `start` exponentially down to `floor`, with `decay` in lumi sections.

    >>> round(Fill(start=56, decay=1800, floor=10).pileup(1), 1)
    56.0
    """

    start: float = 58.0
    decay: float = 1900.0
    floor: float = 4.0
    since: int = 1

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.start <= LIMITS["pileup"][1] and self.decay > 0):
            raise WorldError(f"{self}: expected 0 <= floor <= start <= 400 and decay > 0")

    def pileup(self, ls: int) -> float:
        """The mean pile-up of lumi section `ls`."""
        age = max(0, ls - self.since)
        return self.floor + (self.start - self.floor) * math.exp(-age / self.decay)


def bunch_mask() -> npt.NDArray[np.bool_]:
    """Colliding crossings of an LHC-like filling scheme, bool (3564,): 2556 bunches.

    A pilot train of 12, ten injections of 3 x 72 and four of 2 x 48; 7 empty crossings (200 ns)
    between the trains of an injection, 31 (800 ns) between injections, and the abort gap at the end.
    """
    mask = np.zeros(CROSSINGS, np.bool_)
    bx = 0
    for trains, bunches in ((1, 12), *[(3, 72)] * 10, *[(2, 48)] * 4):
        for _ in range(trains):
            mask[bx : bx + bunches] = True
            bx += bunches + 7
        bx += 24
    return mask
