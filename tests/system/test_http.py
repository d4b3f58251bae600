"""The HTTP interface of a real daemon, asked badly, by the wrong people, and from the wrong places."""

import json
import re
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitor.daemon.http.sse import CLIENTS
from monitor.exits import EX_NO_STREAM
from monitor.store.ledger import Ledger
from tests.support.proposals import proposal
from tests.support.site import STREAM, Site, opened
from tests.support.waiting import strained

BASE = f"/api/v1/streams/{STREAM}"
REASON = b'{"reason": "exercise"}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Site]:
    """A daemon without a board: enough to ask it badly."""
    with opened(tmp_path_factory.mktemp("http"), package) as site:
        site.tokens(gone=1e-9)
        site.daemon(http='tokens = "tokens.toml"')
        yield site


def as_role(site: Site, name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.told[name]}"} | JSON


def order(site: Site, command: str, body: bytes = REASON, path: str = BASE, **headers: str) -> httpx.Response:
    """A command; ``headers`` with _ for -."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{site.url}{path}/{command}", content=body, headers=given, timeout=30)


def connected(site: Site, seconds: float = 10) -> socket.socket:
    """To the daemon, for what no client would send."""
    return socket.create_connection(("127.0.0.1", site.ports["http"]), strained(seconds))


def audit(site: Site, limit: int = 100) -> list[dict[str, Any]]:
    found = httpx.get(f"{site.url}/api/v1/audit?limit={limit}", headers=site.operator).raise_for_status().json()
    entries: list[dict[str, Any]] = found["entries"]
    return entries


def standing(site: Site) -> tuple[Any, ...]:
    """What a command would change."""
    events = httpx.get(f"{site.url}{BASE}/history").json()["events"]
    status = site.stream()
    return status["phase"], status["mode"], [event for event in events if event["kind"].startswith("order")]


DEEP = b'{"reason": ' + b"[" * 8000 + b"]" * 8000 + b"}"
LONG = json.dumps({"reason": "x" * 1001}).encode()
BAD = {
    "no JSON": ("freeze", b"{", 400, "no JSON"),
    "nested deeper than Python goes": ("freeze", DEEP, 400, "no JSON"),
    "a key twice": ("freeze", b'{"reason": "one", "reason": "two"}', 400, "comes twice"),
    "not a number": ("freeze", b'{"reason": NaN}', 400, "NaN is no number"),
    "not UTF-8": ("freeze", b'{"reason": "\xff\xff\xff"}', 400, "utf-8"),
    "UTF-16": ("freeze", '{"reason": "exercise"}'.encode("utf-16"), 400, "utf-8"),
    "a wrong type": ("recalibrate", b'{"reason": "exercise", "dry_run": "perhaps"}', 422, "dry_run"),
    "a list for an object": ("freeze", b"[]", 422, "body"),
    "something unknown": ("freeze", b'{"reason": "exercise", "surprise": 1}', 422, "surprise"),
    "no body": ("freeze", b"", 422, "required"),
    "no reason": ("freeze", b"{}", 422, "reason: Field required"),
    "hardly a reason": ("freeze", b'{"reason": "   ab   "}', 422, "3 to 1000 characters"),
    "too long a reason": ("freeze", LONG, 422, "3 to 1000 characters"),
    "a control character": ("freeze", b'{"reason": "a\\u0007bc"}', 422, "control character"),
    "half a surrogate pair": ("freeze", b'{"reason": "abc \\ud800"}', 400, "surrogates"),
    "half a surrogate pair for a key": ("freeze", b'{"\\ud800": 1}', 400, "surrogates"),
    "text that is turned around": ("freeze", '{"reason": "abc \u202e def"}'.encode(), 422, "control character"),
    "no payload's name": ("rollback", b'{"reason": "exercise", "to": "../../x"}', 422, "to"),
    "an unknown payload": ("rollback", b'{"reason": "exercise", "to": "ffffffff"}', 404, "no payload"),
    "a state in which it cannot be": ("recalibrate", REASON, 409, "not possible while warming"),
    "a proposal that does not wait": ("approve", b'{"reason": "exercise", "proposal": "ffff"}', 409, "not possible"),
    "a body that is too large": ("freeze", b" " * 20_000 + REASON, 413, "16384 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_command_is_answered_with_its_reason_audited_and_does_nothing(quiet: Site, name: str) -> None:
    command, body, status, words = BAD[name]
    before = standing(quiet)
    answer = order(quiet, command, body, **as_role(quiet, "expert"))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert words in answer.json()["error"]
    last = audit(quiet)[0]
    assert (last["who"], last["command"], last["stream"], last["status"]) == ("expert", command, STREAM, status)
    assert last["outcome"] == ("refused" if status == 409 else "invalid")
    assert words in last["text"]
    phase, mode, orders = standing(quiet)
    refused = [event for event in orders if event not in before[2]]
    assert (phase, mode) == before[:2]
    assert all(event["level"] == "warning" and status == 409 for event in refused)


def denied(site: Site, status: int, words: str, command: str = "freeze", **headers: str) -> dict[str, Any]:
    """The audit's entry of a command that is not let in."""
    before, entries = standing(site), len(audit(site))
    answer = order(site, command, b'{"reason": "exercise", "proposal": "ffff"}', **headers)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert standing(site) == before
    last, *earlier = audit(site)
    assert len(earlier) == entries
    assert (last["outcome"], last["status"], last["command"]) == ("denied", status, command)
    return last


