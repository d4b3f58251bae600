"""What the simulated board publishes: begin of run, batches and end of run of every stream."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zmq

from firmware.model.fixed import Words
from firmware.sim.registers import BoardRegisters
from firmware.sim.settings import BoardSettings
from firmware.sim.stream import Stream
from firmware.wire import CROSSINGS, Batch, EventHeader, Header, encode


class Publisher:
    """Sends the messages of all streams through one socket, and never waits: what no peer takes is dropped and counted.

    `pileup` is the measured mean of the lumi section.
    """

    def __init__(
        self,
        socket: "zmq.Socket[bytes]",
        registers: BoardRegisters,
        settings: BoardSettings,
        mask: npt.NDArray[np.bool_],
    ) -> None:
        self.pileup = 0.0
        self._socket = socket
        self._registers = registers
        self._settings = settings
        self._mask = mask
        self._colliding = np.flatnonzero(np.tile(mask, settings.orbits_per_message))

    def begin(self, streams: Sequence[Stream]) -> None:
        """Say which bunches collide, at the begin of a run and of every lumi section."""
        filled = int(self._mask.sum())
        for stream in streams:
            header = self._header(stream, "begin", filled=filled, ls_orbits=self._settings.orbits_per_ls)
            self._send(stream, Batch(header, np.empty(0), mask=self._mask))

    def batch(self, stream: Stream, events: npt.NDArray[np.int16], codes: Words, empty: int) -> None:
        """Send the codes (n,) of n colliding crossings, and a sample of their events (n, width).

        Where all crossings are published, those that do not collide get the code of an `empty` one.
        """
        index, inclusion = stream.sample(codes)
        scores, position = codes, index
        if self._settings.bx_class == "all":
            scores = np.full(self._settings.orbits_per_message * CROSSINGS, empty, codes.dtype)
            scores[self._colliding] = codes
            position = self._colliding[index]
        header = self._header(stream, "batch", n=len(scores), events=EventHeader(len(index), stream.width))
        self._send(stream, Batch(header, scores, events[index], position.astype(np.uint32), inclusion))

    def end(self, streams: Sequence[Stream]) -> None:
        """Say what the streams have done in this run."""
        for stream in streams:
            accepts = {f"accepts_{k}": n for k, n in enumerate(stream.accepts.tolist())}
            totals = {"messages": stream.messages + 1, "dropped": stream.dropped, "events": stream.events}
            self._send(stream, Batch(self._header(stream, "end", totals=totals | accepts), np.empty(0)))

    def _header(self, stream: Stream, kind: str, n: int = 0, **own: Any) -> Header:
        registers = self._registers
        return Header(
            kind=kind,
            stream=stream.name,
            source=self._settings.source,
            seq=stream.messages,
            run=registers.run,
            ls=registers.ls,
            orbit=registers.orbit,
            n=n,
            dtype=stream.dtype,
            epoch=registers.epoch,
            generation=stream.bank.generation,
            t_ns=time.time_ns(),
            pileup=self.pileup,
            bx_class=self._settings.bx_class,
            **own,
        )

    def _send(self, stream: Stream, batch: Batch) -> None:
        stream.messages += 1
        try:
            self._socket.send_multipart(encode(batch), zmq.NOBLOCK)
        except zmq.Again:
            stream.dropped += 1


def bound(socket: "zmq.Socket[bytes]", address: str) -> str:
    """Bind and return the endpoint as it became."""
    socket.bind(address)
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
