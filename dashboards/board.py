"""The expert's dashboard of the boards, as the daemon sees them, and of the daemon itself."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from dashboards.frame import framed
from dashboards.panels import ANY, GREEN, RED, lines, rows, switches


def board() -> dashboard.Dashboard:
    """Boards and their errors, unusable messages, and memory, processor and files of the daemon."""
    return framed(
        "board",
        "boards and daemon",
        "For the expert: the boards as the daemon sees them, and the daemon itself.",
        True,
        [
            switches(
                "Boards",
                "Did it answer when it was last asked?",
                ("driftd_board_up", "{{board}}"),
                ("silent", RED),
                ("answers", GREEN),
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
                "Times that a board did not answer, or refused.",
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
            lines(
                "Memory",
                "Resident memory of the daemon and its processes.",
                ("driftd_resident_memory_bytes", "{{process}}"),
                unit="bytes",
            ),
            lines(
                "Processor",
                "Cores that the daemon itself keeps busy.",
                ('rate(process_cpu_seconds_total{job="driftd"}[$__rate_interval])', "{{instance}}"),
                unit="percentunit",
            ),
            lines(
                "Open files",
                "Files and sockets that the daemon holds open.",
                ('process_open_fds{job="driftd"}', "{{instance}}"),
                unit="none",
            ),
            rows(
                "Daemons",
                "Versions of what runs.",
                ["instance", "version", "python"],
                {"Info": ("driftd_build_info", "none")},
                12,
            ),
        ],
    )