def test_who_may_not_do_it_is_told_so_and_written_down(quiet: Site) -> None:
    shifter, viewer = as_role(quiet, "shifter"), as_role(quiet, "viewer")
    assert denied(quiet, 401, "the token of a shifter", **JSON)["who"] == "anonymous"
    wrong = {"Authorization": as_role(quiet, "expert")["Authorization"] + "x"}
    assert denied(quiet, 401, "no such token", **wrong)["who"] == ""
    denied(quiet, 401, "no such token", Authorization="Bearer driftd_nobody_xyz")
    denied(quiet, 401, "Bearer", Authorization="Basic ZXhwZXJ0Og==")
    denied(quiet, 401, "expired", **as_role(quiet, "gone"))
    assert denied(quiet, 403, "needs the role shifter", **viewer)["who"] == "viewer"
    for command in ("approve", "reject", "rollback"):
        denied(quiet, 403, "needs the role expert", command, **shifter)
    assert httpx.get(f"{quiet.url}/api/v1/audit").status_code == 401
    assert httpx.get(f"{quiet.url}/api/v1/audit", headers=shifter).status_code == 403


def test_a_wrong_token_never_falls_back_to_what_anybody_may(quiet: Site) -> None:
    assert httpx.get(f"{quiet.url}/api/v1/status").status_code == 200
    assert httpx.get(f"{quiet.url}/api/v1/status", headers={"Authorization": "Bearer x"}).status_code == 401
    assert httpx.get(f"{quiet.url}/api/v1/whoami").json() == {"name": "anonymous", "role": "viewer"}
    assert httpx.get(f"{quiet.url}/api/v1/whoami", headers=quiet.operator).json()["role"] == "expert"


def test_a_page_of_another_site_gives_no_commands(quiet: Site) -> None:
    """Neither by its origin, nor by a form, nor by having its own name point here."""
    expert = as_role(quiet, "expert")
    denied(quiet, 403, "not taken from pages", Origin="http://evil.example", **expert)
    denied(quiet, 403, "not taken from pages", Origin="null", **expert)
    denied(quiet, 421, "this is not", Host="evil.example", **expert)
    form = order(quiet, "freeze", **expert | {"Content-Type": "text/plain"})
    assert (form.status_code, audit(quiet)[0]["status"]) == (415, 415)
    assert httpx.get(f"{quiet.url}/metrics", headers={"Host": "evil.example"}).status_code == 421
    assert httpx.options(f"{quiet.url}{BASE}/freeze", headers={"Origin": "http://evil.example"}).status_code == 405


