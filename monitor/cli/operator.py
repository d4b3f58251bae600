"""The operator's commands: what the daemon's HTTP interface shows and takes, on the command line."""

from __future__ import annotations

import functools
import json
import os
import ssl
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click
import httpx

from monitor.config import state_dir
from monitor.exits import (
    EX_FAILED,
    EX_NO_STREAM,
    EX_NOPERM,
    EX_REFUSED,
    EX_UNAVAILABLE,
    EX_USAGE,
    fail,
)

POLL_S = 0.3
CODES = {
    400: EX_USAGE,
    401: EX_NOPERM,
    403: EX_NOPERM,
    404: EX_NO_STREAM,
    409: EX_REFUSED,
    413: EX_USAGE,
    421: EX_USAGE,
    422: EX_USAGE,
    503: EX_UNAVAILABLE,
}


class Client:
    """The daemon's HTTP interface, with its refusals turned into exit codes."""

    def __init__(self, url: str, token: str = "", ca: Path | None = None) -> None:
        headers = {"User-Agent": "driftd"} | ({"Authorization": f"Bearer {token}"} if token else {})
        try:
            verify = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            fail(EX_USAGE, f"--ca {ca}: {error}")
        self._http = httpx.Client(base_url=url, timeout=10, headers=headers, verify=verify)

    def get(self, path: str) -> Any:
        return self._send("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        return self._send("POST", path, json=body)

    def _send(self, method: str, path: str, **rest: Any) -> Any:
        try:
            response = self._http.request(method, path, **rest)
        except httpx.HTTPError as error:
            fail(EX_UNAVAILABLE, f"no daemon at {self._http.base_url}: {error}")
        if response.is_success:
            return response.json()
        try:
            text = response.json()["error"]
        except (ValueError, KeyError, TypeError):
            text = response.text[:200]
        fail(CODES.get(response.status_code, EX_FAILED), text)


def connected(function: Any) -> Any:
    """Give a command the options that say which daemon it speaks to, and as whom, and the `client` made of them."""

    @functools.wraps(function)
    def wrapped(url: str, ca: Path | None, token_file: Path | None, config_path: Path, **rest: Any) -> Any:
        return function(client=Client(url, _token(url, token_file, config_path), ca), **rest)

    path = click.Path(dir_okay=False, path_type=Path)
    for option in (
        click.option("--config", "config_path", type=path, default="config.toml", help="Of a daemon on this host."),
        click.option("--token-file", type=path, help="Holds a token; else DRIFTD_TOKEN does, else the daemon's own."),
        click.option("--ca", type=path, help="Certificates to trust, of a daemon at https://."),
        click.option(
            "--url", envvar="DRIFTD_URL", default="http://127.0.0.1:8765", show_default=True, help="The daemon."
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _token(url: str, token_file: Path | None, config_path: Path) -> str:
    """The token to use; that of a daemon's own user is sent to this host alone."""
    if token_file is not None:
        try:
            return token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            fail(EX_USAGE, f"--token-file {token_file}: {error}")
    if token := os.environ.get("DRIFTD_TOKEN"):
        return token
    try:
        return (state_dir(config_path) / "operator.token").read_text(encoding="ascii").strip() if _local(url) else ""
    except (OSError, ValueError):
        return ""


def _local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _plot_option(function: Any) -> Any:
    path = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option("--plot", type=path, help="Draw the proposal into this PNG, PDF or SVG, once it is there.")(
        function
    )


def _reason_option(function: Any) -> Any:
    return click.option(
        "--reason", default="", help="Why, in 3 characters or more; it is kept in the ledger and the audit."
    )(function)


@click.command()
@connected
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(client: Client, as_json: bool) -> None:
    """Say how every stream is doing."""
    found = client.get("/api/v1/status")
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, board in found["boards"].items():
        said = "answers" if board["up"] else f"does not answer: {board['error']}"
        click.echo(f"board {name} ({board['uri']}) {said}")
    for name, stream in found["streams"].items():
        last = stream["last"]
        click.echo(f"{name}: {stream['phase']} ({stream['mode']}), {stream['reason'] or 'nothing to say'}")
        if last:
            click.echo(f"  lumi section {last['ls']} of run {last['run']}: {last['text']}")
            if last["details"]:
                click.echo(f"    {last['details']}")
        payload = stream["payload"][:12] or "unknown"
        click.echo(f"  generation {stream['generation']}, payload {payload}; {stream['datapath']}")
        if stream["proposal"]:
            click.echo(f"  proposal {stream['proposal'][:12]} waits for approval")


@click.command()
@click.argument("stream")
@click.option("--dry-run", is_flag=True, help="Fit and judge, but write nothing.")
@click.option("--wait", is_flag=True, help="Wait for the end; exit 0 only if it was confirmed.")
@_plot_option
@_reason_option
@connected
def recalibrate(stream: str, dry_run: bool, wait: bool, plot: Path | None, reason: str, client: Client) -> None:
    """Collect events and re-calibrate STREAM now."""
    before = client.get(f"/api/v1/streams/{stream}")
    known = _newest(client, stream)
    client.post(f"/api/v1/streams/{stream}/recalibrate", dry_run=dry_run, reason=reason)
    if not (wait or plot):
        click.echo(f"{stream}: collecting events")
        return
    said = ""
    while True:
        time.sleep(POLL_S)
        now = client.get(f"/api/v1/streams/{stream}")
        if now["phase"] != said:
            said = now["phase"]
            click.echo(f"{stream}: {said}")
        if said in ("watching", "awaiting_approval", "rolled_back", "frozen", "fault"):
            break
    click.echo(now["reason"])
    proposal = _newest(client, stream)
    if proposal == known:
        proposal = None
    if proposal is not None:
        _show(proposal, plot)
    elif plot:
        click.echo(f"driftd: no proposal was made, {plot} is not written", err=True)
    if dry_run:
        sys.exit(0 if proposal is not None and proposal["accepted"] else EX_FAILED)
    done = said == "watching" and now["generation"] > before["generation"]
    sys.exit(0 if done or said == "awaiting_approval" else EX_FAILED)


def _newest(client: Client, stream: str) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = client.get(f"/api/v1/streams/{stream}/proposals")
    return found[0] if found else None


def _show(data: dict[str, Any], plot: Path | None, as_json: bool = False) -> None:
    """Print a proposal, and draw it if that is wanted."""
    from monitor.plots.proposal_figure import proposal_figure
    from monitor.plots.proposal_rows import lines
    from recalib.proposal import Proposal

    proposal = Proposal.from_dict(data)
    for line in [json.dumps(data)] if as_json else lines(proposal):
        click.echo(line)
    if plot is None:
        return
    try:
        proposal_figure(plot, proposal)
    except (ValueError, OSError) as error:
        fail(EX_FAILED, f"no plot: {error}")
    click.echo(f"plot: {plot}", err=True)


@click.group()
def proposal() -> None:
    """Look at what the engine proposed."""


@proposal.command()
@click.argument("name")
@_plot_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object, as it is stored.")
@connected
def show(name: str, plot: Path | None, as_json: bool, client: Client) -> None:
    """Print the proposal NAME: any unique beginning of its name, or a file that --json wrote."""
    asked = f"/api/v1/proposals/{quote(name, safe='')}"
    _show(_read(Path(name)) if Path(name).is_file() else client.get(asked), plot, as_json)


def _read(path: Path) -> dict[str, Any]:
    """The proposal in a file, checked."""
    from recalib.proposal import Proposal

    try:
        data: dict[str, Any] = json.loads(path.read_text())
        Proposal.from_dict(data)
    except (ValueError, KeyError, TypeError) as error:
        fail(EX_USAGE, f"{path} holds no proposal: {error!r}")
    return data


def _order(client: Client, stream: str, word: str, **body: Any) -> None:
    """Give a command, and say where the stream stands then."""
    now = client.post(f"/api/v1/streams/{stream}/{word}", **body)
    click.echo(f"{stream}: {now['phase']}")


def _decide(word: str, proposal: str, reason: str, client: Client) -> None:
    streams = client.get("/api/v1/status")["streams"]
    for name, stream in streams.items():
        if len(proposal) >= 4 and stream["proposal"].startswith(proposal):
            _order(client, name, word, proposal=proposal, reason=reason)
            return
    fail(EX_REFUSED, f"no stream waits for a decision on proposal {proposal!r}")


@click.command()
@click.argument("proposal")
@_reason_option
@connected
def approve(proposal: str, reason: str, client: Client) -> None:
    """Let the waiting PROPOSAL (4 characters of its name or more) go to the board."""
    _decide("approve", proposal, reason, client)


@click.command()
@click.argument("proposal")
@_reason_option
@connected
def reject(proposal: str, reason: str, client: Client) -> None:
    """Turn the waiting PROPOSAL (4 characters of its name or more) down."""
    _decide("reject", proposal, reason, client)


@click.command()
@click.argument("stream")
@click.option("--to", default="nominal", show_default=True, help="A payload of the ledger, or nominal.")
@_reason_option
@connected
def rollback(stream: str, to: str, reason: str, client: Client) -> None:
    """Put an earlier payload of STREAM back, as a new generation."""
    _order(client, stream, "rollback", to=to, reason=reason)


@click.command()
@click.argument("stream")
@_reason_option
@connected
def freeze(stream: str, reason: str, client: Client) -> None:
    """Write nothing to STREAM's board until it is unfrozen; monitoring goes on."""
    _order(client, stream, "freeze", reason=reason)


@click.command()
@click.argument("stream")
@_reason_option
@connected
def unfreeze(stream: str, reason: str, client: Client) -> None:
    """Let the loop of STREAM act again."""
    _order(client, stream, "unfreeze", reason=reason)


COMMANDS = (status, recalibrate, proposal, approve, reject, rollback, freeze, unfreeze)
