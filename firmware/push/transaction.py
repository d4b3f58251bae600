"""Bringing one payload onto its boards, in steps that the journal knows before and after."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from firmware.board.board import Board, BoardState, Shadow
from firmware.board.register_map import ArmStatus
from firmware.datapath.validation import Validation, Vectors
from firmware.errors import BoardError, TransactionError
from firmware.model.payload import Payload
from firmware.push.journal import ONLINE, Journal, StepNote
from firmware.push.readback import check_identity, difference
from firmware.push.standing import Base, Outcome, Standing, joint, judge

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
        self._boards = boards
        self._journal = journal
        self._validation = validation
        self._frozen = frozen
        self._tag = tag
        self._notes: list[StepNote] = []
        self._vectors: Vectors | None = None
        self._bases: dict[str, Base] = {}
        self._read_back = -FRESH_S
        self._played = False
        self._run: int | None = None
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
                    resumed._bases = {name: Base(**base) for name, base in step.detail.items() if name in boards}
                case "stage", "begun":
                    resumed._played = False
                case "play", "done":
                    resumed._played = True
                case "preview", "begun":
                    resumed._prescale = step.detail["prescale"]
                case "preview", "done":
                    resumed._prescale = 0
                case "arm", "begun":
                    resumed._run = step.detail["run"]
        return resumed

    def stage(self) -> None:
        """Bring the payload into the shadow bank of boards of the right model, and prove it there."""
        self.prove()
        self.write()
        self.play()

    def prove(self) -> None:
        """Find the golden vectors of the payload, on which all executions here must agree."""
        with self._look("prove") as detail:
            self._vectors = self._validation.vectors(self.payload)
            detail |= {"events": len(self._vectors.events), "executions": self._vectors.executions}

    def identify(self) -> dict[str, Standing]:
        """Check that the boards run the payload's model, and note what is active when this is first asked.

        Raises:
            IdentityError: naming each register that differs.
        """
        with self._look("identify") as detail:
            model_id, layout = self.payload.model_id, self.payload.layout
            states = {
                name: check_identity(board, self.stream, model_id, layout, name) for name, board in self._boards.items()
            }
            if not self._bases:
                for name, state in states.items():
                    if state.generation >= self.generation:
                        why = f"generation {self.generation} is not above {state.generation}, the active one"
                        raise TransactionError("identify", f"{name}: {why}")
                self._bases = {name: Base(s.epoch, s.generation, s.active_crc) for name, s in states.items()}
            detail |= {name: asdict(base) for name, base in self._bases.items()}
            return {name: self._judge(name, state) for name, state in states.items()}

    def write(self) -> None:
        """Write the shadow banks of boards of the right model, and compare all of them as read back."""
        standings = self.identify()
        self._record("stage", "begun")
        with self._look("stage"):
            self._played = False
            states = self._writable("stage", standings)
            for name, board in self._boards.items():
                if states[name].armed:
                    board.disarm(self.stream)
                self._check_words("stage", name, board.write_shadow(self.stream, self.payload.words))
            self._read_back = time.monotonic()

    def play(self) -> None:
        """Have the boards run the golden vectors through their shadow banks, and compare every code."""
        if self._vectors is None:
            raise TransactionError("play", "nothing is proven: prove first")
        with self._act("play") as detail:
            for name, state in self._writable("play", self._standings()).items():
                self._check_crc("play", name, state)
            for name, board in self._boards.items():
                detail[name] = self._validation.play(board, self.stream, self._vectors)
            self._played = True

    def preview_start(self, prescale: int) -> None:
        """Begin to run every `prescale`-th colliding event through the shadow banks too."""
        self._record("preview", "begun", {"prescale": prescale})
        with self._failing("preview"):
            for name, state in self._writable("preview", self._standings()).items():
                self._check_crc("preview", name, state)
            self._prescale = prescale
            for board in self._boards.values():
                board.preview(self.stream, prescale)

    def preview_read(self, min_accepts: int = MIN_ACCEPTS) -> Preview:
        """What all boards together have counted."""
        with self._failing("preview"):
            for name, state in self._known("preview", self._standings()).items():
                self._check_crc("preview", name, state)
            events, accepts = zip(*(board.previewed(self.stream) for board in self._boards.values()), strict=True)
            total = tuple(int(n) for n in np.sum(accepts, axis=0))
            return Preview(self._prescale, sum(events), total, max(total, default=0) >= min_accepts)

    def preview_stop(self) -> Preview:
        preview = self.preview_read()
        with self._failing("preview"):
            for board in self._boards.values():
                board.preview(self.stream, 0)
        self._record("preview", "done", asdict(preview))
        self._prescale = 0
        return preview

    def arm(self, margin_ls: int = MARGIN_LS) -> Standing:
        """Arm the shadow banks, as read back, for one LS at least `margin_ls` ahead: all of them or none.

        A transaction that is armed or latched already is left alone, and the answer says so.
        """
        with self._look("verify") as detail:
            standings = self._standings()
            standing = joint(standings)
            detail |= _brief(standing)
            if standing.outcome in (Outcome.ARMED, Outcome.LATCHED):
                return standing
            states = self._verify(standings)
        target_ls = max(state.ls for state in states.values()) + margin_ls
        run = next(iter(states.values())).run
        with self._act("arm", {"run": run, "target_ls": target_ls, "crc": self.payload.crc}) as detail:
            self._thawed("arm")
            self._run = run
            standing = self._arm(target_ls)
            detail |= _brief(standing)
            return standing

    def standing(self) -> Standing:
        """What the boards say now; the journal hears nothing of it."""
        return joint(self._standings())

    def confirm(self) -> Standing:
        """What the boards say now; to be asked until it is not ARMED. OLD and LOST call for `abort`."""
        standing = self.standing()
        if standing.outcome is Outcome.LATCHED:
            self._finish("confirm", standing)
        elif standing.outcome is not Outcome.ARMED:
            self._record("confirm", "failed", _brief(standing))
        return standing

    def abort(self) -> Standing:
        """Disarm, and end the transaction with what is true: OLD, LATCHED when it came too late, or LOST."""
        try:
            self._record("abort", "begun")
        finally:
            standing = self._withdraw()
        self._finish("abort", standing)
        return standing

    def _arm(self, target_ls: int) -> Standing:
        """Arm every board; those that were are disarmed if one is not."""
        standings: dict[str, Standing] = {}
        try:
            for name, board in self._boards.items():
                state = board.arm(self.stream, self.generation, target_ls, self.payload.crc)
                standing = self._judge(name, state)
                if standing.outcome not in (Outcome.ARMED, Outcome.LATCHED):
                    raise TransactionError("arm", f"{name}: {self._refusal(standing, target_ls)}")
                standings[name] = standing
        except Exception:
            for name in standings:
                with suppress(BoardError):
                    self._boards[name].disarm(self.stream)
            raise
        return joint(standings)

    def _withdraw(self) -> Standing:
        errors: list[BoardError] = []
        with self._failing("abort"):
            for name, board in self._boards.items():
                try:
                    self._withdraw_from(name, board)
                except BoardError as error:
                    errors.append(error)
            if errors:
                raise errors[0]
            standings = self._standings()
            for name, standing in standings.items():
                if standing.outcome is Outcome.ARMED:
                    raise TransactionError("abort", f"{name}: {standing.reason} in spite of disarming: abort again")
            return joint(standings)

    def _withdraw_from(self, name: str, board: Board) -> None:
        """Disarm, and put another payload into the shadow bank: an arm command still on its way is refused."""
        base, state = self._bases.get(name), board.state(self.stream)
        if base is None or state.epoch != base.epoch:
            return
        if state.armed:
            board.disarm(self.stream)
        if self._prescale:
            board.preview(self.stream, 0)
        if self._run is not None and state.generation < self.generation:
            board.write_shadow(self.stream, board.read_bank(self.stream, "active"))

    def _known(self, step: str, standings: Mapping[str, Standing]) -> dict[str, BoardState]:
        """The boards' states, if they are those that were identified and still run what they ran then."""
        if not self._bases:
            raise TransactionError(step, "nothing is staged: stage first")
        standing = joint(standings)
        if standing.outcome in (Outcome.LOST, Outcome.LATCHED):
            raise TransactionError(step, f"nothing left to do, {standing.reason}")
        return {name: standing.state for name, standing in standings.items()}

    def _writable(self, step: str, standings: Mapping[str, Standing]) -> dict[str, BoardState]:
        states = self._known(step, standings)
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
            for name, state in states.items():
                self._check_crc("verify", name, state)
            return states
        return {
            name: self._check_words("verify", name, board.read_shadow(self.stream))
            for name, board in self._boards.items()
        }

    def _check_words(self, step: str, name: str, shadow: Shadow) -> BoardState:
        if fault := difference(self.payload, shadow.words):
            raise TransactionError(step, f"{name}: the shadow bank as read back differs from the payload: {fault}")
        self._known(step, {name: self._judge(name, shadow.state)})
        self._check_crc(step, name, shadow.state)
        return shadow.state

    def _check_crc(self, step: str, name: str, state: BoardState) -> None:
        if state.shadow_crc != self.payload.crc:
            why = f"the shadow CRC is {state.shadow_crc:#010x}, not {self.payload.crc:#010x}: stage again"
            raise TransactionError(step, f"{name}: {why}")

    def _standings(self) -> dict[str, Standing]:
        return {name: self._judge(name, board.state(self.stream)) for name, board in self._boards.items()}

    def _judge(self, name: str, state: BoardState) -> Standing:
        return judge(state, self._bases.get(name), self.generation, self.payload.crc, self._run)

    def _refusal(self, standing: Standing, target_ls: int) -> str:
        state = standing.state
        match state.arm_status:
            case ArmStatus.REFUSED_CRC:
                return f"refused, shadow CRC {state.shadow_crc:#010x} is not {self.payload.crc:#010x}"
            case ArmStatus.REFUSED_LATE:
                return f"refused as late: LS {target_ls} is not after the board's LS {state.ls}"
            case ArmStatus.REFUSED_GENERATION:
                return f"refused, generation {self.generation} is not above the active {state.generation}"
        return f"the board did not take it: {standing.reason}"

    def _finish(self, step: str, standing: Standing) -> None:
        """Record the end, and the interval of validity if the payload became active."""
        if standing.outcome is Outcome.LATCHED:
            since, epoch = (standing.run, standing.ls), standing.state.epoch
            self._journal.record_iov(self.stream, *since, self.payload.id, self.generation, epoch, self._tag)
        self._notes.append(StepNote(step, "done", _brief(standing)))
        self._record("end", "done", {"outcome": standing.outcome})

    @contextmanager
    def _look(self, step: str) -> Iterator[dict[str, Any]]:
        """A step of which the journal hears the end together with the next one."""
        detail: dict[str, Any] = {}
        with self._failing(step):
            yield detail
        self._notes.append(StepNote(step, "done", detail))

    @contextmanager
    def _act(self, step: str, plan: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        """A step of which the journal hears before it begins, and when it has ended."""
        self._record(step, "begun", plan)
        detail: dict[str, Any] = {}
        with self._failing(step):
            yield detail
        self._record(step, "done", detail)

    @contextmanager
    def _failing(self, step: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._record(step, "failed", {"error": type(error).__name__, "reason": str(error)})
            raise

    def _record(self, step: str, status: str, detail: Mapping[str, Any] | None = None) -> None:
        self._notes.append(StepNote(step, status, detail or {}))
        notes, self._notes = self._notes, []
        self._journal.record_steps(self.stream, self.generation, self.payload.id, notes)


def _brief(standing: Standing) -> dict[str, Any]:
    return {"outcome": standing.outcome, "ls": standing.ls, "reason": standing.reason}
