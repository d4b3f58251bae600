"""The server under the HTTP interface: limits on what a connection may take, TLS, and no signals of its own."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.config import Config, ConfigError

HEAD_S = 10.0
"""Within which the head of a request must have come, or its connection is closed."""
CONNECTIONS = 256
"""More are answered with 503."""
GRACE_S = 2
"""For the requests under way when the daemon ends."""


class BoundedProtocol(H11Protocol):
    """Closes connections whose request's head does not come; lets the application end one by ``state["drop"]``."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request's head `HEAD_S` seconds from now."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "drop": transport.abort}
        self._due = self.loop.call_later(HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Stop the clock once a head is complete, or start it when the next one begins."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._due is None:
            self._due = self.loop.call_later(HEAD_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock of a connection that has ended."""
        self._disarm()
        super().connection_lost(exc)

    def _disarm(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class HttpServer(uvicorn.Server):
    """Serves an application as ``[http]`` says.

    Raises:
        ConfigError: certificate or key cannot be used.
    """

    def __init__(self, config: Config, application: FastAPI) -> None:
        http = config.http
        settings = uvicorn.Config(
            application,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE_S,
            ssl_certfile=http.certificate,
            ssl_keyfile=http.key,
        )
        try:
            settings.load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError("http", [f"certificate {http.certificate}, key {http.key}: {error}"]) from None
        super().__init__(settings)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The daemon has signal handlers of its own."""
        yield
