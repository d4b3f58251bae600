"""Every packet of a whole transaction meets every fault, through the real uHAL client."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from firmware.board.board import RemoteBoard
from firmware.board.uhal import UhalBoard
from firmware.errors import BoardError, FirmwareError
from firmware.push.standing import Outcome, Standing
from firmware.push.transaction import Transaction
from monitor.store.ledger import Ledger
from tests.support.relay import FAULTS, Fault, Relay
from tests.support.rig import STREAM, Rig, tiny_model

TIMEOUT_MS = 150
ATTEMPTS = 4
KILLED, RESTARTED = "driver killed", "board restarted"
ACCIDENTS = (KILLED, RESTARTED)


class Bench(NamedTuple):
    rig: Rig
    relay: Relay
    board: RemoteBoard


@pytest.fixture
def bench() -> Iterator[Bench]:
    rig = Rig(tiny_model())
    with Relay(rig.server.address) as relay:
        board = RemoteBoard(UhalBoard, relay.uri, rig.table, TIMEOUT_MS, deadline=10)
        yield Bench(rig, relay, board)
        board.close()
    rig.close()


def begin(bench: Bench, ledger: Ledger) -> Transaction:
    boards = {"gt": bench.board}
    return Transaction(boards, ledger, STREAM, bench.rig.payload, bench.rig.validation, frozen=lambda: False)


def push(bench: Bench, transaction: Transaction) -> Standing:
    """A whole transaction, and the boundary at which it latches."""
    transaction.stage()
    transaction.preview_start(1)
    transaction.preview_stop()
    armed = transaction.arm()
    bench.rig.begin_ls(armed.ls - bench.rig.registers.ls)
    return transaction.confirm()


def insisting(step: Callable[[], Standing]) -> Standing:
    """The first answer of a board that may still suffer from what happened."""
    for _ in range(ATTEMPTS - 1):
        try:
            return step()
        except BoardError:
            continue
    return step()


def check_what_is_true(bench: Bench, ledger: Ledger, transaction: Transaction) -> bool:
    """Recover as after any error; the active bank is old or new, whole, and as the ledger says. Whether it is new."""
    rig = bench.rig
    standing = insisting(transaction.confirm)
    if standing.outcome is Outcome.ARMED:
        rig.begin_ls(2)
        standing = insisting(transaction.confirm)
    elif standing.outcome is not Outcome.LATCHED:
        standing = insisting(transaction.abort)
    rig.begin_ls(4)
    new = standing.outcome is Outcome.LATCHED
    active = rig.bank._banks[rig.bank.active_bank]
    assert active.tolist() == (rig.payload if new else rig.nominal).words.tolist(), standing
    assert [iov.payload_id for iov in ledger.history(STREAM)] == [rig.payload.id] * new, standing
    assert ledger.open_transaction(STREAM) == []
    return new


def packets(bench: Bench, path: Path) -> int:
    """How many a transaction takes that nothing befalls."""
    bench.rig.power_on()
    bench.relay.expect(None, 0)
    with Ledger(path) as ledger:
        ledger.add_payload(STREAM, bench.rig.payload, "test")
        assert push(bench, begin(bench, ledger)).outcome is Outcome.LATCHED
    return bench.relay.carried


@pytest.mark.parametrize("what", [*(fault for fault in FAULTS if fault != "accident"), *ACCIDENTS])
def test_after_any_fault_the_payload_is_old_or_new_as_the_ledger_says_and_a_retry_succeeds(
    bench: Bench, tmp_path: Path, record_property: Callable[[str, object], None], what: str
) -> None:
    rig, relay, board = bench
    started = time.monotonic()
    cases = packets(bench, tmp_path / "measured.db")
    fault: Fault = "accident" if what in ACCIDENTS else what  # type: ignore[assignment]
    struck = old = 0
    for packet in range(cases):
        rig.power_on()
        relay.accident = rig.registers.boot if what == RESTARTED else lambda: os.kill(board.pid or 0, signal.SIGKILL)
        relay.expect(fault, packet)
        with Ledger(tmp_path / f"{packet}.db") as ledger:
            ledger.add_payload(STREAM, rig.payload, "test")
            transaction = begin(bench, ledger)
            try:
                push(bench, transaction)
            except FirmwareError:
                struck += 1
            if not ledger.steps(STREAM, 1):
                transaction = begin(bench, ledger)
            if ledger.open_transaction(STREAM) and not check_what_is_true(bench, ledger, transaction):
                old += 1
                assert push(bench, begin(bench, ledger)).outcome is Outcome.LATCHED
                assert rig.bank.active.id == rig.payload.id
            assert [iov.payload_id for iov in ledger.history(STREAM)] == [rig.payload.id]
    text = f"{what}: {cases} packets, one case each; {struck} raised, {old} ended on the old payload"
    print(f"{text}; {time.monotonic() - started:.0f} s")
    record_property("cases", cases)
    assert cases > 10
