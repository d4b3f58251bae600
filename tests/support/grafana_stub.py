"""As much of Grafana's HTTP interface as driftd uses, on loopback: its answers, its checks, its errors."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jsonschema import Draft7Validator, ValidationError

from tests.support.places import SCHEMAS

TOKEN = "glsa_right"
NOT_FOUND = {"message": "not found", "status": "not-found"}
Answer = tuple[int, Any]


ANYTHING = (("MatcherConfig", "options"), ("DynamicConfigValue", "value"))
"""What may be of any type: the published schemas call it an object, Grafana itself puts strings and numbers there."""


def faults_of(value: Any, schema: str, definition: str) -> list[str]:
    """What a published schema objects to; nothing where the schemas are absent."""
    path = SCHEMAS / f"grafana-{schema}.jsonschema.json"
    if not path.exists():
        return []
    definitions = json.loads(path.read_text())["definitions"]
    for name, key in ANYTHING:
        if name in definitions:
            definitions[name]["properties"][key] = {}
    checker = Draft7Validator({"$ref": f"#/definitions/{definition}", "definitions": definitions})
    return [_leaf(fault) for fault in checker.iter_errors(value)]


def _leaf(fault: ValidationError) -> str:
    """The innermost cause."""
    while fault.context:
        fault = max(fault.context, key=lambda each: len(each.absolute_path))
    return f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}"


class GrafanaStub:
    """`faults`: (method, path) to an answer that is given once instead; `delay_s`: before every answer."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.rule_groups: dict[tuple[str, str], dict[str, Any]] = {}
        self.datasources = [{"uid": "prometheus", "type": "prometheus"}, {"uid": "logs", "type": "loki"}]
        self.annotations: list[dict[str, Any]] = []
        self.faults: dict[tuple[str, str], Answer] = {}
        self.delay_s = 0.0
        self.writes = 0
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer("GET")

            def do_POST(self) -> None:
                self.answer("POST")

            def do_PUT(self) -> None:
                self.answer("PUT")

            def answer(self, method: str) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
                time.sleep(stub.delay_s)
                path = self.path.removeprefix("/api")
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, answer = 401, {"message": "Invalid API key"}
                elif (method, path) in stub.faults:
                    status, answer = stub.faults.pop((method, path))
                else:
                    status, answer = stub.answer(method, path, body)
                stub.writes += method != "GET" and status < 300
                page = isinstance(answer, str)
                text = answer.encode() if page else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if page else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, body: Any) -> Answer:
        match method, path.strip("/").split("/"):
            case "GET", ["datasources"]:
                return 200, self.datasources
            case "GET", ["datasources", "uid", uid]:
                found = [each for each in self.datasources if each["uid"] == uid]
                return (200, found[0]) if found else (404, {"message": "Data source not found"})
            case "GET", ["folders", uid]:
                return (200, self.folders[uid]) if uid in self.folders else (404, NOT_FOUND)
            case "POST", ["folders"]:
                return self._folder(body)
            case "GET", ["dashboards", "uid", uid]:
                return (
                    (200, self.dashboards[uid]) if uid in self.dashboards else (404, {"message": "Dashboard not found"})
                )
            case "POST", ["dashboards", "db"]:
                return self._dashboard(body)
            case "GET", ["v1", "provisioning", "folder", folder, "rule-groups", name]:
                found_group = self.rule_groups.get((folder, name))
                return (200, found_group) if found_group else (404, NOT_FOUND)
            case "PUT", ["v1", "provisioning", "folder", folder, "rule-groups", name]:
                return self._rules(folder, name, body)
            case "POST", ["annotations"]:
                if not body.get("text"):
                    return 400, {"message": "Failed to save annotation: text must not be empty"}
                self.annotations.append(body)
                return 200, {"message": "Annotation added", "id": len(self.annotations)}
        return 404, NOT_FOUND

    def _folder(self, body: dict[str, Any]) -> Answer:
        if body["uid"] in self.folders:
            return 409, {"message": "a folder with the same uid already exists"}
        self.folders[body["uid"]] = body
        return 200, body

    def _dashboard(self, body: dict[str, Any]) -> Answer:
        dashboard = body["dashboard"]
        checked = {key: value for key, value in dashboard.items() if value is not None}
        if faults := faults_of(checked, "dashboard", "Dashboard"):
            return 422, {"message": "; ".join(faults)}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found"}
        found = self.dashboards.get(dashboard["uid"])
        version = found["dashboard"]["version"] if found else 0
        if found and not body.get("overwrite") and dashboard.get("version") != version:
            return 412, {"message": "The dashboard has been changed by someone else", "status": "version-mismatch"}
        stored = dashboard | {
            "id": len(self.dashboards) + 1,
            "version": version + 1,
            "schemaVersion": 99,
            "weekStart": "",
        }
        stored["panels"] = [panel | {"pluginVersion": "12.0.0"} for panel in dashboard["panels"]]
        self.dashboards[dashboard["uid"]] = {"dashboard": stored, "meta": {"folderUid": body["folderUid"]}}
        return 200, {"uid": dashboard["uid"], "version": version + 1, "status": "success"}

    def _rules(self, folder: str, name: str, body: dict[str, Any]) -> Answer:
        if faults := faults_of(body, "alerting", "RuleGroup"):
            return 400, {"message": "; ".join(faults)}
        own = {"provenance": "", "updated": "2026-01-01T00:00:00Z", "isPaused": False}
        rules = [rule | own | {"id": number} for number, rule in enumerate(body["rules"], start=1)]
        self.rule_groups[folder, name] = body | {"rules": rules}
        return 200, body
