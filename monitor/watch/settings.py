"""Settings of what watches a stream: tables of the configuration, as values."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A table of the configuration: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestSettings(Section):
    """``block_scores``: scores in a block of the detectors; ``late_ls``: how long a closed LS takes late batches.

    ``receive_high_water_mark``: messages that may wait in the daemon's memory; more wait at the sender.
    """

    receive_high_water_mark: Positive = 64
    block_scores: Positive = 1_000_000
    late_ls: Positive = 2
    silent_s: Annotated[float, Field(gt=0)] = 60.0


class DetectSettings(Section):
    """When a difference is a drift: significant, large enough, and seen long enough; see `Policy`.

    ``detectors``: settings by name. The false alarms of the e-detectors together come
    ``target_run_length_h`` apart at ``colliding_hz``; the others promise nothing.
    """

    detectors: dict[str, dict[str, float]] = {
        "e_mixture": {},
        "e_rate": {},
        "adwin_kl": {"delta": 0.0002},
    }
    tolerated_kl: Annotated[float, Field(ge=0)] = 0.002
    rate_tolerance: Fraction = 0.1
    pileup_error: Annotated[float, Field(ge=0, lt=1)] = 0.03
    p_value: Fraction = 1e-6
    consecutive_ls: Positive = 2
    settle_ls: Annotated[int, Field(ge=0)] = 3
    min_scores: Positive = 2_000
    target_run_length_h: Annotated[float, Field(gt=0)] = 720.0
    colliding_hz: Annotated[float, Field(gt=0)] = 28.7e6
