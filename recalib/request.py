"""What is asked of the fit's process, in values that can cross to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recalib.errors import SettingsError
from recalib.knobs.names import KNOBS, KnobName
from recalib.sample import EventSample

FORMS = ("signed", "absolute", "huber")
ANCHORS = ("deployed", "nominal")


@dataclass(frozen=True)
class FitSettings:
    """How a fit may move the registers, and what its result must satisfy.

    Args:
        knobs: the families to try; the engine chooses among them.
        beta: weight of the KL against a move of δ; None: from the data.
        delta: of the signed clip, in score; None: from the data.
        form: of ρ, one of `FORMS`.
        anchor: the payload from whose scores ρ counts, one of `ANCHORS`.
        rate_tolerance: relative, at every cut.
        min_move, max_move: of ln(scale), or of a weight over the trained weights' root mean square, in one step.
        max_total_move: the same against the nominal model.
        max_cut_move: of ln(cut) in one step.
        max_share_moved: share of the events whose score may move by more than δ.
        max_lipschitz: how much steeper the score may become in an input, against the nominal model.
        min_events: events in the sample.
        min_effective: equally weighted events that would be as precise as the sample.
        min_retention: share of the accepted events that stay accepted, where the rate allows it.
        min_explained: share of the inputs' mismatch that a correction of the inputs must remove.
    """

    knobs: tuple[KnobName, ...] = KNOBS
    beta: float | None = None
    delta: float | None = None
    form: str = "signed"
    anchor: str = "deployed"
    rate_tolerance: float = 0.1
    min_move: float = 0.002
    max_move: float = 0.25
    max_total_move: float = 0.4
    max_cut_move: float = 0.7
    max_share_moved: float = 0.1
    max_lipschitz: float = 1.6
    min_events: int = 20_000
    min_effective: float = 5_000
    min_retention: float = 0.3
    min_explained: float = 0.5
    seed: int = 1

    def __post_init__(self) -> None:
        """Check what a type cannot.

        Raises:
            SettingsError: if a name means nothing, or there is no knob.
        """
        unknown = set(self.knobs) - set(KNOBS)
        if unknown or not self.knobs:
            raise SettingsError(f"knobs {tuple(map(str, self.knobs))}: expected some of {', '.join(KNOBS)}")
        object.__setattr__(self, "knobs", tuple(map(KnobName, self.knobs)))
        if self.form not in FORMS:
            raise SettingsError(f"form {self.form!r} is none of {', '.join(FORMS)}")
        if self.anchor not in ANCHORS:
            raise SettingsError(f"anchor {self.anchor!r} is none of {', '.join(ANCHORS)}")


@dataclass(frozen=True, eq=False)
class FitRequest:
    """A sample under the payload `words`, and the distribution (B,) and rates (n_cuts,) to restore.

    `m` is the number of reference events behind `p_ref`, `pileup` the mean of the sample if it is known.
    """

    words: NDArray[np.uint32]
    sample: EventSample
    p_ref: NDArray[np.float64]
    m: float
    rates: NDArray[np.float64]
    pileup: float | None = None
    settings: FitSettings = FitSettings()


@dataclass(frozen=True, eq=False)
class JudgeRequest:
    """A sample taken under the payload `new`, which followed on `old`.

    `hold`: what is asked; "distribution" for the KL and the rates, "rate" for the rates alone, "steered" for the KL
    alone, where cuts follow by themselves.
    """

    old: NDArray[np.uint32]
    new: NDArray[np.uint32]
    sample: EventSample
    p_ref: NDArray[np.float64]
    m_ref: float
    rates: NDArray[np.float64]
    rate_tolerance: float = 0.1
    hold: str = "distribution"
