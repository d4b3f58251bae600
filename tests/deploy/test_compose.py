"""The compose file: sound by the specification, and every name, file and address in it leads somewhere."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from monitor.cli.main import main
from monitor.config import load
from tests.support.places import ROOT

FOLDER = ROOT / "deploy" / "compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OF_DRIFTD = ("model", "board", "driftd")

each_service = pytest.mark.parametrize("name", SERVICES)


def mounts(name: str) -> list[list[str]]:
    return [mount.split(":") for mount in SERVICES[name]["volumes"]]


def test_the_specification_takes_it_and_would_not_take_a_slip() -> None:
    assert set(PyCompose.from_json(json.dumps(COMPOSE)).service_names()) == set(SERVICES)
    for key, value in {"comand": ["run"], "restart": "sometimes", "depends_on": 3}.items():
        damaged = copy.deepcopy(COMPOSE)
        damaged["services"]["driftd"][key] = value
        with pytest.raises(ValueError, match=r"comand|sometimes|`3`"):
            PyCompose.from_json(json.dumps(damaged))


@each_service
def test_what_is_mounted_is_there(name: str) -> None:
    for source, target, *mode in mounts(name):
        assert Path(target).is_absolute()
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]


def test_every_volume_and_every_service_that_is_waited_for_is_defined_and_used() -> None:
    used = {source for name in SERVICES for source, *_ in mounts(name) if not source.startswith(".")}
    assert used == set(COMPOSE["volumes"])
    waited = {other for service in SERVICES.values() for other in service.get("depends_on", {})}
    assert waited <= set(SERVICES)


@each_service
def test_a_service_is_shut_and_reached_from_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["network_mode"] == "host"
    assert "ports" not in service
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert re.fullmatch(r"[\w./-]+:v?\d[\w.]*", service["image"]), "an image of no certain version"
    told = [*service.get("command", []), *service.get("environment", {}).values()]
    listens = [word for word in told if "listen-address=" in word and not word.endswith("=")]
    assert all("=127.0.0.1:" in word for word in listens)


def test_what_would_listen_everywhere_is_told_not_to() -> None:
    assert {word.partition("=")[0] for word in SERVICES["prometheus"]["command"]} >= {"--web.listen-address"}
    assert {"--web.listen-address=127.0.0.1:9093", "--cluster.listen-address="} <= set(
        SERVICES["alertmanager"]["command"]
    )
    assert SERVICES["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    defaults = {option.name: option.default for option in main.commands["board"].params}
    assert defaults["publish"] == ["tcp://127.0.0.1:5555"]
    assert defaults["control"].startswith("tcp://127.0.0.1:")


def test_addresses_are_those_of_the_shipped_files() -> None:
    config = load(FOLDER / "config.toml")
    prometheus = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    (scraped,) = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    assert scraped == f"{config.http.host}:{config.http.port}"
    (alerted,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert f"--web.listen-address={alerted}" in SERVICES["alertmanager"]["command"]
    (asked,) = yaml.safe_load((ROOT / "dashboards/provisioning/datasources/driftd.yml").read_text())["datasources"]
    assert f"--web.listen-address={asked['url'].removeprefix('http://')}" in SERVICES["prometheus"]["command"]
    provider = yaml.safe_load((ROOT / "dashboards/provisioning/dashboards/driftd.yml").read_text())["providers"][0]
    assert provider["options"]["path"] in {target for _, target, *_ in mounts("grafana")}
    board = {option.name: option.default for option in main.commands["board"].params}
    assert config.boards["gt"].uri == f"ipbusudp-2.0://127.0.0.1:{board['ipbus_port']}"
    assert config.streams["axol1tl"].addresses == tuple(board["publish"])


def test_every_command_of_driftd_parses_and_they_share_one_package() -> None:
    config = load(FOLDER / "config.toml")
    package = str(config.streams["axol1tl"].package)
    for name in OF_DRIFTD:
        command = SERVICES[name]["command"]
        group: Any = main
        while command[0] in getattr(group, "commands", {}):
            group, command = group.commands[command[0]], command[1:]
        group.make_context(name, list(command))
    assert package in SERVICES["model"]["command"]
    assert package in SERVICES["board"]["command"]
    state = {target for _, target, *_ in mounts("driftd")}
    assert str(config.state_dir) in state
    assert (FOLDER / SERVICES["driftd"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / SERVICES["driftd"]["build"]["dockerfile"]).exists()