def test_a_command_is_written_before_and_after_it_is_carried_out(quiet: Site) -> None:
    """With who, why and what; a script in the reason stays text."""
    script = "<script>alert('x')</script>"
    own = {"Origin": quiet.url} | as_role(quiet, "shifter")
    answer = order(quiet, "freeze", json.dumps({"reason": f"  {script} "}).encode(), **own)
    assert (answer.status_code, answer.json()["phase"]) == (202, "frozen")
    assert answer.headers["x-content-type-options"] == "nosniff"
    ended, received = audit(quiet)[:2]
    assert (received["outcome"], received["status"], received["reason"]) == ("received", 0, script)
    assert (ended["outcome"], ended["status"], ended["of"]) == ("accepted", 202, received["sequence"])
    assert {entry["who"] for entry in (ended, received)} == {"shifter"}
    assert ended["peer"] == "127.0.0.1"
    event = next(each for each in standing(quiet)[2] if each["kind"] == "order freeze")
    assert (event["data"]["reason"], event["data"]["by"]) == (script, "shifter")
    assert order(quiet, "unfreeze", **own).status_code == 202


def test_a_command_that_cannot_be_written_down_is_not_carried_out(quiet: Site) -> None:
    before = standing(quiet)
    with sqlite3.connect(quiet.folder / "audit.sqlite", isolation_level=None) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        answer = order(quiet, "freeze", **as_role(quiet, "shifter"))
    locked.close()
    assert (answer.status_code, "audit cannot be written" in answer.json()["error"]) == (503, True)
    assert standing(quiet) == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/streams/cicada", 404),
        ("GET", "/api/v1/streams/<script>alert(1)</script>", 404),
        ("GET", f"{BASE}/proposals/ffff", 404),
        ("GET", "/api/v1/proposals/ffff", 404),
        ("GET", f"{BASE}/payloads/ffff", 404),
        ("GET", f"{BASE}/payloads/nominal", 409),
        ("GET", f"{BASE}/windows?limit=0", 422),
        ("GET", f"{BASE}/divergences?limit=2001", 422),
        ("GET", f"{BASE}/windows?limit=x", 422),
        ("GET", "/api/v1/events?stream=cicada", 404),
        ("GET", "/nothing", 404),
        ("POST", f"{BASE}/explode", 404),
        ("GET", "/web/../api.py", 404),
        ("GET", "/web/..%2fapi.py", 404),
        ("GET", "/web/%2e%2e%2f%2e%2e%2fconfig.toml", 404),
        ("GET", "/web/", 404),
        ("GET", "/web/index.html%00.js", 404),
        ("DELETE", "/api/v1/status", 405),
        ("GET", f"{BASE}/freeze", 405),
    ],
)
def test_a_bad_request_is_answered_with_one_kind_of_error(quiet: Site, method: str, path: str, status: int) -> None:
    """The path goes out as it is written here: a client that would tidy it up is not asked."""
    with connected(quiet) as raw:
        raw.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"content-type: application/json" in head
    assert b"nosniff" in head
    assert list(json.loads(body)) == ["error"]


def test_a_proposal_is_shown_by_any_unique_beginning_of_its_name(quiet: Site) -> None:
    """Of whichever stream, and however many came after it."""
    made = [proposal(reason=f"number {i}").to_dict() for i in range(150)]
    with Ledger(quiet.folder / "ledger.sqlite") as ledger:
        for each, stream in zip(made, [STREAM, "cicada"] * 75, strict=True):
            ledger.add_proposal(each["id"], stream, each)
    for each in made[:2]:
        name = next(n for n in range(1, 64) if sum(other["id"][:n] == each["id"][:n] for other in made) == 1)
        shown = quiet.driftd("proposal", "show", each["id"][:name], "--json")
        assert (shown.returncode, json.loads(shown.stdout)) == (0, each)
    for no_name in (each["id"][: name - 1], "no?name", "fffff"):
        refused = quiet.driftd("proposal", "show", no_name)
        assert (refused.returncode, repr(no_name) in refused.stderr) == (EX_NO_STREAM, True)


