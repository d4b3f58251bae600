"""Golden vectors: which events they are, and what happens when an execution or the board differs on one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware.board.board import RemoteBoard
from firmware.board.uhal import UhalBoard
from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.emulator import Emulator
from firmware.datapath.validation import Validation
from firmware.errors import PayloadError, TransactionError, ValidationError
from firmware.model.payload import Payload
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from firmware.sim.bank import Bank
from firmware.tools.compiler import compiler
from monitor.store.ledger import Ledger
from tests.support.rig import STREAM, Bench, Rig, reached, small_model, tiny_model


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with reached(Rig(tiny_model())) as found:
        yield found


@pytest.fixture
def ledger(rig: Rig, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.add_payload(STREAM, rig.payload, "test")
        yield ledger


def begin(rig: Rig, board: RemoteBoard, ledger: Ledger, validation: Validation) -> Transaction:
    return Transaction({"gt": board}, ledger, STREAM, rig.payload, validation, frozen=lambda: False)


def golden(n: int = 3000) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    model = small_model()
    low, high = model.limits
    middle = np.random.default_rng(1).normal(0, 0.05, (n, model.n_features))
    return np.clip((middle * (high - low)).astype(np.int64), low, high)


@pytest.mark.parametrize("shares", [[0.01, 0.5], [0.9, 0.999]])
def test_the_vectors_lie_on_both_sides_of_every_cut_as_close_as_the_golden_events_come(shares: list[float]) -> None:
    model = small_model()
    codes = Emulator(model).codes(golden(), Payload.nominal(model, [1, 2]))
    cuts = np.quantile(codes, shares).astype(np.int64) + 1
    payload = Payload.nominal(model, cuts)
    vectors = Validation(model, golden(), cache=None).vectors(payload)
    for cut in cuts:
        assert codes[codes >= cut].min() in vectors.codes
        assert codes[codes < cut].max() in vectors.codes
    assert codes.max() in vectors.codes


def test_the_vectors_drive_every_input_to_both_limits_and_its_normalisation_into_saturation() -> None:
    model = small_model()
    vectors = Validation(model, golden(), cache=None).vectors(Payload.nominal(model, [100, 200]))
    low, high = model.limits
    assert (vectors.events.min(axis=0) == low).all()
    assert (vectors.events.max(axis=0) == high).all()
    for column in range(model.n_features):
        others = np.delete(vectors.events, column, axis=1)
        for limit in (low[column], high[column]):
            alone = others[vectors.events[:, column] == limit]
            assert (np.abs(alone) < np.delete(high, column)).all(axis=1).any()
    shifted = (vectors.events.astype(float) - model.normalisation.offset) / 2.0**model.normalisation.shift
    limit = model.normalisation.result_type
    saturating = (shifted > limit.max_raw * limit.lsb) | (shifted < limit.min_raw * limit.lsb)
    wide = high / 2.0**model.normalisation.shift > limit.max_raw * limit.lsb
    assert wide.any()
    assert saturating[:, wide].any(axis=0).all()


def test_a_package_without_golden_events_still_has_corners() -> None:
    model = tiny_model()
    vectors = Validation(model, np.empty((0, 3), np.int64), cache=None).vectors(Payload.nominal(model, [1, 2]))
    assert len(vectors.events) == 1 + 2 + 2 * 3


def test_a_payload_of_another_model_has_no_vectors() -> None:
    validation = Validation(small_model(), golden(), cache=None)
    with pytest.raises(PayloadError, match="is made for model"):
        validation.vectors(Payload.nominal(small_model(seed=6), [1, 2]))


def test_a_compiled_datapath_that_differs_is_found_before_a_word_is_written(
    rig: Rig, board: RemoteBoard, ledger: Ledger, tmp_path: Path
) -> None:
    """In the place of the model's library lies one of a model whose weights differ."""
    if compiler() is None:
        pytest.skip("no C++ compiler for the compiled datapath")
    validation = Validation(rig.model, np.zeros((1, 3), np.int64), tmp_path / "good")
    assert validation.vectors(rig.payload).executions == ("numpy", "compiled")
    changed = tiny_model(weight=1)
    CompiledDatapath(changed, tmp_path)
    (library,) = tmp_path.glob("*.so")
    shutil.copy(library, tmp_path / library.name.replace(changed.id[:16], rig.model.id[:16]))
    written: list[int] = []
    rig.before_write = written.append
    with pytest.raises(ValidationError, match=r"compiled datapath differs .*: event \d+: codes \d+, expected \d+"):
        begin(rig, board, ledger, Validation(rig.model, np.zeros((1, 3), np.int64), tmp_path)).stage()
    assert written == []
    assert [(step.step, step.status) for step in ledger.steps(STREAM, 1)] == [("prove", "failed")]


def test_a_board_that_computes_something_else_is_named_by_event_and_is_not_armed(
    rig: Rig, board: RemoteBoard, ledger: Ledger
) -> None:
    """Registers and CRC are right, the datapath behind them is not."""
    rig.bank._emulator = Emulator(tiny_model(weight=1))
    rig.bank._payload = lambda words: Payload(  # type: ignore[method-assign]
        rig.bank._emulator.model.id, rig.model.layout, Bank._payload(rig.bank, words).words
    )
    transaction = begin(rig, board, ledger, rig.validation)
    text = r"the board differs on \d+ of \d+ events, first event \d+ \(-?\d+ -?\d+ -?\d+\): code \d+, expected \d+"
    with pytest.raises(ValidationError, match=text):
        transaction.stage()
    with pytest.raises(TransactionError, match="have not played the golden vectors"):
        transaction.arm()
    assert ledger.steps(STREAM, 1)[-2].step == "play"
    assert transaction.abort().outcome is Outcome.OLD
    assert not board.state(STREAM).armed


def test_more_vectors_than_the_board_holds_are_played_in_turns(rig: Rig, board: RemoteBoard) -> None:
    low, high = rig.model.limits
    events = np.random.default_rng(1).integers(low, high + 1, (5000, 3))
    validation = Validation(rig.model, events, cache=None)
    vectors = validation.vectors(rig.payload)
    assert len(vectors.events) > board.playback(STREAM)
    board.write_shadow(STREAM, rig.payload.words)
    assert validation.play(board, STREAM, vectors) == len(vectors.events)
    vectors.codes[-1] += 1
    with pytest.raises(ValidationError, match=rf"first event {len(vectors.events) - 1} "):
        validation.play(board, STREAM, vectors)


@pytest.mark.parametrize("required", [True, False])
def test_a_board_without_playback_is_refused_unless_that_is_allowed_and_the_ledger_says_so(
    rig: Rig, ledger: Ledger, required: bool
) -> None:
    table = rig.table.replace('id="playback"', 'id="other"')
    board = RemoteBoard(UhalBoard, rig.uri, table, deadline=10)
    validation = Validation(rig.model, np.zeros((1, 3), np.int64), None, require_playback=required)
    transaction = begin(rig, board, ledger, validation)
    if required:
        with pytest.raises(ValidationError, match=r"has no playback: add it, or set push\.require_playback = false"):
            transaction.stage()
    else:
        transaction.stage()
        assert transaction.arm().outcome is Outcome.ARMED
        (played,) = [step for step in ledger.steps(STREAM, 1) if (step.step, step.status) == ("play", "done")]
        assert played.detail == {"gt": 0}
    board.close()
