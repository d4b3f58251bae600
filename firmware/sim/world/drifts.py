"""Drifts of the detector's response and of the pile-up, as the simulated world has them."""

import math
from dataclasses import dataclass, replace
from typing import Self

from firmware.errors import WorldError
from firmware.sim.world.detector import Response

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
"""Strengths that each kind of drift takes; 0 is no drift, save for `pileup`, which sets the mean.

jet_energy_scale, eg_scale: relative shift of p_T; met_noise: extra MET noise in units of its resolution;
ageing: share of p_T lost at |η| = 3; dead_phi: width in rad; hot_tower: probability per crossing;
jet_pedestal: GeV that each jet of the
global trigger gains, as where pile-up is subtracted wrongly; pileup_shift: relative shift of the mean pile-up.
"""


@dataclass(frozen=True, slots=True)
class Drift:
    """One drift, from lumi section `since` on, at full strength `ramp` sections later.

    >>> [Drift("ageing", 0.3, ramp=2, since=10).at(ls) for ls in (9, 10, 11, 12)]
    [0.0, 0.15, 0.3, 0.3]
    """

    kind: str
    strength: float
    ramp: int = 0
    since: int = 0

    @classmethod
    def parse(cls, text: str, since: int = 0) -> Self:
        """The drift of a text such as ``jet_energy_scale=-0.08`` or ``ageing=0.3 ramp=20``.

        Raises:
            WorldError: unknown kind or option, no number, or a strength outside `LIMITS`.
        """
        first, *options = text.split() or [""]
        kind, strength = _assignment(first)
        if kind not in LIMITS:
            raise WorldError(f"unknown condition {kind!r}, expected one of {', '.join(LIMITS)}")
        low, high = LIMITS[kind]
        if not low <= strength <= high:
            raise WorldError(f"{kind}={strength:g} is outside [{low:g}, {high:g}]")
        ramp = 0.0
        for option in options:
            name, ramp = _assignment(option)
            if name != "ramp" or ramp < 0 or ramp != int(ramp):
                raise WorldError(f"option {option!r} of {kind}, expected ramp=<lumi sections>")
        return cls(kind, strength, int(ramp), since)

    def __str__(self) -> str:
        return f"{self.kind}={self.strength:g}" + (f" ramp={self.ramp}" if self.ramp else "")

    def share(self, ls: int) -> float:
        """The share of its strength that it has in lumi section `ls`."""
        if ls < self.since:
            return 0.0
        return min(1.0, (ls - self.since + 1) / max(1, self.ramp))

    def at(self, ls: int) -> float:
        """The strength in lumi section `ls`."""
        return self.strength * self.share(ls)


@dataclass(frozen=True, slots=True)
class Drifts:
    """The drifts in force, one of a kind.

    >>> drifts = Drifts().adding(Drift.parse("eg_scale=0.05", since=3))
    >>> drifts.at(2).eg_scale, drifts.at(3).eg_scale
    (0.0, 0.05)
    """

    drifts: tuple[Drift, ...] = ()

    def adding(self, drift: Drift) -> Self:
        """With this drift too, in place of one of its kind."""
        return replace(self, drifts=(*self.without(drift.kind).drifts, drift))

    def without(self, kind: str) -> Self:
        """Without the drift of this kind."""
        return replace(self, drifts=tuple(drift for drift in self.drifts if drift.kind != kind))

    def at(self, ls: int) -> Response:
        """How far the detector is from nominal in lumi section `ls`."""
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


def _assignment(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not equals or not math.isfinite(number):
        raise WorldError(f"{text!r} is not <name>=<number>, such as jet_energy_scale=-0.08")
    return name, number
