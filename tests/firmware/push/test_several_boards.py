"""One payload on two boards: both or neither."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware.board.board import RemoteBoard
from firmware.board.register_map import STREAM_SPAN
from firmware.board.uhal import UhalBoard
from firmware.errors import BoardUnreachable, IdentityError, TransactionError
from firmware.model.payload import Payload
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from monitor.store.ledger import Ledger
from tests.support.relay import Relay
from tests.support.rig import STREAM, Rig, tiny_model, validation

ARM_COMMAND = STREAM_SPAN + 0x13
TIMEOUT_MS = 200


class Pair:
    """Two boards under one machine clock, the second behind a relay."""

    def __init__(self) -> None:
        self.first, self.second = self.rigs = Rig(tiny_model()), Rig(tiny_model())
        self.relay = Relay(self.second.server.address)
        uris = self.first.uri, self.relay.uri
        self.boards = {
            name: RemoteBoard(UhalBoard, uri, self.first.table, TIMEOUT_MS, name=name, deadline=10)
            for name, uri in zip(("gt", "spare"), uris, strict=True)
        }

    def begin_ls(self, n: int = 1) -> None:
        for rig in self.rigs:
            rig.begin_ls(n)

    @property
    def active(self) -> list[str]:
        return [rig.bank.active.id for rig in self.rigs]

    def close(self) -> None:
        for board in self.boards.values():
            board.close()
        self.relay.__exit__()
        for rig in self.rigs:
            rig.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


@pytest.fixture
def pair(bench: Pair) -> Pair:
    for rig in bench.rigs:
        rig.power_on()
    bench.relay.expect(None, 0)
    return bench


@pytest.fixture
def ledger(pair: Pair, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.add_payload(STREAM, pair.first.payload, "test")
        yield ledger


Begin = Callable[[], Transaction]


@pytest.fixture
def begin(pair: Pair, ledger: Ledger) -> Begin:
    rig = pair.first
    return lambda: Transaction(pair.boards, ledger, STREAM, rig.payload, rig.validation, frozen=lambda: False)


def test_all_boards_swap_at_one_boundary_and_the_ledger_has_one_interval(
    pair: Pair, ledger: Ledger, begin: Begin
) -> None:
    pair.second.begin_ls()
    transaction = begin()
    transaction.stage()
    transaction.preview_start(1)
    for rig, rates in zip(pair.rigs, ([0.5, 0.1], [0.3, 0.1]), strict=True):
        rig.collide(1000, rates=rates)
    preview = transaction.preview_stop()
    assert (preview.events, preview.accepts) == (2000, (800, 200))
    assert transaction.arm().ls == 13
    pair.first.begin_ls()
    pair.begin_ls()
    assert transaction.confirm().outcome is Outcome.ARMED
    pair.first.begin_ls()
    assert transaction.confirm().outcome is Outcome.ARMED
    pair.second.begin_ls()
    latched = transaction.confirm()
    assert (latched.outcome, latched.ls) == (Outcome.LATCHED, 13)
    assert pair.active == [pair.first.payload.id] * 2
    assert [(iov.ls, iov.epoch) for iov in ledger.history(STREAM)] == [(13, pair.first.registers.epoch)]
    played = next(step for step in ledger.steps(STREAM, 1) if (step.step, step.status) == ("play", "done"))
    assert played.detail["gt"] == played.detail["spare"] > 0


@pytest.mark.parametrize("fault", ["request lost", "reply lost"])
def test_a_board_that_cannot_be_armed_disarms_the_others_before_the_boundary(
    pair: Pair, ledger: Ledger, begin: Begin, fault: str
) -> None:
    transaction = begin()
    transaction.stage()
    pair.relay.expect(fault, 1)  # type: ignore[arg-type]
    with pytest.raises(BoardUnreachable):
        transaction.arm()
    assert not pair.boards["gt"].state(STREAM).armed
    assert pair.boards["spare"].state(STREAM).armed is (fault == "reply lost")
    assert transaction.confirm().outcome is Outcome.OLD
    assert transaction.abort().outcome is Outcome.OLD
    pair.begin_ls(5)
    assert pair.active == [pair.first.nominal.id] * 2
    assert ledger.history(STREAM) == []
    assert ledger.open_transaction(STREAM) == []


def test_a_board_that_refuses_is_named_and_disarms_the_others(pair: Pair, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    pair.second.before_write = lambda address: pair.second.begin_ls(3) if address == ARM_COMMAND else None
    with pytest.raises(TransactionError, match="arm: spare: refused as late: LS 12"):
        transaction.arm()
    pair.second.before_write = lambda address: None
    pair.begin_ls(5)
    assert pair.active == [pair.first.nominal.id] * 2


def test_a_board_that_is_unreachable_after_arming_is_known_again_at_the_boundary(pair: Pair, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    pair.relay.expect("request lost", 0)
    with pytest.raises(BoardUnreachable):
        transaction.confirm()
    pair.begin_ls(2)
    assert transaction.confirm().outcome is Outcome.LATCHED
    assert pair.active == [pair.first.payload.id] * 2


def test_a_board_that_did_not_swap_with_the_others_is_a_loss_that_says_which(
    pair: Pair, ledger: Ledger, begin: Begin
) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    pair.boards["spare"].disarm(STREAM)
    pair.begin_ls(2)
    lost = transaction.confirm()
    assert lost.outcome is Outcome.LOST
    assert "gt: generation 1" in lost.reason
    assert "spare: generation 0" in lost.reason
    assert ledger.history(STREAM) == []
    assert transaction.abort().outcome is Outcome.LOST


def test_boards_that_swapped_at_different_boundaries_are_a_loss(pair: Pair, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    pair.first.begin_ls(2)
    pair.second.registers.begin_ls(14)
    assert transaction.confirm().outcome is Outcome.LOST


def test_a_board_of_another_model_is_named_and_no_board_is_written(pair: Pair, ledger: Ledger) -> None:
    other = tiny_model(weight=1)
    payload = Payload.nominal(other, [1, 2])
    ledger.add_payload(STREAM, payload, "test")
    pair.first.bank._identity = [int(other.id[i : i + 8], 16) for i in range(0, 64, 8)]
    written: list[int] = []
    for rig in pair.rigs:
        rig.before_write = written.append
    with pytest.raises(IdentityError, match="axol1tl on spare is not what"):
        Transaction(pair.boards, ledger, STREAM, payload, validation(other), frozen=lambda: False).stage()
    assert written == []


def test_an_abort_disarms_all_that_can_be_reached(pair: Pair, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    pair.boards = {"gt": pair.boards["gt"], "spare": pair.boards["spare"]}
    pair.relay.expect("request lost", 0)
    with pytest.raises(BoardUnreachable):
        transaction.abort()
    assert not pair.first.bank._status
    assert pair.second.bank._status
    assert transaction.abort().outcome is Outcome.OLD
    assert not pair.second.bank._status


def test_a_resumed_transaction_knows_what_was_active_on_each_board(pair: Pair, ledger: Ledger, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    pair.second.registers.boot()
    resumed = Transaction.resume(pair.boards, ledger, STREAM, pair.first.validation, frozen=lambda: False)
    assert resumed is not None
    standing = resumed.confirm()
    assert standing.outcome is Outcome.LOST
    assert "spare: the board restarted" in standing.reason
    assert resumed.abort().outcome is Outcome.LOST
    pair.begin_ls(4)
    assert pair.active == [pair.first.nominal.id] * 2
