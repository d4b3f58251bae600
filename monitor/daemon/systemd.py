"""What the daemon tells systemd: that it serves, what it does, and that it is not stuck (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends to the socket that systemd named in the environment; without one it says nothing to nobody.

    ``watchdog_s``: time without `WATCHDOG=1` after which systemd ends the daemon; None where it does not watch.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self.watchdog_s = _watchdog_s(environment)

    def tell(self, **fields: str | int) -> None:
        """One datagram of all fields; a systemd that does not listen is no reason to stop."""
        if not self._address:
            return
        text = "\n".join(f"{key}={str(value).replace(chr(10), ' ')}" for key, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as link:
                link.sendto(text.encode(), self._address)
        except OSError:
            return


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Only what is meant for this process: a child inherits the environment."""
    usec = environment.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or int(usec) == 0 or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 1e6
