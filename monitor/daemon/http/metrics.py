"""Prometheus metrics, read off the running daemon at each scrape.

Labels are bounded: streams, cuts, detectors, knobs and boards by the configuration, phases and outcomes by
the code, sources and causes by what the receiver keeps.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.daemon.http.context import Context
from monitor.daemon.run.building import StreamAtWork
from monitor.daemon.run.runner import Runner
from monitor.loop import commands
from monitor.loop.states import Mode, Phase
from monitor.terms import LS_SECONDS, Level
from monitor.watch.stream import Skipped
from recalib.knobs.names import NO_KNOB

ORBIT_HZ = 2**18 / LS_SECONDS
FIT_BUCKETS_S = (0.5, 1, 2, 5, 10, 20, 60, 120, 300)

Row = tuple[Sequence[str], float | None]
"""Label values and a value; None where there is none to tell."""

LAST = {
    "driftd_run_number": ("run", "Run of the last lumi section."),
    "driftd_lumi_section": ("ls", "Number of the last lumi section."),
    "driftd_lumi_section_scores": ("n", "Scores counted in the last lumi section."),
    "driftd_pileup": ("pileup", "Mean pile-up of the last lumi section."),
    "driftd_kl_divergence": ("kl", "KL divergence from p_ref in nats, free of the mean that statistics alone give."),
    "driftd_kl_divergence_to_expected": ("kl_expected", "The same from what the active payload should give."),
    "driftd_psi": ("psi", "Population stability index against p_ref, free of the mean that statistics alone give."),
    "driftd_wasserstein_distance": ("wasserstein", "Wasserstein-1 distance to p_ref in units of the score."),
    "driftd_drift_p_value": ("p_value", "Chi-square p-value of the last lumi section's not drifting."),
}
"""Of the last lumi section: the gauge, its name in `LastLs`, and its help."""

PROPOSALS = ("accepted", "rejected")
OPERATIONS = tuple(work.operation() for work in commands.Work.__subclasses__())
ENDINGS = ("failed", "abandoned")
MESSAGES = {
    "received": "Messages counted.",
    "missed": "Messages that were missing in a source's sequence when a later one came.",
    "recovered": "Messages that had been missed and came after all.",
    "duplicates": "Messages that had come before.",
    "late": "Messages of a lumi section that was already closed.",
}
"""Of a source: the counter's name, which is that of the field of `Accounting`, and its help."""


def fit_seconds(registry: CollectorRegistry) -> Histogram:
    """How long the fits took; observed when one ends."""
    return Histogram(
        "driftd_fit_duration_seconds", "Time of a fit.", ["stream"], buckets=FIT_BUCKETS_S, registry=registry
    )


