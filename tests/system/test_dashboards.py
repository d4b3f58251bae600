"""Every panel and every alert finds its data in a live Prometheus, and the metrics keep to Prometheus' conventions."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.grafana_stub import TOKEN, GrafanaStub
from tests.support.places import ROOT
from tests.support.prometheus import DEPLOY, Watch, watch
from tests.support.site import STREAM, Site

DASHBOARDS = ROOT / "dashboards" / "grafana"
VARIABLES = {"$stream": STREAM, "$cut": "0", "$__rate_interval": "1m"}
DRIFT = "jet_energy_scale=-0.08"
BOUNDED = {
    "stream", "cut", "detector", "board", "phase", "mode", "level", "knob", "outcome", "operation", "source", "cause",
    "edge", "process", "le", "model", "payload", "version", "python", "method", "route", "status",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[tuple[Site, Watch, GrafanaStub]]:
    """A drift, its correction and the confirmation, watched by Prometheus and told to Grafana."""
    site = Site(tmp_path_factory.mktemp("dashboards"), package)
    stub = GrafanaStub()
    (site.folder / "token").write_text(TOKEN)
    try:
        site.board()
        grafana = f'[grafana]\nurl = "{stub.url}"\ntoken_file = "token"\n'
        site.daemon(extra=grafana)
        site.phase("watching")
        with watch(site.folder / "watch", site.url, site.until) as seen:
            site.operate(do="condition", text=DRIFT)
            site.phase("confirming", seconds=150)
            site.phase("watching", "rolled_back", seconds=90)
            yield site, seen, stub
    finally:
        site.close()
        stub.close()


def asked() -> list[tuple[str, str]]:
    """(where, PromQL) of every panel and annotation."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            found += [(f"{path.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
        found += [(f"{path.stem}: annotation", each["expr"]) for each in board["annotations"]["list"] if "expr" in each]
    return found


def test_every_panel_has_something_to_show(run: tuple[Site, Watch, GrafanaStub]) -> None:
    _, seen, _ = run
    empty = []
    for where, expression in asked():
        for variable, value in VARIABLES.items():
            expression = expression.replace(variable, value)
        ever = expression if "annotation" not in where else f"max_over_time(({expression})[5m:1s])"
        if not seen.query(ever):
            empty.append((where, expression))
    assert not empty


def test_every_series_that_an_alert_or_a_recording_asks_for_is_there(run: tuple[Site, Watch, GrafanaStub]) -> None:
    """A renamed metric makes an alert that never fires: each selector of each rule must find a series."""
    _, seen, _ = run
    never = {"driftd_messages_malformed_total"}
    for file in ("alerts.yml", "recording.yml"):
        for group in yaml.safe_load((DEPLOY / "prometheus" / file).read_text())["groups"]:
            for rule in group["rules"]:
                selectors = set(re.findall(r"\b(?:up|driftd_\w+)(?:\{[^}]*\})?", rule["expr"])) - never
                assert selectors or "malformed" in rule["expr"]
                missing = [selector for selector in selectors if not seen.query(selector)]
                assert not missing, rule
                if "record" in rule:
                    assert seen.query(rule["record"]), rule


def test_promtool_finds_no_fault_with_the_metrics_and_no_label_is_unbounded(
    run: tuple[Site, Watch, GrafanaStub],
) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; Debian has it in prometheus")
    site, _, _ = run
    text = httpx.get(f"{site.url}/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    lines = [line for line in text.splitlines() if line.startswith("driftd_")]
    assert len(lines) < 400
    assert {label for line in lines for label in re.findall(r'(\w+)="', line)} <= BOUNDED


def test_no_metric_is_declared_in_vain(run: tuple[Site, Watch, GrafanaStub]) -> None:
    """Each has a sample; of malformed messages there were none."""
    site, _, _ = run
    families = text_string_to_metric_families(httpx.get(f"{site.url}/metrics").text)
    assert {family.name for family in families if not family.samples} == {"driftd_messages_malformed"}


def test_the_metrics_say_what_happened(run: tuple[Site, Watch, GrafanaStub]) -> None:
    """Against what the daemon's own interface says of the same run."""
    site, _, _ = run
    text, status, board = httpx.get(f"{site.url}/metrics").text, site.stream(), site.operate(do="status")

    def value(name: str, **labels: str) -> float:
        return _value(text, name, {"stream": STREAM} | labels)

    assert value("driftd_generation") == status["generation"] == board["streams"][STREAM]["generation"] > 0
    for outcome in ("latched", "good"):
        assert value("driftd_pushes_total" if outcome == "latched" else "driftd_judgements_total", outcome=outcome) == (
            status["outcomes"].get(f"push {outcome}", 0)
        )
    assert value("driftd_pushes_total", outcome="armed") >= value("driftd_pushes_total", outcome="latched") >= 1
    assert value("driftd_previews_total", outcome="good") >= 1
    assert value("driftd_phase_entries_total", phase="confirming") >= 1
    assert value("driftd_fit_duration_seconds_count") >= 1
    assert value("driftd_filled_bunches") == 2556
    colliding_hz = 2556 * 40.0789e6 / 3564
    for share, rate in (("accept_ratio", "rate_hertz"), ("accept_target_ratio", "rate_target_hertz")):
        assert value(f"driftd_{rate}", cut="0") == pytest.approx(value(f"driftd_{share}", cut="0") * colliding_hz)
    ratio = value("driftd_accept_ratio", cut="0") / value("driftd_accept_target_ratio", cut="0")
    assert value("driftd_rate_ratio", cut="0") == pytest.approx(ratio)
    lower, upper = (value("driftd_kl_divergence_bound", edge=edge) for edge in ("lower", "upper"))
    assert 0 <= lower < upper
    assert sum(value("driftd_phase", phase=phase) for phase in ("watching", "rolled_back", "collecting")) == 1


def test_drift_and_push_are_annotated(run: tuple[Site, Watch, GrafanaStub]) -> None:
    site, _, stub = run
    site.until(lambda: {"drift", "push"} <= {each["tags"][-1] for each in stub.annotations}, 10)
    said = {each["tags"][-1]: each["text"] for each in stub.annotations}
    assert said["drift"].startswith(f"{STREAM}: Scores drift since LS")
    assert "generation" in said["push"]
    written = _value(httpx.get(f"{site.url}/metrics").text, "driftd_annotations_total", {"outcome": "written"})
    assert written == len(stub.annotations)


def _value(text: str, name: str, labels: dict[str, Any]) -> float:
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    raise AssertionError(f"no {name} with {labels}")
