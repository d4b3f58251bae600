"""The world around a simulated board: what its operator can do to it."""

from __future__ import annotations

from typing import Any

import zmq

ANSWER_MS = 10_000


class WorldError(Exception):
    """No simulated board answers, or it refuses what it was told."""


def operate(control: str, **order: Any) -> Any:
    """Do something to the world around the simulated board at ``control``; its status afterwards.

    Raises:
        WorldError: if it does not answer or refuses.
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.set(zmq.RCVTIMEO, ANSWER_MS)
        # Else the context would wait for ever to deliver to nobody.
        socket.set(zmq.LINGER, 0)
        socket.connect(control)
        socket.send_json(order)
        try:
            answer: Any = socket.recv_json()
        except zmq.Again:
            raise WorldError(f"no simulated board answers at {control}: start one with `driftd board`") from None
    if not answer["ok"]:
        raise WorldError(answer["error"])
    return answer
