"""Prometheus metrics, read off the live service at each scrape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psutil
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.daemon.loop import Phase

if TYPE_CHECKING:
    from monitor.daemon.control import StreamControl
    from monitor.daemon.service import Service

LEVELS = ("ok", "watch", "drift", "thin")


def fit_seconds(registry: CollectorRegistry) -> Histogram:
    """How long the fits took; observed when one ends."""
    buckets = (0.5, 1, 2, 5, 10, 20, 60, 120)
    return Histogram("driftd_fit_seconds", "Time of a fit.", ["stream"], buckets=buckets, registry=registry)


class ServiceCollector(Collector):
    """Everything that can be read off the service; nothing is counted twice."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        yield from self._of_streams()
        yield from self._of_messages()
        yield from self._of_parts()

    def _of_streams(self) -> Iterator[Metric]:
        controls = self._service.controls
        gauges = {
            "driftd_kl_divergence": (
                "KL divergence of the last lumi section from p_ref, bias-corrected.",
                "kl",
            ),
            "driftd_psi": ("Population stability index of the last lumi section, bias-corrected.", "psi"),
            "driftd_kl_expected_divergence": (
                "KL divergence of the last lumi section from what the active payload should give.",
                "kl_expected",
            ),
            "driftd_drift_p_value": ("Chi-square p-value of the last lumi section.", "p_value"),
            "driftd_pileup": ("Mean pile-up of the last lumi section.", "pileup"),
            "driftd_last_ls": ("Number of the last closed lumi section.", "ls"),
        }
        for name, (text, key) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=["stream"])
            for stream, control in controls.items():
                value = control.last.get(key)
                if value is not None:
                    gauge.add_metric([stream], value)
            yield gauge
        yield from self._of_cuts(controls)
        yield from self._of_states(controls)

    def _of_cuts(self, controls: dict[str, StreamControl]) -> Iterator[Metric]:
        ratio = GaugeMetricFamily(
            "driftd_rate_ratio", "Rate over its target at a cut, last lumi section.", labels=["stream", "cut"]
        )
        cut_code = GaugeMetricFamily("driftd_cut_code", "Score code of a cut.", labels=["stream", "cut"])
        for stream, control in controls.items():
            for cut, value in enumerate(control.last.get("ratios", ())):
                ratio.add_metric([stream, str(cut)], value)
            for cut, value in enumerate(control.last.get("cuts", ())):
                cut_code.add_metric([stream, str(cut)], value)
        yield ratio
        yield cut_code

    def _of_states(self, controls: dict[str, StreamControl]) -> Iterator[Metric]:
        phase = GaugeMetricFamily("driftd_phase", "1 for the loop's state.", labels=["stream", "phase"])
        level = GaugeMetricFamily("driftd_level", "1 for the last verdict.", labels=["stream", "level"])
        generation = GaugeMetricFamily("driftd_generation", "Active generation.", labels=["stream"])
        closed = CounterMetricFamily("driftd_ls_closed", "Lumi sections judged.", labels=["stream"])
        outcomes = CounterMetricFamily(
            "driftd_operations",
            "Fits, pushes and rollbacks by outcome.",
            labels=["stream", "operation", "outcome"],
        )
        for stream, control in controls.items():
            for each in Phase:
                phase.add_metric([stream, each], float(control.state.phase is each))
            for name in LEVELS:
                level.add_metric([stream, name], float(control.last.get("level") == name))
            generation.add_metric([stream], control.state.generation)
            closed.add_metric([stream], control.ls_closed)
            for (operation, outcome), count in control.outcomes.items():
                outcomes.add_metric([stream, operation, outcome], count)
        yield from (phase, level, generation, closed, outcomes)

    def _of_messages(self) -> Iterator[Metric]:
        receiver = self._service.receiver
        scores = CounterMetricFamily("driftd_scores", "Scores of colliding crossings counted.", labels=["stream"])
        by_source = {
            name: CounterMetricFamily(f"driftd_messages_{name}", text, labels=["stream", "source"])
            for name, text in (
                ("received", "Messages counted."),
                ("lost", "Messages missing from a source's sequence."),
                ("duplicates", "Messages that had come before."),
                ("late", "Messages of a lumi section that was already closed."),
            )
        }
        skipped = CounterMetricFamily(
            "driftd_messages_skipped", "Sound messages that could not be counted.", labels=["stream", "cause"]
        )
        malformed = CounterMetricFamily(
            "driftd_messages_malformed", "Messages that are no batch.", labels=["cause", "source"]
        )
        for stream, monitor in receiver.streams.items():
            scores.add_metric([stream], monitor.scores)
            for source, totals in monitor.totals().items():
                for name, family in by_source.items():
                    family.add_metric([stream, source], getattr(totals, name))
            for cause, count in monitor.skipped.copy().items():
                skipped.add_metric([stream, cause], count)
        for (cause, source), count in receiver.malformed.copy().items():
            malformed.add_metric([cause, source], count)
        yield from (scores, *by_source.values(), skipped, malformed)

    def _of_parts(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("driftd_board_up", "1 if the board answered last.", labels=["board"])
        for board, link in self._service.boards.items():
            up.add_metric([board], float(link.up))
        yield up
        memory = GaugeMetricFamily("driftd_resident_memory_bytes", "Resident memory.", labels=["process"])
        memory.add_metric(["daemon"], psutil.Process().memory_info().rss)
        for name, size in self._service.memory().items():
            memory.add_metric([name], size)
        yield memory
