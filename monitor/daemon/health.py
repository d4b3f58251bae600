"""Whether the daemon of a configuration answers on its own address."""

from __future__ import annotations

import httpx

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
    try:
        answer = httpx.get(f"{url(http)}/live", timeout=TIMEOUT_S, verify=False, trust_env=False)
        return answer.is_success and answer.json() == {"live": True}
    except (httpx.HTTPError, ValueError):
        return False
