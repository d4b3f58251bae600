"""The detectors that a configuration asks for."""

from __future__ import annotations

from monitor.stats.count.reference import Reference
from monitor.stats.detect.detectors import Detector, make_detector, promises_run_length
from monitor.watch.settings import DetectSettings


def detector_settings(detect: DetectSettings, streams: int) -> dict[str, dict[str, float]]:
    """All settings, by name, of the detectors of one of so many streams.

    Those that promise a run length share that of the configuration. What aims at one without a promise (``glr``)
    aims at what they promise, or, where none does, at what a single one would.
    """
    promising = sum(map(promises_run_length, detect.detectors))
    run_length = detect.target_run_length_h * 3600 * detect.colliding_hz * max(promising, 1) * streams
    shape = {"target_run_length": run_length, "tolerated": detect.tolerated_kl}
    rate = {"target_run_length": run_length, "tolerated_change": detect.rate_tolerance}
    defaults = {"e_mixture": shape, "e_cusum": shape, "glr": shape, "e_rate": rate}
    return {name: defaults.get(name, {}) | settings for name, settings in detect.detectors.items()}


def make_detectors(detect: DetectSettings, reference: Reference, streams: int = 1) -> dict[str, Detector]:
    """The configured detectors.

    Raises:
        StatsError: an unknown detector, or settings it does not take.
    """
    return {
        name: make_detector(name, reference, **settings)
        for name, settings in detector_settings(detect, streams).items()
    }
