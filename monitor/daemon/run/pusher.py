"""One stream's way to its boards: the steps of a transaction, each answered with an event for the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import structlog

from firmware.board.board import Board, BoardState
from firmware.datapath.validation import Validation
from firmware.errors import FirmwareError
from firmware.model.payload import Payload
from firmware.push.journal import ONLINE
from firmware.push.readback import check_identity
from firmware.push.standing import Outcome
from firmware.push.transaction import Preview, Transaction
from monitor.config import PushSettings
from monitor.daemon.run.boards import StreamBoards
from monitor.loop.events import Armed, Event, Latched, Previewed, Staged, WorkFailed
from monitor.store.ledger import Ledger

log = structlog.get_logger()

PREVIEW_SIGMAS = 4.0
"""How far a shadow rate may be from the promised one, beyond the tolerance, before it counts as another."""


class Pusher:
    """At most one transaction at a time; it ends latched or aborted.

    Args:
        validation: makes the golden vectors, given whether a board that cannot play them back is refused.
        frozen: whether nothing may be written now.

    Raises:
        FirmwareError: by every method, where the board, the ledger or the transaction refuses.
    """

    def __init__(
        self,
        stream: str,
        validation: Callable[[bool], Validation],
        boards: StreamBoards,
        ledger: Ledger,
        settings: PushSettings,
        rate_tolerance: float,
        frozen: Callable[[], bool],
    ) -> None:
        self._stream = stream
        self._validate = validation
        self._boards = boards
        self._ledger = ledger
        self._frozen = frozen
        self._transaction: Transaction | None = None
        self._catch_up: Transaction | None = None
        self.use(settings, rate_tolerance)

    def use(self, settings: PushSettings, rate_tolerance: float) -> None:
        """Go by other settings from the next step on; an open transaction keeps its validation."""
        self._validation = self._validate(settings.require_playback)
        self._settings = settings
        self._rate_tolerance = rate_tolerance

    async def read(self) -> tuple[BoardState, Payload]:
        """What the first board runs. A swap that no transaction here has armed is taken back.

        Boards that run another payload than the first one are brought to its one at the next boundary, unless
        a transaction is under way or the stream is frozen; until then this raises.
        """
        return await self._boards.call(self._read)

    async def stage(self, task: int, payload: Payload, active: int) -> Event:
        """Prove the payload, write the shadow banks, read them back and play the golden vectors through them.

        All under a generation above the ``active`` one.
        """
        generation = self._ledger.next_generation(self._stream, active)
        self._transaction = transaction = self._begun(self._boards.boards, payload, generation, ONLINE)
        await self._boards.call(transaction.stage)
        return Staged(task, generation)

    async def start_preview(self, task: int) -> Event | None:
        """Begin the preview; without an event, but for `Previewed` if none is configured."""
        prescale = self._settings.preview_prescale
        if prescale == 0:
            return Previewed(task, True, "no preview is configured")
        await self._boards.call(self._open.preview_start, prescale)
        return None

    async def poll_preview(self, task: int, last: bool, promised: Any) -> Event | None:
        """Hold the shadow bank's accepts against the ``promised`` rates (n_cuts,), once there are enough."""
        preview = await self._boards.call(self._open.preview_read, self._settings.preview_accepts)
        if not preview.enough and not last:
            return None
        await self._boards.call(self._open.preview_stop)
        good, reason = self._compare(preview, np.asarray(promised))
        log.info("preview", stream=self._stream, good=good, why=reason)
        return Previewed(task, good, reason)

    async def arm(self, task: int) -> Event:
        """Arm all boards for one lumi section ahead, which the answer names."""
        standing = await self._boards.call(self._open.arm, self._settings.arm_margin_ls)
        return Armed(task, standing.ls)

    async def poll_latch(self, task: int) -> Event | None:
        """None while the boards are armed, `Latched` once they run the payload, `WorkFailed` if they do neither."""
        standing = await self._boards.call(self._open.confirm)
        if standing.outcome is Outcome.ARMED:
            return None
        if standing.outcome is Outcome.LATCHED:
            self._transaction = None
            return Latched(task, (standing.run, standing.ls), standing.state.epoch)
        return WorkFailed(task, standing.reason, unknown=True)

    async def abort(self) -> None:
        """Disarm; a failure is noted, as the next reading of the board takes back what is still armed."""
        if self._transaction is None:
            return
        transaction, self._transaction = self._transaction, None
        try:
            await self._boards.call(transaction.abort)
        except FirmwareError as error:
            log.error("abort failed", stream=self._stream, why=str(error))
            self._ledger.add_event(self._stream, "abort", "error", str(error))

    async def end_unfinished(self) -> None:
        """Take back a transaction that an earlier life of the daemon left open."""
        self._transaction = Transaction.resume(
            self._boards.boards, self._ledger, self._stream, self._validation, frozen=self._frozen
        )
        await self.abort()

    @property
    def _open(self) -> Transaction:
        if self._transaction is None:
            raise FirmwareError("no transaction is open")
        return self._transaction

    def _read(self) -> tuple[BoardState, Payload]:
        boards, model = self._boards.boards, self._validation.model
        if self._catch_up is not None:
            self._end_catch_up(self._catch_up)
        states = {
            name: check_identity(board, self._stream, model.id, model.layout, name) for name, board in boards.items()
        }
        if self._transaction is None:
            for name, state in states.items():
                if state.armed:
                    boards[name].disarm(self._stream)
        first = next(iter(boards))
        payload = Payload(model.id, model.layout, boards[first].read_bank(self._stream, "active"))
        others = {name: boards[name] for name, state in states.items() if state.active_crc != payload.crc}
        if others and not self._frozen() and self._gone_apart():
            self._begin_catch_up(first, others, payload, max(state.generation for state in states.values()))
        return states[first], payload

    def _gone_apart(self) -> bool:
        """Whether no transaction is left that would bring the boards together; one that is lost is ended."""
        if self._transaction is not None:
            if self._transaction.standing().outcome is not Outcome.LOST:
                return False
            self._transaction.abort()
            self._transaction = None
        return True

    def _begin_catch_up(self, first: str, others: Mapping[str, Board], payload: Payload, active: int) -> None:
        names = ", ".join(others)
        self._ledger.add_payload(self._stream, payload, f"found on {first}")
        generation = self._ledger.next_generation(self._stream, active)
        self._catch_up = catch_up = self._begun(others, payload, generation, f"catch-up {names}")
        catch_up.stage()
        ls = catch_up.arm(self._settings.arm_margin_ls).ls
        raise FirmwareError(f"{names}: another payload is active than on {first}, whose one is armed for LS {ls}")

    def _end_catch_up(self, catch_up: Transaction) -> None:
        standing = catch_up.confirm()
        if standing.outcome is Outcome.ARMED:
            raise FirmwareError(f"boards run different payloads: {standing.reason}")
        self._catch_up = None
        if standing.outcome is not Outcome.LATCHED:
            catch_up.abort()

    def _begun(self, boards: Mapping[str, Board], payload: Payload, generation: int, tag: str) -> Transaction:
        return Transaction(
            boards,
            self._ledger,
            self._stream,
            payload,
            self._validation,
            frozen=self._frozen,
            generation=generation,
            tag=tag,
        )

    def _compare(self, preview: Preview, promised: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[bool, str]:
        if not preview.enough:
            return False, f"only {max(preview.accepts)} accepts of the shadow bank at the loosest cut"
        accepts, expected = np.array(preview.accepts), promised * preview.events
        slack = self._rate_tolerance * expected + PREVIEW_SIGMAS * np.sqrt(np.maximum(expected, 1))
        ratios = ", ".join(f"× {ratio:.2f}" for ratio in accepts / np.maximum(expected, 1e-9))
        good = bool((np.abs(accepts - expected) <= slack).all())
        return good, f"shadow rates over promised ones: {ratios}"
