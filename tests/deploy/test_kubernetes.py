"""The manifests: rendered as they would be applied, sound by the schemas of what they describe, and of one mind."""

import copy
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from dashboards.build import prometheus_rule
from monitor.config import load
from tests.support.grafana_stub import SCHEMAS
from tests.support.places import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("demo", "production")
RELEASES = ("1.28", "1.36")
CRDS = {"ServiceMonitor": "crd-servicemonitors.yaml", "PrometheusRule": "crd-prometheusrules.yaml"}
KINDS = {
    "ConfigMap", "Deployment", "Namespace", "NetworkPolicy", "PersistentVolumeClaim", "PrometheusRule", "Service",
    "ServiceMonitor",
}  # fmt: skip

overlays = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def _rendered(overlay: str) -> str:
    command = ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(overlay: str) -> dict[str, dict[str, Any]]:
    """The objects of an overlay, by kind; there is one of each."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed; Debian has it in kubernetes-client")
    objects = list(yaml.safe_load_all(_rendered(overlay)))
    found = {each["kind"]: each for each in objects}
    assert len(found) == len(objects)
    return found


def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return found


def containers(objects: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [*pod(objects).get("initContainers", []), *pod(objects)["containers"]]


def strict(schema: Any) -> Any:
    """A CRD's schema that refuses fields which it does not know."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    open_ = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and not open_:
        closed["additionalProperties"] = False
    return closed


def faults(each: dict[str, Any]) -> list[str]:
    """What the schema of its kind says against an object."""
    if each["kind"] in CRDS:
        crd = yaml.safe_load((SCHEMAS / CRDS[each["kind"]]).read_text())
        schema = strict(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(each)]
    found = []
    for release in RELEASES:
        try:
            kubernetes_validate.validate(each, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{release}: {error.message}")
    return found


needs_crds = pytest.mark.skipif(not SCHEMAS.exists(), reason="needs the CRDs in ../shared/schemas")


@overlays
def test_an_overlay_renders_to_one_object_of_each_kind(overlay: str) -> None:
    assert set(rendered(overlay)) == KINDS


@needs_crds
@overlays
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_object_keeps_to_its_schema(overlay: str, kind: str) -> None:
    assert faults(rendered(overlay)[kind]) == []


@needs_crds
@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        (
            "Deployment",
            ["spec", "template", "spec", "containers", 0, "securityContext", "readOnlyRootFileSystem"],
            True,
        ),
        ("Deployment", ["spec", "strategy", "type"], 3),
        ("NetworkPolicy", ["spec", "ingres"], []),
        ("ServiceMonitor", ["spec", "endpoints", 0, "schema"], "https"),
        ("PrometheusRule", ["spec", "groups", 0, "rules", 0, "expression"], "up"),
    ],
)
def test_a_wrong_field_is_found(kind: str, path: list[Any], wrong: Any) -> None:
    damaged = copy.deepcopy(rendered("demo")[kind])
    inner = damaged
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    assert faults(damaged)


@overlays
def test_there_is_never_a_second_writer_of_registers(overlay: str) -> None:
    spec = rendered(overlay)["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert rendered(overlay)["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]


