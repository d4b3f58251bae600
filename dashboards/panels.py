"""What the dashboards are made of: panels of one look, each with its explanation, unit and legends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models.common import DataSourceRef, LegendDisplayMode, VisibilityMode
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitor.loop.states import Mode, Phase
from monitor.terms import Level

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"
PHASES = {
    Phase.WARMING: GREY,
    Phase.WATCHING: GREEN,
    Phase.COLLECTING: YELLOW,
    Phase.FITTING: "light-blue",
    Phase.GATING: BLUE,
    Phase.AWAITING_APPROVAL: "purple",
    Phase.STAGING: "light-orange",
    Phase.PREVIEWING: ORANGE,
    Phase.ARMED: "dark-orange",
    Phase.CONFIRMING: "light-green",
    Phase.ROLLED_BACK: "light-red",
    Phase.FROZEN: "dark-blue",
    Phase.FAULT: RED,
}
MODES = {Mode.AUTO: GREEN, Mode.SUPERVISED: YELLOW, Mode.SHADOW: GREY}
LEVELS: dict[Level, str] = {"thin": GREY, "ok": GREEN, "watch": YELLOW, "drift": RED}
ONE = '{stream="$stream"}'
ANY = '{stream=~"$stream"}'
Panel = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel
Query = tuple[str, str]
"""PromQL and its legend."""


def _targets(panel: Any, queries: Sequence[Query], instant: bool = False) -> Any:
    for letter, (asked, legend) in zip("ABCDEFGH", queries, strict=False):
        query = prometheus.Dataquery().ref_id(letter).expr(asked).legend_format(legend).datasource(DATASOURCE)
        panel = panel.with_target(query.instant() if instant else query.range())
    return panel.datasource(DATASOURCE)


def _thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    found = [Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(found)


def _properties(**values: Any) -> list[DynamicConfigValue]:
    return [DynamicConfigValue(id_val=name.replace("__", "."), value=value) for name, value in values.items()]


def lines(title: str, text: str, *queries: Query, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Curves over time; ``text`` explains them to whoever asks."""
    panel = timeseries.Panel().title(title).description(text).unit(unit).span(width).height(8)
    panel = panel.line_width(1).fill_opacity(0).show_points(VisibilityMode.AUTO).span_nulls(False)
    panel = panel.legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(True))
    found: timeseries.Panel = _targets(panel, queries)
    return found


def band(panel: timeseries.Panel, lower: str, upper: str) -> timeseries.Panel:
    """Fill between two curves, by legend, and draw no lines for them."""
    pale = {"custom__lineWidth": 0, "color": {"mode": "fixed", "fixedColor": BLUE}}
    panel = panel.override_by_name(upper, _properties(custom__fillBelowTo=lower, custom__fillOpacity=15, **pale))
    return panel.override_by_name(lower, _properties(**pale))


def limit(panel: timeseries.Panel, name: str) -> timeseries.Panel:
    """Draw a curve, by legend, as a dashed red line."""
    style = {"fill": "dash", "dash": [10, 10]}
    return panel.override_by_name(
        name, _properties(custom__lineStyle=style, color={"mode": "fixed", "fixedColor": RED})
    )


def number(title: str, text: str, query: Query, *steps: tuple[float | None, str], unit: str = "short") -> stat.Panel:
    """One number now, or one of each stream, coloured by thresholds."""
    panel = stat.Panel().title(title).description(text).unit(unit).span(4).height(4).thresholds(_thresholds(*steps))
    found: stat.Panel = _targets(panel, [query], instant=True)
    return found


def states(title: str, text: str, metric: str, label: str, of: Mapping[Any, str], stream: str) -> statetimeline.Panel:
    """Which state each stream is in, over time.

    Args:
        metric: after `driftd_`; a gauge that is 1 for the state in which the stream is, and 0 for the others.
        label: of the metric, which names the state.
        of: every state and its colour.
        stream: the selector of the streams, `ONE` or `ANY`.
    """
    each = [f'driftd_{metric}{stream[:-1]}, {label}="{name}"}} * {index}' for index, name in enumerate(of)]
    chosen = f"sum by (stream) ({' or '.join(each)})"
    results = {
        str(index): ValueMappingResult(text=name.replace("_", " "), color=color, index=index)
        for index, (name, color) in enumerate(of.items())
    }
    panel = statetimeline.Panel().title(title).description(text).span(WIDTH).height(5)
    panel = panel.mappings([ValueMap(options=results)]).merge_values(True)
    found: statetimeline.Panel = _targets(panel, [(chosen, "{{stream}}")])
    return found


def switches(title: str, text: str, query: Query, off: tuple[str, str], on: tuple[str, str]) -> statetimeline.Panel:
    """A gauge of 0 and 1 over time; (text, colour) of each."""
    results = {
        str(value): ValueMappingResult(text=word, color=color, index=value)
        for value, (word, color) in enumerate((off, on))
    }
    panel = statetimeline.Panel().title(title).description(text).span(12).height(6)
    panel = panel.mappings([ValueMap(options=results)]).merge_values(True)
    found: statetimeline.Panel = _targets(panel, [query])
    return found


def rows(
    title: str, text: str, by: Sequence[str], columns: dict[str, tuple[str, str]], width: int = WIDTH
) -> table.Panel:
    """A table now: a row for each value of the labels ``by``; columns by heading, as (PromQL, unit)."""
    panel = table.Panel().title(title).description(text).span(width).height(8).datasource(DATASOURCE)
    names = {}
    for letter, (heading, (asked, unit)) in zip("ABCDEFGH", columns.items(), strict=False):
        query = prometheus.Dataquery().ref_id(letter).datasource(DATASOURCE).instant().format(PromQueryFormat.TABLE)
        panel = panel.with_target(query.expr(f"max by ({', '.join(by)}) ({asked})"))
        names[f"Value #{letter}" if len(columns) > 1 else "Value"] = heading
        panel = panel.override_by_name(heading, _properties(unit=unit))
    hidden = {"Time": True}
    return panel.with_transformation(DataTransformerConfig(id_val="merge", options={})).with_transformation(
        DataTransformerConfig(id_val="organize", options={"excludeByName": hidden, "renameByName": names})
    )


def cuts(stream: str, by: Sequence[str]) -> table.Panel:
    """A table of code, rate, target and pull at each cut now; `stream` is the selector `ONE` or `ANY`."""
    return rows(
        "Cuts",
        "The last lumi section at each cut. A pull is how many standard deviations the rate is off its target.",
        by,
        {
            "Code": (f"driftd_cut_code{stream}", "none"),
            "Rate": (f"driftd_rate_hertz{stream}", "hertz"),
            "Target": (f"driftd_rate_target_hertz{stream}", "hertz"),
            "Rate over target": (f"driftd_rate_ratio{stream}", "none"),
            "Pull": (f"driftd_rate_pull{stream}", "none"),
        },
    )
