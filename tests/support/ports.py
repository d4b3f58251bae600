"""Ports on loopback for servers in processes of their own, which must be told a number before they start."""

import os
import random
import socket
from collections.abc import Sequence

HOST = "127.0.0.1"
RANGE = (15_000, 32_000)
"""Below the ports that Linux gives to whoever asks for any (32768 and up): no client's end lands on one of these."""


class Ports:
    """Free numbers by name, each kept from all others that choose so until `close`; `ports["http"]` is one.

    A number is kept by a bound socket that does not listen. It allows the address to be used again, as servers do on
    Linux, so the server that it is meant for can listen there at any time and as often as it is started. For UDP the
    same number is as free.
    """

    def __init__(self, *names: str) -> None:
        self._kept = {name: _kept() for name in names}

    def __getitem__(self, name: str) -> int:
        number: int = self._kept[name].getsockname()[1]
        return number

    def keys(self) -> Sequence[str]:
        return list(self._kept)

    def close(self) -> None:
        for kept in self._kept.values():
            kept.close()


def _kept() -> socket.socket:
    """Bound alone at first, so that no two keep the same number."""
    numbers = random.Random(os.urandom(8))
    while True:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            found.bind((HOST, numbers.randrange(*RANGE)))
        except OSError:
            found.close()
            continue
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _free_for_udp(found.getsockname()):
            return found
        found.close()


def _free_for_udp(address: tuple[str, int]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind(address)
        except OSError:
            return False
    return True
