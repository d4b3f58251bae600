"""What a stream at work is made of; where a part reaches out of this room, it is a protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from firmware.board.board import BoardState
from firmware.model.payload import Payload
from monitor.config import PushSettings
from monitor.daemon.run.collected import Collected
from monitor.daemon.run.fitter import Fitter
from monitor.daemon.run.payloads import Payloads
from monitor.daemon.run.record import Record
from monitor.daemon.run.steerer import Steerer
from monitor.loop.events import Event
from monitor.watch.report import Expectation


class Monitor(Protocol):
    """What counts the stream; see `StreamMonitor`."""

    @property
    def filled(self) -> int | None:
        """Colliding crossings of an orbit, where they are known."""

    def expect(self, epoch: int, generation: int, expectation: Expectation) -> None:
        """From this generation on, test against what it should give."""


class Pushing(Protocol):
    """A stream's way to its boards; see `Pusher`.

    Raises:
        FirmwareError: by every method, where a board, the record or the transaction refuses.
    """

    def use(self, settings: PushSettings, rate_tolerance: float) -> None:
        """Go by other settings from the next step on."""

    async def read(self) -> tuple[BoardState, Payload]:
        """What the first board runs."""

    async def stage(self, task: int, payload: Payload, active: int) -> Event:
        """Write the shadow banks and read them back."""

    async def start_preview(self, task: int) -> Event | None:
        """Let crossings run through the shadow bank too."""

    async def poll_preview(self, task: int, last: bool, promised: Any) -> Event | None:
        """Hold the shadow bank's accepts against the promised rates, once there are enough."""

    async def arm(self, task: int) -> Event:
        """Have the banks swap."""

    async def poll_latch(self, task: int) -> Event | None:
        """See whether they have."""

    async def abort(self) -> None:
        """Disarm; a failure is noted, not raised."""

    async def end_unfinished(self) -> None:
        """Take back what an earlier life of the daemon left open."""


class Listener(Protocol):
    """Who is told of a stream."""

    def changed(self, stream: str, judged: bool) -> None:
        """What is shown of the stream has changed; ``judged``: by another lumi section."""

    def annotate(self, stream: str, kind: str, text: str) -> None:
        """A drift, a push or a rollback, for the plots."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What a runner works with; ``steerer`` where the stream holds its rates."""

    monitor: Monitor
    record: Record
    payloads: Payloads
    collected: Collected
    fitter: Fitter
    pusher: Pushing
    steerer: Steerer | None
