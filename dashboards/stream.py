"""The expert's dashboard of one stream: its scores, rates and messages."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models.dashboard import VariableRefresh, VariableSort

from dashboards.frame import framed
from dashboards.panels import (
    DATASOURCE,
    GREEN,
    LEVELS,
    ONE,
    PHASES,
    RED,
    WIDTH,
    band,
    cuts,
    limit,
    lines,
    states,
    switches,
)


def stream() -> dashboard.Dashboard:
    """Scores, rates and messages of the one stream that is chosen; the variable `cut` is one of its cuts."""
    cut = dashboard.QueryVariable("cut").label("Cut").query(f"label_values(driftd_cut_code{ONE}, cut)")
    cut = cut.datasource(DATASOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NUMERICAL_ASC)
    return framed(
        "stream",
        "stream",
        "For the expert: one stream's scores, rates and messages.",
        False,
        [
            states("Verdict", "What each lumi section was judged to be.", "level", "level", LEVELS, ONE),
            states("Phase", "Where the loop stands.", "phase", "phase", PHASES, ONE),
            _divergence(
                "KL divergence",
                "KL(p ‖ p_ref) of each lumi section in nats, with its 95 % interval.",
                "driftd_kl_divergence",
            ),
            _divergence(
                "Population stability index",
                "Of each lumi section against p_ref, with its 95 % interval; of a small drift twice the KL.",
                "driftd_psi",
            ),
            _rate(),
            cuts(ONE, ["cut"]),
            lines(
                "KL divergence to expected",
                "To what the active payload should give; after a correction that leaves p(s) changed, not p_ref.",
                (f"driftd_kl_divergence_to_expected{ONE}", "to expected"),
                unit="none",
            ),
            lines(
                "Pull of the rates",
                "Standard deviations that a rate is off its target.",
                (f"driftd_rate_pull{ONE}", "cut {{cut}}"),
                unit="none",
            ),
            lines("Pile-up", "Mean of each lumi section.", (f"driftd_pileup{ONE}", "pile-up"), unit="none"),
            lines(
                "Chance",
                "Chi-square p-value that a lumi section differs by chance from what is expected.",
                (f"driftd_drift_p_value{ONE}", "p-value"),
                unit="none",
            ),
            lines(
                "Detectors",
                "What each saw at the end of a lumi section.",
                (f"driftd_detector_statistic{ONE}", "{{detector}}"),
                unit="none",
            ),
            switches(
                "Alarms",
                "Detectors that raised an alarm within the lumi section.",
                (f"driftd_detector_alarm{ONE}", "{{detector}}"),
                ("quiet", GREEN),
                ("alarm", RED),
            ),
            lines(
                "Scores",
                "Scores counted, of colliding crossings alone.",
                (f"rate(driftd_scores_total{ONE}[$__rate_interval])", "scores"),
                unit="cps",
            ),
            lines(
                "Messages by source",
                "What became of them; lost ones are those missed and not recovered.",
                (f"rate(driftd_messages_received_total{ONE}[$__rate_interval])", "{{source}} received"),
                (
                    f"rate(driftd_messages_missed_total{ONE}[$__rate_interval])"
                    f" - rate(driftd_messages_recovered_total{ONE}[$__rate_interval])",
                    "{{source}} lost",
                ),
                (f"rate(driftd_messages_duplicates_total{ONE}[$__rate_interval])", "{{source}} duplicate"),
                (f"rate(driftd_messages_late_total{ONE}[$__rate_interval])", "{{source}} late"),
                unit="cps",
            ),
            lines(
                "Lumi sections",
                "Number of the last one.",
                (f"driftd_lumi_section{ONE}", "lumi section"),
                unit="none",
            ),
            lines("Scores in a lumi section", "Counted.", (f"driftd_lumi_section_scores{ONE}", "scores"), unit="short"),
        ],
    ).with_variable(cut.multi(True).include_all(True))


def _divergence(title: str, text: str, metric: str) -> timeseries.Panel:
    panel = lines(
        title,
        text,
        (f"{metric}{ONE}", "to the reference"),
        (f'{metric}_bound{ONE[:-1]}, edge="lower"}}', "lower"),
        (f'{metric}_bound{ONE[:-1]}, edge="upper"}}', "upper"),
        (f"{metric}_tolerated{ONE}", "tolerated"),
        unit="none",
    )
    return limit(band(panel, "lower", "upper"), "tolerated")


def _rate() -> timeseries.Panel:
    at = '{stream="$stream", cut="$cut"}'
    edge = (
        "driftd_rate_target_hertz{at} * on (job, instance, stream) group_left () (1 {sign} driftd_rate_tolerance_ratio)"
    )
    panel = lines(
        "Rate at cut $cut",
        "With all filled bunches colliding, its target, and what is tolerated around it.",
        (f"driftd_rate_hertz{at}", "rate"),
        (f"driftd_rate_target_hertz{at}", "target"),
        (edge.format(at=at, sign="-"), "lower"),
        (edge.format(at=at, sign="+"), "upper"),
        unit="hertz",
        width=WIDTH,
    )
    return limit(band(panel, "lower", "upper"), "target").repeat("cut").repeat_direction("h").max_per_row(2)
