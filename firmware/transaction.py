"""Bringing one payload onto one board, in steps that the ledger knows before and after."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self

from firmware.board import ArmStatus, Board, BoardState
from firmware.errors import TransactionError
from firmware.ledger import ONLINE, Ledger
from firmware.payload import Layout, Payload
from firmware.readback import check_identity, difference
from firmware.standing import Base, Outcome, Standing, judge

MARGIN_LS = 2
MIN_ACCEPTS = 1000


@dataclass(frozen=True)
class Preview:
    """What the shadow bank would have accepted of every `prescale`-th colliding event.

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
    """One payload under one generation number on its way into the active bank of one stream.

    The order is `stage`, `preview_start`, `preview_read` …, `preview_stop`, `arm`, `confirm` …; `abort` is
    possible at any point. A step that raises may be repeated; after a BoardError `confirm` says what is true.
    The ledger must hold the payload, and gets its IOV as soon as the board is seen to have latched.

    `frozen` is asked right before each step that writes towards the trigger.

    Raises:
        TransactionError: by a step that the board's registers do not allow or did not follow.
        BoardError: by any step; what it began may have happened.
        LedgerError: by any step; one that could not be recorded was not begun.
    """

    def __init__(
        self,
        board: Board,
        ledger: Ledger,
        stream: str,
        payload: Payload,
        *,
        frozen: Callable[[], bool],
        generation: int | None = None,
        tag: str = ONLINE,
    ) -> None:
        ledger.payload(payload.id, stream)
        self.stream = stream
        self.payload = payload
        self.generation = ledger.next_generation(stream, 0) if generation is None else generation
        self._board = board
        self._ledger = ledger
        self._frozen = frozen
        self._tag = tag
        self._base: Base | None = None
        self._run: int | None = None
        self._prescale = 0

    @classmethod
    def resume(
        cls,
        board: Board,
        ledger: Ledger,
        stream: str,
        layout: Layout,
        *,
        frozen: Callable[[], bool],
        tag: str = ONLINE,
    ) -> Self | None:
        """The transaction that the ledger knows as unfinished; `confirm` then says what became of it."""
        steps = ledger.open_transaction(stream)
        if not steps:
            return None
        payload = ledger.payload(steps[0].payload_id, stream).unpack(layout)
        generation = steps[0].generation
        resumed = cls(board, ledger, stream, payload, frozen=frozen, generation=generation, tag=tag)
        for step in steps:
            match step.step, step.status:
                case "identify", "done":
                    resumed._base = Base(**step.detail)
                case "preview", "begun":
                    resumed._prescale = step.detail["prescale"]
                case "preview", "done":
                    resumed._prescale = 0
                case "arm", "begun":
                    resumed._run = step.detail["run"]
        return resumed

    def identify(self) -> BoardState:
        """Check that the board runs the payload's model, and note what is active.

        Raises:
            IdentityError: naming each register that differs.
        """
        with self._step("identify") as detail:
            check_identity(self._board, self.stream, self.payload.model_id, self.payload.layout)
            state = self._board.state(self.stream)
            if state.generation >= self.generation:
                why = f"generation {self.generation} is not above {state.generation}, the active one"
                raise TransactionError("identify", why)
            self._base = Base(state.epoch, state.generation, state.active_crc)
            detail |= asdict(self._base)
            return state

    def stage(self) -> None:
        """Write the shadow bank of a board of the right model, and compare all of it as read back."""
        if self._base is None:
            self.identify()
        with self._step("stage"):
            if self._writable("stage").armed:
                self._board.disarm(self.stream)
            self._board.write_shadow(self.stream, self.payload.words)
            self._verify_shadow("stage")

    def preview_start(self, prescale: int) -> None:
        """Begin to run every `prescale`-th colliding event through the shadow bank too."""
        self._record("preview", "begun", {"prescale": prescale})
        with self._failing("preview"):
            self._check_shadow("preview", self._writable("preview"))
            self._prescale = prescale
            self._board.preview(self.stream, prescale)

    def preview_read(self, min_accepts: int = MIN_ACCEPTS) -> Preview:
        with self._failing("preview"):
            self._check_shadow("preview", self._known("preview"))
            events, accepts = self._board.previewed(self.stream)
            return Preview(self._prescale, events, accepts, max(accepts, default=0) >= min_accepts)

    def preview_stop(self) -> Preview:
        preview = self.preview_read()
        with self._failing("preview"):
            self._board.preview(self.stream, 0)
        self._record("preview", "done", asdict(preview))
        self._prescale = 0
        return preview

    def arm(self, margin_ls: int = MARGIN_LS) -> Standing:
        """Read the shadow bank back once more and arm it, at least `margin_ls` ahead.

        A transaction that is armed or latched already is left alone, and the answer says so.
        """
        with self._step("verify") as detail:
            standing = self._standing()
            detail |= _brief(standing)
            if standing.outcome in (Outcome.ARMED, Outcome.LATCHED):
                return standing
            self._writable("verify")
            state = self._verify_shadow("verify")
        target_ls = state.ls + margin_ls
        with self._step("arm", {"run": state.run, "target_ls": target_ls, "crc": self.payload.crc}) as detail:
            self._writable("arm")
            self._run = state.run
            self._board.arm(self.stream, self.generation, target_ls, self.payload.crc)
            standing = self._standing()
            if standing.outcome not in (Outcome.ARMED, Outcome.LATCHED):
                raise TransactionError("arm", self._refusal(standing, target_ls))
            detail |= _brief(standing)
            return standing

    def confirm(self) -> Standing:
        """What the board says now; to be asked until it is not ARMED. OLD and LOST call for `abort`."""
        standing = self._standing()
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

    def _withdraw(self) -> Standing:
        with self._failing("abort"):
            state = self._standing().state
            if self._base is not None and state.epoch == self._base.epoch:
                if state.armed:
                    self._board.disarm(self.stream)
                if self._prescale:
                    self._board.preview(self.stream, 0)
            standing = self._standing()
            if standing.outcome is Outcome.ARMED:
                raise TransactionError("abort", f"{standing.reason} in spite of disarming: abort again")
            return standing

    def _known(self, step: str) -> BoardState:
        """The board's state, if it is the one that was identified and still runs what it ran then."""
        if self._base is None:
            raise TransactionError(step, "nothing is staged: stage first")
        standing = self._standing()
        if standing.outcome in (Outcome.LOST, Outcome.LATCHED):
            raise TransactionError(step, f"nothing left to do, {standing.reason}")
        return standing.state

    def _writable(self, step: str) -> BoardState:
        state = self._known(step)
        if self._frozen():
            raise TransactionError(step, f"{self.stream} is frozen, nothing was written: thaw it first")
        return state

    def _verify_shadow(self, step: str) -> BoardState:
        """The state of a board whose shadow bank is the payload on every word."""
        read = self._board.read_bank(self.stream, "shadow")
        if fault := difference(self.payload, read):
            raise TransactionError(step, f"the shadow bank as read back differs from the payload: {fault}")
        state = self._known(step)
        self._check_shadow(step, state)
        return state

    def _check_shadow(self, step: str, state: BoardState) -> None:
        if state.shadow_crc != self.payload.crc:
            why = f"the shadow CRC is {state.shadow_crc:#010x}, not {self.payload.crc:#010x}: stage again"
            raise TransactionError(step, why)

    def _standing(self) -> Standing:
        return judge(self._board.state(self.stream), self._base, self.generation, self.payload.crc, self._run)

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
            self._ledger.record_iov(self.stream, *since, self.payload.id, self.generation, epoch, self._tag)
        self._record(step, "done", _brief(standing))
        self._record("end", "done", {"outcome": standing.outcome})

    @contextmanager
    def _step(self, step: str, plan: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
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

    def _record(self, step: str, status: str, detail: dict[str, Any] | None = None) -> None:
        self._ledger.record_step(self.stream, self.generation, self.payload.id, step, status, detail)


def _brief(standing: Standing) -> dict[str, Any]:
    return {"outcome": standing.outcome, "ls": standing.ls, "reason": standing.reason}
