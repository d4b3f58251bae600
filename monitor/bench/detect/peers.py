"""The detectors of others on the same drifts, their settings such that they are wrong as seldom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import rel_entr

from monitor.bench.arrays import Array
from monitor.bench.detect.shapes import bound, drifts, information, reference, scores
from monitor.stats.count.binning import Binning
from monitor.stats.count.expected import Expected
from monitor.stats.detect.detectors import make_detector
from monitor.stats.detect.on_statistic import OnStatistic
from monitor.stats.detect.tuning import recorder, tune

BLOCK = 1000
"""Scores in a block of river's detectors: a KL of less is mostly noise."""
PEERS = ("adwin_kl", "adwin_rate", "page_hinkley_kl", "page_hinkley_rate", "kswin_kl")
SLOW = ("kswin_kl",)
"""Of a fifth of the record and the streams."""
FALSE_ALARMS = 30
"""To which a setting is tuned."""
GIVE_UP = 3.0
"""In run lengths: a drift that is not found by then counts as missed."""
PSI_LIMIT = 0.2
PSI_WINDOWS = (100, 1000, 10_000)


def peers(run_length: float, streams: int, seed: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """Mean delay over D* of each peer, a missed drift counted with the time of giving up, and the share missed."""
    random, p = np.random.default_rng(seed), scores()
    ref = reference(np.rint(p * 1e9).astype(np.int64))
    expected = ref.expected()
    known = Expected(expected.p, np.inf, expected.cells, expected.first, expected.nearby)
    truth = ref.cells.rebin(p)
    after = {name: (ref.cells.rebin(q), information(q, p)) for name, q in drifts(random).items()}
    found: dict[str, Any] = {}
    for peer in PEERS:
        share = 5 if peer in SLOW else 1
        allowed = FALSE_ALARMS // share
        record = recorder(peer, ref)
        for counts in random.multinomial(BLOCK, truth, size=int(allowed * run_length / BLOCK)):
            record.update(counts, known)
        tuned = tune(peer, ref, record.statistics, allowed)
        detector = make_detector(peer, ref, **{tuned.setting: tuned.value})
        assert isinstance(detector, OnStatistic)
        quiet = np.array(record.statistics)
        foms, missed = {}, 0
        for name, (drifted, kl) in after.items():
            delays = [
                _delay(detector, known, quiet, drifted, run_length, random) for _ in range(max(streams // share, 4))
            ]
            missed += sum(delay >= GIVE_UP * run_length for delay in delays)
            foms[name] = round(float(np.mean(delays)) / bound(kl, run_length), 2)
        total = len(after) * max(streams // share, 4)
        found[peer] = {
            tuned.setting: tuned.value,
            "fom_mean": round(float(np.mean(list(foms.values()))), 2),
            "missed": round(missed / total, 3),
            "fom": foms,
        }
        progress(f"{peer:18} × {found[peer]['fom_mean']:.2f} of D*, {missed} of {total} missed")
    return found


def psi_rule(seed: int, windows: int = 2000) -> dict[str, Any]:
    """How often the rule PSI > 0.2 on deciles fires between two windows of n scores.

    Without drift, and where one of them holds the worst of the drifts.
    """
    random, p = np.random.default_rng(seed), scores()
    binning = Binning.from_histogram(np.rint(p * 1e9).astype(np.int64), (), 10, ())
    worst = max(drifts(random).values(), key=lambda q: information(q, p))
    return {
        f"n_{n}": {
            "fires_without_drift": _psi_fires(binning.rebin(p), binning.rebin(p), n, windows, random),
            "fires_on_largest_drift": _psi_fires(binning.rebin(worst), binning.rebin(p), n, windows, random),
        }
        for n in PSI_WINDOWS
    }


def _psi_fires(truth: Array, p: Array, n: int, windows: int, random: np.random.Generator) -> float:
    f, g = ((random.multinomial(n, each, size=windows) + 0.5) / (n + len(p) / 2) for each in (truth, p))
    psi = (rel_entr(f, g) + rel_entr(g, f)).sum(axis=1)
    return round(float((psi > PSI_LIMIT).mean()), 4)


def _delay(
    detector: OnStatistic,
    known: Expected,
    quiet: Array,
    drifted: Array,
    run_length: float,
    random: np.random.Generator,
) -> float:
    """Scores from the drift to the alarm; before it are blocks of the record, without an alarm among them."""
    while True:
        detector.reset()
        before = int(random.integers(min(int(run_length / 2 / BLOCK), len(quiet) - 1)))
        start = int(random.integers(len(quiet) - before))
        for value in quiet[start : start + before]:
            detector.detector.update(value)
            if detector.drift_detected:
                break
        else:
            break
    limit = int(GIVE_UP * run_length / BLOCK)
    for blocks in range(1, limit + 1):
        detector.update(random.multinomial(BLOCK, drifted), known)
        if detector.drift_detected:
            return float(blocks * BLOCK)
    return GIVE_UP * run_length
