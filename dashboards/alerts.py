"""The alerts of Prometheus for a site whose Grafana calls people, whom it calls, and both as provisioned files.

Where Prometheus and Alertmanager call, leave them out: everybody would be called twice.
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

ALERTS = Path(__file__).parents[1] / "deploy" / "prometheus" / "alerts.yml"
EXPRESSION = DataSourceRef(type_val="__expr__", uid="__expr__")
FOLDER = "driftd"
RULES_DATASOURCE = "prometheus"
"""Uid of the data source that the alert rules ask, unless another one is configured where they are applied."""
GROUP_INTERVAL_S = 10
RANGE_S = 600
WHATEVER = "is_number($query) || is_nan($query) || is_inf($query)"
"""True for every series that the query gives: as in Prometheus, the expression alone says what fires."""


def rule(alert: dict[str, Any]) -> alerting.Rule:
    """An alert of Prometheus for Grafana: whatever its expression gives, fires."""
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
    alerts = [each for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for each in group["rules"]]
    group = alerting.RuleGroup(FOLDER).folder_uid(FOLDER).interval(GROUP_INTERVAL_S)
    return group.rules([rule(alert) for alert in alerts])


def contact(name: str) -> alerting.ContactPoint:
    point = alerting.ContactPoint().name(name).uid(f"driftd-{name}").type("webhook")
    return point.settings({"url": f"http://127.0.0.1:9095/{name}"}).disable_resolve_message(False)


def policy() -> alerting.NotificationPolicy:
    """By severity, as in ``deploy/alertmanager/alertmanager.yml``."""
    routes: list[Builder[Route]] = [
        alerting.NotificationPolicy().receiver(name).object_matchers([["severity", "=", severity]])
        for severity, name in {"critical": "shifter", "warning": "expert"}.items()
    ]
    return alerting.NotificationPolicy().receiver("log").group_by(["alertname", "instance", "stream"]).routes(routes)


def provisioning() -> dict[str, Any]:
    """Rules, contact points and policy in the form of the files that Grafana reads at its start."""
    group = plain(rules())
    own = {"folderUID", "orgID", "ruleGroup"}
    inner = [{key: value for key, value in each.items() if key not in own} for each in group["rules"]]
    points = [plain(contact(name)) for name in ("shifter", "expert", "log")]
    return {
        "apiVersion": 1,
        "groups": [{"orgId": 1, "name": FOLDER, "folder": FOLDER, "interval": f"{GROUP_INTERVAL_S}s", "rules": inner}],
        "contactPoints": [{"orgId": 1, "name": point.pop("name"), "receivers": [point]} for point in points],
        "policies": [{"orgId": 1, **plain(policy())}],
    }


def plain(builder: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encoded(builder.build()))
    return found


def encoded(value: Any) -> str:
    return JSONEncoder(sort_keys=True, indent=1).encode(value) + "\n"
