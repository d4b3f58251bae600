"""A forest on the simulated board, through the real uHAL client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware.board.board import RemoteBoard
from firmware.datapath.emulator import Emulator
from firmware.datapath.validation import Validation
from firmware.errors import ForestError, TransactionError, ValidationError
from firmware.model.payload import Payload
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from firmware.sim.world.events import Generator, digitise
from monitor.store.ledger import Ledger
from tests.support.forests import forest_model
from tests.support.rig import STREAM, Bench, Rig, reached

EVENTS = digitise(Generator(3).draw(500, 40.0)).astype(np.int64)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with reached(Rig(forest_model())) as found:
        yield found


@pytest.fixture
def turned(rig: Rig) -> Payload:
    """Thresholds on energies an eighth lower, and an offset with which most scores are positive."""
    forest = rig.model.forest
    assert forest is not None
    energies = [feature.kind == "pt" for feature in rig.model.features]
    lower = forest.scaled(np.where(energies, 1 / 1.125, 1.0), 1.0)
    return rig.nominal.replace(forest=lower.words).replace_values(latent_offset=[100.0])


def transaction(rig: Rig, board: RemoteBoard, payload: Payload, ledger: Ledger) -> Transaction:
    ledger.add_payload(STREAM, payload, "test")
    validation = Validation(rig.model, EVENTS, None)
    return Transaction({"gt": board}, ledger, STREAM, payload, validation, frozen=lambda: False)


def test_a_forest_is_proven_written_played_and_decides_from_its_lumi_section_on(
    rig: Rig, board: RemoteBoard, turned: Payload, tmp_path: Path
) -> None:
    emulator = Emulator(rig.model)
    promised, before = (emulator.codes(EVENTS[:64], payload) for payload in (turned, rig.nominal))
    with Ledger(tmp_path / "ledger.db") as ledger:
        push = transaction(rig, board, turned, ledger)
        push.stage()
        assert push.arm().outcome is Outcome.ARMED
        assert board.play(STREAM, EVENTS[:64], "active").tolist() == before.tolist()
        rig.begin_ls(2)
        assert push.confirm().outcome is Outcome.LATCHED
    assert board.play(STREAM, EVENTS[:64], "active").tolist() == promised.tolist()
    assert (promised != before).mean() > 0.5
    assert board.read_bank(STREAM, "active").tolist() == turned.words.tolist()
    assert rig.bank.active.id == turned.id


def test_a_child_that_a_fault_of_the_memory_changes_is_found_by_the_golden_events(
    rig: Rig, board: RemoteBoard, turned: Payload, tmp_path: Path
) -> None:
    """Though the board's CRC, which it took before, says nothing of it."""
    with Ledger(tmp_path / "ledger.db") as ledger:
        push = transaction(rig, board, turned, ledger)
        push.prove()
        push.write()
        rig.bank._shadow[turned.layout["forest"].address] ^= 0x00FF0000
        with pytest.raises(ValidationError, match="the board differs on"):
            push.play()
        with pytest.raises(TransactionError, match="have not played the golden vectors"):
            push.arm()
    rig.begin_ls(4)
    assert rig.bank.active.id == rig.nominal.id


def test_a_bank_of_words_that_are_no_forest_gives_scores_and_does_not_hang(rig: Rig, board: RemoteBoard) -> None:
    words = rig.nominal.words.copy()
    words[rig.nominal.layout["forest"].words] = 0x80000000
    with pytest.raises(ForestError):
        Payload(rig.model.id, rig.model.layout, words)
    board.write_shadow(STREAM, words)
    assert not board.play(STREAM, EVENTS[:8], "shadow").any()
