"""What a closed lumi section says, and what it was expected to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from monitor.stats.compare.divergence import Divergence
from monitor.stats.count.expected import Expected
from monitor.stats.count.window import Window

Counts = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


class Key(NamedTuple):
    """What a window belongs to; counts of different keys are never mixed."""

    run: int
    ls: int
    epoch: int
    generation: int


@dataclass(frozen=True, eq=False)
class Expectation:
    """What a payload should give: p_ref at the pile-up, times ``ratio`` (B,) where a knob leaves p(s) changed.

    ``scores_since``: the generation since which the scores mean the same; later ones differ in cuts alone.
    """

    cuts: tuple[int, ...]
    ratio: Probabilities | None = None
    m: float = np.inf
    scores_since: int | None = None

    def on(self, base: Expected) -> Expected:
        """What the payload should give where the reference gives `base`."""
        return base if self.ratio is None else base.times(self.ratio, self.m)


@dataclass(frozen=True)
class Alarm:
    """A detector at the end of a lumi section, whether it raised an alarm within, and what it saw then in words."""

    detector: str
    drift: bool
    statistic: float
    words: str = ""


@dataclass(frozen=True, eq=False)
class LsReport:
    """A closed lumi section of one stream and generation.

    ``scores_since``: the first generation whose scores mean the same as these.
    ``window`` holds the counts (C,) in the reference's cells and the scores (n_cuts,) at or above the
    cuts active then, ``counts`` (B,) are those of its bins; ``expected`` what the active payload should
    give at these pile-ups; ``divergence`` is against ``expected``, ``to_reference`` against p_ref.
    """

    key: Key
    window: Window
    counts: Counts
    cuts: tuple[int, ...]
    scores_since: int
    expected: Expected
    expected_rates: Probabilities
    divergence: Divergence
    to_reference: Divergence
    alarms: tuple[Alarm, ...]
    t_ns: int

    @property
    def n(self) -> int:
        """The number of scores counted."""
        return self.window.n

    @property
    def above(self) -> Counts:
        """Scores (n_cuts,) at or above each of the cuts active then."""
        return self.window.above

    @property
    def pileup(self) -> float | None:
        """Mean pile-up; None if nothing was counted, or the pile-up of a part is unknown."""
        return self.window.pileup

    @property
    def rates(self) -> Probabilities:
        """Share (n_cuts,) of the scores at or above each cut; 0 if nothing was counted."""
        return np.asarray(self.above / max(self.n, 1), dtype=np.float64)
