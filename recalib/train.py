"""Training a trigger model of our own on generated events, and packing it with its reference."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from firmware.addresses import address_table
from firmware.axol1tl import FEATURES
from firmware.emulator import Emulator
from firmware.errors import PackageError
from firmware.model import Model
from firmware.package import Package
from firmware.parts import ENERGIES
from firmware.payload import Payload
from firmware.sim.events import SIGNALS, Generator, digitise
from monitor.stats.reference import Reference
from recalib.errors import TrainingError
from recalib.norms import gain, limited
from recalib.sources import digest
from recalib.surrogate import cast

SIZES = (57, 28, 15, 8)
DECODER = (8, 24, 32, 57)
KL_WEIGHT = 0.3
ANGLE_WEIGHT = 0.02
"""What the reconstruction of an angle counts."""
HUBER = 8.0
"""Normalised inputs count by their square up to here: the latent values must follow the tails."""
LEARNING_RATE = 5e-3
BATCH = 2048
CHUNK = 100_000
GOLDEN = 2048
SIGNAL_EVENTS = 5_000
SIGNAL_PILEUP = 40.0

Integers = NDArray[np.int64]
Events = NDArray[np.int16]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TrainSettings:
    """What a package is made from; the same settings give the same package.

    Args:
        target_rates: of the cuts, over the whole range of pile-up.
        training_pileup: lowest and highest of the training events.
        reference_events: shared evenly by the pile-up slices between `pileup_edges`.
        lipschitz: the most by which the latent values may move per unit of the normalised inputs, as `train` has it.
    """

    seed: int = 1
    name: str = "axol1tl"
    target_rates: tuple[float, ...] = (0.01, 0.0025)
    training_events: int = 200_000
    training_pileup: tuple[float, float] = (20.0, 60.0)
    epochs: int = 10
    reference_events: int = 2_000_000
    pileup_edges: tuple[float, ...] = tuple(np.arange(7.5, 68.0, 5.0).tolist())
    lipschitz: float | None = None


def train(
    seed: int,
    events: Events,
    n_cuts: int,
    name: str = "axol1tl",
    epochs: int = 10,
    progress: Progress = print,
    lipschitz: float | None = None,
) -> Model:
    """A variational autoencoder's encoder, quantised as it trains, with the anomaly score Σ µ².

    57 → 28 → 15 → 8 with the types of AXOL1TL v4; the decoder and the spread σ are dropped. The loss is
    the reconstruction of the normalised inputs (Huber) plus the weighted KL of N(µ, σ²) to N(0, 1), which
    keeps µ at zero unless an event is worth telling apart. The same arguments give the same model.
    After D. Kingma, M. Welling, arXiv:1312.6114; E. Govorkova et al., Nature Mach. Intell. 4 (2022) 154.

    With `lipschitz` L every layer's rounded weights keep an operator norm (2-norm to 2-norm) of at most L^(1/3),
    so that µ moves by at most L times as far as the normalised inputs do, and √score with it: after each step
    the weights are put on the nearest matrix for which that holds. After H. Gouk et al., arXiv:1804.04368.

    Raises:
        TrainingError: if the loss stops being a number, or `lipschitz` is not positive.
    """
    if lipschitz is not None and not lipschitz > 0:
        raise TrainingError(f"lipschitz is {lipschitz:g}, expected a number above 0")
    torch.manual_seed(seed)
    shapes = list(pairwise(SIZES))
    weights = [(torch.randn(shape) * np.sqrt(2 / shape[0])).requires_grad_() for shape in shapes]
    biases = [torch.zeros(size, requires_grad=True) for size in SIZES[1:]]
    shift, offset = normalisation(events)
    most = None if lipschitz is None else lipschitz ** (1 / len(shapes))

    def limit() -> None:
        if most is not None:
            for weight, layer in zip(weights, template.layers, strict=True):
                weight.data = limited(weight.data, most, layer.weight_type)

    def frozen() -> Model:
        w, b = ([t.detach().double().numpy() for t in tensors] for tensors in (weights, biases))
        return Model.axol1tl(name, w, b, shift, offset, n_cuts=n_cuts)

    template = frozen()
    limit()
    spread = nn.Linear(SIZES[-2], SIZES[-1])
    parts = [part for i, o in pairwise(DECODER) for part in (nn.Linear(i, o), nn.ReLU())]
    decoder = nn.Sequential(*parts[:-1])
    optimiser = torch.optim.Adam([*weights, *biases, *spread.parameters(), *decoder.parameters()])
    x = _normalised(template, events)
    importance = _importance(template, events)
    per_epoch = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * per_epoch)
    for epoch in range(epochs):
        order = torch.randperm(len(x))
        total = 0.0
        for rows in order[: per_epoch * BATCH].split(BATCH):  # type: ignore[no-untyped-call]
            mu, ln_variance = _encode(template, x[rows], weights, biases, spread)
            back = decoder(mu + torch.exp(ln_variance / 2) * torch.randn_like(mu))
            miss = functional.huber_loss(back, x[rows], reduction="none", delta=HUBER) * importance[rows]
            kl = 0.5 * (mu**2 + ln_variance.exp() - ln_variance - 1)
            loss = miss.sum(dim=1).mean() + KL_WEIGHT * kl.sum(dim=1).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            limit()
            schedule.step()
            total += float(loss.detach())
        if not np.isfinite(total):
            raise TrainingError(f"the loss is not a number after epoch {epoch + 1}: try another seed")
        progress(f"training: epoch {epoch + 1} of {epochs}, loss {total / per_epoch:.3f}")
    return frozen()


def normalisation(events: Events) -> tuple[Integers, Integers]:
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


def build_package(
    path: Path, settings: TrainSettings = TrainSettings(), progress: Progress = lambda text: None
) -> Package:
    """Train a model and pack it with nominal payload, reference, golden vectors, signals and address table.

    A package that is already at `path` and was made from the same settings by the same code is returned
    as it is.
    """
    recipe = _recipe(settings)
    if path.exists():
        try:
            package = Package.load(path)
        except PackageError as error:
            progress(f"not reused: {error}")
        else:
            if package.lineage.get("recipe") == recipe:
                return package
    torch.set_num_threads(1)
    streams = [np.random.SeedSequence([settings.seed, part]).generate_state(1)[0] for part in range(4)]
    low, high = settings.training_pileup
    progress(f"generating {settings.training_events:,} training events")
    drawn = np.concatenate([e for e, _ in _generated(int(streams[0]), settings.training_events, [low, high])])
    n_cuts = len(settings.target_rates)
    model = train(settings.seed, drawn, n_cuts, settings.name, settings.epochs, progress, settings.lipschitz)
    seed, n = int(streams[1]), settings.reference_events
    generated = _told(_generated(seed, n, settings.pileup_edges), n, progress)
    reference = reference_of(model, generated, settings.target_rates, settings.pileup_edges, seed)
    nominal = Payload.nominal(model, reference.binning.cuts)
    signals = _signals(int(streams[3]))
    accepts = {kind: Emulator(model).run(events, nominal).accepts for kind, events in signals.items()}
    golden = next(_generated(int(streams[2]), GOLDEN, settings.pileup_edges))[0]
    package = Package(
        model=model,
        nominal=nominal,
        address_table=address_table([(settings.name, model.layout, model.n_cuts)]),
        reference=reference.to_bytes(),
        golden_events=golden,
        golden_codes=Emulator(model).codes(golden, nominal),
        lineage={
            "recipe": recipe,
            "settings": asdict(settings),
            "gain": gain(model),
            "rates": reference.target_rates.tolist(),
            "signal_efficiency": {kind: bits.mean(axis=0).tolist() for kind, bits in accepts.items()},
        },
        signals=signals,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    package.save(path)
    return package


def _generated(seed: int, n: int, pileup_edges: Any) -> Iterator[tuple[Events, NDArray[np.float64]]]:
    """Events and their pile-up in chunks: evenly over the slices, and over the pile-up within them."""
    source, random = Generator(seed), np.random.default_rng(seed)
    for start in range(0, n, CHUNK):
        pileup = random.uniform(pileup_edges[0], pileup_edges[-1], min(CHUNK, n - start))
        yield digitise(source.draw(len(pileup), pileup)), pileup


def reference_of(
    model: Model,
    generated: Iterable[tuple[Events, NDArray[np.float64]]],
    target_rates: Sequence[float],
    pileup_edges: Sequence[float],
    seed: int,
) -> Reference:
    """What the model makes of events (n, n_features) at pile-ups (n,), chunk by chunk, in slices of pile-up.

    Its target rates are those of the cuts, which lie on whole codes.
    """
    emulator, unused = Emulator(model), Payload.nominal(model, np.zeros(model.n_cuts, np.int64))
    reference = Reference.build(
        ((emulator.codes(events, unused), events, pileup) for events, pileup in generated),
        target_rates=target_rates,
        bits=model.code_type.width,
        lsb=model.lsb,
        pileup_edges=pileup_edges,
        seed=seed,
    )
    return replace(reference, target_rates=reference.rates_of(reference.p))


def _told(
    generated: Iterable[tuple[Events, NDArray[np.float64]]], n: int, progress: Progress
) -> Iterator[tuple[Events, NDArray[np.float64]]]:
    """The same chunks of n events in all; how many have been used is told."""
    done = 0
    for events, pileup in generated:
        yield events, pileup
        done += len(events)
        progress(f"reference: {done:,} of {n:,} events")


def _signals(seed: int) -> dict[str, Events]:
    """Events of each signal, as an undrifted detector shows them."""
    source = Generator(seed)
    return {kind: digitise(source.draw_signal(kind, SIGNAL_EVENTS, SIGNAL_PILEUP)) for kind in SIGNALS}


def _recipe(settings: TrainSettings) -> str:
    """Of the settings and of all code that a package depends on."""
    code = digest(__name__, Path(__file__).parents[1])
    return hashlib.sha256(json.dumps([asdict(settings), code], sort_keys=True).encode()).hexdigest()


def _normalised(model: Model, events: Events) -> Tensor:
    n = model.normalisation
    x = (events - n.offset) * np.ldexp(1.0, -n.shift)
    return cast(torch.from_numpy(x.astype(np.float32)), n.result_type)


def _importance(model: Model, events: Events) -> Tensor:
    """(n, n_features): an angle counts little, and not at all where the object is absent."""
    weights = np.zeros(events.shape, np.float32)
    for i, feature in enumerate(model.features):
        if feature.kind in ENERGIES:
            weights[:, i] = 1.0
        else:
            weights[:, i] = ANGLE_WEIGHT * (events[:, i - i % 3] > 0)
    return torch.from_numpy(weights)


def _encode(
    model: Model, x: Tensor, weights: list[Tensor], biases: list[Tensor], spread: nn.Linear
) -> tuple[Tensor, Tensor]:
    """µ and ln σ² (n, n_latent); the rounding to the firmware's types is straight-through."""
    hidden = x
    for layer, weight, bias in zip(model.layers, weights, biases, strict=True):
        hidden = x
        total = hidden @ cast(weight, layer.weight_type) + cast(bias, layer.bias_type)
        x = cast(total.relu() if layer.relu else total, layer.result_type)
    return x, spread(hidden).clamp(-8, 4)