def test_an_announced_body_that_is_too_large_is_refused_before_it_is_sent(quiet: Site) -> None:
    token = quiet.told["shifter"]
    with connected(quiet) as raw:
        raw.sendall(
            f"POST {BASE}/freeze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n".encode()
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_clients_that_do_not_finish_what_they_send_are_cut_off(quiet: Site) -> None:
    """A body that stops half way is answered with 408, a head that does is closed, both in 10 s."""
    token = quiet.told["shifter"]
    head = f"POST {BASE}/freeze HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    began = time.monotonic()
    with (
        connected(quiet, 20) as body,
        connected(quiet, 20) as header,
        connected(quiet, 20) as nothing,
    ):
        header.sendall(head.encode())
        body.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{{".encode())
        assert httpx.get(f"{quiet.url}/live").is_success
        assert body.recv(4096).startswith(b"HTTP/1.1 408 ")
        for each in (header, nothing):
            assert each.recv(4096) == b""
    assert 8 < time.monotonic() - began < strained(15)
    assert audit(quiet)[0]["status"] == 408


def test_the_page_has_strict_headers_and_is_sent_again_only_when_it_changed(quiet: Site) -> None:
    page = httpx.get(f"{quiet.url}/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-cache"
    same = httpx.get(f"{quiet.url}/web/index.html", headers={"If-None-Match": page.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_commands_say_whether_and_why_not_by_state_and_by_role(quiet: Site) -> None:
    def told(role: str) -> dict[str, Any]:
        found = httpx.get(f"{quiet.url}{BASE}/commands", headers=as_role(quiet, role)).json()
        return {each["name"]: each for each in found}

    expert, shifter = told("expert"), told("shifter")
    assert list(expert) == ["recalibrate", "approve", "reject", "rollback", "freeze", "unfreeze"]
    assert expert["freeze"] == {"name": "freeze", "role": "shifter", "allowed": True, "why_not": ""}
    assert "not possible while warming" in expert["recalibrate"]["why_not"]
    assert (expert["rollback"]["allowed"], shifter["rollback"]["allowed"]) == (True, False)
    assert "needs the role expert" in shifter["rollback"]["why_not"]


def test_the_command_line_says_that_a_role_is_too_low(quiet: Site) -> None:
    (quiet.folder / "viewer.token").write_text(quiet.told["viewer"])
    done = quiet.driftd("freeze", STREAM, "--reason", "access", "--token-file", str(quiet.folder / "viewer.token"))
    assert done.returncode == 77
    assert "needs the role shifter" in done.stderr


def test_tokens_are_made_and_revoked_while_the_daemon_runs(quiet: Site) -> None:
    """The file is written anew in one step, and is private; what is told once works until it is taken back."""
    path = quiet.folder / "tokens.toml"

    def token(*arguments: str) -> str:
        done = quiet.driftd("token", *arguments, "--file", str(path))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def status(text: str) -> int:
        return httpx.get(f"{quiet.url}/api/v1/audit", headers={"Authorization": f"Bearer {text}"}).status_code

    text = token("add", "ada", "--role", "expert", "--expires", "30")
    assert re.fullmatch(r"driftd_ada_[\w-]{43}", text)
    assert text.removeprefix("driftd_ada_") not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert status(text) == 200
    assert "ada: expert, expires 20" in token("list")
    token("revoke", "ada")
    assert status(text) == 401
    path.chmod(0o666)
    assert httpx.get(f"{quiet.url}/api/v1/whoami", headers=as_role(quiet, "expert")).status_code == 401
    assert httpx.get(f"{quiet.url}/api/v1/whoami", headers=quiet.operator).status_code == 200
    path.chmod(0o600)
    assert httpx.get(f"{quiet.url}/api/v1/whoami", headers=as_role(quiet, "expert")).status_code == 200


def test_a_flood_from_nobody_known_fills_no_disk_and_is_told_at_the_end(site: Site) -> None:
    """Even where the daemon is killed the chain holds, and the head noted before shows what was cut off."""
    process = site.daemon()
    for _ in range(40):
        assert order(site, "freeze", **JSON).status_code == 401
    assert len(audit(site)) == 10
    assert order(site, "freeze", **site.operator | JSON).status_code == 202
    assert site.end("run") == 0
    verified = site.driftd("audit", "verify")
    assert verified.returncode == 0
    count, head = re.findall(r"(\d+) entries, head (\w+)", verified.stdout)[0]
    assert int(count) == 13
    assert head in (site.folder / "run.log").read_text()
    assert not (site.folder / "operator.token").exists()

    process = site.daemon()
    assert "30 more attempts" in audit(site)[0]["text"]
    assert order(site, "unfreeze", **site.operator | JSON).status_code == 202
    process.kill()
    process.wait()
    assert site.driftd("audit", "verify", "--head", head).returncode == 0
    cut = site.driftd("audit", "verify", "--head", "ab" * 32)
    assert cut.returncode == 1
    assert "cut off" in cut.stdout


def test_the_daemon_ends_in_time_with_as_many_listeners_as_there_may_be(site: Site) -> None:
    process = site.daemon()
    request = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    listeners = [connected(site) for _ in range(CLIENTS)]
    for each in listeners:
        each.sendall(request)
        assert each.recv(15) == b"HTTP/1.1 200 OK"
    full = httpx.get(f"{site.url}/api/v1/events")
    assert (full.status_code, list(full.json())) == (503, ["error"])
    assert httpx.get(f"{site.url}/live").is_success
    began = time.monotonic()
    process.terminate()
    assert process.wait(strained(15)) == 0
    assert time.monotonic() - began < strained(5)
    for each in listeners:
        each.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    paths = folder / "daemon.crt", folder / "daemon.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-out", str(paths[0]), "-keyout", str(paths[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


def test_where_it_is_reached_from_elsewhere_it_speaks_tls(site: Site, certificate: tuple[Path, Path]) -> None:
    """Callers are known by a token, and the command line trusts the certificate that it is given."""
    crt, key = certificate
    site.tokens()
    http = f'host = "0.0.0.0"\ncertificate = "{crt}"\nkey = "{key}"\nanonymous = "none"'
    site.start("run", "--config", str(site.config(http=http)))
    site.url = site.url.replace("http://", "https://")
    trusting = ssl.create_default_context(cafile=crt)

    def answers() -> bool:
        try:
            return httpx.get(f"{site.url}/live", verify=trusting).is_success
        except httpx.HTTPError:
            return False

    site.until(answers)
    assert httpx.get(f"{site.url}/api/v1/status", verify=trusting).status_code == 401
    assert site.driftd("status", "--ca", str(crt)).returncode == 0
    assert site.driftd("status").returncode == 69
    with pytest.raises(httpx.HTTPError):
        httpx.get(site.url.replace("https://", "http://") + "/live")


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ('host = "0.0.0.0"', "clear text"),
        ('certificate = "x.crt"', "go together"),
        ('certificate = "x.crt"\nkey = "x.key"', "x.crt"),
        ('tokens = "none.toml"', "driftd token add"),
        ('anonymous = "root"', "anonymous"),
    ],
)
def test_an_interface_that_would_not_be_safe_is_a_fault_of_the_configuration(site: Site, http: str, words: str) -> None:
    done = site.driftd("run", "--config", str(site.config(http=http)))
    assert done.returncode == 78
    assert words in done.stderr
