"""The receiver thread: sockets in, counted windows and a sample of events out.

All counting is done in this one thread; what others read of it are totals that only grow.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal

import structlog
import zmq

from firmware.errors import WireError
from firmware.wire import Buffer, Decoder
from monitor.watch.stream import StreamMonitor

log = structlog.get_logger()
NOBLOCK = int(zmq.NOBLOCK)
DRAIN_S = 1.0
"""How long `Receiver.stop` lets it count what still comes."""
SOURCES_KEPT = 256
"""Sources named in the counts of malformed messages; a sender cannot make the daemon grow without bound."""


class Receiver:
    """Receives, decodes and counts; never lets a bad message through or be stopped by one.

    Args:
        streams: monitors by stream name.
        widths: number of event inputs by stream name.
        sockets: (address, pattern, stream) of each subscription; equal addresses share a socket.
        high_water_mark: messages a socket may hold back.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamMonitor],
        widths: Mapping[str, int],
        sockets: list[tuple[str, Literal["pull", "sub"], str]],
        high_water_mark: int,
    ) -> None:
        self.streams = streams
        self.malformed: dict[tuple[str, str], int] = {}
        self.last_message: dict[str, float] = {}
        self.messages = 0
        self.rounds = 0
        self._decoder = Decoder(widths)
        self._context = zmq.Context()
        self._context.setsockopt(zmq.LINGER, 0)
        self._sockets = self._open(sockets, high_water_mark)
        self._between: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    def start(self) -> None:
        """Start the thread that receives and counts."""
        self._thread.start()

    def stop(self) -> None:
        """Count what has arrived, then end; a sender that never pauses is left after `DRAIN_S`."""
        self._stop.set()
        self._thread.join(DRAIN_S + 1)
        self._context.destroy()

    def between_messages(self, change: Callable[[], None]) -> None:
        """Make a change to the monitors in their own thread, when no message is half counted."""
        self._between.put(change)

    def _open(
        self, subscriptions: list[tuple[str, Literal["pull", "sub"], str]], high_water_mark: int
    ) -> list[zmq.Socket[bytes]]:
        sockets: dict[tuple[str, str], zmq.Socket[bytes]] = {}
        for address, pattern, stream in subscriptions:
            socket = sockets.get((address, pattern))
            if socket is None:
                kind = zmq.PULL if pattern == "pull" else zmq.SUB
                socket = sockets[(address, pattern)] = self._context.socket(kind)
                socket.set(zmq.RCVHWM, high_water_mark)
                socket.connect(address)
            if pattern == "sub":
                socket.set(zmq.SUBSCRIBE, stream.encode())
        return list(sockets.values())

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        due = float("inf")
        while True:
            ready = poller.poll(50)
            for socket, _ in ready:
                self._drain(socket)
            while not self._between.empty():
                self._between.get()()
            self.rounds += 1
            if self._stop.is_set():
                due = min(due, time.monotonic() + DRAIN_S)
                if not ready or time.monotonic() > due:
                    return

    def _drain(self, socket: zmq.Socket[bytes]) -> None:
        """Take what waits, up to a bound, so that no socket starves."""
        for _ in range(256):
            try:
                frame = socket.recv(NOBLOCK, copy=False)
            except zmq.Again:
                return
            frames: list[Buffer] = [frame.bytes]
            while frame.more:
                frame = socket.recv(NOBLOCK, copy=False)
                frames.append(frame.bytes if len(frames) < 2 else frame.buffer)
            self._take(frames)
            self.messages += 1

    def _take(self, frames: list[Buffer]) -> None:
        try:
            batch = self._decoder.decode(frames)
        except WireError as error:
            self._malformed(error, error.source or bytes(frames[0][:64]).decode("utf-8", "backslashreplace"))
            return
        stream = batch.header.stream
        self.last_message[stream] = time.monotonic()
        try:
            self.streams[stream].add(batch)
        except Exception as error:
            self._malformed(WireError("internal", repr(error)), batch.header.source, error)

    def _malformed(self, error: WireError, source: str, bug: Exception | None = None) -> None:
        """Count by cause and source, and say so once; the topic stands for a source that could not be read."""
        key = (error.cause, source)
        if key not in self.malformed and len(self.malformed) >= SOURCES_KEPT:
            key = (error.cause, "other")
        if key not in self.malformed:
            log.warning("malformed message", cause=error.cause, source=source, why=error.why, exc_info=bug)
        self.malformed[key] = self.malformed.get(key, 0) + 1