def gauge(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    """A gauge with a sample for each row that has a value."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), rows)


def counter(name: str, text: str, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
    """A counter with a sample for each row that has a value; Prometheus sees its name with `_total`."""
    return _filled(CounterMetricFamily(name, text, labels=labels), rows)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, rows: Iterable[Row]) -> Metric:
    for labels, value in rows:
        if value is not None:
            family.add_metric(labels, value)
    return family


class DaemonCollector(Collector):
    """Everything that can be read off the parts of the daemon; nothing is counted twice.

    Args:
        annotations: how many annotations for Grafana came to which end; nothing where there is no Grafana.
    """

    def __init__(self, reached: Context, annotations: Callable[[], Mapping[str, int]]) -> None:
        self._reached = reached
        self._annotations = annotations

    def collect(self) -> Iterator[Metric]:
        """Read all."""
        works = list(self._reached.streams.values())
        runners = [work.runner for work in works]
        yield from _of_last(runners)
        yield from _of_cuts(works)
        yield from _of_detectors(runners)
        yield from _of_states(runners)
        yield from _of_outcomes(runners)
        yield from self._of_time()
        yield from self._of_messages()
        yield from self._of_parts()

    def _of_time(self) -> Iterator[Metric]:
        overview = self._reached.overview
        ahead = time.time() - time.monotonic()
        seen = overview.receiver.last_message
        yield gauge(
            "driftd_last_message_timestamp_seconds",
            "When the last message came, or the daemon started.",
            ["stream"],
            (([name], ahead + seen[name] if name in seen else overview.started_at) for name in overview.streams),
        )
        yield gauge(
            "driftd_silent_limit_seconds",
            "Time without messages after which a stream is not ready.",
            ["stream"],
            (([name], overview.silent_after_s()) for name in overview.streams),
        )

    def _of_messages(self) -> Iterator[Metric]:
        receiver = self._reached.overview.receiver
        streams = receiver.streams.items()
        yield counter(
            "driftd_scores",
            "Scores of colliding crossings counted.",
            ["stream"],
            (([name], monitor.scores) for name, monitor in streams),
        )
        totals = {name: monitor.totals() for name, monitor in streams}
        for field, text in MESSAGES.items():
            rows = (
                ([stream, source], getattr(account, field))
                for stream, accounts in totals.items()
                for source, account in accounts.items()
            )
            yield counter(f"driftd_messages_{field}", text, ["stream", "source"], rows)
        yield counter(
            "driftd_messages_skipped",
            "Sound messages that could not be counted.",
            ["stream", "cause"],
            (
                ([name, cause], monitor.skipped.get(cause, 0))
                for name, monitor in streams
                for cause in get_args(Skipped)
            ),
        )
        yield counter(
            "driftd_messages_malformed",
            "Messages that are no batch.",
            ["cause", "source"],
            ((key, n) for key, n in receiver.malformed.copy().items()),
        )

    def _of_parts(self) -> Iterator[Metric]:
        reached = self._reached
        boards = reached.overview.boards.items()
        yield gauge(
            "driftd_board_up", "1 if the board answered last.", ["board"], (([name], link.up) for name, link in boards)
        )
        yield counter(
            "driftd_board_errors",
            "Turns at a board that ended with its not answering, or refusing.",
            ["board"],
            (([name], link.errors) for name, link in boards),
        )
        yield counter(
            "driftd_http_requests",
            "Requests by the route that took them; of no route, `other`.",
            ["method", "route", "status"],
            ((key, n) for key, n in reached.requests.copy().items()),
        )
        yield gauge(
            "driftd_event_listeners", "Clients that listen to events.", [], [([], len(reached.broadcast.clients))]
        )
        yield counter("driftd_audit_entries", "Entries of the audit.", [], [([], reached.audit.count)])
        if annotations := self._annotations():
            yield counter(
                "driftd_annotations",
                "Annotations for Grafana: written, failed, or dropped as too many waited.",
                ["outcome"],
                (([outcome], n) for outcome, n in annotations.items()),
            )
        yield gauge(
            "driftd_resident_memory_bytes",
            "Resident memory of the daemon and its processes.",
            ["process"],
            (([name], size) for name, size in reached.overview.memory().items()),
        )
        yield gauge(
            "driftd_build_info",
            "1; what runs.",
            ["version", "python"],
            [([version("driftd"), platform.python_version()], 1)],
        )


def _of_last(runners: list[Runner]) -> Iterator[Metric]:
    for name, (key, text) in LAST.items():
        yield gauge(name, text, ["stream"], (([each.name], _shown(each, key)) for each in runners))
    for name, text in {"kl": "KL divergence from p_ref", "psi": "population stability index"}.items():
        rows = (
            ([each.name, edge], value)
            for each in runners
            for edge, value in zip(("lower", "upper"), _shown(each, f"{name}_interval") or (), strict=False)
        )
        family = "driftd_kl_divergence_bound" if name == "kl" else "driftd_psi_bound"
        yield gauge(family, f"Edges of the 95 % interval of the {text}.", ["stream", "edge"], rows)
    yield gauge(
        "driftd_kl_divergence_tolerated",
        "KL divergence in nats up to which nothing is called a drift.",
        ["stream"],
        (([each.name], each.settings.detect.tolerated_kl) for each in runners),
    )
    yield gauge(
        "driftd_psi_tolerated",
        "The population stability index of a small drift of the tolerated KL divergence: twice that.",
        ["stream"],
        (([each.name], 2 * each.settings.detect.tolerated_kl) for each in runners),
    )
    yield gauge(
        "driftd_rate_tolerance_ratio",
        "Relative change of a rate up to which nothing is called a drift.",
        ["stream"],
        (([each.name], each.settings.detect.rate_tolerance) for each in runners),
    )


def _of_cuts(works: list[StreamAtWork]) -> Iterator[Metric]:
    def rows(key: str) -> Iterator[Row]:
        return (
            ([each.runner.name, str(cut)], value)
            for each in works
            for cut, value in enumerate(_shown(each.runner, key) or ())
        )

    def hertz(key: str) -> Iterator[Row]:
        return (
            ([each.runner.name, str(cut)], value * ORBIT_HZ * filled)
            for each in works
            if (filled := each.monitor.filled) is not None
            for cut, value in enumerate(_shown(each.runner, key) or ())
        )

    labels = ["stream", "cut"]
    yield gauge("driftd_cut_code", "Score code of a cut.", labels, rows("cuts"))
    yield gauge("driftd_accept_ratio", "Share of the colliding crossings at or above a cut.", labels, rows("rates"))
    yield gauge("driftd_accept_target_ratio", "The share that is to be.", labels, rows("targets"))
    yield gauge("driftd_rate_hertz", "Rate at a cut, all filled bunches colliding.", labels, hertz("rates"))
    yield gauge("driftd_rate_target_hertz", "The rate that is to be.", labels, hertz("targets"))
    yield gauge("driftd_rate_ratio", "Rate over its target at a cut.", labels, rows("ratios"))
    yield gauge("driftd_rate_pull", "Standard deviations that this ratio is off 1.", labels, rows("pulls"))
    yield gauge(
        "driftd_filled_bunches",
        "Colliding crossings of an orbit.",
        ["stream"],
        (([each.runner.name], each.monitor.filled) for each in works),
    )


def _of_detectors(runners: list[Runner]) -> Iterator[Metric]:
    labels = ["stream", "detector"]
    alarms = [
        (each.name, alarm)
        for each in runners
        if (reports := each.parts.collected.reports)
        for alarm in reports[-1][0].alarms
    ]
    yield gauge(
        "driftd_detector_statistic",
        "What a detector saw at the end of the last lumi section.",
        labels,
        (([stream, alarm.detector], alarm.statistic) for stream, alarm in alarms),
    )
    yield gauge(
        "driftd_detector_alarm",
        "1 if it raised an alarm within.",
        labels,
        (([stream, alarm.detector], alarm.drift) for stream, alarm in alarms),
    )


def _of_states(runners: list[Runner]) -> Iterator[Metric]:
    def one_of(name: str, text: str, label: str, choices: Iterable[str], chosen: Callable[[Runner], str]) -> Metric:
        rows = (([each.name, choice], chosen(each) == choice) for each in runners for choice in choices)
        return gauge(name, text, ["stream", label], rows)

    def of(name: str, text: str, value: Callable[[Runner], float | None]) -> Metric:
        return gauge(name, text, ["stream"], (([each.name], value(each)) for each in runners))

    yield one_of("driftd_phase", "1 for the loop's phase.", "phase", Phase, lambda each: each.state.phase)
    yield one_of("driftd_mode", "1 for who decides.", "mode", Mode, lambda each: each.state.mode)
    yield one_of(
        "driftd_level", "1 for the last verdict.", "level", get_args(Level), lambda each: _shown(each, "level") or ""
    )
    yield of(
        "driftd_phase_entered_timestamp_seconds", "When the phase was entered.", lambda each: each.activity.entered_at
    )
    yield of(
        "driftd_lumi_section_judged_timestamp_seconds",
        "When the last lumi section was judged, or the daemon started.",
        lambda each: each.activity.judged_at,
    )
    yield of("driftd_generation", "Active generation; -1 before the board is read.", lambda each: each.state.generation)
    yield of("driftd_board_epoch", "Boot epoch of the board that it is of.", lambda each: each.state.epoch)
    yield of(
        "driftd_latched_lumi_section",
        "Lumi section in which the last change of more than the cuts began; 0 for none.",
        lambda each: each.state.latched[1],
    )
    yield of(
        "driftd_generation_mismatch",
        "1 if the last lumi section's scores are of another generation or epoch than the active one.",
        _mismatch,
    )
    yield of(
        "driftd_sample_events", "Events kept of the scores' present meaning.", lambda each: each.parts.collected.events
    )
    yield of(
        "driftd_sample_events_wanted", "Events that a fit needs.", lambda each: each.settings.recalibrate.min_events
    )
    yield gauge(
        "driftd_payload_info",
        "1; the active payload.",
        ["stream", "model", "payload"],
        (([each.name, each.loaded.package.model.id[:12], each.state.payload[:12]], 1) for each in runners),
    )


def _shown(runner: Runner, name: str) -> Any:
    """A field of the last lumi section's summary; None before there is one."""
    return getattr(runner.last, name, None)


def _mismatch(runner: Runner) -> float | None:
    """None before a board was read and scores have come."""
    if runner.last is None or runner.state.generation < 0:
        return None
    active = runner.state.epoch, runner.state.generation
    return float((runner.last.epoch, runner.last.generation) != active)


def _of_outcomes(runners: list[Runner]) -> Iterator[Metric]:
    """Every pair of labels is there from the start, so that the first of them is an increase."""

    def ended(name: str, text: str, operation: str, *outcomes: str) -> Metric:
        rows = (
            ([each.name, outcome], each.activity.outcomes[operation, outcome])
            for each in runners
            for outcome in outcomes
        )
        return counter(name, text, ["stream", "outcome"], rows)

    yield counter(
        "driftd_lumi_sections",
        "Lumi sections judged.",
        ["stream"],
        (([each.name], each.activity.ls_closed) for each in runners),
    )
    yield counter(
        "driftd_proposals",
        "Proposals by the knob turned, the cuts aside, and the gates' verdict.",
        ["stream", "knob", "outcome"],
        (
            ([each.name, knob, outcome], each.parts.fitter.proposals[knob, outcome])
            for each in runners
            for knob in (*each.settings.recalibrate.knobs, NO_KNOB)
            for outcome in PROPOSALS
        ),
    )
    yield ended("driftd_previews", "Previews of a shadow bank by what came of them.", "preview", "good", "bad")
    yield ended("driftd_pushes", "Payloads sent to the board: armed, and become active.", "push", "armed", "latched")
    yield ended("driftd_judgements", "Judgements of new payloads on new events.", "push", "good", "harmful")
    yield counter(
        "driftd_operation_errors",
        "Operations that did not come to their end.",
        ["stream", "operation", "outcome"],
        (
            ([each.name, operation, outcome], each.activity.outcomes[operation, outcome])
            for each in runners
            for operation in OPERATIONS
            for outcome in ENDINGS
        ),
    )
    yield counter(
        "driftd_phase_entries",
        "Times that the loop has entered a phase; of rolled_back, rollbacks.",
        ["stream", "phase"],
        (([each.name, phase], each.activity.entries[phase]) for each in runners for phase in Phase),
    )
