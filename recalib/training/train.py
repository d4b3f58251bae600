"""Training a trigger model of our own on generated events, and packing it with its reference."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from firmware.board.addresses import address_table
from firmware.datapath.emulator import Emulator
from firmware.errors import PackageError
from firmware.model import axol1tl, cicada
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.events import SIGNALS, VIEWS, Generator, View
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from recalib.arrays import Events, Floats
from recalib.errors import TrainingError
from recalib.progress import Progress, silent
from recalib.training import boosted, encoder, student
from recalib.training.norms import gain
from recalib.training.sources import digest

DRAWN_AT_ONCE = 100_000
"""Events."""
GOLDEN = 2048
SIGNAL_EVENTS = 5_000
SIGNAL_PILEUP = 40.0
STORED_EVENTS, STORED_INPUTS = 200_000, 12_000_000
"""Of a reference, at most: where there are many inputs, fewer events tell as much of them."""

Kind = Literal["axol1tl", "cicada", "forest"]
_FEATURES = {"axol1tl": axol1tl.FEATURES, "cicada": cicada.FEATURES, "forest": axol1tl.FEATURES}


@dataclass(frozen=True)
class TrainSettings:
    """What a package is made from; the same settings give the same package.

    Args:
        kind: "axol1tl", an encoder of the objects (`encoder.py`), "cicada", a student of the regions (`student.py`), or
            "forest", boosted trees that have learnt the encoder's score (`boosted.py`).
        target_rates: of the cuts, over the whole range of pile-up.
        training_pileup: lowest and highest of the training events.
        reference_events: shared evenly by the pile-up slices between `pileup_edges`.
        lipschitz: the most by which an encoder's latent values may move per unit of the normalised inputs.
        weights: whether the weights of an encoder's last layer are registers.
        conditioned: whether an encoder gets the pile-up from a register.
    """

    seed: int = 1
    kind: Kind = "axol1tl"
    name: str = "axol1tl"
    target_rates: tuple[float, ...] = (0.01, 0.0025)
    training_events: int = 200_000
    training_pileup: tuple[float, float] = (20.0, 60.0)
    epochs: int = 10
    reference_events: int = 2_000_000
    pileup_edges: tuple[float, ...] = tuple(np.arange(7.5, 68.0, 5.0).tolist())
    lipschitz: float | None = None
    weights: bool = False
    conditioned: bool = False


CICADA = TrainSettings(kind="cicada", name="cicada", training_events=150_000, epochs=8)
SETTINGS = {"axol1tl": TrainSettings(), "cicada": CICADA, "forest": TrainSettings(kind="forest", name="forest")}
"""Of the project's own models."""