@overlays
def test_the_pod_keeps_to_the_restricted_standard(overlay: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards: what `restricted` asks for, and no token."""
    spec = pod(rendered(overlay))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(spec)
    assert all(set(volume) & {"configMap", "secret", "persistentVolumeClaim", "emptyDir"} for volume in spec["volumes"])
    for container in containers(rendered(overlay)):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()
    labels = rendered(overlay)["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@overlays
def test_probes_ask_over_https_what_the_daemon_answers_without_a_token(overlay: str) -> None:
    (daemon,) = [each for each in containers(rendered(overlay)) if each["name"] == "driftd"]
    probes = {name: daemon[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {probe["httpGet"]["scheme"] for probe in probes.values()} == {"HTTPS"}
    assert [probe["httpGet"]["path"] for probe in probes.values()] == ["/live", "/live", "/ready"]
    assert probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"] >= 120
    assert pod(rendered(overlay))["terminationGracePeriodSeconds"] >= 10


@overlays
def test_names_fit_together(overlay: str) -> None:
    """Volumes and their mounts, ports, selectors: what one object calls by name, another has."""
    objects = rendered(overlay)
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert objects["Service"]["spec"]["selector"].items() <= labels
    assert objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels
    wanted = objects["ServiceMonitor"]["spec"]
    assert wanted["selector"]["matchLabels"].items() <= objects["Service"]["metadata"]["labels"].items()
    assert wanted["jobLabel"] in objects["Service"]["metadata"]["labels"]
    assert objects["Service"]["metadata"]["labels"][wanted["jobLabel"]] == "driftd"
    (endpoint,) = wanted["endpoints"]
    assert endpoint["port"] in {port["name"] for port in objects["Service"]["spec"]["ports"]}
    ports = {port["name"]: port["containerPort"] for each in containers(objects) for port in each.get("ports", [])}
    assert {port["targetPort"] for port in objects["Service"]["spec"]["ports"]} <= ports.keys()
    volumes = {volume["name"]: volume for volume in pod(objects)["volumes"]}
    mounted = {mount["name"] for each in containers(objects) for mount in each["volumeMounts"]}
    assert mounted == volumes.keys()
    assert volumes["config"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    claim = volumes["state"]["persistentVolumeClaim"]["claimName"]
    assert claim == objects["PersistentVolumeClaim"]["metadata"]["name"]
    namespace = objects["Namespace"]["metadata"]["name"]
    assert {each["metadata"].get("namespace", namespace) for each in objects.values()} == {namespace}


@overlays
def test_no_secret_is_in_the_repository(overlay: str) -> None:
    assert "Secret" not in rendered(overlay)
    secrets = {v["secret"]["secretName"] for v in pod(rendered(overlay))["volumes"] if "secret" in v}
    assert secrets == {"driftd-tls", "driftd-tokens"}


@overlays
def test_the_config_is_valid_and_names_only_what_is_mounted(overlay: str, tmp_path: Path) -> None:
    objects = rendered(overlay)
    path = tmp_path / "config.toml"
    path.write_text(objects["ConfigMap"]["data"]["config.toml"])
    config = load(path)
    http: Any = config.http
    (daemon,) = [each for each in containers(objects) if each["name"] == "driftd"]
    writable = [mount["mountPath"] for mount in daemon["volumeMounts"] if not mount.get("readOnly")]
    readable = [mount["mountPath"] for mount in daemon["volumeMounts"]]
    assert any(config.state_dir.is_relative_to(folder) for folder in writable)
    for file in (http.certificate, http.key, http.tokens, *(stream.package for stream in config.streams.values())):
        assert any(file.is_relative_to(folder) for folder in readable), file
    assert http.port in {port["containerPort"] for port in daemon["ports"]}
    assert http.anonymous == "none"


def test_the_network_policy_lets_the_boards_and_publishers_of_the_config_through() -> None:
    policy = rendered("production")["NetworkPolicy"]["spec"]
    open_ = {(port["protocol"], port["port"]) for rule in policy["egress"] for port in rule["ports"]}
    assert {("TCP", 10203), ("UDP", 50001), ("TCP", 5555), ("UDP", 53)} <= open_
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert all(rule["to"] for rule in policy["egress"])
    assert all(rule["from"] for rule in policy["ingress"])


@overlays
def test_the_rules_are_those_of_deploy_prometheus(overlay: str) -> None:
    """After a change of those: python -m dashboards.build."""
    assert rendered(overlay)["PrometheusRule"]["spec"] == prometheus_rule()["spec"]


def test_the_simulated_board_is_where_the_demos_config_looks_for_it() -> None:
    objects = rendered("demo")
    config = objects["ConfigMap"]["data"]["config.toml"]
    model, board, daemon = (
        next(each for each in containers(objects) if each["name"] == name) for name in ("model", "board", "driftd")
    )
    assert model["args"][-1] == board["args"][-1]
    assert board["args"][-1] in config
    assert {model["image"], board["image"]} == {daemon["image"]}
