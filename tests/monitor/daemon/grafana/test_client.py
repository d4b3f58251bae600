"""Dashboards, rules and annotations go to a Grafana, and its refusals come back in words."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from monitor.cli.main import main
from monitor.config import ConfigError, load
from monitor.daemon.grafana.annotations import WAITING, Annotator
from monitor.daemon.grafana.client import Change, Grafana, GrafanaError, token
from tests.support.grafana_stub import TOKEN, GrafanaStub
from tests.support.places import DASHBOARDS, SCHEMAS
from tests.support.waiting import strained, until

OVERVIEW = "/dashboards/db"
RULES = "/v1/provisioning/folder/driftd/rule-groups/driftd"


@pytest.fixture
def stub() -> Iterator[GrafanaStub]:
    found = GrafanaStub()
    yield found
    found.close()


@pytest.fixture
def grafana(stub: GrafanaStub) -> Grafana:
    return Grafana(stub.url, TOKEN, timeout=10)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project's files, to be changed."""
    shutil.copytree(DASHBOARDS, tmp_path / "dashboards")
    return tmp_path / "dashboards"


def apply(grafana: Grafana, folder: Path = DASHBOARDS, datasource: str = "prometheus") -> list[Change]:
    return list(grafana.apply(folder, datasource))


def actions(changes: list[Change]) -> set[str]:
    return {change.action for change in changes}


def test_all_is_created_once_and_then_left_alone(grafana: Grafana, stub: GrafanaStub) -> None:
    """Though Grafana adds keys of its own, and migrates to a schema of its own."""
    assert actions(grafana.plan(DASHBOARDS, "prometheus")) == {"create"}
    assert stub.writes == 0
    assert actions(apply(grafana)) == {"create"}
    assert set(stub.dashboards) == {"driftd-overview", "driftd-stream", "driftd-recalibration", "driftd-board"}
    assert stub.writes == 6
    assert actions(apply(grafana)) == {"keep"}
    assert stub.writes == 6


def test_only_what_differs_is_written_and_the_difference_is_shown(
    grafana: Grafana, stub: GrafanaStub, folder: Path
) -> None:
    apply(grafana)
    path = folder / "grafana" / "board.json"
    path.write_text(path.read_text().replace("Open files", "Files that are open"))
    rules = folder / "rules.json"
    rules.write_text(rules.read_text().replace('"for": "1m"', '"for": "2m"'))
    changed = {change.name: change for change in grafana.plan(folder, "prometheus") if change.action != "keep"}
    assert set(changed) == {"driftd-board", "driftd"}
    assert '-   "title": "Open files"' in changed["driftd-board"].diff
    assert '+   "title": "Files that are open"' in changed["driftd-board"].diff
    assert '+   "for": "2m"' in changed["driftd"].diff
    apply(grafana, folder)
    assert stub.dashboards["driftd-board"]["dashboard"]["version"] == 2
    assert stub.dashboards["driftd-overview"]["dashboard"]["version"] == 1
    assert actions(grafana.plan(folder, "prometheus")) == {"keep"}


def test_a_dashboard_that_was_moved_to_another_folder_is_brought_back(grafana: Grafana, stub: GrafanaStub) -> None:
    apply(grafana)
    stub.dashboards["driftd-board"]["meta"]["folderUid"] = "elsewhere"
    assert [change.name for change in apply(grafana) if change.action == "update"] == ["driftd-board"]
    assert stub.dashboards["driftd-board"]["meta"]["folderUid"] == "driftd"


def test_a_dashboard_that_somebody_saves_meanwhile_is_not_overwritten(
    grafana: Grafana, stub: GrafanaStub, folder: Path
) -> None:
    apply(grafana)
    path = folder / "grafana" / "board.json"
    path.write_text(path.read_text().replace("Open files", "Files that are open"))
    changes = grafana.apply(folder, "prometheus")
    next(changes)
    read = stub.answer

    def saved_in_between(method: str, path: str, body: object) -> tuple[int, object]:
        if method == "POST" and path == OVERVIEW:
            stub.dashboards["driftd-board"]["dashboard"]["version"] = 7
        return read(method, path, body)

    stub.answer = saved_in_between  # type: ignore[method-assign]
    with pytest.raises(GrafanaError, match="write dashboard 'driftd-board': somebody saved it meanwhile"):
        list(changes)
    assert "Open files" in json.dumps(stub.dashboards["driftd-board"])


