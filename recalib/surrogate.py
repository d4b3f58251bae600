"""The firmware's datapath as a differentiable function of its registers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from firmware.fixed import Fixed
from firmware.model import Dense, Model, Registers

CHUNK = 4096
"""Events whose intermediate arrays stay in the cache."""

_ROUND: dict[str, Callable[[Tensor], Tensor]] = {
    "TRN": torch.floor,
    "TRN_ZERO": torch.trunc,
    "RND": lambda x: torch.floor(x + 0.5),
    "RND_CONV": torch.round,
    "RND_MIN_INF": lambda x: torch.ceil(x - 0.5),
    "RND_INF": lambda x: torch.sign(x) * torch.floor(x.abs() + 0.5),
    "RND_ZERO": lambda x: torch.sign(x) * torch.ceil(x.abs() - 0.5),
}


class _Straight(torch.autograd.Function):
    """Any function forwards, the identity backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def cast(x: Tensor, into: Fixed, exact: bool = True) -> Tensor:
    """x as the fixed-point type holds it; the gradient passes unchanged, save where the type saturates.

    Without `exact` nothing is rounded or wrapped, so that the function is continuous.

    >>> x = torch.tensor([-1.0, 0.3, 9.0], dtype=torch.float64, requires_grad=True)
    >>> y = cast(x, Fixed(4, 2, signed=False, overflow="SAT"))
    >>> y.tolist(), torch.autograd.grad(y.sum(), x)[0].tolist()
    ([0.0, 0.25, 3.75], [0.0, 1.0, 0.0])
    """
    low, high, lsb = into.min_raw * into.lsb, into.max_raw * into.lsb, into.lsb
    if exact:
        rounding = _ROUND[into.rounding]
        x = _Straight.apply(x, lambda v: rounding(v / lsb) * lsb)  # type: ignore[no-untyped-call]
    match into.overflow:
        case "SAT":
            return x.clamp(low, high)
        case "SAT_SYM":
            return x.clamp(max(low, -high), high)
        case "SAT_ZERO":
            return torch.where((x < low) | (x > high), 0.0, x)
    if not exact:
        return x
    span = high + lsb - low
    wrapped: Tensor = _Straight.apply(x, lambda v: torch.remainder(v - low, span) + low)  # type: ignore[no-untyped-call]
    return wrapped


class Surrogate:
    """The datapath of a model in double precision, split where the registers stand.

    With `exact` the forward values are those of the integer emulator (code · lsb), the gradients
    straight-through; without, both are of the unrounded function.
    """

    def __init__(self, model: Model, exact: bool = True) -> None:
        self.model = model
        self.exact = exact
        n = model.normalisation
        self._shift = torch.from_numpy(np.ldexp(1.0, -n.shift))
        self._offset = torch.from_numpy(n.offset.astype("f8"))
        self._ringed = torch.tensor([feature.energy for feature in model.ringed], dtype=torch.long)
        self._layers = [
            (
                torch.from_numpy(layer.weight_type.value(layer.weight)),
                torch.from_numpy(layer.bias_type.value(layer.bias)),
                layer,
            )
            for layer in model.layers
        ]

    def __call__(self, events: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """Scores (n,) of events (n, n_features)."""
        return self.score(self.core(events, registers), registers)

    def ring_index(self, events: Tensor) -> Tensor:
        """`Model.ring_index` of events (n, n_features)."""
        return torch.from_numpy(self.model.ring_index(events.detach().numpy()))

    def effective_scale(
        self, events: Tensor, registers: Mapping[str, Tensor], ring_index: Tensor | None = None
    ) -> Tensor:
        """The input scales, multiplied by those of the rings where the model has any.

        (n, n_features), or the input scales as they are where every ring's is a constant 1. Both registers may
        be given for each event: `input_scale` (n, n_features), `ring_scale` (n, n_rings).

        Args:
            ring_index: (n, n_features) of these events, where it is known already.
        """
        scale = registers["input_scale"]
        if not self.model.rings:
            return scale
        rings = registers["ring_scale"]
        if not rings.requires_grad and bool((rings == 1).all()):
            return scale
        index = self.ring_index(events) if ring_index is None else ring_index
        ringed = self._ringed
        factors = rings.expand(len(index), -1).gather(1, index[:, ringed])
        product = cast(scale[..., ringed] * factors, self.model.input.effective_type, self.exact)
        return scale.expand(len(index), -1).index_copy(1, ringed, product)

    def core(self, events: Tensor, registers: Mapping[str, Tensor], scale: Tensor | None = None) -> Tensor:
        """Input registers, normalisation and network: (n, n_latent), before the latent registers.

        Args:
            scale: the effective scale of these events, where it is known already.
        """
        n = self.model.normalisation
        if scale is None:
            scale = self.effective_scale(events, registers)
        x = self._apply(events, self.model.input, scale, registers["input_offset"])
        x = cast(x - self._offset, n.subtract_type, self.exact)
        x = cast(cast(x * self._shift, n.shift_type, self.exact), n.result_type, self.exact)
        for weight, bias, layer in self._layers:
            x = self._dense(x, weight, bias, layer)
        return x

    def score(self, latent: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """Latent registers, score function, output registers and LUT."""
        score = self.model.score
        z = self._apply(latent, self.model.latent, registers["latent_scale"], registers["latent_offset"])
        if score.center is not None:
            z = z - torch.tensor(score.center, dtype=z.dtype) * self.model.latent.result_type.lsb
        terms = cast(z if score.kind == "linear" else z * z, score.term_type, self.exact)
        total = cast(terms.sum(dim=1, keepdim=True), score.sum_type, self.exact)
        codes = self._apply(total, self.model.output, registers["output_scale"], registers["output_offset"])
        return self._look_up(codes[:, 0] / self.model.lsb, registers["lut"]) * self.model.lsb

    def _apply(self, x: Tensor, step: Registers, scale: Tensor, offset: Tensor) -> Tensor:
        return cast(x * scale + offset, step.result_type, self.exact)

    def _dense(self, x: Tensor, weight: Tensor, bias: Tensor, layer: Dense) -> Tensor:
        x = cast(x @ weight + bias, layer.accum_type, self.exact)
        return cast(x.relu() if layer.relu else x, layer.result_type, self.exact)

    def _look_up(self, codes: Tensor, lut: Tensor) -> Tensor:
        """The LUT's entries, in between a straight line to the next one."""
        size = len(lut)
        if not size:
            return codes
        contents = torch.cat([lut, lut.new_tensor([float(size)])])
        below = codes.detach().clamp(max=size - 1).long()
        inside = contents[below] + (codes - below) * (contents[below + 1] - contents[below])
        return torch.where(codes < size, inside, codes)
