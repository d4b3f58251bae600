"""The network of a model as it trains: floating weights, held by the firmware's types."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from firmware.model.model import Model
from recalib.arrays import Events, Floats
from recalib.surrogate.casts import cast

Arrays = list[Floats]


class Network:
    """Weights (n_in, n_out) and biases to be trained, with He's initial spread."""

    def __init__(self, sizes: Sequence[int]) -> None:
        shapes = list(pairwise(sizes))
        self.weights = [(torch.randn(shape) * np.sqrt(2 / shape[0])).requires_grad_() for shape in shapes]
        self.biases = [torch.zeros(size, requires_grad=True) for size in sizes[1:]]

    @property
    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return [*self.weights, *self.biases]

    def arrays(self) -> tuple[Arrays, Arrays]:
        """The weights and the biases as they are now."""
        weights, biases = ([t.detach().double().numpy() for t in part] for part in (self.weights, self.biases))
        return weights, biases

    def run(self, model: Model, x: Tensor) -> list[Tensor]:
        """What each layer gives for normalised inputs (n, n_features), those included.

        The rounding to the types of the model's layers is straight-through.
        """
        found = [x]
        for layer, weight, bias in zip(model.layers, self.weights, self.biases, strict=True):
            total = found[-1] @ cast(weight, layer.weight_type) + cast(bias, layer.bias_type)
            found.append(cast(total.relu() if layer.relu else total, layer.result_type))
        return found


def normalised(model: Model, events: Events) -> Tensor:
    """(n, n_features) as the network gets them."""
    n = model.normalisation
    x = (events - n.offset) * np.ldexp(1.0, -n.shift)
    return cast(torch.from_numpy(x.astype(np.float32)), n.result_type)
