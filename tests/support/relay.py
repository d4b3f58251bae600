"""A lossy network between a client and a board that speak IPbus over UDP."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, Self, get_args

Fault = Literal["request lost", "reply lost", "request twice", "reply twice", "request late", "reply late", "accident"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

DATAGRAM = 1 << 16


class Relay:
    """Carries one exchange at a time; `fault` befalls the one that comes after `after` others, and no second one.

    What is late arrives right before the first packet of the client's next attempt. An accident is a call of
    `accident`, right before the request reaches the board.
    """

    def __init__(self, board: tuple[str, int]) -> None:
        self._front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._front.bind(("127.0.0.1", 0))
        self._back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._back.connect(board)
        self.uri = "ipbusudp-2.0://{}:{}".format(*self._front.getsockname())
        self.fault: Fault | None = None
        self.after = 0
        self.carried = 0
        self.accident: Callable[[], object] = lambda: None
        self._late: Callable[[], object] | None = None
        self._late_for: tuple[str, int] | None = None
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def expect(self, fault: Fault | None, after: int) -> None:
        self.fault, self.after, self.carried = fault, after, 0

    def _carry(self) -> None:
        while True:
            request, client = self._front.recvfrom(DATAGRAM)
            if not request:
                return
            if self._late is not None and client != self._late_for:
                self._late()
                self._late = None
            fault = self.fault if self.carried == self.after else None
            self.carried += 1
            self._exchange(request, client, fault)

    def _exchange(self, request: bytes, client: tuple[str, int], fault: Fault | None) -> None:
        match fault:
            case "request lost":
                return
            case "reply lost":
                self._ask(request)
            case "request late":
                self._late, self._late_for = lambda: self._answer(client, self._ask(request)), client
            case "reply late":
                reply = self._ask(request)
                self._late, self._late_for = lambda: self._answer(client, reply), client
            case "request twice":
                self._answer(client, self._ask(request))
                self._answer(client, self._ask(request))
            case "reply twice":
                reply = self._ask(request)
                self._answer(client, reply)
                self._answer(client, reply)
            case _:
                if fault == "accident":
                    self.accident()
                self._answer(client, self._ask(request))

    def _ask(self, request: bytes) -> bytes:
        self._back.send(request)
        return self._back.recv(DATAGRAM)

    def _answer(self, client: tuple[str, int], reply: bytes) -> None:
        with suppress(OSError):
            self._front.sendto(reply, client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._front.sendto(b"", self._front.getsockname())
        self._thread.join()
        self._front.close()
        self._back.close()
