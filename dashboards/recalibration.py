"""The expert's dashboard of the loops: what they propose, push, and take back."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from dashboards.frame import framed
from dashboards.panels import ANY, MODES, PHASES, Query, lines, rows, states
from monitor.loop.states import Phase

BROKEN_OFF = (Phase.ROLLED_BACK, Phase.FAULT, Phase.FROZEN)


def recalibration() -> dashboard.Dashboard:
    """Phases, modes and payloads of the streams that are chosen, and what came of fits, previews and pushes."""

    def hourly(name: str, by: str) -> Query:
        legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
        return f"sum by ({by}) (increase(driftd_{name}_total{ANY}[1h]))", legend

    def quantile(share: float) -> Query:
        buckets = f"sum by (stream, le) (rate(driftd_fit_duration_seconds_bucket{ANY}[1h]))"
        return f"histogram_quantile({share}, {buckets})", f"{{{{stream}}}} {share:.0%}"

    return framed(
        "recalibration",
        "recalibration",
        "For the expert: what the loops propose, push, and take back.",
        True,
        [
            states("Phases", "Where each stream's loop stands.", "phase", "phase", PHASES, ANY),
            lines(
                "Proposals in an hour",
                "By the knob turned and the gates' verdict.",
                hourly("proposals", "stream, knob, outcome"),
            ),
            lines(
                "Time of a fit",
                "Median and 95 % of those of the last hour.",
                quantile(0.5),
                quantile(0.95),
                unit="s",
            ),
            lines(
                "Previews in an hour",
                "Previews of the shadow bank, by what came of them.",
                hourly("previews", "stream, outcome"),
            ),
            lines(
                "Pushes in an hour",
                "Payloads that were armed, and that became active.",
                hourly("pushes", "stream, outcome"),
            ),
            lines(
                "Judgements in an hour",
                "Judgements of a new payload on new events.",
                hourly("judgements", "stream, outcome"),
            ),
            lines(
                "Errors in an hour",
                "Operations that failed, or were abandoned as the loop went on.",
                hourly("operation_errors", "stream, operation, outcome"),
            ),
            lines(
                "Rollbacks, faults, freezes",
                "How often a loop entered each of these phases in an hour.",
                (
                    f"sum by (stream, phase) (increase(driftd_phase_entries_total{ANY[:-1]}, "
                    f'phase=~"{"|".join(BROKEN_OFF)}"}}[1h]))',
                    "{{stream}} {{phase}}",
                ),
            ),
            lines(
                "Event sample",
                "Events kept that a fit could use, over those it needs.",
                (f"driftd_sample_events{ANY} / driftd_sample_events_wanted", "{{stream}}"),
                unit="percentunit",
            ),
            lines("Generation", "Active on the board.", (f"driftd_generation{ANY}", "{{stream}}"), unit="none"),
            lines(
                "Time in phase",
                "Since the loop entered it; for a frozen stream since the order.",
                (f"time() - driftd_phase_entered_timestamp_seconds{ANY}", "{{stream}}"),
                unit="s",
            ),
            rows(
                "Payloads",
                "The payload that is active now.",
                ["stream", "model", "payload"],
                {"Info": (f"driftd_payload_info{ANY}", "none")},
            ),
            states("Modes", "Who lets a payload go to the board.", "mode", "mode", MODES, ANY),
        ],
    )
