"""One stream's way to its board: the steps of a transaction, each answered with an event for the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import structlog

from firmware.board import BoardState
from firmware.errors import FirmwareError
from firmware.ledger import Ledger
from firmware.model import Model
from firmware.payload import Payload
from firmware.readback import check_identity
from firmware.standing import Outcome
from firmware.transaction import Preview, Transaction
from monitor.daemon import loop
from monitor.daemon.boards import BoardLink
from monitor.daemon.config import Push as Settings

log = structlog.get_logger()

PREVIEW_SIGMAS = 4.0
"""How far a shadow rate may be from the promised one, beyond the tolerance, before it counts as another."""


class Push:
    """At most one transaction at a time; it ends latched or aborted.

    Every method raises FirmwareError where the board, the ledger or the transaction refuses.
    """

    def __init__(
        self,
        stream: str,
        model: Model,
        board: BoardLink,
        ledger: Ledger,
        settings: Settings,
        rate_tolerance: float,
        frozen: Callable[[], bool],
    ) -> None:
        self._stream = stream
        self._model = model
        self._board = board
        self._ledger = ledger
        self._settings = settings
        self._rate_tolerance = rate_tolerance
        self._frozen = frozen
        self._transaction: Transaction | None = None

    async def read(self) -> tuple[BoardState, Payload]:
        """What the board runs. A swap that no transaction here has armed is taken back."""
        return await self._board.call(self._read)

    async def stage(self, task: int, payload: Payload, active: int) -> loop.Event:
        """Write the shadow bank and read it back, for a generation above the ``active`` one."""
        generation = self._ledger.next_generation(self._stream, active)
        self._transaction = transaction = Transaction(
            self._board.board, self._ledger, self._stream, payload, frozen=self._frozen, generation=generation
        )
        await self._board.call(transaction.stage)
        return loop.Staged(task, generation)

    async def start_preview(self, task: int) -> loop.Event | None:
        prescale = self._settings.preview_prescale
        if prescale == 0:
            return loop.Previewed(task, True, "no preview is configured")
        await self._board.call(self._open.preview_start, prescale)
        return None

    async def poll_preview(self, task: int, last: bool, promised: Any) -> loop.Event | None:
        """Hold the shadow bank's accepts against the ``promised`` rates (n_cuts,), once there are enough."""
        preview = await self._board.call(self._open.preview_read, self._settings.preview_accepts)
        if not preview.enough and not last:
            return None
        await self._board.call(self._open.preview_stop)
        good, reason = self._compare(preview, np.asarray(promised))
        log.info("preview", stream=self._stream, good=good, why=reason)
        return loop.Previewed(task, good, reason)

    async def arm(self, task: int) -> loop.Event:
        standing = await self._board.call(self._open.arm, self._settings.arm_margin_ls)
        return loop.ArmedAt(task, standing.ls)

    async def poll_latch(self, task: int) -> loop.Event | None:
        standing = await self._board.call(self._open.confirm)
        if standing.outcome is Outcome.ARMED:
            return None
        if standing.outcome is Outcome.LATCHED:
            self._transaction = None
            return loop.Latched(task, (standing.run, standing.ls), standing.state.epoch)
        return loop.Failed(task, standing.reason, unknown=True)

    async def abort(self) -> None:
        """Disarm; a failure is noted, as the next reading of the board takes back what is still armed."""
        if self._transaction is None:
            return
        transaction, self._transaction = self._transaction, None
        try:
            await self._board.call(transaction.abort)
        except FirmwareError as error:
            log.error("abort failed", stream=self._stream, why=str(error))
            self._ledger.add_event(self._stream, "abort", "error", str(error))

    async def end_unfinished(self) -> None:
        """Take back a transaction that an earlier life of the daemon left open."""
        self._transaction = Transaction.resume(
            self._board.board, self._ledger, self._stream, self._model.layout, frozen=self._frozen
        )
        await self.abort()

    @property
    def _open(self) -> Transaction:
        if self._transaction is None:
            raise FirmwareError("no transaction is open")
        return self._transaction

    def _read(self) -> tuple[BoardState, Payload]:
        board, model = self._board.board, self._model
        check_identity(board, self._stream, model.id, model.layout)
        state = board.state(self._stream)
        if state.armed and self._transaction is None:
            board.disarm(self._stream)
        return state, Payload(model.id, model.layout, board.read_bank(self._stream, "active"))

    def _compare(self, preview: Preview, promised: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[bool, str]:
        if not preview.enough:
            return False, f"only {max(preview.accepts)} accepts of the shadow bank at the loosest cut"
        accepts, expected = np.array(preview.accepts), promised * preview.events
        slack = self._rate_tolerance * expected + PREVIEW_SIGMAS * np.sqrt(np.maximum(expected, 1))
        ratios = ", ".join(f"× {ratio:.2f}" for ratio in accepts / np.maximum(expected, 1e-9))
        good = bool((np.abs(accepts - expected) <= slack).all())
        return good, f"shadow rates over promised ones: {ratios}"
