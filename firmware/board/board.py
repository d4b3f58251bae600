"""What a board that holds the registers can be asked, whatever it is reached through."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

from numpy.typing import NDArray

from firmware.board.register_map import ArmStatus
from firmware.errors import BoardUnreachable, ProcessError
from firmware.model.fixed import Words
from firmware.process import Remote

BankName = Literal["active", "shadow"]

P = ParamSpec("P")
T = TypeVar("T")

CALL_DEADLINE_S = 2.0
START_DEADLINE_S = 20.0


@dataclass(frozen=True)
class Identity:
    """What a board and one of its streams say that they are."""

    magic: int
    version: int
    epoch: int
    model_id: str
    n_words: int


@dataclass(frozen=True)
class BoardState:
    """One stream at one moment; the generation and target of `arm` mean something while it is armed."""

    epoch: int
    run: int
    ls: int
    generation: int
    latched_ls: int
    active_crc: int
    shadow_crc: int
    arm_status: int
    arm_generation: int
    arm_target_ls: int

    @property
    def armed(self) -> bool:
        """Whether a swap to the shadow bank is armed."""
        return self.arm_status == ArmStatus.ARMED


@dataclass(frozen=True, eq=False)
class Shadow:
    """The words of the shadow bank, and the state right after they were read."""

    words: Words
    state: BoardState


@dataclass(frozen=True)
class Counters:
    """What the last complete lumi section counted, of colliding crossings.

    `dropped` are messages that the publisher could not send.
    """

    ls: int
    generation: int
    events: int
    accepts: tuple[int, ...]
    dropped: int


class Board(Protocol):
    """After any BoardError the state of the board is unknown: what was asked may have happened. Read it."""

    def identify(self, stream: str) -> tuple[Identity, BoardState]:
        """What the board and a stream say that they are, and the state of the stream right after."""

    def state(self, stream: str) -> BoardState:
        """The registers of a stream that say what it runs and what is armed."""

    def write_shadow(self, stream: str, words: Words) -> Shadow:
        """Send a whole bank, and read all of it back from the registers."""

    def read_shadow(self, stream: str) -> Shadow:
        """The words (n_words,) of the shadow bank, and the state right after they were read."""

    def read_bank(self, stream: str, bank: BankName) -> Words:
        """The words (n_words,) of one bank."""

    def preview(self, stream: str, prescale: int) -> None:
        """Run every `prescale`-th colliding event through the shadow bank too, counting from 0; 0 stops."""

    def previewed(self, stream: str) -> tuple[int, tuple[int, ...]]:
        """Events and accepts per cut since `preview`."""

    def playback(self, stream: str) -> int:
        """Events that `play` can take at a time; 0 for a board that has no playback."""

    def play(self, stream: str, events: NDArray[Any], bank: BankName) -> Words:
        """The codes (n,) that the board itself gives hardware integers (n, n_features) under a bank."""

    def arm(self, stream: str, generation: int, target_ls: int, crc: int) -> BoardState:
        """Ask for the swap. Whether the board will do it stands in the state right after."""

    def disarm(self, stream: str) -> None:
        """Take back a swap that is armed, if there is one."""

    def counters(self, stream: str) -> Counters:
        """What the last complete lumi section counted."""

    def close(self) -> None:
        """End the connection to the board."""


class RemoteBoard:
    """A board whose driver lives in a process of its own and answers within a deadline.

    `error` is what went wrong in the last call, empty if nothing did.

    Raises:
        BoardUnreachable: by every method, if the driver is silent or dies; the next call starts another.
    """

    def __init__(
        self,
        driver: Callable[..., Board],
        *args: object,
        name: str = "board",
        deadline: float = CALL_DEADLINE_S,
    ) -> None:
        self._remote = Remote(driver, *args, name=name, start_deadline=START_DEADLINE_S)
        self._deadline = deadline
        self.error = "not asked yet"

    @property
    def pid(self) -> int | None:
        """Id of the driver's process; None when there is none."""
        return self._remote.pid

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the driver's process in bytes; 0 when there is none."""
        return self._remote.rss_bytes

    def identify(self, stream: str) -> tuple[Identity, BoardState]:
        """See `Board.identify`."""
        return self._call(Board.identify, stream)

    def state(self, stream: str) -> BoardState:
        """See `Board.state`."""
        return self._call(Board.state, stream)

    def write_shadow(self, stream: str, words: Words) -> Shadow:
        """See `Board.write_shadow`."""
        return self._call(Board.write_shadow, stream, words)

    def read_shadow(self, stream: str) -> Shadow:
        """See `Board.read_shadow`."""
        return self._call(Board.read_shadow, stream)

    def read_bank(self, stream: str, bank: BankName) -> Words:
        """See `Board.read_bank`."""
        return self._call(Board.read_bank, stream, bank)

    def preview(self, stream: str, prescale: int) -> None:
        """See `Board.preview`."""
        self._call(Board.preview, stream, prescale)

    def previewed(self, stream: str) -> tuple[int, tuple[int, ...]]:
        """See `Board.previewed`."""
        return self._call(Board.previewed, stream)

    def playback(self, stream: str) -> int:
        """See `Board.playback`."""
        return self._call(Board.playback, stream)

    def play(self, stream: str, events: NDArray[Any], bank: BankName) -> Words:
        """See `Board.play`."""
        return self._call(Board.play, stream, events, bank)

    def arm(self, stream: str, generation: int, target_ls: int, crc: int) -> BoardState:
        """See `Board.arm`."""
        return self._call(Board.arm, stream, generation, target_ls, crc)

    def disarm(self, stream: str) -> None:
        """See `Board.disarm`."""
        self._call(Board.disarm, stream)

    def counters(self, stream: str) -> Counters:
        """See `Board.counters`."""
        return self._call(Board.counters, stream)

    def close(self) -> None:
        """End the driver's process for good; a call in flight raises BoardUnreachable."""
        self._remote.close()

    def _call(self, method: Callable[Concatenate[Any, P], T], *args: P.args, **_: P.kwargs) -> T:
        try:
            answer: T = self._remote.call(method.__name__, *args, deadline=self._deadline)
        except ProcessError as error:
            self.error = str(error)
            raise BoardUnreachable(str(error)) from error
        except Exception as error:
            self.error = str(error)
            raise
        self.error = ""
        return answer
