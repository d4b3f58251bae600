"""Server-sent events: what a client is told, what it missed, and what becomes of one that does not read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from monitor.daemon.http import sse as module
from monitor.daemon.http.queries import EventStream
from monitor.daemon.http.server import BoundedProtocol
from monitor.daemon.http.sse import CLIENTS, MEMORY, WAITING, Broadcast, Client, TooManyClients
from tests.support.waiting import strained, until_async


def nothing() -> None:
    pass


async def told(events: Broadcast, client: Client, last: str = "", n: int = 1) -> list[str]:
    """The first n messages that a client is sent, after the time to wait for it."""
    lines = events.lines(client, events.missed(last) if last else [])
    assert (await anext(lines)).startswith(b"retry: ")
    return [(await anext(lines)).decode() for _ in range(n)]


def identity(message: str) -> str:
    return next(line for line in message.splitlines() if line.startswith("id: "))[4:]


def test_a_client_is_told_what_it_wants_and_nothing_else() -> None:
    async def scene() -> None:
        events = Broadcast()
        client = events.listen("a", nothing)
        events.publish("status", "b", "1")
        events.publish("status", "a", "2")
        events.publish("board", "", "3")
        first, second = await told(events, client, n=2)
        assert first.startswith("event: status\ndata: 2\nid: ")
        assert second.startswith("event: board\ndata: 3\n")
        assert second.endswith("\n\n")

    asyncio.run(scene())


def test_what_was_missed_is_told_after_the_last_that_was_seen() -> None:
    async def scene() -> None:
        events = Broadcast()
        client = events.listen("", nothing)
        for number in range(5):
            events.publish("ledger", "a", str(number))
        seen = await told(events, client, n=2)
        missed = await told(events, events.listen("", nothing), identity(seen[1]), n=3)
        assert [message.split("\n")[1] for message in missed] == ["data: 2", "data: 3", "data: 4"]
        assert events.missed(identity(missed[-1])) == []

    asyncio.run(scene())


@pytest.mark.parametrize(
    "last", ["nonsense", "-", "0-1", "{boot}-0", "{boot}-9999", "{boot}-x", "{boot}-" + "9" * 5000]
)
def test_who_missed_more_than_is_remembered_is_told_to_read_anew(last: str) -> None:
    async def scene() -> None:
        events = Broadcast()
        for number in range(MEMORY + 1):
            events.publish("ledger", "a", str(number))
        (first,) = await told(events, events.listen("", nothing), last.format(boot=events._boot))
        assert first.startswith("event: reset\n")
        assert events.missed(identity(first)) == []

    asyncio.run(scene())


def test_a_silent_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.01)

    async def scene() -> None:
        events = Broadcast()
        beat, *_ = await told(events, events.listen("", nothing))
        assert beat == ": \n\n"

    asyncio.run(scene())


def test_there_are_so_many_clients_and_no_more_and_none_at_the_end() -> None:
    async def scene() -> None:
        events = Broadcast()
        clients = [events.listen("", nothing) for _ in range(CLIENTS)]
        with pytest.raises(TooManyClients, match="64"):
            events.listen("", nothing)
        lines = [events.lines(each, []) for each in clients]
        for each in lines:
            await anext(each)
        events.publish("status", "a", "1")
        events.close()
        for each in lines:
            with pytest.raises(StopAsyncIteration):
                await anext(each)
        events.clients.clear()
        with pytest.raises(TooManyClients):
            events.listen("", nothing)

    asyncio.run(scene())


@asynccontextmanager
async def served(events: Broadcast) -> AsyncIterator[int]:
    """A real server with one route; its port."""

    async def listen(request: Request) -> EventStream:
        client = events.listen("", request.state.drop)
        return EventStream(events, client, events.lines(client, []))

    application = Starlette(routes=[Route("/", listen)])
    config = uvicorn.Config(application, http=BoundedProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        running = asyncio.create_task(server.serve([sock]))
        try:
            yield sock.getsockname()[1]
        finally:
            events.close()
            server.should_exit = True
            await asyncio.wait_for(running, strained(5))


def test_a_client_that_does_not_read_is_dropped_and_the_others_miss_nothing() -> None:
    """Its connection ends although what it was sent still waits for it; no task and no socket stays behind."""
    size, n = 100_000, 3 * WAITING

    async def scene() -> None:
        events = Broadcast()
        async with served(events) as port:
            lazy = socket.socket()
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect(("127.0.0.1", port))
            lazy.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2 * size)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until_async(lambda: len(events.clients) == 2)
            for _ in range(n):
                events.publish("window", "a", "x" * size)
                await reader.readuntil(b"\nid: ")
            assert events.dropped == 1
            assert len(events.clients) == 1
            lazy.settimeout(strained(5))
            left = await asyncio.to_thread(lambda: sum(map(len, iter(lambda: lazy.recv(1 << 20), b""))))
            assert left < n * size / 2
            lazy.close()
            writer.close()

    asyncio.run(scene())


def test_a_client_that_leaves_is_forgotten() -> None:
    async def scene() -> None:
        events = Broadcast()
        async with served(events) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until_async(lambda: events.clients)
            writer.close()
            await until_async(lambda: not events.clients)

    asyncio.run(scene())
