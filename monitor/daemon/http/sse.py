"""What happens, told to whoever listens: server-sent events with a bounded memory and bounded queues."""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from fastapi.sse import format_sse_event

from monitor.daemon.errors import DaemonError

MEMORY = 512
"""Events that a client may have missed and still be told."""
WAITING = 128
"""Events that may wait for a client; one that lets more come together is dropped."""
CLIENTS = 64
HEARTBEAT_S = 10.0
RETRY_MS = 2000
DIGITS = re.compile(r"[0-9]{1,18}")

Name = Literal["status", "window", "ledger", "board", "reset"]


@dataclass(frozen=True)
class Message:
    """An event; ``stream`` is empty where it concerns all, ``data`` is JSON."""

    name: Name
    stream: str
    data: str
    number: int


class TooManyClients(DaemonError):
    """As many clients listen as may."""


@dataclass(eq=False)
class Client:
    """A client. ``drop`` ends its connection, whatever it has not read."""

    stream: str
    drop: Callable[[], None]
    queue: asyncio.Queue[Message | None] = field(default_factory=lambda: asyncio.Queue(WAITING))

    def wants(self, message: Message) -> bool:
        """Whether a message is for this client: any if either names no stream, else one of the same stream."""
        return not (self.stream and message.stream) or message.stream == self.stream


class Broadcast:
    """Passes messages on and remembers the last ones. All of it runs in the event loop's thread."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self.dropped = 0
        self._boot = f"{time.time_ns():x}"
        self._number = 0
        self._memory: deque[Message] = deque(maxlen=MEMORY)
        self._closed = False

    def publish(self, name: Name, stream: str, data: str) -> None:
        """Pass an event to every client that wants it; one whose queue is full is dropped."""
        self._number += 1
        message = Message(name, stream, data, self._number)
        self._memory.append(message)
        for client in [each for each in self.clients if each.wants(message)]:
            try:
                client.queue.put_nowait(message)
            except asyncio.QueueFull:
                self.dropped += 1
                self.clients.discard(client)
                client.drop()

    def listen(self, stream: str, drop: Callable[[], None]) -> Client:
        """A new client.

        Raises:
            TooManyClients: there are as many as there may be, or the daemon is ending.
        """
        if self._closed or len(self.clients) >= CLIENTS:
            raise TooManyClients(f"{CLIENTS} clients listen already: close one, or ask again later")
        client = Client(stream, drop)
        self.clients.add(client)
        return client

    def close(self) -> None:
        """Let every client's stream end."""
        self._closed = True
        for client in self.clients:
            while not client.queue.empty():
                client.queue.get_nowait()
            client.queue.put_nowait(None)

    def missed(self, last: str) -> list[Message]:
        """What came after the event with the id ``last``; `reset` if that is not known any more."""
        boot, _, number = last.partition("-")
        oldest = self._memory[0].number if self._memory else self._number + 1
        known = boot == self._boot and DIGITS.fullmatch(number)
        if not known or not oldest - 1 <= int(number) <= self._number:
            return [self.now("reset", "", "{}")]
        return [message for message in self._memory if message.number > int(number)]

    def now(self, name: Name, stream: str, data: str) -> Message:
        """A message for one client alone, after which it has missed nothing that was published before."""
        return Message(name, stream, data, self._number)

    async def lines(self, client: Client, first: Iterable[Message]) -> AsyncIterator[bytes]:
        """What one client is sent: the ``first`` messages, and what is published."""
        yield format_sse_event(retry=RETRY_MS)
        for message in filter(client.wants, first):
            yield self._line(message)
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    following = await client.queue.get()
            except TimeoutError:
                yield format_sse_event(comment="")
                continue
            if following is None:
                return
            yield self._line(following)

    def _line(self, message: Message) -> bytes:
        return format_sse_event(data_str=message.data, event=message.name, id=f"{self._boot}-{message.number}")