def build_package(path: Path, settings: TrainSettings = TrainSettings(), progress: Progress = silent) -> Package:
    """Train a model and pack it with nominal payload, reference, golden vectors, signals and address table.

    A package that is already at `path` and was made from the same settings by the same code is returned
    as it is.

    Raises:
        TrainingError: if the training fails, or the settings are not for that kind of model.
    """
    made_from = recipe(settings)
    if path.exists():
        try:
            package = Package.load(path)
        except PackageError as error:
            progress(f"not reused: {error}")
        else:
            if package.lineage.get("recipe") == made_from:
                return package
    torch.set_num_threads(1)
    streams = [int(np.random.SeedSequence([settings.seed, part]).generate_state(1)[0]) for part in range(4)]
    view, n = VIEWS[len(_FEATURES[settings.kind])], settings.training_events
    progress(f"generating {n:,} training events")
    parts = zip(*_generated(view, streams[0], n, settings.training_pileup), strict=True)
    drawn, pileup = (np.concatenate(part) for part in parts)
    model = _trained(settings, drawn, pileup, progress)
    seed, n = streams[1], settings.reference_events
    generated = _told(_generated(view, seed, n, settings.pileup_edges), n, progress)
    reference = reference_of(model, generated, settings.target_rates, settings.pileup_edges, seed)
    nominal = Payload.nominal(model, reference.binning.cuts)
    signals = _signals(view, streams[3])
    accepts = {kind: Emulator(model).run(events, nominal).accepts for kind, events in signals.items()}
    golden = next(_generated(view, streams[2], GOLDEN, settings.pileup_edges))[0]
    package = Package(
        model=model,
        nominal=nominal,
        address_table=address_table([(settings.name, model.layout, model.n_cuts)]),
        reference=reference.to_bytes(),
        golden_events=golden,
        golden_codes=Emulator(model).codes(golden, nominal),
        lineage={
            "recipe": made_from,
            "settings": asdict(settings),
            **({"gain": gain(model)} if model.layers else {}),
            "rates": reference.target_rates.tolist(),
            "signal_efficiency": {kind: bits.mean(axis=0).tolist() for kind, bits in accepts.items()},
        },
        signals=signals,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    package.save(path)
    return package


def _trained(settings: TrainSettings, drawn: Events, pileup: Floats, progress: Progress) -> Model:
    common = settings.seed, drawn, len(settings.target_rates), settings.name, settings.epochs, progress
    if settings.kind == "axol1tl":
        known = pileup if settings.conditioned else None
        return encoder.train(*common, settings.lipschitz, settings.weights, known)
    if settings.lipschitz is not None:
        raise TrainingError(f"lipschitz is {settings.lipschitz:g} for a {settings.kind}: only an axol1tl is bounded")
    for wanted in ("weights", "conditioned"):
        if getattr(settings, wanted):
            raise TrainingError(f"{wanted} for a {settings.kind}: only an axol1tl has such registers")
    return student.train(*common) if settings.kind == "cicada" else boosted.train(*common)


def _generated(view: View, seed: int, n: int, pileup_edges: Sequence[float]) -> Iterator[tuple[Events, Floats]]:
    """Events and their pile-up in chunks: evenly over the slices, and over the pile-up within them."""
    source, random = Generator(seed), np.random.default_rng(seed)
    for start in range(0, n, DRAWN_AT_ONCE):
        pileup = random.uniform(pileup_edges[0], pileup_edges[-1], min(DRAWN_AT_ONCE, n - start))
        yield view(source.draw(len(pileup), pileup)), pileup


def reference_of(
    model: Model,
    chunks: Iterable[tuple[Events, Floats | None]],
    target_rates: Sequence[float] | None,
    pileup_edges: Sequence[float] | None,
    seed: int,
    cuts: Sequence[int] | None = None,
) -> Reference:
    """What the model makes of events (n, n_features) at pile-ups (n,), chunk by chunk, in slices of pile-up if given.

    Its target rates are those of the cuts, which are given or, of all codes, come nearest to `target_rates`.
    """
    emulator, unused = Emulator(model), Payload.nominal(model, np.zeros(model.n_cuts, np.int64))
    reference = reference_of_sample(
        ((emulator.codes(events, unused), events, pileup) for events, pileup in chunks),
        cuts,
        target_rates=target_rates,
        bits=model.code_type.width,
        lsb=model.lsb,
        pileup_edges=pileup_edges,
        max_events=min(STORED_EVENTS, STORED_INPUTS // model.n_features),
        seed=seed,
    )
    return replace(reference, target_rates=reference.rates_of(reference.p))


def _told(generated: Iterable[tuple[Events, Floats]], n: int, progress: Progress) -> Iterator[tuple[Events, Floats]]:
    """The same chunks of n events in all; how many have been used is told."""
    done = 0
    for events, pileup in generated:
        yield events, pileup
        done += len(events)
        progress(f"reference: {done:,} of {n:,} events")


def _signals(view: View, seed: int) -> dict[str, Events]:
    """Events of each signal, as an undrifted detector shows them."""
    source = Generator(seed)
    return {kind: view(source.draw_signal(kind, SIGNAL_EVENTS, SIGNAL_PILEUP)) for kind in SIGNALS}


def recipe(settings: TrainSettings) -> str:
    """SHA-256 of the settings and of all code that their package depends on."""
    code = digest(__name__, Path(__file__).parents[2])
    return hashlib.sha256(json.dumps([asdict(settings), code], sort_keys=True).encode()).hexdigest()
