"""hls4ml projects that are written, compiled by hls4ml, and imported."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Project:
    """What one is made of: the network, and the precision of every layer's parts (the rest is hls4ml's choice).

    `given` is the type of the inputs where it is another, `weights` the range of the weights likewise.
    """

    layers: tuple[nn.Module, ...]
    n_in: int
    default: str = "ap_fixed<16,6>"
    precision: Mapping[str, str] = field(default_factory=dict)
    given: str | None = None
    weights: tuple[float, float] | None = None
    strategy: str = "Latency"
    reuse: int = 1
    io: str = "io_parallel"
    backend: str = "Vitis"
    weights_txt: bool = True

    def write(self, folder: Path) -> Any:
        """The project in `folder`, as hls4ml's model of it."""
        import hls4ml

        torch.manual_seed(5)
        network = nn.Sequential(*self.layers)
        for part in network:
            if isinstance(part, nn.Linear | nn.BatchNorm1d):
                part.reset_parameters()
            if isinstance(part, nn.Linear) and self.weights:
                nn.init.uniform_(part.weight, *self.weights)
            if isinstance(part, nn.BatchNorm1d):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 1.5)
        config = hls4ml.utils.config_from_pytorch_model(
            network.eval(), (self.n_in,), granularity="name", backend=self.backend, default_precision=self.default
        )
        config["Model"]["Strategy"] = self.strategy
        for layer in config["LayerName"].values():
            layer["Precision"] |= {part: type for part, type in self.precision.items() if part in layer["Precision"]}
            layer |= {"Strategy": self.strategy, "ReuseFactor": self.reuse}
        if self.given:
            next(iter(config["LayerName"].values()))["Precision"]["result"] = self.given
        graph = hls4ml.converters.convert_from_pytorch_model(
            network,
            output_dir=str(folder),
            project_name="anomaly",
            backend=self.backend,
            hls_config=config,
            io_type=self.io,
            write_weights_txt=self.weights_txt,
        )
        graph.write()
        return graph


@cache
def projects() -> dict[str, Project]:
    linear, relu, norm = nn.Linear, nn.ReLU, nn.BatchNorm1d
    rounded = {
        "result": "ap_fixed<12,5,AP_RND_CONV,AP_SAT>",
        "weight": "ap_fixed<8,3>",
        "bias": "ap_fixed<8,3>",
        "accum": "ap_fixed<20,10>",
    }
    return {
        "deep, types of hls4ml's choice": Project(
            (linear(7, 9), relu(), linear(9, 6), relu(), linear(6, 4), relu(), linear(4, 1)), 7, "ap_fixed<12,5>"
        ),
        "all in ap_fixed<16,6>, merged batch norm": Project(
            (linear(6, 8), norm(8), relu(), linear(8, 1)),
            6,
            precision=dict.fromkeys(("result", "weight", "bias", "accum"), "ap_fixed<16,6>"),
        ),
        "batch norms of their own, rounded, in resource": Project(
            (norm(6), linear(6, 5), relu(), norm(5), linear(5, 3)), 6, precision=rounded, strategy="Resource", reuse=5
        ),
        "saturating sums, streamed, weights in headers": Project(
            (linear(6, 8), relu(), linear(8, 2), relu()),
            6,
            precision=rounded
            | {"result": "ap_fixed<8,4,AP_RND_ZERO,AP_SAT_SYM>", "accum": "ap_fixed<9,4,AP_RND_INF,AP_SAT>"},
            io="io_stream",
            weights_txt=False,
        ),
        "unsigned integers in, Vivado, ternary weights": Project(
            (linear(10, 6), relu(), linear(6, 2)),
            10,
            precision={"result": "ap_fixed<14,12,AP_TRN_ZERO,AP_SAT>", "weight": "ap_int<2>", "bias": "ap_fixed<6,4>"},
            given="ap_uint<10>",
            weights=(-1.4, 1.4),
            backend="Vivado",
        ),
    }