def test_the_rules_ask_the_configured_data_source(grafana: Grafana, stub: GrafanaStub) -> None:
    stub.datasources.append({"uid": "site", "type": "prometheus"})
    apply(grafana, datasource="site")
    rules = stub.rule_groups["driftd", "driftd"]["rules"]
    assert {query["datasourceUid"] for rule in rules for query in rule["data"]} == {"site", "__expr__"}


@pytest.mark.parametrize(
    ("datasource", "said"),
    [
        ("absent", r"no data source 'absent'; there is prometheus \(prometheus\), logs \(loki\)"),
        ("logs", "type 'loki'"),
    ],
)
def test_a_data_source_that_is_none_or_no_prometheus_is_named(grafana: Grafana, datasource: str, said: str) -> None:
    with pytest.raises(GrafanaError, match=said):
        apply(grafana, datasource=datasource)


@pytest.mark.parametrize(
    ("call", "status", "body", "said"),
    [
        (("GET", "/folders/driftd"), 401, {"message": "Invalid API key"}, "token is refused; give that of a service"),
        (("POST", "/folders"), 403, {"message": "no"}, "create the folder: .* give it the role Editor"),
        (("POST", OVERVIEW), 412, {"message": "x"}, "somebody saved it meanwhile"),
        (("POST", OVERVIEW), 422, {"message": "title cannot be empty"}, "422: title cannot be empty"),
        (("PUT", RULES), 400, {"message": "invalid rule"}, "write the alert rules: .*invalid rule"),
        (("PUT", RULES), 500, {"message": "database is locked"}, r"fault \(500\), see its log: .*database is locked"),
        (("GET", "/dashboards/uid/driftd-board"), 503, "down", r"read dashboard 'driftd-board': .* fault \(503\)"),
    ],
)
def test_each_refusal_says_what_was_tried_and_what_to_do(
    grafana: Grafana, stub: GrafanaStub, call: tuple[str, str], status: int, body: object, said: str
) -> None:
    stub.faults[call] = (status, body)
    with pytest.raises(GrafanaError, match=said):
        apply(grafana)
    apply(grafana)
    assert actions(apply(grafana)) == {"keep"}


def test_what_the_schemas_forbid_is_refused_with_the_fault(grafana: Grafana, stub: GrafanaStub, folder: Path) -> None:
    """The stub does enforce them: a panel's grid position that is no number."""
    if not SCHEMAS.exists():
        pytest.skip("needs Grafana's schemas in ../shared/schemas")
    path = folder / "grafana" / "overview.json"
    dashboard = json.loads(path.read_text())
    dashboard["panels"][0]["gridPos"]["w"] = "wide"
    path.write_text(json.dumps(dashboard))
    with pytest.raises(GrafanaError, match=r"write dashboard 'driftd-overview': .*'wide' is not of type 'integer'"):
        apply(grafana, folder)


def test_a_grafana_that_is_slow_or_absent_is_said_within_the_time_limit(stub: GrafanaStub) -> None:
    stub.delay_s = 30
    began = time.monotonic()
    with pytest.raises(GrafanaError, match="does not answer in time"):
        apply(Grafana(stub.url, TOKEN, timeout=0.5))
    assert time.monotonic() - began < strained(1.9)
    with pytest.raises(GrafanaError, match="is not reached"):
        apply(Grafana("http://127.0.0.1:9", TOKEN, timeout=0.5))


