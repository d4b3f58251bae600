"""The daemon that an operator's command speaks to: its address, the token, and what a refusal means."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from monitor.cli.command import File, fail
from monitor.cli.state import state_dir
from monitor.client import HttpClient, NoAnswer, Reply
from monitor.exits import EX_FAILED, EX_NO_STREAM, EX_NOPERM, EX_REFUSED, EX_UNAVAILABLE, EX_USAGE

if TYPE_CHECKING:
    import ssl

EXIT_CODES = {
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
"""Exit codes by the status of HTTP."""


class Client:
    """The daemon's HTTP interface, with its refusals turned into exit codes."""

    def __init__(self, url: str, token: str = "", ca: Path | None = None) -> None:
        if not _is_address(url):
            fail(
                EX_USAGE, f"--url {url} is not the address of a daemon: expected http://host:port or https://host:port"
            )
        # No proxy on the way to this host: it would see the token of the daemon's own user.
        self._http = HttpClient(url, token=token, tls=_trusted(ca), proxies=not _local(url))

    def get(self, path: str) -> Any:
        """What the daemon shows at ``path``."""
        return self._taken(lambda: self._http.get(path))

    def post(self, path: str, **body: Any) -> Any:
        """What the daemon answers to a command."""
        return self._taken(lambda: self._http.post(path, body))

    def _taken(self, ask: Any) -> Any:
        try:
            answer: Reply = ask()
        except NoAnswer as error:
            fail(EX_UNAVAILABLE, f"no daemon at {self._http.url}: {error}; is `driftd run` running there?")
        if answer.good:
            return answer.json()
        try:
            text = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            text = answer.body.decode(errors="replace")[:200]
        fail(EXIT_CODES.get(answer.status, EX_FAILED), text)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _trusted(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    import ssl

    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        fail(EX_USAGE, f"--ca {ca}: {error}; expected a file of certificates in PEM")


def connected(function: Any) -> Any:
    """Give a command the options that say which daemon it speaks to, and as whom, and the `client` made of them."""

    @functools.wraps(function)
    def wrapped(url: str, ca: Path | None, token_file: Path | None, config_path: Path, **rest: Any) -> Any:
        return function(client=Client(url, _token(url, token_file, config_path), ca), **rest)

    for option in (
        click.option(
            "--config",
            "config_path",
            type=File,
            default="config.toml",
            show_default=True,
            help="Configuration of a daemon on this host, whose own token is taken when no other is given.",
        ),
        click.option("--token-file", type=File, help="File that holds your token; else DRIFTD_TOKEN is taken."),
        click.option("--ca", type=File, help="Certificates to trust (PEM), for a daemon at https://."),
        click.option(
            "--url",
            envvar="DRIFTD_URL",
            default="http://127.0.0.1:8765",
            show_default=True,
            help="Address of the daemon; else DRIFTD_URL is taken.",
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
            fail(EX_USAGE, f"--token-file {token_file}: {error}; expected what `driftd token add` printed")
    if token := os.environ.get("DRIFTD_TOKEN"):
        return token
    try:
        return (state_dir(config_path) / "operator.token").read_text(encoding="ascii").strip() if _local(url) else ""
    except (OSError, ValueError):
        return ""


def _local(url: str) -> bool:
    from ipaddress import ip_address

    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
