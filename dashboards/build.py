"""Grafana's dashboards as code: `python -m dashboards.build` writes all generated files beside this one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml
from grafana_foundation_sdk.builders import dashboard

from dashboards.alerts import encoded, provisioning, rules
from dashboards.board import board
from dashboards.overview import overview
from dashboards.recalibration import recalibration
from dashboards.stream import stream

HERE = Path(__file__).parent
DEPLOY = HERE.parent / "deploy"
WRITTEN = "# Written by python -m dashboards.build"

DASHBOARDS: dict[str, Callable[[], dashboard.Dashboard]] = {
    "overview": overview,
    "stream": stream,
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
    """The rules of Prometheus, in the form in which its operator in Kubernetes takes them."""
    groups = [yaml.safe_load((DEPLOY / "prometheus" / f"{name}.yml").read_text()) for name in ("recording", "alerts")]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "driftd", "labels": {"app.kubernetes.io/name": "driftd"}},
        "spec": {"groups": [group for file in groups for group in file["groups"]]},
    }


def main() -> None:
    """Write all generated files, over those that are there."""
    for path, text in files().items():
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        (HERE / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
