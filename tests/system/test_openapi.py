"""The OpenAPI document is true: what it says can be sent is taken, and what comes back is what it says."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation, BaseSchema

from monitor.daemon.http.audit import verify
from monitor.daemon.http.tokens import Role
from tests.support.site import STREAM, Site, opened

EXAMPLES = 8
"""Requests of an operation, sound and unsound ones each."""
SLOW = list(HealthCheck)
ENDLESS = "/api/v1/events"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Site]:
    """A stream with lumi sections, a drift, and a proposal that waits; nobody may anything without a token."""
    with opened(tmp_path_factory.mktemp("openapi"), package) as site:
        site.tokens()
        site.board("--condition", "jet_energy_scale=-0.1")
        site.daemon(mode="supervised", http='tokens = "tokens.toml"\nanonymous = "none"')
        site.phase("awaiting_approval", seconds=120)
        yield site
        assert site.end("run") == 0
        assert verify(site.folder / "audit.sqlite").faults == ()


@pytest.fixture(scope="module")
def schema(site: Site) -> BaseSchema:
    found = schemathesis.openapi.from_url(f"{site.url}/openapi.json")
    return found.exclude(path=ENDLESS)


@pytest.fixture(scope="module")
def known(site: Site) -> Callable[..., dict[str, Any]]:
    """What is there for the parameters of an operation's path."""
    (newest, *_) = httpx.get(f"{site.url}/api/v1/streams/{STREAM}/proposals", headers=site.operator).json()

    def names(operation: APIOperation) -> dict[str, Any]:
        there = {"stream": STREAM, "id": newest["id"] if "proposals" in operation.path else "nominal"}
        return {parameter.name: there[parameter.name] for parameter in operation.path_parameters}

    return names


def asked(site: Site, role: str, cases: st.SearchStrategy[Case]) -> set[int]:
    """The statuses of the answers, each of which is as the document says."""
    statuses = set()

    @given(case=cases)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=SLOW)
    def ask(case: Case) -> None:
        answer = case.call_and_validate(headers={"Authorization": f"Bearer {site.told[role]}"})
        statuses.add(answer.status_code)

    ask()
    return statuses


@pytest.mark.parametrize("role", list(Role))
def test_what_may_be_sent_is_answered_as_declared(
    site: Site, schema: BaseSchema, known: Callable[..., dict[str, Any]], role: Role
) -> None:
    """Statuses, headers, types and bodies, of streams that are there and of others."""
    seen: dict[str, set[int]] = {}
    for operation in (found.ok() for found in schema.get_all_operations()):
        seen[operation.label] = asked(site, role, operation.as_strategy())
        if there := known(operation):
            seen[operation.label] |= asked(site, role, operation.as_strategy(path_parameters=there))
    reads = {label: statuses for label, statuses in seen.items() if label.startswith("GET") and "audit" not in label}
    assert {label for label, statuses in reads.items() if 200 not in statuses} == set()
    assert (200 in seen["GET /api/v1/audit"]) == (role is Role.EXPERT)
    assert (403 in seen["POST /api/v1/streams/{stream}/freeze"]) == (role is Role.VIEWER)
    assert (202 in seen["POST /api/v1/streams/{stream}/freeze"]) == (role is not Role.VIEWER)


@pytest.mark.parametrize("role", list(Role))
def test_what_may_not_be_sent_is_refused_as_declared(
    site: Site, schema: BaseSchema, known: Callable[..., dict[str, Any]], role: Role
) -> None:
    found = [found.ok() for found in schema.get_all_operations()]
    faulty = [operation for operation in found if list(operation.body) or list(operation.query)]
    assert len(faulty) == 12
    for operation in faulty:
        cases = operation.as_strategy(GenerationMode.NEGATIVE, path_parameters=known(operation))
        assert asked(site, role, cases) & {400, 403, 415, 422}


def test_the_document_says_whom_each_command_needs(schema: BaseSchema) -> None:
    def roles(method: str) -> dict[str, Any]:
        paths = schema.raw_schema["paths"].items()
        return {path.rpartition("/")[2]: found[method].get("x-role") for path, found in paths if method in found}

    assert roles("post") == {
        "recalibrate": "shifter",
        "approve": "expert",
        "reject": "expert",
        "rollback": "expert",
        "freeze": "shifter",
        "unfreeze": "shifter",
    }
    assert roles("get") | {"audit": "expert", "status": "viewer", "live": None, "metrics": None} == roles("get")
