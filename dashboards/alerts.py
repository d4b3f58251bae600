"""The alert rules of Prometheus and the routes of Alertmanager, for a site whose Grafana calls people instead.

Both are read from `deploy`: a rule or a route is written there alone. Where Alertmanager calls people, leave these
out: everybody would be called twice.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import alerting, expr, prometheus
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.alerting import NotificationPolicy as Route
from grafana_foundation_sdk.models.alerting import RelativeTimeRange
from grafana_foundation_sdk.models.common import DataSourceRef

from monitor.daemon.grafana.client import FOLDER, RULES_DATASOURCE

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
ALERTMANAGER = DEPLOY / "alertmanager" / "alertmanager.yml"
EXPRESSION = DataSourceRef(type_val="__expr__", uid="__expr__")
GROUP_INTERVAL_S = 10
RANGE_S = 600
WHATEVER = "is_number($query) || is_nan($query) || is_inf($query)"
"""True for every series that the query gives: as in Prometheus, the expression alone says what fires."""


def rule(alert: dict[str, Any]) -> alerting.Rule:
    """An alert of `deploy/prometheus/alerts.yml` for Grafana: it fires for every series that its expression gives."""
    question = prometheus.Dataquery().ref_id("query").expr(alert["expr"].strip()).instant()
    found = expr.TypeMath().ref_id("threshold").expression(WHATEVER).datasource(EXPRESSION)
    name = alert["alert"]
    return (
        alerting.Rule(name)
        .uid(name.lower())
        .rule_group(FOLDER)
        .folder_uid(FOLDER)
        .org_id(1)
        .condition("threshold")
        .for_val(alert.get("for", "0s"))
        .no_data_state("OK")
        .exec_err_state("Error")
        .labels(alert["labels"])
        .annotations(
            {
                "summary": alert["annotations"]["summary"],
                "description": "The alert's expression gives {{ $values.query }}.",
                "runbook": alert["annotations"]["runbook"],
            }
        )
        .with_query(_query("query", RULES_DATASOURCE, question))
        .with_query(_query("threshold", "__expr__", found))
    )


def _query(name: str, datasource: str, model: Any) -> alerting.Query:
    asked = alerting.Query(name).datasource_uid(datasource).model(model)
    return asked.relative_time_range(RelativeTimeRange(RANGE_S, 0))


def rules() -> alerting.RuleGroup:
    """All alerts of `deploy/prometheus/alerts.yml` as one group, evaluated every `GROUP_INTERVAL_S` seconds."""
    alerts = [each for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for each in group["rules"]]
    group = alerting.RuleGroup(FOLDER).folder_uid(FOLDER).interval(GROUP_INTERVAL_S)
    return group.rules([rule(alert) for alert in alerts])


def contacts() -> list[alerting.ContactPoint]:
    """Whom Alertmanager calls, by the same webhooks."""
    return [_contact(each["name"], each["webhook_configs"][0]["url"]) for each in _alertmanager()["receivers"]]


def _contact(name: str, url: str) -> alerting.ContactPoint:
    point = alerting.ContactPoint().name(name).uid(f"driftd-{name}").type("webhook")
    return point.settings({"url": url}).disable_resolve_message(False)


def policy() -> alerting.NotificationPolicy:
    """Who is called for what: the routes of Alertmanager, each of which matches one severity."""
    root = _alertmanager()["route"]
    routes: list[Builder[Route]] = [
        alerting.NotificationPolicy().receiver(route["receiver"]).object_matchers([matcher.split()])
        for route in root["routes"]
        for matcher in route["matchers"]
    ]
    return alerting.NotificationPolicy().receiver(root["receiver"]).group_by(root["group_by"]).routes(routes)


def _alertmanager() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    return found


def provisioning() -> dict[str, Any]:
    """Rules, contact points and policy in the form of the files that Grafana reads at its start."""
    group = plain(rules())
    own = {"folderUID", "orgID", "ruleGroup"}
    inner = [{key: value for key, value in each.items() if key not in own} for each in group["rules"]]
    points = [plain(contact) for contact in contacts()]
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": FOLDER, "folder": FOLDER, "interval": f"{GROUP_INTERVAL_S}s", "rules": inner}],
        "contactPoints": [{"orgId": 1, "name": point.pop("name"), "receivers": [point]} for point in points],
        "policies": [{"orgId": 1, **plain(policy())}],
    }


def plain(builder: Any) -> dict[str, Any]:
    """What a builder builds, in the plain values of JSON."""
    found: dict[str, Any] = json.loads(encoded(builder.build()))
    return found


def encoded(value: Any) -> str:
    """JSON text with sorted keys, indented by one, with a newline at its end."""
    return JSONEncoder(sort_keys=True, indent=1).encode(value) + "\n"
