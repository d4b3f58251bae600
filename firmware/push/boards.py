"""All boards of a stream under one transaction: what was active on each, and what they say and do now."""

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from firmware.board.board import Board, BoardState, Shadow
from firmware.board.register_map import ArmStatus
from firmware.datapath.validation import Validation, Vectors
from firmware.errors import BoardError, TransactionError
from firmware.model.payload import Payload
from firmware.push.readback import check_identity, difference
from firmware.push.standing import Base, Outcome, Standing, joint, judge


class TransactionBoards:
    """The boards that one payload is to become active on under one generation.

    `bases` is what was active on each when they were first identified, `run` the run in which they were armed.

    Raises:
        TransactionError: by every step, if a board's registers do not allow it or did not follow.
        BoardError: by every step; what it began may have happened.
    """

    def __init__(self, boards: Mapping[str, Board], stream: str, payload: Payload, generation: int) -> None:
        self.bases: dict[str, Base] = {}
        self.run: int | None = None
        self._boards = boards
        self._stream = stream
        self._payload = payload
        self._generation = generation

    def standings(self) -> dict[str, Standing]:
        """What each board says now."""
        return {name: self._judge(name, board.state(self._stream)) for name, board in self._boards.items()}

    def identify(self) -> dict[str, Standing]:
        """Check that the boards run the payload's model; the first time, note what is active.

        Raises:
            IdentityError: naming each register that differs.
        """
        model_id, layout = self._payload.model_id, self._payload.layout
        states = {
            name: check_identity(board, self._stream, model_id, layout, name) for name, board in self._boards.items()
        }
        if not self.bases:
            for name, state in states.items():
                if state.generation >= self._generation:
                    why = f"generation {self._generation} is not above {state.generation}, the active one"
                    raise TransactionError("identify", f"{name}: {why}")
            self.bases = {name: Base(s.epoch, s.generation, s.active_crc) for name, s in states.items()}
        return {name: self._judge(name, state) for name, state in states.items()}

    def known(self, step: str, standings: Mapping[str, Standing]) -> dict[str, BoardState]:
        """The boards' states, if they are those that were identified and still run what they ran then."""
        if not self.bases:
            raise TransactionError(step, "nothing is staged: stage first")
        standing = joint(standings)
        if standing.outcome in (Outcome.LOST, Outcome.LATCHED):
            raise TransactionError(step, f"nothing left to do, {standing.reason}")
        return {name: standing.state for name, standing in standings.items()}

    def write(self, states: Mapping[str, BoardState]) -> None:
        """Write the shadow banks, and compare all of them as read back."""
        for name, board in self._boards.items():
            # An armed board would swap to a half-written bank if its lumi section ended now.
            if states[name].armed:
                board.disarm(self._stream)
            self._check_shadow("stage", name, board.write_shadow(self._stream, self._payload.words))

    def reread(self, step: str) -> dict[str, BoardState]:
        """Read the shadow banks again and compare them; the states right after."""
        return {
            name: self._check_shadow(step, name, board.read_shadow(self._stream))
            for name, board in self._boards.items()
        }

    def check_crcs(self, step: str, states: Mapping[str, BoardState]) -> None:
        """Check that the shadow banks hold the payload, by the checksums that the boards make of them."""
        for name, state in states.items():
            self._check_crc(step, name, state)

    def play(self, validation: Validation, vectors: Vectors) -> dict[str, int]:
        """Have the boards run golden vectors through their shadow banks; how many each has run."""
        return {name: validation.play(board, self._stream, vectors) for name, board in self._boards.items()}

    def preview(self, prescale: int) -> None:
        """Run every `prescale`-th colliding event through the shadow banks too; 0 stops."""
        for board in self._boards.values():
            board.preview(self._stream, prescale)

    def previewed(self) -> tuple[int, tuple[int, ...]]:
        """Events and accepts per cut since `preview`, of all boards together."""
        events, accepts = zip(*(board.previewed(self._stream) for board in self._boards.values()), strict=True)
        return sum(events), tuple(int(n) for n in np.sum(accepts, axis=0))

    def arm(self, target_ls: int) -> Standing:
        """Arm every board; those that were are disarmed if one is not."""
        standings: dict[str, Standing] = {}
        try:
            for name, board in self._boards.items():
                state = board.arm(self._stream, self._generation, target_ls, self._payload.crc)
                standing = self._judge(name, state)
                if standing.outcome not in (Outcome.ARMED, Outcome.LATCHED):
                    raise TransactionError("arm", f"{name}: {self._refusal(standing, target_ls)}")
                standings[name] = standing
        except Exception:
            for name in standings:
                # A board that cannot be reached now may swap alone: `confirm` finds it, as LOST.
                with suppress(BoardError):
                    self._boards[name].disarm(self._stream)
            raise
        return joint(standings)

    def withdraw(self, *, previewing: bool) -> Standing:
        """Disarm all boards that can be reached, and say what is true.

        Raises:
            BoardError: that of the first board that could not be reached, once the others are disarmed.
        """
        errors: list[BoardError] = []
        for name, board in self._boards.items():
            try:
                self._withdraw_from(name, board, previewing)
            except BoardError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        standings = self.standings()
        for name, standing in standings.items():
            if standing.outcome is Outcome.ARMED:
                raise TransactionError("abort", f"{name}: {standing.reason} in spite of disarming: abort again")
        return joint(standings)

    def _withdraw_from(self, name: str, board: Board, previewing: bool) -> None:
        """Disarm, and put another payload into the shadow bank: an arm command still on its way is refused."""
        base, state = self.bases.get(name), board.state(self._stream)
        # A board that restarted knows nothing of this transaction, and one that was never identified is not its own.
        if base is None or state.epoch != base.epoch:
            return
        if state.armed:
            board.disarm(self._stream)
        if previewing:
            board.preview(self._stream, 0)
        if self.run is not None and state.generation < self._generation:
            board.write_shadow(self._stream, board.read_bank(self._stream, "active"))

    def _judge(self, name: str, state: BoardState) -> Standing:
        return judge(state, self.bases.get(name), self._generation, self._payload.crc, self.run)

    def _check_shadow(self, step: str, name: str, shadow: Shadow) -> BoardState:
        if fault := difference(self._payload, shadow.words):
            raise TransactionError(step, f"{name}: the shadow bank as read back differs from the payload: {fault}")
        self.known(step, {name: self._judge(name, shadow.state)})
        self._check_crc(step, name, shadow.state)
        return shadow.state

    def _check_crc(self, step: str, name: str, state: BoardState) -> None:
        if state.shadow_crc != self._payload.crc:
            why = f"the shadow CRC is {state.shadow_crc:#010x}, not {self._payload.crc:#010x}: stage again"
            raise TransactionError(step, f"{name}: {why}")

    def _refusal(self, standing: Standing, target_ls: int) -> str:
        state = standing.state
        match state.arm_status:
            case ArmStatus.REFUSED_CRC:
                return f"refused, shadow CRC {state.shadow_crc:#010x} is not {self._payload.crc:#010x}"
            case ArmStatus.REFUSED_LATE:
                return f"refused as late: LS {target_ls} is not after the board's LS {state.ls}"
            case ArmStatus.REFUSED_GENERATION:
                return f"refused, generation {self._generation} is not above the active {state.generation}"
        return f"the board did not take it: {standing.reason}"