def test_another_server_than_a_grafana_is_said(grafana: Grafana, stub: GrafanaStub) -> None:
    stub.faults["GET", "/datasources/uid/prometheus"] = (200, "<h1>It works!</h1>")
    with pytest.raises(GrafanaError, match="is no Grafana"):
        apply(grafana)


def test_the_token_comes_from_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    file = tmp_path / "token"
    with pytest.raises(GrafanaError, match="set GRAFANA_TOKEN, or token_file"):
        token(None)
    with pytest.raises(GrafanaError, match="token cannot be read: No such file"):
        token(file)
    file.write_text("from file\n")
    assert token(file) == "from file"
    monkeypatch.setenv("GRAFANA_TOKEN", "from environment")
    assert token(file) == "from environment"


def test_the_command_applies_compares_and_exits_accordingly(
    stub: GrafanaStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    config = tmp_path / "config.toml"
    text = (DASHBOARDS.parent / "config.toml").read_text()
    config.write_text(f'{text}\n[grafana]\nurl = "{stub.url}"\ntoken_file = "token"\n')
    (tmp_path / "token").write_text(TOKEN)

    def run(*arguments: str) -> tuple[int, str]:
        options = ["--config", str(config), "--folder", str(DASHBOARDS)]
        done = CliRunner().invoke(main, ["grafana", *arguments, *options])
        return done.exit_code, done.output

    code, said = run("diff")
    assert (code, "dashboard driftd-board: is not there" in said) == (1, True)
    code, said = run("apply", "--dashboards-only")
    assert (code, "dashboard driftd-board: created" in said, stub.rule_groups) == (0, True, {})
    assert run("diff", "--dashboards-only")[0] == 0
    code, said = run("apply")
    assert (code, "alert rules driftd: created" in said) == (0, True)
    assert run("diff")[0] == 0
    (tmp_path / "token").write_text("wrong")
    code, said = run("apply")
    assert (code, "the token is refused" in said) == (69, True)
    config.write_text(text)
    assert run("apply")[0] == 78


def test_an_address_that_is_none_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text((DASHBOARDS.parent / "config.toml").read_text() + '\n[grafana]\nurl = "grafana:3000"\n')
    with pytest.raises(
        ConfigError, match=r"grafana\.url: 'grafana:3000' is not the address .*: expected http://host:port"
    ):
        load(config)


def test_annotations_are_written_in_order_with_their_tags_and_time(grafana: Grafana, stub: GrafanaStub) -> None:
    annotator = Annotator(grafana)
    annotator.note("axol1tl", "drift", "Scores drift")
    annotator.note("axol1tl", "push", "generation 1 active")
    until(lambda: annotator.outcomes["written"] == 2)
    first, second = stub.annotations
    assert (first["text"], first["tags"]) == ("axol1tl: Scores drift", ["driftd", "axol1tl", "drift"])
    assert second["tags"][-1] == "push"
    assert abs(first["time"] / 1000 - time.time()) < 20
    annotator.close()


def test_a_slow_grafana_costs_the_caller_no_time_and_what_is_too_much_is_dropped_and_counted(
    grafana: Grafana, stub: GrafanaStub
) -> None:
    stub.delay_s = 30
    annotator = Annotator(grafana)
    began = time.monotonic()
    for number in range(WAITING + 50):
        annotator.note("axol1tl", "drift", str(number))
    assert time.monotonic() - began < strained(0.25)
    assert annotator.outcomes["dropped"] in (49, 50)
    annotator.close()
    assert time.monotonic() - began < strained(0.5)


def test_after_refusals_the_next_annotation_is_written(grafana: Grafana, stub: GrafanaStub) -> None:
    annotator = Annotator(grafana)
    stub.faults["POST", "/annotations"] = (500, {"message": "no"})
    annotator.note("axol1tl", "drift", "lost")
    until(lambda: annotator.outcomes["failed"] == 1)
    annotator.note("axol1tl", "drift", "kept")
    until(lambda: annotator.outcomes["written"] == 1)
    assert [each["text"] for each in stub.annotations] == ["axol1tl: kept"]
    annotator.close()
