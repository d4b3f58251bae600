"""What happens around the detector: drifts of its response, the pile-up of a fill, the bunch mask."""

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from firmware.errors import FirmwareError
from firmware.sim.world.detector import Response
from firmware.wire import CROSSINGS

LIMITS = {
    "jet_energy_scale": (-0.5, 0.5),
    "eg_scale": (-0.5, 0.5),
    "met_noise": (0.0, 10.0),
    "ageing": (0.0, 1.0),
    "dead_phi": (0.0, 2 * math.pi),
    "hot_tower": (0.0, 1.0),
    "jet_pedestal": (-5.0, 5.0),
    "pileup_shift": (-1.0, 5.0),
    "pileup": (0.0, 400.0),
}
"""Strengths that each kind of condition takes; 0 is no drift, save for `pileup`, which sets the mean.

jet_energy_scale, eg_scale: relative shift of p_T; met_noise: extra MET noise in units of its resolution;
ageing: share of p_T lost at |η| = 3; dead_phi: width in rad; hot_tower: probability per crossing;
jet_pedestal: GeV that each jet of the
global trigger gains, as where pile-up is subtracted wrongly; pileup_shift: relative shift of the mean pile-up.
"""


class ConditionError(FirmwareError, ValueError):
    """A drift or a fill that cannot be."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One drift, from lumi section `since` on, at full strength `ramp` sections later.

    >>> [Condition("ageing", 0.3, ramp=2, since=10).at(ls) for ls in (9, 10, 11, 12)]
    [0.0, 0.15, 0.3, 0.3]
    """

    kind: str
    strength: float
    ramp: int = 0
    since: int = 0

    @classmethod
    def parse(cls, text: str, since: int = 0) -> Self:
        """The condition of a text such as ``jet_energy_scale=-0.08`` or ``ageing=0.3 ramp=20``.

        Raises:
            ConditionError: unknown kind or option, no number, or a strength outside `LIMITS`.
        """
        first, *options = text.split() or [""]
        kind, strength = _assignment(first)
        if kind not in LIMITS:
            raise ConditionError(f"unknown condition {kind!r}, expected one of {', '.join(LIMITS)}")
        low, high = LIMITS[kind]
        if not low <= strength <= high:
            raise ConditionError(f"{kind}={strength:g} is outside [{low:g}, {high:g}]")
        ramp = 0.0
        for option in options:
            name, ramp = _assignment(option)
            if name != "ramp" or ramp < 0 or ramp != int(ramp):
                raise ConditionError(f"option {option!r} of {kind}, expected ramp=<lumi sections>")
        return cls(kind, strength, int(ramp), since)

    def __str__(self) -> str:
        return f"{self.kind}={self.strength:g}" + (f" ramp={self.ramp}" if self.ramp else "")

    def share(self, ls: int) -> float:
        """The share of its strength that it has in lumi section `ls`."""
        if ls < self.since:
            return 0.0
        return min(1.0, (ls - self.since + 1) / max(1, self.ramp))

    def at(self, ls: int) -> float:
        return self.strength * self.share(ls)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The drifts in force, one of a kind.

    >>> drifts = Conditions().adding(Condition.parse("eg_scale=0.05", since=3))
    >>> drifts.at(2).eg_scale, drifts.at(3).eg_scale
    (0.0, 0.05)
    """

    drifts: tuple[Condition, ...] = ()

    def adding(self, condition: Condition) -> Self:
        return replace(self, drifts=(*self.without(condition.kind).drifts, condition))

    def without(self, kind: str) -> Self:
        return replace(self, drifts=tuple(drift for drift in self.drifts if drift.kind != kind))

    def at(self, ls: int) -> Response:
        return Response(**{d.kind: d.at(ls) for d in self.drifts if not d.kind.startswith("pileup")})

    def pileup(self, ls: int, mean: float) -> float:
        """The mean pile-up of lumi section `ls` where the fill alone would give `mean`."""
        for drift in self.drifts:
            if drift.kind == "pileup_shift":
                mean *= 1 + drift.at(ls)
        for drift in self.drifts:
            if drift.kind == "pileup":
                mean += drift.share(ls) * (drift.strength - mean)
        return mean


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
            raise ConditionError(f"{self}: expected 0 <= floor <= start <= 400 and decay > 0")

    def pileup(self, ls: int) -> float:
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


def _assignment(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not equals or not math.isfinite(number):
        raise ConditionError(f"{text!r} is not <name>=<number>, such as jet_energy_scale=-0.08")
    return name, number
