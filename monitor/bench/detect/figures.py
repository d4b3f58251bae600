"""How soon the e-detector finds a drift, over what no detector can beat, and how seldom it is wrong."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.bench.arrays import Array
from monitor.bench.detect.shapes import bound, drifts, information, reference, scores
from monitor.stats.count.expected import Expected
from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import Detector, make_detector
from recalib.progress import Progress

KNOWN = 10**9
"""Events behind a reference that counts as known."""
CROSSINGS_HZ = 40e6
ORBIT = 3564
PRODUCTION_RUN_LENGTH = 30 * 86400 * CROSSINGS_HZ
FINITE_M = 10**6
FINITE_SCORES = 10**8


@dataclass(frozen=True)
class DetectorBench:
    """One detector on blocks of one size, and the draws it is fed."""

    detector: Detector
    reference: Reference
    expected: Expected
    block: int
    random: np.random.Generator

    @classmethod
    def of(cls, ref: Reference, m: float, run_length: float, block: int, random: np.random.Generator) -> DetectorBench:
        """`m` events stand behind `ref`, inf for one that is known."""
        base = ref.expected()
        expected = Expected(base.p, m, base.cells, base.first, base.nearby)
        return cls(make_detector("e_mixture", ref, target_run_length=run_length), ref, expected, block, random)

    def alarm(self, truth: Array) -> bool:
        """Whether the next block, of cells with probabilities `truth`, raises an alarm."""
        self.detector.update(self.random.multinomial(self.block, truth), self.expected)
        return self.detector.drift_detected

    def run(self, truth: Array) -> int:
        """Blocks until the alarm."""
        blocks = 1
        while not self.alarm(truth):
            blocks += 1
        return blocks

    def delay(self, before: Array, after: Array, onset: int) -> int:
        """Scores from a drift, at a random block before `onset`, to the alarm; false alarms do not count."""
        while True:
            self.detector.reset()
            quiet = int(self.random.integers(onset))
            if not any(self.alarm(before) for _ in range(quiet)):
                return self.block * self.run(after)

    def delays(self, p: Array, onset: int, streams: int, run_length: float, progress: Progress) -> dict[str, Any]:
        """By drift: K, the bound D*, the mean delay, and their ratio with its error."""
        before, shapes = self.reference.cells.rebin(p), {}
        for name, q in drifts(self.random).items():
            after, kl = self.reference.cells.rebin(q), information(q, p)
            delays = [self.delay(before, after, onset) for _ in range(streams)]
            best, mean = bound(kl, run_length), float(np.mean(delays))
            error = round(float(np.std(delays)) / best / streams**0.5, 3)
            shapes[name] = {
                "kl": kl,
                "bound": round(best),
                "delay": round(mean),
                "fom": round(mean / best, 3),
                "fom_error": error,
            }
            progress(f"{name:16} K {kl:.2e}  delay {mean:>10,.0f} scores  × {mean / best:.2f} ± {error:.2f} of D*")
        return shapes


def detect(streams: int, alarms: int, run_length: float, block: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Mean delays over D* by drift, and the run length without drift over the promised one.

    Onsets are uniform over half a run length; a stream that alarms before its onset is drawn again.
    """
    random, p = np.random.default_rng(seed), scores()
    bench = DetectorBench.of(reference(np.rint(p * KNOWN).astype(np.int64)), np.inf, run_length, block, random)
    shapes = bench.delays(p, int(run_length / 2 / block), streams, run_length, progress)
    cells = bench.reference.cells.rebin(p)
    lengths = []
    for _ in range(alarms):
        bench.detector.reset()
        lengths.append(bench.run(cells))
    progress(f"run length × {np.mean(lengths) * block / run_length:.2f} of the promised, {alarms} alarms")
    return {
        "run_length": run_length,
        "block": block,
        "streams": streams,
        "shapes": shapes,
        **summary(shapes),
        "arl_ratio": round(float(np.mean(lengths)) * block / run_length, 3),
        "arl_alarms": alarms,
        **cost(bench, cells),
    }


def finite(streams: int, run_length: float, block: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Scores per false alarm over the promised, each stream with a reference of its own of 10^6 events.

    A lower limit where there is no alarm at all.
    """
    random, p = np.random.default_rng(seed), scores()
    found = 0
    for stream in range(streams):
        ref = reference(random.multinomial(FINITE_M, p))
        bench = DetectorBench.of(ref, FINITE_M, run_length, block, random)
        truth = ref.cells.rebin(p)
        for _ in range(FINITE_SCORES // block):
            if bench.alarm(truth):
                found += 1
                bench.detector.reset()
        progress(f"reference of 10^6 events, stream {stream + 1}: {found} false alarms so far")
    total = streams * FINITE_SCORES
    return {
        "arl_ratio_finite": round(total / max(found, 1) / run_length, 1),
        "finite_alarms": found,
        "finite_scores": total,
        "finite_m": FINITE_M,
    }


def production(m: int, streams: int, seed: int, progress: Progress) -> dict[str, Any]:
    """The same at one false alarm in 30 days of 40 MHz, in blocks of one orbit, with a reference of m events."""
    random, p = np.random.default_rng(seed), scores()
    ref = reference(random.multinomial(m, p))
    bench = DetectorBench.of(ref, m, PRODUCTION_RUN_LENGTH, ORBIT, random)
    shapes = bench.delays(p, 1000, streams, PRODUCTION_RUN_LENGTH, progress)
    for shape in shapes.values():
        shape["ms"] = round(1e3 * shape["delay"] / CROSSINGS_HZ, 3)
    return {"m": m, "block": ORBIT, "run_length": PRODUCTION_RUN_LENGTH, "shapes": shapes, **summary(shapes)}


def summary(shapes: dict[str, Any]) -> dict[str, float]:
    """Over the shapes, the mean and the worst of the delays over their bounds."""
    foms = [shape["fom"] for shape in shapes.values()]
    return {"fom_mean": round(float(np.mean(foms)), 3), "fom_worst": max(foms)}


def cost(bench: DetectorBench, truth: Array, blocks: int = 4000) -> dict[str, float]:
    """Time of a block in the detector alone, and what that makes of 40 MHz."""
    counts = bench.random.multinomial(bench.block, truth, size=blocks)
    bench.detector.reset()
    began = time.process_time()
    for each in counts:
        bench.detector.update(each, bench.expected)
    seconds = (time.process_time() - began) / blocks
    return {
        "us_per_block": round(seconds * 1e6, 1),
        "cores_at_40_mhz_one_orbit": round(CROSSINGS_HZ / ORBIT * seconds, 3),
    }
