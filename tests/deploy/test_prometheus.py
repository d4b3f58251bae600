"""The shipped rules and routes: sound, tested alert by alert, and each with its page in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor.config import HttpSettings
from monitor.terms import LS_SECONDS
from monitor.watch.settings import IngestSettings
from tests.support import metrics
from tests.support.places import DEPLOY

PROMETHEUS = DEPLOY / "prometheus"


def tool(name: str, *arguments: str) -> str:
    """Run a tool of Prometheus over the shipped files; its output. It must succeed."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed; Debian has it in prometheus and prometheus-alertmanager")
    done = subprocess.run([name, *arguments], capture_output=True, text=True, check=False, cwd=DEPLOY)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def cases() -> list[tuple[str, bool]]:
    """(alert, whether it is to fire) of each case."""
    tests = yaml.safe_load((PROMETHEUS / "tests.yml").read_text())["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    return [(check["alertname"], bool(check["exp_alerts"])) for check in checks]


def test_prometheus_and_alertmanager_take_the_shipped_files() -> None:
    tool("promtool", "check", "config", "prometheus/prometheus.yml")
    tool("amtool", "check-config", "alertmanager/alertmanager.yml")


def test_every_alert_fires_in_its_case_and_not_just_below() -> None:
    tool("promtool", "test", "rules", "prometheus/tests.yml")
    names = {alert["alert"] for alert in alerts()}
    assert {name for name, fires in cases() if fires} == names
    assert {name for name, fires in cases() if not fires} == names


@pytest.mark.parametrize("expression", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
def test_the_cases_fail_for_alerts_that_never_fire_or_always_do(expression: str, tmp_path: Path) -> None:
    """The cases themselves: with another expression in place of the alerts', promtool objects to every one."""
    tool("promtool", "--version")
    for file in PROMETHEUS.glob("*.yml"):
        shutil.copy(file, tmp_path)
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = expression
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(rules))
    command = ["promtool", "test", "rules", str(tmp_path / "tests.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for alert in alerts():
        assert f"alertname: {alert['alert']}, " in done.stdout + done.stderr


@pytest.mark.parametrize("file", ["alerts.yml", "recording.yml", "tests.yml"])
def test_a_rule_names_only_metrics_and_words_that_the_daemon_has(file: str) -> None:
    """In expressions, in descriptions and in their cases; a renamed phase would make an alert that never fires."""
    text = (PROMETHEUS / file).read_text()
    names = (
        metrics.names() | set(re.findall(r"stream(?:_\w+)?:(driftd_\w+)", text)) | {"driftd_recording", "driftd_alerts"}
    )
    assert metrics.unknown(text, names) == []


def test_a_name_that_the_daemon_does_not_have_is_found() -> None:
    known = metrics.names()
    assert metrics.unknown('driftd_phase{phase=~"frozen|fault"} + driftd_scores_total', known) == []
    assert metrics.unknown('driftd_phase{phase=~"frozen|icy"}', known) == ["driftd_phase phase=icy"]
    assert metrics.unknown("rate(driftd_scores[1m])", known) == ["driftd_scores"]
    assert metrics.unknown('driftd_proposals_total{outcome="failed"}', known) == [
        "driftd_proposals_total outcome=failed"
    ]


def test_the_runbook_names_only_metrics_that_the_daemon_has() -> None:
    assert metrics.unknown((DEPLOY / "RUNBOOK.md").read_text(), metrics.names()) == []


def test_the_rules_go_by_the_daemons_own_numbers() -> None:
    """The address that is scraped is the default one; nothing is called stalled that only waits for a lumi section."""
    (job,) = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{HttpSettings().host}:{HttpSettings().port}"]
    stalled = next(alert for alert in alerts() if alert["alert"] == "DriftdLumiSectionsStalled")
    limit = float(re.search(r"judged_timestamp_seconds > (\d+)", stalled["expr"]).group(1))  # type: ignore[union-attr]
    assert limit > (IngestSettings().late_ls + 2) * LS_SECONDS
    assert f"one lasts {LS_SECONDS:.0f} s" in stalled["annotations"]["description"]


def test_every_alert_has_its_page_in_the_runbook_and_no_page_is_of_none() -> None:
    sections = re.split(r"^## ", (DEPLOY / "RUNBOOK.md").read_text(), flags=re.MULTILINE)[1:]
    pages = {section.split("\n", 1)[0]: section for section in sections}
    assert list(pages) == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        page = pages[alert["alert"]]
        assert all(word in page for word in ("**Means**", "**Look at**", "**Do**"))
        assert alert["annotations"]["runbook"] == f"deploy/RUNBOOK.md#{alert['alert'].lower()}"
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "shifter"), ("warning", "expert"), ("info", "log")])
def test_an_alert_goes_by_its_severity(severity: str, receiver: str) -> None:
    arguments = ("config", "routes", "test", "--config.file=alertmanager/alertmanager.yml", f"severity={severity}")
    assert tool("amtool", *arguments).split()[0] == receiver
    assert severity in {alert["labels"]["severity"] for alert in alerts()}
