"""The student of an autoencoder: a network small enough for firmware that has learnt to tell what is unusual."""

import numpy as np
import torch
from torch import Tensor, nn

from firmware.model import cicada
from firmware.model.cicada import FEATURES, N_ETA, N_HIDDEN, N_PHI, SCORE_VALUE
from firmware.model.model import Model
from recalib.arrays import Events
from recalib.errors import TrainingError
from recalib.progress import Progress
from recalib.training.quantised import Network, normalised

CHANNELS, LATENT = (8, 12), 24
TEACHER_EVENTS, TEACHER_EPOCHS, TEACHER_BATCH, TEACHER_RATE = 60_000, 4, 256, 2e-3
AT_ONCE = 4096
CODES_PER_NEPER = 32.0
"""The score is so many times ln of the mean squared miss in codes²: some 1 % per code of the score."""
BATCH, LEARNING_RATE = 1024, 5e-3
PILED_UP = 4
"""One in so many of the student's events is a sum of two or three: it must know what is beyond the background."""


def train(
    seed: int, events: Events, n_cuts: int, name: str = "cicada", epochs: int = 8, progress: Progress = print
) -> Model:
    """A dense network 252 → 16 → 1 that gives the score of a convolutional autoencoder, quantised as it trains.

    The teacher squeezes the regions' energies through 24 numbers and is trained to give them back; its score is
    32 ln(mean squared miss), from 0 up. The student learns that score (mean absolute miss) on the events and, so that
    it goes on rising where they are rare, on sums of them; it sees each turned in φ by chance. The same arguments give
    the same model. After E. Govorkova et al., Nature Mach. Intell. 4 (2022) 154, and G. Hinton, O. Vinyals, J. Dean,
    arXiv:1503.02531.

    Raises:
        TrainingError: if a loss stops being a number.
    """
    torch.manual_seed(seed)
    teacher = taught(torch.from_numpy(events[:TEACHER_EVENTS]), progress)
    images = torch.from_numpy(np.concatenate([events, piled_up(events, seed)]))
    wanted = teacher_scores(teacher, images)
    network = Network((len(FEATURES), N_HIDDEN, 1))
    network.weights[0].data *= 0.3
    network.weights[1].data.abs_()
    template = cicada.model(name, *network.arrays(), n_cuts=n_cuts)
    optimiser = torch.optim.Adam(network.parameters)
    per_epoch = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * per_epoch)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images))[: per_epoch * BATCH].split(BATCH):  # type: ignore[no-untyped-call]
            x = normalised(template, turned(images[rows]).numpy())
            loss = (network.run(template, x)[-1][:, 0] - wanted[rows]).abs().mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        _check(total)
        progress(f"student: epoch {epoch + 1} of {epochs}, off by {total / per_epoch:.2f} on average")
    return cicada.model(name, *network.arrays(), n_cuts=n_cuts)


class Autoencoder(nn.Module):
    """Convolutions that go round in φ, 24 numbers between them."""

    def __init__(self) -> None:
        super().__init__()
        first, second = CHANNELS
        self.wide, self.deep = nn.Conv2d(1, first, 3), nn.Conv2d(first, second, 3)
        self.encode = nn.Linear(second * N_PHI * N_ETA // 4, LATENT)
        self.decode = nn.Linear(LATENT, second * N_PHI * N_ETA // 4)
        self.back, self.out = nn.Conv2d(second, first, 3), nn.Conv2d(first, 1, 3)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 252) codes as it gives them back."""
        x = images.reshape(-1, 1, N_PHI, N_ETA)
        x = nn.functional.avg_pool2d(self.wide(_around(x)).relu(), 2)
        x = self.deep(_around(x)).relu()
        x = self.decode(self.encode(x.flatten(1)).relu()).relu().unflatten(1, (-1, N_PHI // 2, N_ETA // 2))
        x = nn.functional.interpolate(self.back(_around(x)).relu(), scale_factor=2)
        found: Tensor = self.out(_around(x)).flatten(1)
        return found


def taught(images: Tensor, progress: Progress) -> Autoencoder:
    """The autoencoder after its training on images (n, 252)."""
    teacher = Autoencoder()
    optimiser = torch.optim.Adam(teacher.parameters(), TEACHER_RATE)
    for epoch in range(TEACHER_EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(images)).split(TEACHER_BATCH):  # type: ignore[no-untyped-call]
            x = images[rows].float()
            loss = ((teacher(x) - x) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        _check(total)
        progress(f"teacher: epoch {epoch + 1} of {TEACHER_EPOCHS}, mean squared miss {total / len(images):.2f}")
    return teacher


def teacher_scores(teacher: Autoencoder, images: Tensor) -> Tensor:
    """(n,) of the teacher, within the range of the firmware's."""
    most = float(SCORE_VALUE.value(SCORE_VALUE.max_raw))
    with torch.no_grad():
        misses = [((teacher(x.float()) - x) ** 2).mean(dim=1) for x in images.split(AT_ONCE)]  # type: ignore[no-untyped-call]
        return (CODES_PER_NEPER * torch.cat(misses).log()).clamp(0, most)


def piled_up(events: Events, seed: int) -> Events:
    """Sums of two or three events, up to the top code, a quarter as many as there are events."""
    random, n = np.random.default_rng(seed), len(events) // PILED_UP
    first, second, third = (events[random.integers(len(events), size=n)].astype(np.int32) for _ in range(3))
    third[::2] = 0
    top = FEATURES[0].type.max_raw
    sums: Events = np.minimum(first + second + third, top).astype(np.int16)
    return sums


def turned(images: Tensor) -> Tensor:
    """The images (n, 252), all by the same chance angle in φ and half of them with φ the other way round."""
    wedges = images.reshape(-1, N_PHI, N_ETA).roll(int(torch.randint(N_PHI, ())), 1)
    wedges[::2] = wedges[::2].flip(1)
    found: Tensor = wedges.flatten(1)
    return found


def _around(x: Tensor) -> Tensor:
    """One more wedge on either side, from the other end, and one empty ring."""
    return nn.functional.pad(nn.functional.pad(x, (0, 0, 1, 1), mode="circular"), (1, 1))


def _check(loss: float) -> None:
    if not np.isfinite(loss):
        raise TrainingError("the loss is not a number: try another seed")
