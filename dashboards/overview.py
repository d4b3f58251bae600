"""The shifter's dashboard: is anything wrong, and where?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from dashboards.frame import framed
from dashboards.panels import ANY, BLUE, GREEN, LEVELS, PHASES, RED, YELLOW, cuts, limit, lines, number, states
from monitor.loop.states import Phase


def overview() -> dashboard.Dashboard:
    """Levels, phases, rates and silences of the streams that are chosen, and counts of what needs somebody."""
    return framed(
        "overview",
        "overview",
        "For the shifter: is anything wrong, and where?",
        True,
        [
            number("Daemon", "1 if it answers Prometheus.", ('up{job="driftd"}', ""), (None, RED), (1, GREEN)),
            number(
                "Drifting",
                "Streams whose last lumi section drifts.",
                ('sum(driftd_level{level="drift"})', ""),
                (None, GREEN),
                (1, RED),
            ),
            number(
                "Boards silent",
                "Boards that did not answer when they were last asked.",
                ("sum(1 - driftd_board_up)", ""),
                (None, GREEN),
                (1, RED),
            ),
            number(
                "Waiting",
                "Streams with a proposal that waits for approval.",
                (f'sum(driftd_phase{{phase="{Phase.AWAITING_APPROVAL}"}})', ""),
                (None, GREEN),
                (1, YELLOW),
            ),
            number(
                "Frozen",
                "Streams to whose board nothing is written.",
                (f'sum(driftd_phase{{phase="{Phase.FROZEN}"}})', ""),
                (None, GREEN),
                (1, BLUE),
            ),
            number(
                "Alerts",
                "Alerts of driftd that fire.",
                ('count(ALERTS{alertname=~"Driftd.+", alertstate="firing"}) or vector(0)', ""),
                (None, GREEN),
                (1, RED),
            ),
            states("Verdicts", "What each lumi section was judged to be.", "level", "level", LEVELS, ANY),
            states("Phases", "Where each stream's loop stands.", "phase", "phase", PHASES, ANY),
            limit(
                lines(
                    "KL over tolerated",
                    "KL divergence to the reference over the tolerated one: above 1 a drift is large enough to matter.",
                    (f"driftd_kl_divergence{ANY} / driftd_kl_divergence_tolerated", "{{stream}}"),
                    ("vector(1)", "tolerated"),
                ),
                "tolerated",
            ),
            lines(
                "Rate over target",
                "At every cut; the last lumi section.",
                (f"driftd_rate_ratio{ANY}", "{{stream}} cut {{cut}}"),
            ),
            lines("Pile-up", "Mean of each lumi section.", (f"driftd_pileup{ANY}", "{{stream}}"), unit="none"),
            lines(
                "Silence",
                "Since the last message, and since the last lumi section was judged.",
                (f"time() - driftd_last_message_timestamp_seconds{ANY}", "{{stream}} message"),
                (f"time() - driftd_lumi_section_judged_timestamp_seconds{ANY}", "{{stream}} lumi section"),
                unit="s",
            ),
            cuts(ANY, ["stream", "cut"]),
        ],
    )
