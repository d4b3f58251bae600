"""Grafana's dashboards as code: `python -m dashboards.build` writes all generated files beside this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from grafana_foundation_sdk.builders import dashboard, timeseries
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)

from dashboards.alerts import encoded, provisioning, rules
from dashboards.panels import (
    ANY,
    BLUE,
    DATASOURCE,
    GREEN,
    GREY,
    LEVELS,
    ONE,
    ORANGE,
    PHASES,
    RED,
    WIDTH,
    YELLOW,
    Panel,
    Query,
    band,
    cuts,
    limit,
    lines,
    number,
    rows,
    states,
    switches,
)

HERE = Path(__file__).parent
DEPLOY = HERE.parent / "deploy"
WRITTEN = "# Written by python -m dashboards.build"


def _dashboard(name: str, title: str, text: str, several: bool, panels: Sequence[Panel]) -> dashboard.Dashboard:
    """``several``: the variable ``stream`` may be all of them; else it is one."""
    stream = dashboard.QueryVariable("stream").label("Stream").query("label_values(driftd_phase, stream)")
    stream = stream.datasource(DATASOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    stream = stream.sort(VariableSort.ALPHABETICAL_ASC).multi(several).include_all(several)
    chosen = ANY if several else ONE
    found = (
        dashboard.Dashboard(f"driftd: {title}")
        .uid(f"driftd-{name}")
        .description(text)
        .tags(["driftd"])
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(stream)
        .annotation(
            dashboard.AnnotationQuery()
            .name("New generation")
            .datasource(DATASOURCE)
            .enable(True)
            .icon_color(BLUE)
            .expr(f"changes(driftd_generation{chosen}[30s]) > 0")
            .title_format("{{stream}}: another generation is active")
        )
        .annotation(
            dashboard.AnnotationQuery()
            .name("Drifts, pushes, rollbacks")
            .datasource(DataSourceRef(type_val="grafana", uid="-- Grafana --"))
            .enable(True)
            .icon_color(ORANGE)
            .target(_tagged(several))  # type: ignore[arg-type]
        )
        .link(
            dashboard.DashboardLink("driftd")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["driftd"])
            .keep_time(True)
            .include_vars(True)
        )
    )
    for number_of, panel in enumerate(panels, start=1):
        found = found.with_panel(panel.id(number_of))
    return found


def _tagged(several: bool) -> dashboard.AnnotationTarget:
    """What the daemon has written, of the one stream where it is one."""
    tags = ["driftd"] if several else ["driftd", "$stream"]
    return dashboard.AnnotationTarget().limit(100).match_any(False).tags(tags).type("tags")


def overview() -> dashboard.Dashboard:
    return _dashboard(
        "overview",
        "overview",
        "For the shifter: is anything wrong, and where?",
        True,
        [
            number("Daemon", "1 if it answers Prometheus.", ('up{job="driftd"}', ""), (None, RED), (1, GREEN)),
            number("Drifting", "Streams.", ('sum(driftd_level{level="drift"})', ""), (None, GREEN), (1, RED)),
            number(
                "Boards silent", "That did not answer last.", ("sum(1 - driftd_board_up)", ""), (None, GREEN), (1, RED)
            ),
            number(
                "Waiting",
                "For approval.",
                ('sum(driftd_phase{phase="awaiting_approval"})', ""),
                (None, GREEN),
                (1, YELLOW),
            ),
            number("Frozen", "Streams.", ('sum(driftd_phase{phase="frozen"})', ""), (None, GREEN), (1, BLUE)),
            number(
                "Alerts",
                "That fire.",
                ('count(ALERTS{alertname=~"Driftd.+", alertstate="firing"}) or vector(0)', ""),
                (None, GREEN),
                (1, RED),
            ),
            states("Verdicts", "Of each lumi section.", "level", "level", LEVELS, ANY),
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


def stream_detail() -> dashboard.Dashboard:
    cut = dashboard.QueryVariable("cut").label("Cut").query(f"label_values(driftd_cut_code{ONE}, cut)")
    cut = cut.datasource(DATASOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NUMERICAL_ASC)
    return _dashboard(
        "stream",
        "stream",
        "For the expert: one stream's scores, rates and messages.",
        False,
        [
            states("Verdict", "Of each lumi section.", "level", "level", LEVELS, ONE),
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
                "Detectors in alarm.",
                (f"driftd_detector_alarm{ONE}", "{{detector}}"),
                ("quiet", GREEN),
                ("alarm", RED),
            ),
            lines(
                "Scores",
                "Of colliding crossings.",
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


def recalibration() -> dashboard.Dashboard:
    def hourly(name: str, by: str) -> Query:
        legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
        return f"sum by ({by}) (increase(driftd_{name}_total{ANY}[1h]))", legend

    def quantile(share: float) -> Query:
        buckets = f"sum by (stream, le) (rate(driftd_fit_duration_seconds_bucket{ANY}[1h]))"
        return f"histogram_quantile({share}, {buckets})", f"{{{{stream}}}} {share:.0%}"

    return _dashboard(
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
            lines("Previews in an hour", "Of the shadow bank.", hourly("previews", "stream, outcome")),
            lines("Pushes in an hour", "Armed, and become active.", hourly("pushes", "stream, outcome")),
            lines("Judgements in an hour", "On new events, after a push.", hourly("judgements", "stream, outcome")),
            lines(
                "Errors in an hour",
                "Operations that failed, or were abandoned as the loop went on.",
                hourly("operation_errors", "stream, operation, outcome"),
            ),
            lines(
                "Rollbacks, faults, freezes",
                "In an hour.",
                (
                    f"sum by (stream, phase) (increase(driftd_phase_entries_total{ANY[:-1]}, "
                    'phase=~"rolled_back|fault|frozen"}[1h]))',
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
                "Active now.",
                ["stream", "model", "payload"],
                {"Info": (f"driftd_payload_info{ANY}", "none")},
            ),
            states("Modes", "Who decides.", "mode", "mode", {"auto": GREEN, "supervised": YELLOW, "shadow": GREY}, ANY),
        ],
    )


def board() -> dashboard.Dashboard:
    return _dashboard(
        "board",
        "boards and daemon",
        "For the expert: the boards as the daemon sees them, and the daemon itself.",
        True,
        [
            switches(
                "Boards", "Did it answer last?", ("driftd_board_up", "{{board}}"), ("silent", RED), ("answers", GREEN)
            ),
            switches(
                "Generation",
                "Are the scores of the generation that is held to be active?",
                (f"driftd_generation_mismatch{ANY}", "{{stream}}"),
                ("as expected", GREEN),
                ("another", RED),
            ),
            lines(
                "Errors of boards in an hour",
                "Turns that ended so.",
                ("increase(driftd_board_errors_total[1h])", "{{board}}"),
            ),
            lines(
                "Latched",
                "Lumi section in which the last change began, and the one now.",
                (f"driftd_latched_lumi_section{ANY}", "{{stream}} latched"),
                (f"driftd_lumi_section{ANY}", "{{stream}} now"),
                unit="none",
            ),
            lines("Boot epoch", "Of the board, by stream.", (f"driftd_board_epoch{ANY}", "{{stream}}"), unit="none"),
            lines(
                "Malformed and skipped messages",
                "By cause, in 5 minutes.",
                ("sum by (cause) (increase(driftd_messages_malformed_total[5m])) or vector(0)", "malformed {{cause}}"),
                (f"sum by (cause) (increase(driftd_messages_skipped_total{ANY}[5m]))", "skipped {{cause}}"),
            ),
            lines("Memory", "Resident.", ("driftd_resident_memory_bytes", "{{process}}"), unit="bytes"),
            lines(
                "Processor",
                "Of the daemon alone.",
                ('rate(process_cpu_seconds_total{job="driftd"}[$__rate_interval])', "{{instance}}"),
                unit="percentunit",
            ),
            lines("Open files", "Sockets among them.", ('process_open_fds{job="driftd"}', "{{instance}}"), unit="none"),
            rows(
                "Daemons", "What runs.", ["instance", "version", "python"], {"Info": ("driftd_build_info", "none")}, 12
            ),
        ],
    )


DASHBOARDS: dict[str, Callable[[], dashboard.Dashboard]] = {
    "overview": overview,
    "stream": stream_detail,
    "recalibration": recalibration,
    "board": board,
}


def files() -> dict[str, str]:
    """All that is generated, by path from here."""
    written = {f"grafana/{name}.json": encoded(build().build()) for name, build in DASHBOARDS.items()}
    written["rules.json"] = encoded(rules().build())
    written["provisioning/alerting/driftd.yml"] = (
        f"{WRITTEN}. The policies of such a file take the place of all that Grafana has.\n"
        + yaml.safe_dump(provisioning(), sort_keys=False, width=120)
    )
    written["../deploy/kubernetes/base/prometheusrule.yaml"] = (
        f"{WRITTEN} out of deploy/prometheus.\n" + yaml.safe_dump(prometheus_rule(), sort_keys=False, width=120)
    )
    return written


def prometheus_rule() -> dict[str, object]:
    """The rules of Prometheus as Kubernetes' operator of it takes them."""
    groups = [yaml.safe_load((DEPLOY / "prometheus" / f"{name}.yml").read_text()) for name in ("recording", "alerts")]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "driftd", "labels": {"app.kubernetes.io/name": "driftd"}},
        "spec": {"groups": [group for file in groups for group in file["groups"]]},
    }


def main() -> None:
    for path, text in files().items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
