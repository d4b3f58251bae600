"""Bringing one payload onto its boards, in steps that the journal knows before and after."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from firmware.board.board import Board, BoardState
from firmware.datapath.validation import Validation, Vectors
from firmware.errors import TransactionError
from firmware.model.payload import Payload
from firmware.push.boards import TransactionBoards
from firmware.push.journal import ONLINE, Journal
from firmware.push.notes import Notes
from firmware.push.standing import Base, Outcome, Standing, joint

MARGIN_LS = 2
MIN_ACCEPTS = 1000
FRESH_S = 1.0
"""What was read back more recently is not read back again for arming; the CRC of the board is."""


@dataclass(frozen=True)
class Preview:
    """What the shadow banks would have accepted of every `prescale`-th colliding event.

    `enough` once the loosest cut has its minimum of accepts.
    """

    prescale: int
    events: int
    accepts: tuple[int, ...]
    enough: bool

    @property
    def rates(self) -> tuple[float, ...]:
        """Accepts per event and cut, 0 before the first event."""
        return tuple(accepts / max(self.events, 1) for accepts in self.accepts)


class Transaction:
    """One payload under one generation number on its way into the active bank of one stream, on all its boards.

    The order is `stage`, `preview_start`, `preview_read` …, `preview_stop`, `arm`, `confirm` …; `abort` is
    possible at any point. `stage` is `prove`, `write` and `play`, one after the other. A step that
    raises may be repeated; after a BoardError `confirm` says what is true. Boards are armed for one LS or not at
    all. The journal must hold the payload, and gets its IOV as soon as the boards are seen to have latched.

    `frozen` is asked right before each step that writes towards the trigger.

    Raises:
        TransactionError: by a step that the boards' registers do not allow or did not follow.
        ValidationError: by `prove` and `play`, if an execution gives an event another code.
        BoardError: by any step; what it began may have happened.
        JournalError: by any step; one that could not be recorded was not begun.
    """

    def __init__(
        self,
        boards: Mapping[str, Board],
        journal: Journal,
        stream: str,
        payload: Payload,
        validation: Validation,
        *,
        frozen: Callable[[], bool],
        generation: int | None = None,
        tag: str = ONLINE,
    ) -> None:
        journal.payload(payload.id, stream)
        self.stream = stream
        self.payload = payload
        self.generation = journal.next_generation(stream, 0) if generation is None else generation
        self._boards = TransactionBoards(boards, stream, payload, self.generation)
        self._journal = journal
        self._notes = Notes(journal, stream, self.generation, payload.id)
        self._validation = validation
        self._frozen = frozen
        self._tag = tag
        self._vectors: Vectors | None = None
        self._read_back = -FRESH_S
        self._played = False
        self._prescale = 0

    @classmethod
    def resume(
        cls,
        boards: Mapping[str, Board],
        journal: Journal,
        stream: str,
        validation: Validation,
        *,
        frozen: Callable[[], bool],
        tag: str = ONLINE,
    ) -> Self | None:
        """The transaction that the journal knows as unfinished; `confirm` then says what became of it."""
        steps = journal.open_transaction(stream)
        if not steps:
            return None
        payload = journal.payload(steps[0].payload_id, stream).unpack(validation.model.layout)
        generation = steps[0].generation
        resumed = cls(boards, journal, stream, payload, validation, frozen=frozen, generation=generation, tag=tag)
        for step in steps:
            match step.step, step.status:
                case "identify", "done":
                    resumed._boards.bases = {name: Base(**base) for name, base in step.detail.items() if name in boards}
                case "stage", "begun":
                    resumed._played = False
                case "play", "done":
                    resumed._played = True
                case "preview", "begun":
                    resumed._prescale = step.detail["prescale"]
                case "preview", "done":
                    resumed._prescale = 0
                case "arm", "begun":
                    resumed._boards.run = step.detail["run"]
        return resumed

    def stage(self) -> None:
        """Bring the payload into the shadow bank of boards of the right model, and prove it there."""
        self.prove()
        self.write()
        self.play()

    def prove(self) -> None:
        """Find the golden vectors of the payload, on which all executions here must agree."""
        with self._notes.look("prove") as detail:
            self._vectors = self._validation.vectors(self.payload)
            detail |= {"events": len(self._vectors.events), "executions": self._vectors.executions}

    def identify(self) -> dict[str, Standing]:
        """Check that the boards run the payload's model, and note what is active when this is first asked.

        Raises:
            IdentityError: naming each register that differs.
        """
        with self._notes.look("identify") as detail:
            standings = self._boards.identify()
            detail |= {name: asdict(base) for name, base in self._boards.bases.items()}
            return standings

    def write(self) -> None:
        """Write the shadow banks of boards of the right model, and compare all of them as read back."""
        standings = self.identify()
        self._notes.record("stage", "begun")
        with self._notes.look("stage"):
            self._played = False
            self._boards.write(self._writable("stage", standings))
            self._read_back = time.monotonic()

    def play(self) -> None:
        """Have the boards run the golden vectors through their shadow banks, and compare every code."""
        if self._vectors is None:
            raise TransactionError("play", "nothing is proven: prove first")
        with self._notes.act("play") as detail:
            self._boards.check_crcs("play", self._writable("play", self._boards.standings()))
            detail |= self._boards.play(self._validation, self._vectors)
            self._played = True

    def preview_start(self, prescale: int) -> None:
        """Begin to run every `prescale`-th colliding event through the shadow banks too."""
        self._notes.record("preview", "begun", {"prescale": prescale})
        with self._notes.failing("preview"):
            self._boards.check_crcs("preview", self._writable("preview", self._boards.standings()))
            # Set before the boards are asked: if that fails half way, `abort` stops those that have begun.
            self._prescale = prescale
            self._boards.preview(prescale)

    def preview_read(self, min_accepts: int = MIN_ACCEPTS) -> Preview:
        """What all boards together have counted."""
        with self._notes.failing("preview"):
            self._boards.check_crcs("preview", self._boards.known("preview", self._boards.standings()))
            events, accepts = self._boards.previewed()
            return Preview(self._prescale, events, accepts, max(accepts, default=0) >= min_accepts)

    def preview_stop(self) -> Preview:
        """Stop the preview; what it has counted."""
        preview = self.preview_read()
        with self._notes.failing("preview"):
            self._boards.preview(0)
        self._notes.record("preview", "done", asdict(preview))
        self._prescale = 0
        return preview

    def arm(self, margin_ls: int = MARGIN_LS) -> Standing:
        """Arm the shadow banks, as read back, for one LS at least `margin_ls` ahead: all of them or none.

        A transaction that is armed or latched already is left alone, and the answer says so.
        """
        with self._notes.look("verify") as detail:
            standings = self._boards.standings()
            standing = joint(standings)
            detail |= _brief(standing)
            if standing.outcome in (Outcome.ARMED, Outcome.LATCHED):
                return standing
            states = self._verify(standings)
        target_ls = max(state.ls for state in states.values()) + margin_ls
        run = next(iter(states.values())).run
        with self._notes.act("arm", {"run": run, "target_ls": target_ls, "crc": self.payload.crc}) as detail:
            # Asked again: writing to the journal waited for the disk, and somebody may have frozen the stream.
            self._thawed("arm")
            self._boards.run = run
            standing = self._boards.arm(target_ls)
            detail |= _brief(standing)
            return standing

    def standing(self) -> Standing:
        """What the boards say now; the journal hears nothing of it."""
        return joint(self._boards.standings())

    def confirm(self) -> Standing:
        """What the boards say now; to be asked until it is not ARMED. OLD and LOST call for `abort`."""
        standing = self.standing()
        if standing.outcome is Outcome.LATCHED:
            self._finish("confirm", standing)
        elif standing.outcome is not Outcome.ARMED:
            self._notes.record("confirm", "failed", _brief(standing))
        return standing

    def abort(self) -> Standing:
        """Disarm, and end the transaction with what is true: OLD, LATCHED when it came too late, or LOST."""
        try:
            self._notes.record("abort", "begun")
        finally:
            # Disarming is safe: it is done even where it cannot be written down.
            with self._notes.failing("abort"):
                standing = self._boards.withdraw(previewing=bool(self._prescale))
        self._finish("abort", standing)
        return standing

    def _writable(self, step: str, standings: Mapping[str, Standing]) -> dict[str, BoardState]:
        states = self._boards.known(step, standings)
        self._thawed(step)
        return states

    def _thawed(self, step: str) -> None:
        if self._frozen():
            raise TransactionError(step, f"{self.stream} is frozen, nothing was written: thaw it first")

    def _verify(self, standings: Mapping[str, Standing]) -> dict[str, BoardState]:
        """The states of boards whose shadow banks are the payload on every word, and proven."""
        states = self._writable("verify", standings)
        if not self._played:
            raise TransactionError("verify", "the boards have not played the golden vectors: stage first")
        if time.monotonic() - self._read_back < FRESH_S:
            self._boards.check_crcs("verify", states)
            return states
        return self._boards.reread("verify")

    def _finish(self, step: str, standing: Standing) -> None:
        """Record the end, and the interval of validity if the payload became active."""
        # The interval first: after a kill between the two the transaction is still open, and resuming it records again.
        if standing.outcome is Outcome.LATCHED:
            since, epoch = (standing.run, standing.ls), standing.state.epoch
            self._journal.record_iov(self.stream, *since, self.payload.id, self.generation, epoch, self._tag)
        self._notes.later(step, _brief(standing))
        self._notes.record("end", "done", {"outcome": standing.outcome})


def _brief(standing: Standing) -> dict[str, Any]:
    return {"outcome": standing.outcome, "ls": standing.ls, "reason": standing.reason}
