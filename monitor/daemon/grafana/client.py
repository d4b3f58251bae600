"""Dashboards and alert rules in a Grafana: what differs there from the files here, and making it the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import niquests
from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError, GrafanaException, GrafanaServerError, GrafanaTimeoutError

from monitor.daemon.errors import DaemonError

T = TypeVar("T")

TOKEN_VARIABLE = "GRAFANA_TOKEN"
FOLDER = "driftd"
RULES_DATASOURCE = "prometheus"
"""Uid that stands in the rules' file for the data source that is configured."""
TIMEOUT_S = 5.0
OF_GRAFANA = frozenset({"schemaVersion"})
"""Keys of our dashboards that Grafana raises by itself when it migrates them."""


class GrafanaError(DaemonError):
    """Grafana cannot be reached, or refuses; the message says what to do."""


@dataclass(frozen=True)
class Change:
    """What is to be written, or is already as it should be; `diff` from Grafana's text to ours."""

    what: Literal["folder", "dashboard", "alert rules"]
    name: str
    action: Literal["create", "update", "keep"]
    diff: str = ""


def token(file: Path | None) -> str:
    """From the environment, else from the file.

    Raises:
        GrafanaError: there is none.
    """
    found = os.environ.get(TOKEN_VARIABLE, "")
    if not found and file is not None:
        try:
            found = file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise GrafanaError(f"token_file {file} cannot be read: {error.strerror}") from None
    if not found:
        raise GrafanaError(f"no token: set {TOKEN_VARIABLE}, or token_file under [grafana], to a service account's")
    return found


