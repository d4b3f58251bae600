"""How much less a model drifts whose encoder may amplify its inputs by no more than a bound, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from firmware.datapath.emulator import Emulator
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.sim.world.detector import NOMINAL, Response, digitise
from firmware.sim.world.events import SIGNALS, Generator
from monitor.bench.arrays import Codes
from monitor.bench.recalibrate.scenarios import truths
from monitor.bench.working_point import DRAWN_AT_ONCE, PILEUP, PILEUP_RANGE, RATES, SIGNAL_EVENTS
from monitor.stats.count.building import reference_of_sample
from recalib.arrays import Events, Floats
from recalib.progress import Progress
from recalib.training.encoder import train
from recalib.training.norms import gain

Row = dict[str, Any]

DRIFTS = {
    "jets_down": Response(jet_energy_scale=-0.05),
    "jets_up": Response(jet_energy_scale=0.05),
    "eg_met": Response(eg_scale=0.05, met_noise=0.3),
    "ageing": Response(ageing=0.1),
}
"""The same for every model, whatever it does to its rate."""
PLAIN = "plain"


@dataclass(frozen=True)
class Settings:
    """Sizes of a run.

    Args:
        bounds: of the constrained models; the plain one is always there.
        trainings: of each, from different weights and events.
        events: crossings, each undrifted and under every drift.
    """

    bounds: tuple[float, ...] = (1.0, 2.0, 4.0)
    trainings: int = 3
    training_events: int = 200_000
    epochs: int = 10
    events: int = 400_000
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's codes (n,) of the same crossings undrifted and under each drift, and of each signal."""

    model: Model
    undrifted: Codes
    drifted: dict[str, Codes]
    signals: dict[str, Codes]


