"""A model package, ready to be run on events."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from firmware.datapath.emulator import Emulator
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload
from monitor.stats.count.reference import Reference
from recalib.evidence import Evidence, Target
from recalib.sample import EventSample
from recalib.surrogate.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A package with its executions and its reference: all that the engine knows of a model."""

    package: Package
    emulator: Emulator
    surrogate: Surrogate
    reference: Reference

    @classmethod
    def of(cls, package: Package, device: str | None = None) -> "LoadedModel":
        """Load it.

        Args:
            package: of the model.
            device: where the surrogate runs; a GPU where torch finds one.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(
            package,
            Emulator(package.model),
            Surrogate(package.model, device=device),
            Reference.from_bytes(package.reference),
        )

    @property
    def model(self) -> Model:
        """Without its payload."""
        return self.package.model

    @property
    def nominal(self) -> Payload:
        """As trained."""
        return self.package.nominal

    @property
    def edges(self) -> NDArray[np.int64]:
        """(B+1,) of the reference's bins, in codes."""
        return self.reference.binning.edges

    def evidence(self, payload: Payload, sample: EventSample, target: Target) -> Evidence:
        """What a payload makes of a sample, by the surrogate's codes."""
        codes = self.surrogate.codes(sample.events, payload)
        return Evidence.of_codes(codes, payload.raw("cuts"), sample.weights, target)
