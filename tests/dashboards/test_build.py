"""The dashboards: in step with their code, sound by Grafana's schemas, and readable."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dashboards import alerts as alerting
from dashboards import build, panels
from monitor.daemon.grafana import client as grafana
from monitor.loop.states import Phase
from monitor.terms import Level
from tests.support.grafana_stub import SCHEMAS, faults_of

GRAFANA = build.HERE / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(GRAFANA.glob("*.json"))}
PANELS = [(name, panel) for name, board in DASHBOARDS.items() for panel in board["panels"]]
needs_schemas = pytest.mark.skipif(not SCHEMAS.exists(), reason="needs Grafana's schemas in ../shared/schemas")
each_panel = pytest.mark.parametrize(
    ("name", "panel"), PANELS, ids=[f"{name} {panel['title']}" for name, panel in PANELS]
)


def test_the_files_are_what_the_code_makes() -> None:
    """After a change of build.py or of the alerts: python -m dashboards.build."""
    for path, text in build.files().items():
        assert (build.HERE / path).read_text() == text, path
    assert {f"{name}.json" for name in build.DASHBOARDS} == {path.name for path in GRAFANA.iterdir()}


@needs_schemas
@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_keeps_to_the_schema(name: str) -> None:
    assert faults_of(DASHBOARDS[name], "dashboard", "Dashboard") == []


@needs_schemas
@each_panel
def test_a_panel_keeps_to_its_kinds_schema(name: str, panel: dict[str, Any]) -> None:
    kind = panel["type"].replace("-", "")
    assert faults_of(panel["options"], kind, "Options") == []
    if "custom" in panel["fieldConfig"]["defaults"]:
        assert faults_of(panel["fieldConfig"]["defaults"]["custom"], kind, "FieldConfig") == []


@needs_schemas
def test_rules_contacts_and_policy_keep_to_the_schema() -> None:
    assert faults_of(json.loads((build.HERE / "rules.json").read_text()), "alerting", "RuleGroup") == []
    for name in ("shifter", "expert", "log"):
        assert faults_of(alerting.plain(alerting.contact(name)), "alerting", "ContactPoint") == []
    assert faults_of(alerting.plain(alerting.policy()), "alerting", "NotificationPolicy") == []


@each_panel
def test_a_panel_says_what_it_shows_in_what_unit(name: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"]
    assert panel["datasource"]["uid"] == "${datasource}"
    if panel["type"] in ("timeseries", "stat"):
        assert panel["fieldConfig"]["defaults"]["unit"]
    if panel["type"] == "timeseries":
        assert all(target["legendFormat"] for target in panel["targets"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_panel_lies_on_another_or_beyond_the_edge(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= panels.WIDTH
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_the_curves_that_are_styled_by_name_exist(name: str) -> None:
    """A band or a limit whose legend was renamed would silently be drawn as any curve."""
    for panel in DASHBOARDS[name]["panels"]:
        legends = {target.get("legendFormat") for target in panel["targets"]}
        renamed = {
            new for each in panel.get("transformations", []) for new in each["options"].get("renameByName", {}).values()
        }
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["options"] in legends | renamed
            for each in override["properties"]:
                if each["id"] == "custom.fillBelowTo":
                    assert each["value"] in legends


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_that_is_used_is_defined(name: str) -> None:
    board = DASHBOARDS[name]
    defined = {variable["name"] for variable in board["templating"]["list"]}
    asked = json.dumps([board["panels"], board["annotations"]])
    assert set(re.findall(r"\$\{?(\w+)", asked)) - {"__rate_interval"} <= defined
    assert "stream" in defined


def test_each_alert_of_prometheus_is_a_rule_with_the_same_expression_and_wait() -> None:
    groups = yaml.safe_load(alerting.ALERTS.read_text())["groups"]
    alerts = [alert for group in groups for alert in group["rules"]]
    rules = json.loads((build.HERE / "rules.json").read_text())["rules"]
    assert [rule["title"] for rule in rules] == [alert["alert"] for alert in alerts]
    for rule, alert in zip(rules, alerts, strict=True):
        assert rule["data"][0]["model"]["expr"] == alert["expr"].strip()
        assert rule["for"] == alert.get("for", "0s")
        assert rule["labels"] == alert["labels"]
        assert len(rule["uid"]) <= 40


def test_the_provisioned_files_are_yaml_and_name_each_other_rightly() -> None:
    files = {
        path.parent.name: yaml.safe_load(path.read_text()) for path in Path(build.HERE).glob("provisioning/*/*.yml")
    }
    assert files["datasources"]["datasources"][0]["uid"] == alerting.RULES_DATASOURCE
    assert files["dashboards"]["providers"][0]["folderUid"] == alerting.FOLDER
    known = {point["name"] for point in files["alerting"]["contactPoints"]}
    policy = files["alerting"]["policies"][0]
    assert {policy["receiver"], *(route["receiver"] for route in policy["routes"])} == known


def test_every_phase_and_verdict_has_its_colour_and_both_sides_agree_on_names() -> None:
    assert list(panels.PHASES) == [str(phase) for phase in Phase]
    assert set(panels.LEVELS) == set(get_args(Level))
    assert (grafana.FOLDER, grafana.RULES_DATASOURCE) == (alerting.FOLDER, alerting.RULES_DATASOURCE)
