"""One dense layer of the surrogate."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from firmware.model.parts import Dense
from recalib.arrays import Floats
from recalib.surrogate.casts import Cast, Span, tensor


class Layer:
    """A dense layer on inputs in units of their lsb.

    Args:
        given: what may come.
        lsb: the unit of the inputs.
        exact: whether its casts round, as in `Surrogate`.
        device: where its tensors are.
        conditions: weights (n_conditions, n_out) and nominal values (n_conditions,) of what moves its bias.
    """

    def __init__(
        self,
        layer: Dense,
        given: Span,
        lsb: float,
        exact: bool,
        device: torch.device,
        conditions: tuple[Floats, Floats] | None = None,
    ) -> None:
        self.live, self._shape = layer.reconfigurable, layer.weight.shape
        weight, bias = layer.weight_type.value(layer.weight), layer.bias_type.value(layer.bias)
        any_bias = self.live or conditions is not None
        weights, biases = (
            Span.of(kind) if free else Span(kind.frac, value, value)
            for kind, value, free in ((layer.weight_type, weight, self.live), (layer.bias_type, bias, any_bias))
        )
        low, high = (np.broadcast_to(bound, len(weight))[:, None] for bound in (given.low, given.high))
        products = Span(given.frac, low, high).times(weights)
        exact_sum = Span(products.frac, products.low.sum(axis=0), products.high.sum(axis=0)).plus(biases)
        most = products.magnitude.sum(axis=0) + biases.magnitude
        partial = Span(exact_sum.frac, -most, most)
        self.bits = partial.bits
        total = Cast(layer.accum_type, partial, exact)
        after = exact_sum if total.idle else total.span
        linear = Cast(layer.linear_type, after, exact)
        self._relu = layer.relu and (layer.result_type.signed or layer.result_type.overflow != "SAT")
        self._result = Cast(layer.result_type, after if linear.idle else linear.span, exact)
        self.span, self.lsb = self._result.span, layer.result_type.lsb
        casts = [(total, layer.accum_type.lsb), (linear, layer.linear_type.lsb)]
        needed = [(step, unit) for step, unit in casts if not step.idle]
        units = [*(unit for _, unit in needed), self.lsb]
        self._sums = [(step, unit / to) for (step, unit), to in zip(needed, units[1:], strict=True)]
        self._units = lsb / units[0], 1 / units[0]
        self._weight = tensor(weight * self._units[0], device)
        self._bias = tensor(bias * self._units[1], device)
        self._conditions = None if conditions is None else [tensor(each, device) for each in conditions]

    def __call__(self, x: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """Outputs (n, n_out) in units of `lsb`, for inputs (n, n_in) and the registers by field."""
        x = self._weighed(x.double(), registers) if self.live else self._summed(x, registers)
        for step, ratio in self._sums:
            x = step(x) * ratio
        return self._result(x.relu() if self._relu else x)

    def _summed(self, x: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        bias = self._bias
        if self._conditions is not None:
            weight, nominal = self._conditions
            bias = bias + (registers["conditioning"] - nominal) @ weight * self._units[1]
        return torch.addmm(bias.to(x.dtype), x, self._weight.to(x.dtype))

    def _weighed(self, x: Tensor, registers: Mapping[str, Tensor]) -> Tensor:
        """With the weights of registers, which may be repeated for each event."""
        weight, bias = registers["weights"] * self._units[0], registers["biases"] * self._units[1]
        if weight.ndim == 1:
            return torch.addmm(bias, x, weight.view(self._shape))
        return torch.einsum("ni,nio->no", x, weight.view(-1, *self._shape)) + bias
