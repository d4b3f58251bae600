"""The firmware's datapath as a differentiable function of its registers."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from firmware.model.forest import Walker
from firmware.model.model import Model
from firmware.model.payload import Payload
from recalib.surrogate.casts import ANYTHING, Cast, Span, tensor
from recalib.surrogate.layers import Layer

CACHED_EVENTS = 4096
"""Events whose intermediate arrays stay in the processor's cache."""

EXACT_BITS = {torch.float32: 24, torch.float64: 53}


class Surrogate:
    """The datapath of a model, split where the registers stand.

    With `exact` the forward values are those of the integer emulator (code · lsb), the gradients
    straight-through; without, both are of the unrounded function. There is no gradient through a forest, which has
    steps. Casts that cannot change a value are left out, and the network runs in single precision where that is exact.

    Args:
        device: where its tensors are.
    """

    def __init__(self, model: Model, exact: bool = True, device: str = "cpu") -> None:
        self.model = model
        self.exact = exact
        self.device = torch.device(device)
        n, step = model.normalisation, model.input
        low, high = model.limits
        x = Span(0, low.astype("f8"), high.astype("f8"))
        effective = step.effective_type if model.rings else step.scale_type
        self.ringed = self.tensor([column.energy for column in model.ringed]).long()
        self._is_energy = torch.tensor(model.is_energy, device=self.device)
        self._effective = Cast(step.effective_type, ANYTHING, exact)
        self._input = Cast(step.result_type, x.times(Span.of(effective)).plus(Span.of(step.offset_type)), exact)
        offset = n.offset.astype("f8")
        held = self._input.span
        self._subtract = Cast(n.subtract_type, Span(held.frac, held.low - offset, held.high - offset), exact)
        factor = np.ldexp(1.0, -n.shift)
        held = self._subtract.span
        shifted = Span(held.frac + max(0, int(n.shift.max())), held.low * factor, held.high * factor)
        self._shift = Cast(n.shift_type, shifted, exact)
        self._normalised = Cast(n.result_type, self._shift.span, exact)
        self._to_subtract = step.result_type.lsb / n.subtract_type.lsb
        self._offset = self.tensor(offset / n.subtract_type.lsb)
        self._factor = self.tensor(factor * (n.subtract_type.lsb / n.shift_type.lsb))
        self._to_normalised = n.shift_type.lsb / n.result_type.lsb
        span, lsb = self._normalised.span, n.result_type.lsb
        self._layers: list[Layer] = []
        bits = max(self._input.span.bits, shifted.bits)
        conditions = None
        if model.conditions:
            kind, weight = model.conditions[0].type, model.layers[0].weight_type.value(model.condition_weight)
            conditions = weight, kind.value(model.trained["conditioning"])
        for layer in model.wired:
            self._layers.append(Layer(layer, span, lsb, exact, self.device, None if self._layers else conditions))
            span, lsb = self._layers[-1].span, self._layers[-1].lsb
            bits = max(bits, 0.0 if layer.reconfigurable else self._layers[-1].bits)
        if model.forest is not None:
            span = Span.of(model.core_type)
        self._walked: tuple[Tensor, Walker] | None = None
        self._inside = torch.float32 if exact and bits <= EXACT_BITS[torch.float32] else torch.float64
        self._score(span)

    def _score(self, span: Span) -> None:
        model, exact = self.model, self.exact
        score, latent, output = model.score, model.latent, model.output
        self._latent = Cast(
            latent.result_type, span.times(Span.of(latent.scale_type)).plus(Span.of(latent.offset_type)), exact
        )
        z = self._latent.span
        self._center = None if score.center is None else self.tensor(score.center)
        if score.center is not None:
            center = np.asarray(score.center) * latent.result_type.lsb
            z = Span(z.frac, z.low - center.max(), z.high - center.min())
        terms = z if score.kind == "linear" else z.times(z)
        self._to_term = latent.result_type.lsb ** (1 if score.kind == "linear" else 2) / score.term_type.lsb
        self._term = Cast(score.term_type, terms, exact)
        one = self._term.span
        total = Span(one.frac, one.low.min() * model.n_latent, one.high.max() * model.n_latent)
        self._sum = Cast(score.sum_type, total, exact)
        self._output = Cast(
            output.result_type,
            self._sum.span.times(Span.of(output.scale_type)).plus(Span.of(output.offset_type)),
            exact,
        )

    def tensor(self, values: ArrayLike) -> Tensor:
        """In double precision, where the surrogate runs."""
        return tensor(values, self.device)

    def registers(self, values: Mapping[str, ArrayLike]) -> dict[str, Tensor]:
        """Register values by field, where the surrogate runs."""
        return {name: self.tensor(array) for name, array in values.items()}

    def of(self, payload: Payload) -> dict[str, Tensor]:
        """The registers that the payload sets."""
        return self.registers({field.name: payload.value(field.name) for field in payload.layout.fields})

    def codes(self, events: NDArray[np.integer], payload: Payload) -> NDArray[np.int64]:
        """Score codes (n,) of events (n, n_features) under a payload; with `exact` those of the emulator."""
        at, found = self.of(payload), []
        with torch.no_grad():
            for start in range(0, len(events), CACHED_EVENTS):
                found.append(
                    self(
                        torch.tensor(events[start : start + CACHED_EVENTS], dtype=torch.float64, device=self.device), at
                    )
                )
        scores = torch.cat(found) / self.model.lsb
        return np.asarray(scores.round().long().cpu().numpy())

    def __call__(self, events: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """Scores (n,) of events (n, n_features)."""
        return self.score(self.core(events, registers), registers)

    def ring_index(self, events: ArrayLike) -> Tensor:
        """`Model.ring_index` of events (n, n_features)."""
        return torch.tensor(self.model.ring_index(np.asarray(events)), device=self.device)

    def effective_scale(
        self, events: Tensor, registers: Mapping[str, Tensor], ring_index: Tensor | None = None
    ) -> Tensor:
        """The input scales, multiplied by those of the rings where the model has any.

        (n, n_features), or the input scales as they are where every ring's is a constant 1. Both registers may
        be given for each event: `input_scale` (n, n_features), `ring_scale` (n, n_rings).

        Args:
            ring_index: `ring_index` of these events, where it is known already.
        """
        scale = registers["input_scale"]
        if not self.model.rings:
            return scale
        rings = registers["ring_scale"]
        if not rings.requires_grad and bool((rings == 1).all()):
            return scale
        index = self.ring_index(events.detach().cpu().numpy()) if ring_index is None else ring_index
        factors = rings.expand(len(index), -1).gather(1, index.long())
        scale = scale.expand(len(index), -1)
        lsb = self.model.input.scale_type.lsb
        held = self._effective(scale[:, self.ringed] * factors / lsb) * lsb
        return scale.index_copy(1, self.ringed, held)

    def effective_offset(self, events: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """The input offsets, which an energy of code 0 does not get and has no slope in.

        (n, n_features), or the input offsets as they are where every one is a constant 0. They may be given for each
        event, as (n, n_features).
        """
        offset = registers["input_offset"]
        if not offset.requires_grad and not bool(offset.any()):
            return offset
        return torch.where(self._is_energy & (events == 0), 0.0, offset)

    def core(self, events: Tensor, registers: Mapping[str, Tensor], scale: Tensor | None = None) -> Tensor:
        """Input registers, normalisation and network: (n, n_latent), before the latent registers.

        Args:
            scale: the effective scale of these events, where it is known already.
        """
        return self.latent(self.hidden(events, registers, scale), registers)

    def hidden(self, events: Tensor, registers: Mapping[str, Tensor], scale: Tensor | None = None) -> Tensor:
        """What `core` gives its last layer, (n, n_in) in units of its lsb."""
        if scale is None:
            scale = self.effective_scale(events, registers)
        lsb = self.model.input.result_type.lsb
        offset = self.effective_offset(events, registers)
        x = self._input(torch.addcmul(offset / lsb, events, scale / lsb)).to(self._inside)
        x = self._subtract(x * self._to_subtract - self._offset.to(self._inside))
        x = self._shift(x * self._factor.to(self._inside))
        x = self._normalised(x * self._to_normalised)
        for layer in self._layers[:-1]:
            x = layer(x, registers)
        return x

    @property
    def hidden_lsb(self) -> float:
        """The unit of what `hidden` gives."""
        layers = self.model.layers
        return layers[-2].result_type.lsb if len(layers) > 1 else self.model.normalisation.result_type.lsb

    def latent(self, hidden: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """The last layer of `core`, or the forest, on what `hidden` gives."""
        last = self._layers[-1](hidden, registers) if self._layers else self._walk(hidden, registers["forest"])
        return last.double() * self.model.core_type.lsb

    def _walk(self, x: Tensor, words: Tensor) -> Tensor:
        """The forest's value (n, 1) in units of its lsb; the last one is kept ready."""
        assert self.model.forest is not None
        if self._walked is None or self._walked[0] is not words:
            self._walked = words, Walker(self.model.forest.shape, words.cpu().numpy())
        return self.tensor(self._walked[1](x.detach().cpu().numpy())[:, None])

    def score(self, latent: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """Latent registers, score function, output registers and LUT."""
        model = self.model
        unit, code = model.latent.result_type.lsb, model.lsb
        z = self._latent(torch.addcmul(registers["latent_offset"] / unit, latent, registers["latent_scale"] / unit))
        if self._center is not None:
            z = z - self._center
        terms = self._term((z if model.score.kind == "linear" else z * z) * self._to_term)
        total = terms.sum(dim=1, keepdim=True) * (model.score.term_type.lsb / model.score.sum_type.lsb)
        total = self._sum(total) * (model.score.sum_type.lsb / code)
        codes = self._output(total * registers["output_scale"] + registers["output_offset"] / code)
        return self._look_up(codes[:, 0], registers["lut"]) * code

    def _look_up(self, codes: Tensor, lut: Tensor) -> Tensor:
        """The LUT's entries, in between a straight line to the next one."""
        size = len(lut)
        if not size:
            return codes
        contents = torch.cat([lut, lut.new_tensor([float(size)])])
        below = codes.detach().clamp(max=size - 1).long()
        inside = contents[below] + (codes - below) * (contents[below + 1] - contents[below])
        return torch.where(codes < size, inside, codes)
