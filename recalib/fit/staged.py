"""The events of a task in front of every stage of registers, and what they say there."""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from firmware.model.payload import Payload
from recalib.fit.task import Task
from recalib.inputs.estimates import Pedestal, Scale, pedestal_of, scale_of
from recalib.inputs.hidden import HiddenEstimate, HiddenReference
from recalib.knobs.forest import as_scales
from recalib.knobs.knobs import ActsOn
from recalib.solve.problem import Part
from recalib.surrogate.surrogate import Surrogate


class Staged:
    """The events of fit and choice in front of every stage of registers, and what they say there; each is made once.

    Args:
        nominal: the payload from which the objective counts moves where its anchor is the nominal one.
    """

    def __init__(self, surrogate: Surrogate, task: Task, nominal: Payload) -> None:
        self._surrogate = surrogate
        self._task = task
        self._nominal = nominal
        self._told: dict[str, Scale] = {}

    def scale_of(self, name: str) -> Scale:
        """What the energies of an object type alone say of its scale."""
        if name not in self._told:
            base = as_scales(self._surrogate.model, self._task.base)
            self._told[name] = scale_of(self._task.inputs, self._task.told, base, name)
        return self._told[name]

    def pedestal_of(self, name: str) -> Pedestal | None:
        """What they say of its scale and an offset together."""
        base = as_scales(self._surrogate.model, self._task.base)
        return pedestal_of(self._task.inputs, self._task.told, base, name)

    def hidden_estimate(self) -> HiddenEstimate:
        """What the numbers alone tell that the last layer gets."""
        fit, _ = self.hidden
        return self._hidden_reference.tell(fit.x.double().cpu().numpy(), fit.weights.cpu().numpy())

    def latent_explained(self, payload: Payload) -> float:
        """The share of the latent values' mismatch that is gone under a payload, but for its latent registers."""
        before, (_, choice) = self._latent_mismatch, self.inputs
        choice = self._behind(choice, self._surrogate.core, self._surrogate.of(payload))
        return 1 - self._mismatch(choice) / before if before > 0 else 0.0

    @cached_property
    def _latent_mismatch(self) -> float:
        _, choice = self.latent
        return self._mismatch(choice)

    def _mismatch(self, latent: Part) -> float:
        return self._hidden_reference.mismatch(latent.x.cpu().numpy(), latent.weights.cpu().numpy())

    @cached_property
    def _hidden_reference(self) -> HiddenReference:
        return HiddenReference(self._surrogate, self._nominal, self._task.reference, self._task.reference_weights)

    @cached_property
    def inputs(self) -> tuple[Part, Part]:
        """The events themselves."""
        surrogate, task = self._surrogate, self._task
        lsb = surrogate.model.lsb
        deployed = task.deployed.codes
        anchor = deployed if task.settings.anchor == "deployed" else surrogate.codes(task.known.events, self._nominal)
        whole = Part(
            torch.tensor(task.known.events, device=surrogate.device),
            surrogate.ring_index(task.known.events),
            surrogate.tensor(task.known.weights),
            surrogate.tensor(deployed * lsb),
            surrogate.tensor(anchor * lsb),
        )
        n = len(task.fit.codes)
        return Part(*(column[:n] for column in whole)), Part(*(column[n:] for column in whole))

    @cached_property
    def hidden(self) -> tuple[Part, Part]:
        """With what the last layer gets in place of the inputs."""
        registers = self._surrogate.of(self._task.base)
        fit, choice = (self._behind(part, self._surrogate.hidden, registers) for part in self.inputs)
        return fit, choice

    @cached_property
    def latent(self) -> tuple[Part, Part]:
        """With the latent values in place of the inputs."""
        registers = self._surrogate.of(self._task.base)
        with torch.no_grad():
            fit, choice = (part._replace(x=self._surrogate.latent(part.x, registers)) for part in self.hidden)
        return fit, choice

    def _behind(self, part: Part, run: Callable[..., Tensor], registers: dict[str, Tensor]) -> Part:
        """With what a part of the surrogate makes of the inputs in their place."""
        scale = self._surrogate.effective_scale
        with torch.no_grad():
            found = [run(x, registers, scale(x, registers, rings)) for x, rings in part.chunks()]
        return part._replace(x=torch.cat(found))

    def at(self, stage: ActsOn) -> tuple[Part, Part]:
        """With what the registers of that stage act on."""
        match stage:
            case "inputs":
                return self.inputs
            case "hidden":
                return self.hidden
        return self.latent