def lipschitz(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Every model's figures by training, and those of each bound over the plain model's.

    Raises:
        TrainingError, StatsError: a bound that is not positive, or so low that the score tells nothing apart.
    """
    bounds: dict[str, float | None] = {PLAIN: None, **{f"{bound:g}": bound for bound in settings.bounds}}
    trained: dict[tuple[str, int], Model] = {}
    for number in range(settings.trainings):
        seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
        drawn = training_events(seed, settings.training_events)
        for name, bound in bounds.items():
            progress(f"training {number + 1} of {settings.trainings}: {name}")
            trained[name, number] = train(
                seed, drawn, len(RATES), epochs=settings.epochs, progress=lambda text: None, lipschitz=bound
            )
    progress(f"drifts: {settings.events:,} crossings")
    rows = dict(zip(trained, map(figures, scored(list(trained.values()), settings)), strict=True))
    models = {name: [rows[name, number] for number in range(settings.trainings)] for name in bounds}
    return {
        "seed": settings.seed,
        "events": settings.events,
        "rates": list(RATES),
        "against_plain": {name: against(models[name], models[PLAIN]) for name in bounds if name != PLAIN},
        "models": models,
    }


def training_events(seed: int, n: int) -> Events:
    """So many background events, even in pile-up."""
    source, random = Generator(seed), np.random.default_rng(seed)
    sizes = [min(DRAWN_AT_ONCE, n - start) for start in range(0, n, DRAWN_AT_ONCE)]
    return np.concatenate([digitise(source.draw(size, random.uniform(*PILEUP_RANGE, size))) for size in sizes])


def scored(models: Sequence[Model], settings: Settings) -> Iterator[Scored]:
    """What each of the models makes of the same crossings and signals."""
    responses = {"": NOMINAL, **DRIFTS}
    parts: dict[tuple[int, str], list[Codes]] = {(i, name): [] for i, name in product(range(len(models)), responses)}
    runs = [(Emulator(model), Payload.nominal(model, np.zeros(model.n_cuts, np.int64))) for model in models]
    for truth in truths(settings.seed, settings.events, PILEUP):
        for name, response in responses.items():
            drawn = digitise(truth, response)
            for i, (emulator, payload) in enumerate(runs):
                parts[i, name].append(emulator.codes(drawn, payload).astype(np.int64))
    signals = {kind: digitise(Generator(settings.seed).draw_signal(kind, SIGNAL_EVENTS, PILEUP)) for kind in SIGNALS}
    for i, (model, (emulator, payload)) in enumerate(zip(models, runs, strict=True)):
        found: dict[str, Codes] = {name: np.concatenate(parts[i, name]) for name in responses}
        own: dict[str, Codes] = {
            kind: emulator.codes(drawn, payload).astype(np.int64) for kind, drawn in signals.items()
        }
        yield Scored(model, found.pop(""), found, own)


def figures(scored: Scored) -> Row:
    """One model's, at cuts of its own for the same rates, and in bins of equal shares of its own scores."""
    model, undrifted = scored.model, scored.undrifted
    reference = reference_of_sample(
        [(undrifted, None, None)], target_rates=RATES, bits=model.code_type.width, lsb=model.lsb
    )
    cuts, edges = reference.binning.cuts, reference.binning.edges
    p = np.histogram(undrifted, edges)[0] / len(undrifted)
    return {
        "gain": _short(gain(model)),
        "cuts": list(cuts),
        "signal_efficiency": {
            kind: [_short(efficiency(codes, undrifted, rate)) for rate in RATES]
            for kind, codes in scored.signals.items()
        },
        "drifts": {
            name: {
                "kl": _short(float(rel_entr(np.histogram(codes, edges)[0] / len(codes), p).sum())),
                "at_cuts": [at_cut(undrifted >= cut, codes >= cut) for cut in cuts],
            }
            for name, codes in scored.drifted.items()
        },
    }


def at_cut(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> Row:
    """Relative change of the rate, and overlap, of twins (n,); the error is that of the accepts they do not share."""
    old, new = int(before.sum()), int(after.sum())
    return {
        "rate_change": _short(new / old - 1),
        "rate_change_error": _short(float(np.sqrt((before ^ after).sum())) / old),
        "overlap": _short(int((before & after).sum()) / max(old, new)),
    }


def efficiency(signal: Codes, background: Codes, rate: float) -> float:
    """Share of the signal above a cut that lets exactly `rate` of the background through.

    Between two codes the cut is taken to be drawn: what both let through, mixed so that the rate is met.

    >>> efficiency(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2]), rate=0.375)
    0.5
    """
    top = int(max(signal.max(), background.max())) + 2
    passed, kept = (np.cumsum(np.bincount(codes, minlength=top)[::-1]) / len(codes) for codes in (background, signal))
    return float(np.interp(rate, passed, kept))


def against(rows: Sequence[Row], plain: Sequence[Row]) -> Row:
    """Means over the trainings of a bound's figures over those of the plain model of the same training, with errors.

    `rate_change`, `kl` and `lost` (1 − overlap) are geometric means over drifts and cuts: below 1 it drifts less.
    """
    pairs = list(zip(rows, plain, strict=True))
    cuts = range(len(RATES))

    def of(take: Callable[[Row, str, int], float]) -> Row:
        ratios = [[take(a, d, k) / take(b, d, k) for d, k in product(DRIFTS, cuts)] for a, b in pairs]
        return _mean(np.exp(np.log(np.maximum(ratios, 1e-9)).mean(axis=1)))

    return {
        "gain": _mean(np.array([row["gain"] for row in rows])),
        "rate_change": of(lambda row, d, k: abs(row["drifts"][d]["at_cuts"][k]["rate_change"])),
        "lost": of(lambda row, d, k: 1 - row["drifts"][d]["at_cuts"][k]["overlap"]),
        "kl": of(lambda row, d, k: row["drifts"][d]["kl"]),
        "by_drift": {
            d: _mean(np.array([np.divide(*(_changes(row, d) for row in pair)).mean() for pair in pairs]))
            for d in DRIFTS
        },
        "signal_efficiency": {
            kind: [
                _mean(np.array([np.divide(*(row["signal_efficiency"][kind][k] for row in pair)) for pair in pairs]))
                for k in cuts
            ]
            for kind in SIGNALS
        },
    }


def table(found: dict[str, Any]) -> Iterator[str]:
    """The figures for people."""
    cuts = " / ".join(f"{rate:.2%}" for rate in found["rates"])
    yield f"rate changes at cuts of {cuts}, KL of p(s), signal efficiency at those rates; one line a training"
    for name, rows in found["models"].items():
        for row in rows:
            drifts = "  ".join(f"{d} {_percents(_signed(row, d))} KL {row['drifts'][d]['kl']:.4f}" for d in DRIFTS)
            signals = ", ".join(f"{kind} {_percents(values)}" for kind, values in row["signal_efficiency"].items())
            yield f"{name:>6} gain {row['gain']:5.2f}  {drifts}  {signals}"
    for name, row in found["against_plain"].items():
        drifts = ", ".join(f"{d} {_number(ratio)}" for d, ratio in row["by_drift"].items())
        signals = ", ".join(
            f"{kind} {' / '.join(_number(v) for v in values)}" for kind, values in row["signal_efficiency"].items()
        )
        yield (
            f"L = {name} over plain: rate change {_number(row['rate_change'])} ({drifts}), KL {_number(row['kl'])}, "
            f"decisions lost {_number(row['lost'])}; signal efficiency: {signals}"
        )


def _changes(row: Row, drift: str) -> Floats:
    return np.abs(_signed(row, drift))


def _signed(row: Row, drift: str) -> list[float]:
    return [at["rate_change"] for at in row["drifts"][drift]["at_cuts"]]


def _mean(values: Floats) -> Row:
    """Over the trainings, and its standard error where there is more than one."""
    error = None if len(values) < 2 else _short(float(values.std(ddof=1) / np.sqrt(len(values))))
    return {"mean": _short(float(values.mean())), "error": error}


def _number(row: Row) -> str:
    return f"× {row['mean']:.2f}" + ("" if row["error"] is None else f" ± {row['error']:.2f}")


def _percents(values: Sequence[float]) -> str:
    return " / ".join(f"{value:+.1%}" if value < 0 else f"{value:.1%}" for value in values)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
