"""What a transaction writes down before and after each step, and reads back to resume: a protocol, no database."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from firmware.model.layout import Layout
from firmware.model.payload import Payload

ONLINE = "online"
"""The tag of the intervals of validity by which the trigger decided."""


class StepNote(NamedTuple):
    """What a transaction has to say of one of its steps: `begun`, `done` or `failed`."""

    step: str
    status: str
    detail: Mapping[str, Any]


class NotedStep(Protocol):
    """A note as the journal gives it back, with the transaction that it belongs to."""

    @property
    def generation(self) -> int:
        """The generation under which the transaction writes its payload."""

    @property
    def payload_id(self) -> str:
        """The id of the payload that the transaction writes."""

    @property
    def step(self) -> str:
        """The name of the step."""

    @property
    def status(self) -> str:
        """`begun`, `done` or `failed`."""

    @property
    def detail(self) -> Mapping[str, Any]:
        """What else was noted of the step, as its `StepNote` had it."""


class KeptPayload(Protocol):
    """A payload as the journal keeps it."""

    def unpack(self, layout: Layout) -> Payload:
        """The payload itself.

        Raises:
            JournalError: if what is kept is not what gave the id.
        """


class Journal(Protocol):
    """Where transactions are written down. What a call has returned from survives the end of the process.

    Raises:
        JournalError: by every call, if it cannot be written or read. What could not be written is not to be done.
    """

    def payload(self, id: str, stream: str) -> KeptPayload:
        """The payload of this id, which must have been put there before a transaction begins.

        Raises:
            JournalError: if there is none.
        """

    def next_generation(self, stream: str, active: int) -> int:
        """A generation above the board's `active` one and above all that were ever used."""

    def open_transaction(self, stream: str) -> Sequence[NotedStep]:
        """The steps of the newest transaction of a stream if it has not come to its `end`, else none."""

    def record_steps(self, stream: str, generation: int, payload_id: str, steps: Sequence[StepNote]) -> None:
        """Write steps of a transaction down, in this order, all of them or none."""

    def record_iov(
        self, stream: str, run: int, ls: int, payload_id: str, generation: int, epoch: int, tag: str = ONLINE
    ) -> object:
        """Write down since which (run, ls) a payload decides; said twice it is written once."""
