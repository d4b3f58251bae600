"""A whole transaction through a ControlHub, which makes up for what is lost behind it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware.board.board import RemoteBoard
from firmware.board.uhal import UhalBoard
from firmware.errors import BoardUnreachable
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from monitor.store.ledger import Ledger
from tests.support.relay import Relay
from tests.support.rig import STREAM, Rig, tiny_model

VARIABLE = "DRIFTD_CONTROLHUB"
"""host:port of a running ControlHub, of ipbus-software, that may reach this machine's loopback."""
CASES = 9
"""Packets that every transaction takes at least, one of them lost in each."""


@pytest.fixture
def hub() -> str:
    return os.environ[VARIABLE]


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(tiny_model())
    yield rig
    rig.close()


def test_a_transaction_survives_the_loss_of_any_reply(hub: str, rig: Rig, tmp_path: Path) -> None:
    """The hub asks the board for its state and has the reply sent again: nothing is done twice."""
    with Relay(rig.server.address) as relay, Ledger(tmp_path / "ledger.db") as ledger:
        ledger.add_payload(STREAM, rig.payload, "test")
        target = relay.uri.removeprefix("ipbusudp-2.0://")
        board = RemoteBoard(UhalBoard, f"chtcp-2.0://{hub}?target={target}", rig.table, deadline=10)
        for lost in range(CASES):
            rig.power_on()
            relay.expect("reply lost", lost)
            transaction = Transaction({"gt": board}, ledger, STREAM, rig.payload, rig.validation, frozen=lambda: False)
            transaction.stage()
            transaction.arm()
            rig.begin_ls(2)
            assert transaction.confirm().outcome is Outcome.LATCHED
            assert rig.bank.active.id == rig.payload.id
            assert relay.carried > lost
        board.close()


def test_a_board_that_is_silent_behind_a_hub_is_unreachable(hub: str, rig: Rig) -> None:
    board = RemoteBoard(UhalBoard, f"chtcp-2.0://{hub}?target=127.0.0.1:9", rig.table, deadline=10)
    with pytest.raises(BoardUnreachable):
        board.state(STREAM)
    board.close()
