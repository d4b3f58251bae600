"""A sample out of the live stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import zmq

from firmware.errors import WireError
from firmware.wire import CROSSINGS, Batch, decode
from monitor.archive.errors import ArchiveError
from monitor.stats.count.codes import to_codes
from monitor.stats.count.tally import Chunk


def messages(address: str, pattern: Literal["pull", "sub"], stream: str, silent_s: float = 60.0) -> Iterator[Batch]:
    """What arrives of one stream; malformed messages are left out.

    Raises:
        ArchiveError: where nothing of it has come for `silent_s` seconds.
    """
    with zmq.Context() as context, context.socket(zmq.PULL if pattern == "pull" else zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        if pattern == "sub":
            socket.set(zmq.SUBSCRIBE, stream.encode())
        socket.connect(address)
        while socket.poll(int(silent_s * 1000)):
            frames = socket.recv_multipart()
            try:
                batch = decode(frames)
            except WireError:
                continue
            if batch.header.stream == stream:
                yield batch
    raise ArchiveError(f"{address}: no message of stream {stream!r} within {silent_s:g} s; is it sent there?")


def chunks(
    batches: Iterator[Batch], lumi_sections: int, bits: int, lsb: float | None, progress: Callable[[int], None]
) -> Iterator[Chunk]:
    """The colliding crossings of so many lumi sections of one generation, with their pile-up.

    Raises:
        ArchiveError: where the generation changes, float scores come without an `lsb`, or as many lumi sections as were
            asked for hold scores of all crossings and the bunch mask is still unknown.
    """
    masks: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
    seen: set[tuple[int, int]] = set()
    unmasked: set[tuple[int, int]] = set()
    identity = None
    for batch in batches:
        header = batch.header
        source, moment = (header.source, header.run), (header.run, header.ls)
        if batch.mask is not None:
            masks[source] = batch.mask
        if len(seen) == lumi_sections and (header.kind == "end" or moment not in seen):
            return
        if header.kind != "batch":
            continue
        if header.bx_class == "all" and source not in masks:
            unmasked.add(moment)
            # The mask comes with the begin of a run: in the middle of one it would be waited for as long as that lasts.
            if len(unmasked) > lumi_sections:
                raise ArchiveError("no bunch mask so far; it comes with the begin of a run: begin before the run does")
            continue
        if identity not in (None, (header.epoch, header.generation)):
            raise ArchiveError(f"the payload changed in lumi section {header.ls}: freeze the stream and begin again")
        identity = header.epoch, header.generation
        if moment not in seen:
            seen.add(moment)
            progress(1)
        codes = batch.codes
        if header.bx_class == "all":
            codes = codes[np.tile(masks[source], header.n // CROSSINGS)]
        if header.dtype == "f4":
            if lsb is None:
                raise ArchiveError("the stream sends float scores: give the score of one code (lsb)")
            codes = to_codes(codes, lsb, bits)
        yield codes, None, header.pileup