class Grafana:
    """One Grafana, by its HTTP interface.

    Every method raises GrafanaError where Grafana does not answer in time, or refuses.
    """

    def __init__(self, url: str, token: str, timeout: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        self._url = url
        self._api = GrafanaApi(
            token,
            host=parts.hostname,
            port=parts.port,
            protocol=parts.scheme,
            url_path_prefix=parts.path.lstrip("/") + "/" * bool(parts.path.strip("/")),
            timeout=timeout,
        )

    def annotate(self, text: str, tags: list[str], t: float) -> None:
        """`t`: Unix time."""
        self._ask(
            "write an annotation", self._api.annotations.add_annotation, text=text, tags=tags, time_from=int(1000 * t)
        )

    def plan(self, folder: Path, datasource: str, alerts: bool = True) -> list[Change]:
        """What `apply` would do."""
        return list(self._go(folder, datasource, alerts, write=False))

    def apply(self, folder: Path, datasource: str, alerts: bool = True) -> Iterator[Change]:
        """Bring Grafana's folder, dashboards and, with `alerts`, alert rules to those of the files, one by one.

        What is as it should be is left alone. A dashboard that somebody saves meanwhile is never overwritten.
        """
        return self._go(folder, datasource, alerts, write=True)

    def _go(self, folder: Path, datasource: str, alerts: bool, write: bool) -> Iterator[Change]:
        dashboards, rules = read(folder, datasource)
        self._check_datasource(datasource)
        yield self._folder(write)
        for dashboard in dashboards:
            yield self._dashboard(dashboard, write)
        if alerts:
            yield self._rules(rules, write)

    def _check_datasource(self, uid: str) -> None:
        found = self._find(f"data source {uid!r}", self._api.datasource.get_datasource_by_uid, uid)
        if found is None:
            all_of_them = self._ask("list the data sources", self._api.datasource.list_datasources)
            names = ", ".join(f"{each['uid']} ({each['type']})" for each in all_of_them) or "none"
            raise GrafanaError(f"{self._url} has no data source {uid!r}; there is {names}: set [grafana] datasource")
        if found["type"] != "prometheus":
            raise GrafanaError(f"data source {uid!r} is of type {found['type']!r}; expected prometheus")

    def _folder(self, write: bool) -> Change:
        if self._find(f"folder {FOLDER!r}", self._api.folder.get_folder, FOLDER) is not None:
            return Change("folder", FOLDER, "keep")
        if write:
            self._ask("create the folder", self._api.folder.create_folder, FOLDER, uid=FOLDER)
        return Change("folder", FOLDER, "create")

    def _dashboard(self, ours: dict[str, Any], write: bool) -> Change:
        name = ours["uid"]
        found = self._find(f"dashboard {name!r}", self._api.dashboard.get_dashboard, name)
        compared = {key: value for key, value in ours.items() if key not in OF_GRAFANA}
        theirs = None if found is None else _as_far_as(compared, found["dashboard"])
        moved = found is not None and found["meta"].get("folderUid") != FOLDER
        change = _change("dashboard", name, theirs, compared, moved)
        if write and change.action != "keep":
            version = {} if found is None else {"version": found["dashboard"]["version"]}
            body = {"dashboard": ours | {"id": None} | version, "folderUid": FOLDER, "message": "driftd grafana apply"}
            self._ask(f"write dashboard {name!r}", self._api.dashboard.update_dashboard, body)
        return change

    def _rules(self, ours: dict[str, Any], write: bool) -> Change:
        name, asked = ours["title"], self._api.alertingprovisioning
        found = self._find(f"alert rules {name!r}", asked.get_rule_group, FOLDER, name)
        theirs = None if found is None or not found.get("rules") else _as_far_as(ours, found)
        change = _change("alert rules", name, theirs, ours)
        if write and change.action != "keep":
            self._ask("write the alert rules", asked.update_rule_group, FOLDER, name, ours, disable_provenance=True)
        return change

    def _find(self, what: str, call: Callable[..., T], *args: Any) -> T | None:
        """None where there is no such thing."""
        try:
            return self._ask(f"read {what}", call, *args)
        except GrafanaError as error:
            if isinstance(error.__cause__, GrafanaClientError) and error.__cause__.status_code == 404:
                return None
            raise

    def _ask(self, what: str, call: Callable[..., T], *args: Any, **more: Any) -> T:
        try:
            answer = call(*args, **more)
        except GrafanaTimeoutError as error:
            raise GrafanaError(f"cannot {what}: {self._url} does not answer in time") from error
        except GrafanaException as error:
            raise GrafanaError(f"cannot {what}: {_why(error)}") from error
        except niquests.RequestException as error:
            raise GrafanaError(f"cannot {what}: {self._url} is not reached: {error}") from error
        if not isinstance(answer, dict | list):
            raise GrafanaError(f"cannot {what}: what answers at {self._url} is no Grafana; expected JSON")
        return answer


def read(folder: Path, datasource: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The dashboards and the group of alert rules, which ask `datasource`.

    Raises:
        GrafanaError: a file is missing or is no JSON.
    """
    paths = sorted((folder / "grafana").glob("*.json"))
    if not paths:
        raise GrafanaError(
            f"{folder / 'grafana'} holds no dashboards; run python -m dashboards.build, or give --folder"
        )
    dashboards, rules = [_json(path) for path in paths], _json(folder / "rules.json")
    for query in (query for rule in rules["rules"] for query in rule["data"]):
        if query["datasourceUid"] == RULES_DATASOURCE:
            query["datasourceUid"] = datasource
    return dashboards, rules


def _json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GrafanaError(f"{path}: {error}") from None
    return found


def _change(
    what: Literal["dashboard", "alert rules"], name: str, theirs: Any, ours: dict[str, Any], moved: bool = False
) -> Change:
    if theirs == ours and not moved:
        return Change(what, name, "keep")
    before, after = ([] if each is None else _text(each) for each in (theirs, ours))
    diff = "\n".join(unified_diff(before, after, "grafana", "here", n=1, lineterm=""))
    return Change(what, name, "create" if theirs is None else "update", diff)


def _text(value: Any) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True).splitlines()


def _as_far_as(ours: Any, theirs: Any) -> Any:
    """Theirs without the keys that ours leaves to Grafana."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return {key: _as_far_as(ours[key], value) for key, value in theirs.items() if key in ours}
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return [_as_far_as(mine, their) for mine, their in zip(ours, theirs, strict=True)]
    return deepcopy(theirs)


def _why(error: GrafanaException) -> str:
    """In words that say what to do."""
    match error.status_code:
        case 401:
            return f"the token is refused; give that of a service account in {TOKEN_VARIABLE} or token_file"
        case 403:
            return "the token's service account may not do this; give it the role Editor"
        case 412:
            return "somebody saved it meanwhile; look at their version, then run this again"
    if isinstance(error, GrafanaServerError):
        return f"Grafana has a fault ({error.status_code}), see its log: {error.message}"
    return str(error.message)
