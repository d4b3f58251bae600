"""The encoder of a variational autoencoder: the AXOL1TL-like model of the objects."""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from firmware.model import axol1tl
from firmware.model.axol1tl import FEATURES
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import ENERGIES, Condition
from recalib.arrays import Events, Floats
from recalib.errors import TrainingError
from recalib.progress import Progress
from recalib.surrogate.casts import cast
from recalib.training.norms import limited
from recalib.training.quantised import Network, normalised

SIZES = (57, 28, 15, 8)
DECODER = (8, 24, 32, 57)
KL_WEIGHT = 0.3
ANGLE_WEIGHT = 0.02
"""What the reconstruction of an angle counts."""
HUBER = 8.0
"""Normalised inputs count by their square up to here: the latent values must follow the tails."""
LEARNING_RATE = 5e-3
BATCH = 2048
PILEUP = Condition("pileup", Fixed(10, 4), nominal=-32, low=-256, high=256, centre=40.0, unit=5.0)
"""Nominal is the mean of the reference's slices, 37.5; it is trained from 20 to 60."""
FLATNESS = 20.0
"""What the unevenness of the scores in pile-up counts."""
LEVELS, SLICES, STEEPNESS = torch.tensor([0.3, 0.6, 0.85, 0.95, 0.98]), 4, 0.1


def train(
    seed: int,
    events: Events,
    n_cuts: int,
    name: str = "axol1tl",
    epochs: int = 10,
    progress: Progress = print,
    lipschitz: float | None = None,
    reconfigurable: bool = False,
    pileup: Floats | None = None,
) -> Model:
    """A variational autoencoder's encoder, quantised as it trains, with the anomaly score Σ µ².

    57 → 28 → 15 → 8 with the types of AXOL1TL v4; the decoder and the spread σ are dropped. The loss is
    the reconstruction of the normalised inputs (Huber) plus the weighted KL of N(µ, σ²) to N(0, 1), which
    keeps µ at zero unless an event is worth telling apart. The same arguments give the same model.
    After D. Kingma, M. Welling, arXiv:1312.6114; E. Govorkova et al., Nature Mach. Intell. 4 (2022) 154.

    With `pileup` (n,), the mean of each event's crossing, that is a condition of the first layer, and the loss counts
    how far the shares of events above some scores differ between slices of it: the score is to depend on what is
    unusual, not on how many collide. After P. Baldi et al., Eur. Phys. J. C 76 (2016) 235, and G. Kasieczka, D. Shih,
    Phys. Rev. Lett. 125 (2020) 122001.

    With `reconfigurable` the weights of the last layer are registers of a finer type.

    With `lipschitz` L every layer's rounded weights keep an operator norm (2-norm to 2-norm) of at most L^(1/3),
    so that µ moves by at most L times as far as the normalised inputs do, and √score with it: after each step
    the weights are put on the nearest matrix for which that holds. After H. Gouk et al., arXiv:1804.04368.

    Raises:
        TrainingError: if the loss stops being a number, or `lipschitz` is not positive.
    """
    if lipschitz is not None and not lipschitz > 0:
        raise TrainingError(f"lipschitz is {lipschitz:g}, expected a number above 0")
    torch.manual_seed(seed)
    conditions = () if pileup is None else (PILEUP,)
    network = Network((SIZES[0] + len(conditions), *SIZES[1:]))
    shift, offset = normalisation(events)
    most = None if lipschitz is None else lipschitz ** (1 / len(network.weights))

    def limit() -> None:
        if most is not None:
            for weight, layer in zip(network.weights, template.layers, strict=True):
                weight.data = limited(weight.data, most, layer.weight_type)

    def frozen() -> Model:
        return axol1tl.model(
            name, *network.arrays(), shift, offset, n_cuts=n_cuts, reconfigurable=reconfigurable, conditions=conditions
        )

    template = frozen()
    limit()
    spread = nn.Linear(SIZES[-2], SIZES[-1])
    parts = [part for i, o in pairwise(DECODER) for part in (nn.Linear(i, o), nn.ReLU())]
    decoder = nn.Sequential(*parts[:-1])
    optimiser = torch.optim.Adam([*network.parameters, *spread.parameters(), *decoder.parameters()])
    x = given = normalised(template, events)
    if pileup is not None:
        condition = torch.from_numpy((pileup - PILEUP.centre) / PILEUP.unit).float()[:, None]
        given = torch.cat([x, cast(condition, PILEUP.type)], dim=1)
    importance = _importance(template, events)
    per_epoch = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * per_epoch)
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        total = 0.0
        for rows in order[: per_epoch * BATCH].split(BATCH):  # type: ignore[no-untyped-call]
            *_, hidden, mu = network.run(template, given[rows])
            ln_variance = spread(hidden).clamp(-8, 4)
            back = decoder(mu + torch.exp(ln_variance / 2) * torch.randn_like(mu))
            miss = functional.huber_loss(back, x[rows], reduction="none", delta=HUBER) * importance[rows]
            kl = 0.5 * (mu**2 + ln_variance.exp() - ln_variance - 1)
            loss = miss.sum(dim=1).mean() + KL_WEIGHT * kl.sum(dim=1).mean()
            if pileup is not None:
                loss = loss + FLATNESS * unevenness((mu**2).sum(dim=1), condition[rows, 0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            limit()
            schedule.step()
            total += float(loss.detach())
        if not np.isfinite(total):
            raise TrainingError(f"the loss is not a number after epoch {epoch + 1}: try another seed")
        progress(f"training: epoch {epoch + 1} of {epochs}, loss {total / per_epoch:.3f}")
    return frozen()


def unevenness(scores: Tensor, pileup: Tensor) -> Tensor:
    """The mean square by which shares of events (n,) above some scores differ between equal slices of pile-up.

    Relative to the share of all; each event passes a score over a tenth of it, so that this has a slope.
    """
    order = torch.argsort(pileup)
    levels = torch.quantile(scores.detach(), LEVELS).clamp_min(1e-3)
    above = torch.sigmoid((scores[order, None] - levels) / (STEEPNESS * levels))
    slices = torch.stack([part.mean(dim=0) for part in above.tensor_split(SLICES)])
    return ((slices / slices.mean(dim=0) - 1) ** 2).mean()


def normalisation(events: Events) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shifts and offsets (n_features,): medians, and powers of two near the spread where something is there.

    p_T is left at half of that spread's power of two: its tail is what an anomaly stands out in.
    """
    kinds = [(feature.object, feature.kind) for feature in FEATURES]
    shift = np.zeros(len(kinds), np.int64)
    for kind in sorted(set(kinds)):
        columns = [i for i, of in enumerate(kinds) if of == kind]
        present = events[:, columns][events[:, columns] != 0]
        spread = float(present.std()) if present.size else 1.0
        shift[columns] = round(np.log2(max(spread, 1.0))) - (kind[1] in ENERGIES)
    return shift, np.floor(np.median(events, axis=0)).astype(np.int64)


def _importance(model: Model, events: Events) -> Tensor:
    """(n, n_features): an angle counts little, and not at all where the object is absent."""
    weights = np.zeros(events.shape, np.float32)
    for i, feature in enumerate(model.features):
        if feature.kind in ENERGIES:
            weights[:, i] = 1.0
        else:
            weights[:, i] = ANGLE_WEIGHT * (events[:, i - i % 3] > 0)
    return torch.from_numpy(weights)
