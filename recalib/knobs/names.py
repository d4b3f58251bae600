"""The names of the knobs, and how one says which of them was turned."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from recalib.errors import SettingsError

CUTS_TOO = "+threshold"
"""How it is written that the cuts were moved as well."""
NO_KNOB = "none"
"""How it is written that no knob was turned."""


class KnobName(StrEnum):
    """One reconfigurable family of registers each."""

    THRESHOLD = "threshold"
    OUTPUT_SCALE = "output_scale"
    LATENT_SCALE = "latent_scale"
    INPUT_SCALE = "input_scale"
    INPUT_SCALE_RING = "input_scale_ring"
    INPUT_SCALE_FEATURE = "input_scale_feature"
    INPUT_OFFSET = "input_offset"
    WEIGHTS = "weights"
    CONDITIONING = "conditioning"
    LUT = "lut"
    FOREST = "forest"


KNOBS = tuple(KnobName)
DEFAULT_KNOBS = (KnobName.INPUT_SCALE, KnobName.INPUT_SCALE_RING, KnobName.INPUT_OFFSET, KnobName.THRESHOLD)
"""What a stream may turn unless its configuration says otherwise."""


@dataclass(frozen=True)
class Turned:
    """The knob that was turned, if any, and whether the cuts were moved after it.

    >>> str(Turned(KnobName.INPUT_SCALE, with_cuts=True)), str(Turned(KnobName.THRESHOLD)), str(Turned())
    ('input_scale+threshold', 'threshold', 'none')
    """

    name: KnobName | None = None
    with_cuts: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """What `str` of one has written.

        Raises:
            SettingsError: if that names no knob.

        >>> Turned.parse("latent_scale+threshold")
        Turned(name=<KnobName.LATENT_SCALE: 'latent_scale'>, with_cuts=True)
        """
        if text == NO_KNOB:
            return cls()
        try:
            return cls(KnobName(text.removesuffix(CUTS_TOO)), text.endswith(CUTS_TOO))
        except ValueError:
            raise SettingsError(f"{text!r} names no knob: expected one of {', '.join(KNOBS)}") from None

    def __str__(self) -> str:
        """As it stands in files, answers, metrics and on the page."""
        return NO_KNOB if self.name is None else f"{self.name}{CUTS_TOO if self.with_cuts else ''}"

    @property
    def alone(self) -> Self:
        """The same knob without the cuts."""
        return replace(self, with_cuts=False)

    @property
    def moves_cuts(self) -> bool:
        """Whether a cut is moved, by itself or after another knob."""
        return self.with_cuts or self.name is KnobName.THRESHOLD
