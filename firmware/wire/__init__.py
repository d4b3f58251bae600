"""The batch on the wire: multipart messages of score codes with a MessagePack header.

Frames by kind, after the topic (the stream's name) and the header::

    begin   bunch mask (3564 bits, packed most significant bit first)
    batch   score codes[, event inputs (n, width), index (n,) u4, inclusion (n,) f4]
    end     nothing

All arrays are little-endian; decoded ones are read-only views of the frames.
"""

from firmware.wire.batch import CROSSINGS, Batch, Buffer, EventHeader, Header
from firmware.wire.codec import HEADERS_KEPT, Decoder, decode, encode

__all__ = ["CROSSINGS", "HEADERS_KEPT", "Batch", "Buffer", "Decoder", "EventHeader", "Header", "decode", "encode"]
