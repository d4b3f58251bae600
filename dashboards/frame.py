"""What all dashboards share: variables, annotations, links, and the order of their panels."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableRefresh,
    VariableSort,
)

from dashboards.panels import ANY, BLUE, DATASOURCE, ONE, ORANGE, Panel


def framed(name: str, title: str, text: str, several: bool, panels: Sequence[Panel]) -> dashboard.Dashboard:
    """A dashboard of panels, which stand side by side as they have room.

    Args:
        name: of its file, and of its uid after `driftd-`.
        text: for whom it is, and what it answers.
        several: the variable `stream` may be all streams; else it is one.
    """
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
