"""How soon the e-detector finds a drift, over what no detector can beat, and how seldom it is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr, rel_entr

from monitor.stats.binning import Binning
from monitor.stats.detectors import Detector, make_detector
from monitor.stats.reference import CELLS, Expected, Reference

Array = npt.NDArray[Any]
CODES = 1 << 12
BODY, TAIL = (60.0, 0.6, 0.97), (60.0, 1.3, 0.03)
"""Median code, log-width and share of the two log-normals that make the scores."""
RATES = (0.01, 0.0025)
KNOWN = 10**9
"""Events behind a reference that counts as known."""


def bound(kl: float, run_length: float) -> float:
    """D*, the least mean delay in scores for a drift of `kl` nats per score at this run length.

    With (e^h − h − 1)/K = A, D* = (h − 1 + e^−h)/K: CUSUM in continuous time (A. N. Shiryaev 1996).

    Examples
    --------
    >>> round(bound(1e-3, 1e6))
    5917
    """
    h = brentq(lambda h: (np.expm1(h) - h) / kl - run_length, 1e-9, 500)
    return float((h - 1 + np.exp(-h)) / kl)


def scores(stretch: float = 1.0, about: float = 0.0) -> Array:
    """(CODES,) probabilities of the codes; stretched about a code by a factor."""
    edges = np.maximum(about + (np.arange(CODES + 1) - about) / stretch, 1e-9)
    below = sum(share * ndtr(np.log(edges / median) / width) for median, width, share in (BODY, TAIL))
    below[[0, -1]] = 0, 1
    return _sum_to_one(np.diff(below) + 1e-12)


def drifts(random: np.random.Generator) -> dict[str, Array]:
    """Distributions of the codes after a drift; those called random were built into no bank."""
    p = scores()
    rank = np.cumsum(p) - p / 2
    accepted = 1 - rank < RATES[0]
    stuck = 0.99 * p
    stuck[random.choice(CODES, p=p)] += 0.01
    found = {
        "gain +2 %": scores(1.02),
        "width +2 %": scores(1.02, about=float(np.searchsorted(rank, 0.5))),
        "rate +5 %": _more(p, accepted, 1.05),
        "rate -5 %": _more(p, accepted, 0.95),
        "slope": _sum_to_one(p * np.exp(0.1 * rank)),
        "stuck code 1 %": stuck,
        "bulk +4 %": _more(p, np.abs(rank - 0.5) < 0.125, 1.04),
    }
    for name in ("random 1", "random 2"):
        shape, kl = _smooth(rank, random), float(np.exp(random.uniform(np.log(1e-4), np.log(1e-2))))
        found[name] = _sized(p, shape, kl)
    return found


def detect(
    streams: int, alarms: int, run_length: float, block: int, seed: int, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Mean delays over D* by drift, and the run length without drift over the promised one.

    Onsets are uniform over half a run length; a stream that alarms before its onset is drawn again.
    """
    random = np.random.default_rng(seed)
    p = scores()
    reference = _reference(np.rint(p * KNOWN).astype(np.int64))
    expected = Expected(reference.p, np.inf, reference.expected().cells, reference.first, reference.cell_p[None][:0])
    detector = make_detector("e_mixture", reference, target_run_length=run_length)
    shapes = {}
    for name, q in drifts(random).items():
        kl = float(rel_entr(q, p).sum())
        after = reference.cells.rebin(q)
        delays = [_delay(detector, expected, after, run_length, block, random) for _ in range(streams)]
        best = bound(kl, run_length)
        shapes[name] = {
            "kl": kl,
            "bound": round(best),
            "delay": round(float(np.mean(delays))),
            "fom": round(float(np.mean(delays)) / best, 3),
            "fom_error": round(float(np.std(delays)) / best / streams**0.5, 3),
        }
        progress(f"{name:16} K {kl:.2e}  delay {np.mean(delays):>10,.0f} scores  × {shapes[name]['fom']:.2f} of D*")
    lengths: list[int] = []
    began, blocks = time.perf_counter(), 0
    while len(lengths) < alarms:
        lengths.append(_run(detector, expected, expected.cells, block, random))
        blocks += lengths[-1]
    seconds = (time.perf_counter() - began) / blocks
    foms = [shape["fom"] for shape in shapes.values()]
    return {
        "run_length": run_length,
        "block": block,
        "streams": streams,
        "shapes": shapes,
        "fom_mean": round(float(np.mean(foms)), 3),
        "fom_worst": max(foms),
        "arl_ratio": round(float(np.mean(lengths)) * block / run_length, 3),
        "arl_alarms": alarms,
        "us_per_block": round(seconds * 1e6, 1),
        "cores_at_40_mhz_one_orbit": round(40e6 / 3564 * seconds, 3),
    }


def _delay(
    detector: Detector, expected: Expected, after: Array, run_length: float, block: int, random: np.random.Generator
) -> int:
    while True:
        onset = int(random.integers(int(run_length / 2 / block)))
        detector.reset()
        if not any(_alarm(detector, expected, expected.cells, block, random) for _ in range(onset)):
            return block * _run(detector, expected, after, block, random, fresh=False)


def _run(
    detector: Detector, expected: Expected, truth: Array, block: int, random: np.random.Generator, fresh: bool = True
) -> int:
    """Blocks until the alarm."""
    if fresh:
        detector.reset()
    blocks = 1
    while not _alarm(detector, expected, truth, block, random):
        blocks += 1
    return blocks


def _alarm(detector: Detector, expected: Expected, truth: Array, block: int, random: np.random.Generator) -> bool:
    detector.update(random.multinomial(block, truth), expected)
    return detector.drift_detected


def _reference(histogram: Array) -> Reference:
    above = 1 - np.cumsum(histogram) / histogram.sum()
    binning = Binning.from_histogram(histogram, [int(np.argmax(above < rate)) + 1 for rate in RATES])
    cells = binning.divided(histogram, CELLS)
    rates = binning.above(binning.rebin(histogram)) / histogram.sum()
    return Reference(binning=binning, cell_counts=cells.rebin(histogram)[None], target_rates=rates, cells=cells)


def _more(p: Array, where: Array, factor: float) -> Array:
    share = p[where].sum()
    return np.where(where, factor * p, p * (1 - factor * share) / (1 - share))


def _smooth(rank: Array, random: np.random.Generator) -> Array:
    """A Gaussian process in the rank, of random correlation length."""
    grid, length = np.linspace(0, 1, 60), random.uniform(0.1, 0.5)
    covariance = np.exp(-0.5 * ((grid[:, None] - grid) / length) ** 2) + 1e-9 * np.eye(len(grid))
    return np.interp(rank, grid, np.linalg.cholesky(covariance) @ random.standard_normal(len(grid)))


def _sized(p: Array, shape: Array, kl: float) -> Array:
    def tilted(amplitude: float) -> Array:
        return _sum_to_one(p * np.exp(amplitude * (shape - shape.max())))

    return tilted(brentq(lambda a: float(rel_entr(tilted(a), p).sum()) - kl, 0, 20))


def _sum_to_one(weights: Array) -> Array:
    return np.asarray(weights / weights.sum())
