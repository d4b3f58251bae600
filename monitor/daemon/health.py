"""Whether the daemon of a configuration answers on its own address."""

from __future__ import annotations

import ssl

from monitor.client import HttpClient, NoAnswer
from monitor.config import HttpSettings

TIMEOUT_S = 3.0
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def url(http: HttpSettings) -> str:
    """Where a process of the same machine reaches it."""
    host = ANYWHERE.get(http.host, http.host)
    scheme = "https" if http.certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{http.port}"


def alive(http: HttpSettings) -> bool:
    """Whether it says so itself; its certificate is for the names that others use, not for this address."""
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname = False
    unchecked.verify_mode = ssl.CERT_NONE
    try:
        answer = HttpClient(url(http), tls=unchecked, timeout_s=TIMEOUT_S, proxies=False).get("/live")
        return answer.good and bool(answer.json() == {"live": True})
    except (NoAnswer, ValueError):
        return False
