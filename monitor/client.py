"""One request after the other to a daemon's HTTP interface, by the standard library alone.

A command line that starts in a moment cannot wait for a larger client to be imported.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

TIMEOUT_S = 10.0


class NoAnswer(Exception):
    """Nothing that speaks HTTP answered in time; what was asked may have been done nevertheless."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the status of HTTP, and the body."""

    status: int
    body: bytes

    @property
    def good(self) -> bool:
        """Whether what was asked was done."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body's value.

        Raises:
            ValueError: the body is not JSON.
        """
        return json.loads(self.body)


class HttpClient:
    """The interface at ``url``, for whoever holds ``token``.

    Redirects are not followed, so that the token reaches no other host.

    Args:
        url: the address, such as ``http://127.0.0.1:8765``.
        token: is sent as the bearer's, where there is one.
        tls: whom to trust at an https:// address; those that the system trusts, if it is None.
        timeout_s: seconds to wait for a connection, and for each part of an answer.
        proxies: whether to go through the proxies that the environment names.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
        proxies: bool = True,
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"User-Agent": "driftd"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._opener = OpenerDirector()
        self._opener.add_handler(ProxyHandler(None if proxies else {}))
        self._opener.add_handler(HTTPHandler())
        # Made for https alone: it reads every certificate that the system trusts.
        if self.url.lower().startswith("https:"):
            self._opener.add_handler(HTTPSHandler(context=tls or ssl.create_default_context()))

    def get(self, path: str) -> Reply:
        """Ask for ``path``, which is quoted where need be.

        Raises:
            NoAnswer: nobody answered in time, or not in HTTP.
        """
        return self._send(Request(self.url + path, headers=self._headers))

    def post(self, path: str, body: Any) -> Reply:
        """Send ``body`` as JSON to ``path``.

        Raises:
            NoAnswer: nobody answered in time, or not in HTTP.
        """
        headers = self._headers | {"Content-Type": "application/json"}
        return self._send(Request(self.url + path, json.dumps(body).encode(), headers, method="POST"))

    def _send(self, request: Request) -> Reply:
        try:
            response = self._opener.open(request, timeout=self._timeout_s)
            if response is None:
                raise NoAnswer(f"{self.url} is not the address of a web server: expected http://host:port")
            with response:
                return Reply(response.status, response.read())
        except (OSError, HTTPException) as error:
            raise NoAnswer(str(getattr(error, "reason", None) or error or repr(error))) from None
