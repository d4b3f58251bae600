"""A drift at the detector rings at the expert's, a dead daemon at the shifter's: with the real Prometheus."""

import time
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.support.prometheus import EVALUATION_S, watch
from tests.support.site import STREAM, Site

DRIFT = "jet_energy_scale=-0.1"
SLACK_EVALUATIONS = 12
"""From the daemon's verdict to the webhook: a scrape, an evaluation, the group's wait, and a busy machine."""


def test_a_drift_calls_the_expert_and_a_dead_daemon_the_shifter(site: Site) -> None:
    """The Grafana of its configuration is not there: that costs annotations, and nothing else."""
    site.board()
    (site.folder / "token").write_text("none")
    site.daemon(mode="supervised", extra='[grafana]\nurl = "http://127.0.0.1:9"\ntoken_file = "token"\n')
    site.phase("watching")
    with watch(site.folder / "watch", site.url, site.until) as seen:
        assert seen.called.about("DriftdDrift") is None
        site.operate(do="condition", text=DRIFT)
        injected = time.monotonic()
        site.until(lambda: site.stream()["last"]["level"] == "drift", 60)
        judged = time.monotonic()
        site.until(lambda: seen.called.about("DriftdDrift") is not None, 60)
        at, path, alert = seen.called.about("DriftdDrift")  # type: ignore[misc]
        print(f"{(at - judged) / EVALUATION_S:.1f} evaluations from verdict, {at - injected:.1f} s from the drift")
        assert at - judged < SLACK_EVALUATIONS * EVALUATION_S
        assert path == "/expert"
        assert alert["labels"]["stream"] == STREAM
        assert alert["annotations"]["summary"] == f"Scores of {STREAM} drift"
        assert "tolerated is 0.0020" in alert["annotations"]["description"]
        site.phase("awaiting_approval", seconds=120)
        site.until(lambda: seen.called.about("DriftdAwaitingApproval") is not None, 30)

        assert seen.query('driftd_annotations_total{outcome="failed"} > 0')
        site.running["run"].kill()
        site.until(lambda: seen.called.about("DriftdDown") is not None, 30)
        at, path, alert = seen.called.about("DriftdDown")  # type: ignore[misc]
        assert path == "/shifter"
        instance = alert["labels"]["instance"]
        _raise(seen.alertmanager, alertname="DriftdMessagesLost", severity="warning", instance=instance)
        _raise(seen.alertmanager, alertname="DriftdMessagesLost", severity="warning", instance="another")
        site.until(lambda: len(_states(seen.alertmanager, "DriftdMessagesLost")) == 2, 10)
        site.until(lambda: "unprocessed" not in _states(seen.alertmanager, "DriftdMessagesLost").values(), 10)
        assert _states(seen.alertmanager, "DriftdMessagesLost") == {instance: "suppressed", "another": "active"}
        assert _states(seen.alertmanager, "DriftdDown") == {instance: "active"}


def _raise(alertmanager: str, **labels: str) -> None:
    alert = {"labels": labels, "startsAt": datetime.now(UTC).isoformat()}
    httpx.post(f"{alertmanager}/api/v2/alerts", json=[alert]).raise_for_status()


def _states(alertmanager: str, alert: str) -> dict[str, str]:
    """By instance."""
    found: list[dict[str, Any]] = httpx.get(f"{alertmanager}/api/v2/alerts").json()
    return {
        each["labels"]["instance"]: each["status"]["state"] for each in found if each["labels"]["alertname"] == alert
    }
