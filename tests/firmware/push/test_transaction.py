import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware.board.board import Board, RemoteBoard
from firmware.board.register_map import SHADOW, STREAM_SPAN, ArmStatus
from firmware.board.uhal import UhalBoard
from firmware.datapath.emulator import Emulator
from firmware.errors import BoardUnreachable, IdentityError, TransactionError
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Condition
from firmware.model.payload import Payload
from firmware.push.journal import StepNote
from firmware.push.readback import check_identity
from firmware.push.standing import Outcome
from firmware.push.transaction import Transaction
from monitor.store.errors import LedgerError
from monitor.store.ledger import Ledger
from tests.support.rig import RUN, STREAM, Bench, Rig, Wire, reached, small_model, validation

ARM_COMMAND = STREAM_SPAN + 0x13


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with reached(Rig()) as found:
        yield found


@pytest.fixture
def ledger(rig: Rig, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as ledger:
        for payload in (rig.nominal, rig.payload):
            ledger.add_payload(STREAM, payload, "test")
        yield ledger


Begin = Callable[..., Transaction]


@pytest.fixture
def begin(rig: Rig, board: RemoteBoard, ledger: Ledger) -> Begin:
    def begin(
        payload: Payload = rig.payload,
        board: Board = board,
        frozen: Callable[[], bool] = lambda: False,
        generation: int | None = None,
    ) -> Transaction:
        return Transaction({"gt": board}, ledger, STREAM, payload, rig.validation, frozen=frozen, generation=generation)

    return begin


def steps_of(ledger: Ledger, generation: int) -> list[str]:
    return [f"{step.step} {step.status}" for step in ledger.steps(STREAM, generation)]


def test_a_payload_becomes_active_at_its_target_and_the_ledger_knows_every_step(
    rig: Rig, board: RemoteBoard, ledger: Ledger, begin: Begin
) -> None:
    transaction = begin()
    transaction.stage()
    transaction.preview_start(prescale=10)
    rig.collide(5_000, rates=[0.5, 0.1])
    preview = transaction.preview_read()
    assert (preview.events, preview.accepts, preview.enough) == (500, (250, 50), False)
    rig.collide(20_000, rates=[0.5, 0.1])
    preview = transaction.preview_stop()
    assert (preview.prescale, preview.rates, preview.enough) == (10, (0.5, 0.1), True)
    armed = transaction.arm()
    assert (armed.outcome, armed.ls) == (Outcome.ARMED, 12)

    rig.begin_ls()
    assert transaction.confirm().outcome is Outcome.ARMED
    assert board.state(STREAM).active_crc == rig.nominal.crc
    assert ledger.history(STREAM) == []
    rig.begin_ls()
    latched = transaction.confirm()
    assert (latched.outcome, latched.run, latched.ls) == (Outcome.LATCHED, RUN, 12)
    assert board.read_bank(STREAM, "active").tolist() == rig.payload.words.tolist()

    (iov,) = ledger.history(STREAM)
    assert (iov.run, iov.ls, iov.payload_id, iov.generation) == (RUN, 12, rig.payload.id, 1)
    assert iov.epoch == rig.registers.epoch
    assert ledger.open_transaction(STREAM) == []
    assert steps_of(ledger, 1) == [
        *("prove done", "identify done", "stage begun", "stage done", "play begun", "play done"),
        *("preview begun", "preview done", "verify done", "arm begun", "arm done", "confirm done", "end done"),
    ]


def weighted() -> tuple[Model, dict[str, Any]]:
    """With the weights of the last layer in registers, and others for these."""
    model, random = small_model(), np.random.default_rng(3)
    *others, last = model.layers
    model = replace(model, layers=(*others, replace(last, reconfigurable=True)))
    return model, {"weights": random.integers(-32, 32, 120), "biases": random.integers(-9, 9, 8)}


def told() -> tuple[Model, dict[str, Any]]:
    """With a network that a register tells the pile-up, and another one than the nominal."""
    model = small_model()
    first, *others = model.layers
    first = replace(first, weight=np.concatenate([first.weight, np.arange(28)[None] - 14]))
    condition = Condition("pileup", Fixed(10, 4), nominal=-32, low=-256, high=256)
    return replace(model, layers=(first, *others), conditions=(condition,)), {"conditioning": [200]}


@pytest.mark.parametrize("made", [weighted, told])
def test_a_network_s_registers_decide_once_the_board_has_played_and_latched_them(
    made: Callable[[], tuple[Model, dict[str, Any]]], tmp_path: Path
) -> None:
    model, raws = made()
    rig = Rig(model)
    payload = rig.nominal.replace(**raws)
    events = rig.validation.vectors(payload).events
    codes = [Emulator(model).codes(events, each) for each in (payload, rig.nominal)]
    assert (codes[0] != codes[1]).mean() > 0.3
    board = RemoteBoard(UhalBoard, rig.uri, rig.table, deadline=10)
    try:
        with Ledger(tmp_path / "ledger.db") as ledger:
            ledger.add_payload(STREAM, payload, "test")
            transaction = Transaction({"gt": board}, ledger, STREAM, payload, rig.validation, frozen=lambda: False)
            transaction.stage()
            rig.begin_ls(transaction.arm().ls - rig.registers.ls)
            assert transaction.confirm().outcome is Outcome.LATCHED
            assert board.read_bank(STREAM, "active").tolist() == payload.words.tolist()
            assert "play done" in steps_of(ledger, 1)
    finally:
        board.close()
        rig.close()


def test_a_rollback_is_the_old_payload_under_the_next_generation(rig: Rig, ledger: Ledger, begin: Begin) -> None:
    for payload in (rig.payload, rig.nominal):
        transaction = begin(payload)
        transaction.stage()
        rig.begin_ls(transaction.arm().ls - rig.registers.ls)
        assert transaction.confirm().outcome is Outcome.LATCHED
    assert [(iov.ls, iov.payload_id, iov.generation) for iov in ledger.history(STREAM)] == [
        (12, rig.payload.id, 1),
        (14, rig.nominal.id, 2),
    ]


def test_a_board_of_another_model_is_refused_naming_each_difference(
    rig: Rig, board: RemoteBoard, ledger: Ledger
) -> None:
    other = Payload.nominal(small_model(seed=6), [1, 2])
    ledger.add_payload(STREAM, other, "test")
    transaction = Transaction(
        {"gt": board}, ledger, STREAM, other, validation(small_model(seed=6)), frozen=lambda: False
    )
    with pytest.raises(IdentityError) as caught:
        transaction.stage()
    assert "axol1tl on gt is not what" in str(caught.value)
    assert f"model_id is '{rig.model.id}', expected '{other.model_id}'" in str(caught.value)
    assert "magic" not in str(caught.value)
    assert "n_words" not in str(caught.value)
    assert "its bank has the same size, so weights, types, rings, names or definition differ" in str(caught.value)
    assert steps_of(ledger, 1) == ["prove done", "identify failed"]
    assert board.state(STREAM).shadow_crc == rig.nominal.crc
    assert check_identity(board, STREAM, rig.model.id, rig.model.layout, "gt").epoch == rig.registers.epoch


@pytest.mark.parametrize("direction", ["write", "read"])
def test_one_flipped_bit_on_the_way_is_found_and_named(
    rig: Rig, begin: Begin, monkeypatch: pytest.MonkeyPatch, direction: str
) -> None:
    latent_offset = rig.model.layout["latent_offset"]
    place = STREAM_SPAN + SHADOW + latent_offset.address + 3
    read, write = rig.registers.read, rig.registers.write

    def flipped(address: int, words: Sequence[int]) -> list[int]:
        return [word ^ ((address + i == place) << 5) for i, word in enumerate(words)]

    if direction == "write":
        monkeypatch.setattr(rig.registers, "write", lambda at, words: write(at, flipped(at, words)))
    else:
        monkeypatch.setattr(rig.registers, "read", lambda at, n: flipped(at, read(at, n)))
    transaction = begin()
    expected = int(rig.payload.words[latent_offset.address + 3])
    text = rf"1 of \d+ words, first latent_offset\[3\] = {expected ^ 32:#010x}, expected {expected:#010x}"
    with pytest.raises(TransactionError, match=text) as caught:
        transaction.stage()
    assert caught.value.step == "stage"
    monkeypatch.undo()
    transaction.stage()
    assert transaction.arm().outcome is Outcome.ARMED


def test_nothing_is_armed_when_the_shadow_bank_changed_since_staging(
    rig: Rig, board: RemoteBoard, ledger: Ledger, begin: Begin
) -> None:
    transaction = begin()
    transaction.stage()
    board.write_shadow(STREAM, rig.nominal.words)
    with pytest.raises(TransactionError, match=r"verify: gt: the shadow CRC is .*: stage again"):
        transaction.arm()
    assert not board.state(STREAM).armed
    assert "arm begun" not in steps_of(ledger, 1)


def test_a_preview_of_anything_but_the_payload_is_refused(rig: Rig, board: RemoteBoard, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.preview_start(prescale=1)
    board.write_shadow(STREAM, rig.nominal.words)
    with pytest.raises(TransactionError, match="preview: gt: the shadow CRC is"):
        transaction.preview_read()


@pytest.mark.parametrize("step", ["stage", "preview_start", "arm"])
def test_a_frozen_stream_is_never_written(rig: Rig, board: RemoteBoard, begin: Begin, step: str) -> None:
    frozen = False
    transaction = begin(frozen=lambda: frozen)
    if step != "stage":
        transaction.stage()
    frozen = True
    written: list[int] = []
    rig.before_write = written.append
    with pytest.raises(TransactionError, match="axol1tl is frozen"):
        transaction.preview_start(1) if step == "preview_start" else getattr(transaction, step)()
    assert written == []


def test_arming_twice_changes_nothing_and_says_so(rig: Rig, ledger: Ledger, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    assert transaction.arm(margin_ls=5).ls == 15
    written: list[int] = []
    rig.before_write = written.append
    rig.begin_ls()
    again = transaction.arm()
    assert (again.outcome, again.ls) == (Outcome.ARMED, 15)
    rig.begin_ls(4)
    again = transaction.arm()
    assert (again.outcome, again.ls) == (Outcome.LATCHED, 15)
    assert written == []
    assert steps_of(ledger, 1).count("arm begun") == 1


def test_an_arm_that_comes_too_late_is_explained_and_can_be_repeated(rig: Rig, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    rig.before_write = lambda address: rig.begin_ls(3) if address == ARM_COMMAND else None
    with pytest.raises(TransactionError, match="arm: gt: refused as late: LS 12 is not after the board's LS 13"):
        transaction.arm()
    rig.before_write = lambda address: None
    assert transaction.arm().ls == 15


def test_a_generation_that_is_not_above_the_active_one_is_refused(rig: Rig, board: RemoteBoard, begin: Begin) -> None:
    board.arm(STREAM, 9, 11, rig.nominal.crc)
    rig.begin_ls()
    with pytest.raises(TransactionError, match="generation 9 is not above 9, the active one"):
        begin(generation=9).stage()
    begin(generation=10).stage()


def test_another_hand_on_the_board_while_arming_is_a_refusal_by_generation(rig: Rig, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    rig.before_write = lambda address: setattr(rig.bank, "generation", 4)
    with pytest.raises(TransactionError, match="arm: gt: refused, generation 1 is not above the active 4"):
        transaction.arm()


def test_staging_takes_back_what_is_armed(rig: Rig, board: RemoteBoard, begin: Begin) -> None:
    board.arm(STREAM, 5, 13, rig.nominal.crc)
    written: list[int] = []
    rig.before_write = written.append
    begin(generation=6).stage()
    assert written[0] == ARM_COMMAND
    rig.begin_ls(5)
    assert board.state(STREAM).generation == 0


def test_an_aborted_transaction_leaves_the_active_bank_as_it_was(
    rig: Rig, board: RemoteBoard, ledger: Ledger, begin: Begin
) -> None:
    transaction = begin()
    transaction.stage()
    transaction.preview_start(prescale=1)
    transaction.arm()
    aborted = transaction.abort()
    assert aborted.outcome is Outcome.OLD
    rig.begin_ls(5)
    rig.collide(100, rates=[1, 1])
    assert board.previewed(STREAM)[0] == 0
    state = board.state(STREAM)
    assert (state.generation, state.active_crc, state.arm_status) == (0, rig.nominal.crc, ArmStatus.IDLE)
    assert ledger.history(STREAM) == []
    assert ledger.open_transaction(STREAM) == []


def test_an_abort_that_comes_after_the_swap_says_so_and_records_the_interval(
    rig: Rig, ledger: Ledger, begin: Begin
) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    rig.begin_ls(4)
    assert transaction.abort().outcome is Outcome.LATCHED
    assert [iov.ls for iov in ledger.history(STREAM)] == [12]


def test_an_arm_command_that_arrives_after_the_abort_is_refused(rig: Rig, board: RemoteBoard, begin: Begin) -> None:
    transaction = begin(generation=3)
    transaction.stage()
    transaction.arm()
    transaction.abort()
    late = board.arm(STREAM, 3, 13, rig.payload.crc)
    assert late.arm_status == ArmStatus.REFUSED_CRC
    rig.begin_ls(9)
    assert board.state(STREAM).generation == 0


def test_an_abort_disarms_even_when_the_ledger_cannot_be_written(
    board: RemoteBoard, ledger: Ledger, begin: Begin
) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    ledger.close()
    with pytest.raises(LedgerError):
        transaction.abort()
    assert not board.state(STREAM).armed


def test_an_abort_does_not_touch_a_board_of_another_model(rig: Rig, board: RemoteBoard, ledger: Ledger) -> None:
    other = Payload.nominal(small_model(seed=6), [1, 2])
    ledger.add_payload(STREAM, other, "test")
    board.arm(STREAM, 1, 13, rig.nominal.crc)
    transaction = Transaction(
        {"gt": board}, ledger, STREAM, other, validation(small_model(seed=6)), frozen=lambda: False
    )
    with pytest.raises(IdentityError):
        transaction.stage()
    assert transaction.abort().outcome is Outcome.OLD
    assert board.state(STREAM).armed
    assert ledger.open_transaction(STREAM) == []


@pytest.mark.parametrize("moment", ["identified", "staged", "armed"])
def test_a_board_that_restarts_in_the_middle_has_lost_the_transaction(
    rig: Rig, ledger: Ledger, begin: Begin, moment: str
) -> None:
    transaction = begin()
    transaction.identify()
    if moment != "identified":
        transaction.stage()
    if moment == "armed":
        transaction.arm()
    rig.registers.boot()
    for step in (transaction.stage, transaction.arm):
        with pytest.raises(TransactionError, match="the board restarted: epoch"):
            step()
    lost = transaction.confirm()
    assert lost.outcome is Outcome.LOST
    assert f"epoch {rig.registers.epoch}" in lost.reason
    assert transaction.abort().outcome is Outcome.LOST
    assert ledger.history(STREAM) == []
    assert ledger.open_transaction(STREAM) == []


def test_another_generation_in_our_place_is_lost(rig: Rig, board: RemoteBoard, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    board.write_shadow(STREAM, rig.nominal.words)
    board.arm(STREAM, 8, 12, rig.nominal.crc)
    rig.begin_ls(2)
    standing = transaction.confirm()
    assert standing.outcome is Outcome.LOST
    assert "generation 8" in standing.reason


def test_being_disarmed_by_another_hand_is_the_old_state(rig: Rig, board: RemoteBoard, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    board.disarm(STREAM)
    assert transaction.confirm().outcome is Outcome.OLD


@pytest.mark.parametrize("reads", range(12))
def test_a_swap_in_the_midst_of_reading_the_state_is_never_taken_for_a_loss(rig: Rig, begin: Begin, reads: int) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    rig.begin_ls()
    left = [None] * reads

    def swap_after_some_reads() -> None:
        if left:
            left.pop()
        elif rig.registers.ls == 11:
            rig.begin_ls()

    rig.before_read = swap_after_some_reads
    assert transaction.confirm().outcome in (Outcome.ARMED, Outcome.LATCHED)
    rig.before_read = lambda: None
    rig.begin_ls(2)
    assert transaction.confirm().ls == 12


def test_a_silent_board_fails_the_step_and_the_ledger_says_so(rig: Rig, ledger: Ledger, begin: Begin) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        uri = f"ipbusudp-2.0://127.0.0.1:{silent.getsockname()[1]}"
        board = RemoteBoard(UhalBoard, uri, rig.table, 100, deadline=10)
        with pytest.raises(BoardUnreachable):
            begin(board=board).stage()
        board.close()
    failed = ledger.steps(STREAM, 1)[-1]
    assert (failed.step, failed.status, failed.detail["error"]) == ("identify", "failed", "BoardUnreachable")
    assert "Timeout" in failed.detail["reason"]


def test_an_arm_whose_reply_is_lost_is_found_to_be_armed(rig: Rig, ledger: Ledger, begin: Begin) -> None:
    with Wire(rig.server.address) as wire:
        board = RemoteBoard(UhalBoard, wire.uri, rig.table, 300, deadline=10)
        transaction = begin(board=board)
        transaction.stage()
        rig.before_write = lambda address: setattr(wire, "lose", 1)
        with pytest.raises(BoardUnreachable):
            transaction.arm()
        rig.before_write = lambda address: None
        assert transaction.confirm().outcome is Outcome.ARMED
        assert transaction.arm().ls == 12
        rig.begin_ls(2)
        assert transaction.confirm().outcome is Outcome.LATCHED
        assert steps_of(ledger, 1).count("arm begun") == 1
        board.close()


def test_an_interval_belongs_to_the_run_in_which_it_was_latched(rig: Rig, ledger: Ledger, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    rig.begin_ls(2)
    rig.registers.run = RUN + 1
    rig.registers.begin_ls(1)
    assert transaction.confirm().run == RUN
    assert ledger.at(STREAM, RUN, 12).id == rig.payload.id


def test_steps_out_of_order_and_unknown_payloads_are_refused(rig: Rig, ledger: Ledger, begin: Begin) -> None:
    transaction = begin()
    with pytest.raises(TransactionError, match="verify: nothing is staged: stage first"):
        transaction.arm()
    with pytest.raises(TransactionError, match="preview: nothing is staged: stage first"):
        transaction.preview_start(1)
    with pytest.raises(LedgerError, match="0 payloads of axol1tl"):
        begin(rig.nominal.replace(cuts=[1, 2]))


def test_a_latched_transaction_writes_no_more(rig: Rig, begin: Begin) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    rig.begin_ls(2)
    with pytest.raises(TransactionError, match="nothing left to do"):
        transaction.stage()


Resume = Callable[[], Transaction | None]


@pytest.fixture
def resume(rig: Rig, board: RemoteBoard, ledger: Ledger) -> Resume:
    return lambda: Transaction.resume({"gt": board}, ledger, STREAM, rig.validation, frozen=lambda: False)


def test_a_resumed_transaction_knows_the_run_in_which_it_was_armed(rig: Rig, begin: Begin, resume: Resume) -> None:
    transaction = begin()
    transaction.stage()
    transaction.arm()
    rig.begin_ls(2)
    rig.registers.run = RUN + 1
    rig.registers.begin_ls(1)
    resumed = resume()
    assert resumed is not None
    assert resumed.confirm().run == RUN


def test_a_resumed_transaction_stops_its_preview(rig: Rig, board: RemoteBoard, begin: Begin, resume: Resume) -> None:
    transaction = begin()
    transaction.stage()
    transaction.preview_start(1)
    resumed = resume()
    assert resumed is not None
    resumed.abort()
    rig.collide(100, rates=[1, 1])
    assert board.previewed(STREAM)[0] == 0


def test_a_resumed_transaction_knows_that_the_board_restarted(rig: Rig, begin: Begin, resume: Resume) -> None:
    begin().stage()
    rig.registers.boot()
    resumed = resume()
    assert resumed is not None
    assert resumed.confirm().outcome is Outcome.LOST


class Deadly(Ledger):
    """Kills its process before or after it has recorded one step."""

    def __init__(self, path: Path, when: str, step: str, status: str) -> None:
        super().__init__(path)
        self._when = when
        self._fatal = (step, status)

    def record_steps(self, stream: str, generation: int, payload_id: str, steps: Sequence[StepNote]) -> None:
        fatal = any((step, status) == self._fatal for step, status, _ in steps)
        if fatal and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        super().record_steps(stream, generation, payload_id, steps)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def push(uri: str, table: str, path: Path, payload: Payload, when: str, step: str, status: str) -> None:
    board = UhalBoard(uri, table)
    deadly = Deadly(path, when, step, status)
    transaction = Transaction({"gt": board}, deadly, STREAM, payload, validation(small_model()), frozen=lambda: False)
    transaction.stage()
    transaction.preview_start(1)
    transaction.preview_stop()
    transaction.arm()


STEPS = [(step, status) for step in ("stage", "play", "preview", "arm") for status in ("begun", "done")]
ASKED = ["before arm done", "after arm done"]
"""Where the arm command has gone out."""


@pytest.mark.parametrize("swapped", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize(
    "moment", [f"{when} {step} {status}" for step, status in STEPS for when in ("before", "after")]
)
def test_after_a_kill_the_ledger_and_the_board_tell_what_is_true(
    rig: Rig, board: RemoteBoard, ledger: Ledger, begin: Begin, resume: Resume, moment: str, swapped: bool
) -> None:
    arguments = (rig.uri, rig.table, ledger.path, rig.payload, *moment.split())
    process = multiprocessing.get_context("spawn").Process(target=push, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    if swapped:
        rig.begin_ls(4)
    transaction = resume()
    if moment == "before stage begun":
        assert transaction is None
        assert board.state(STREAM).shadow_crc == rig.nominal.crc
        transaction = begin()
    assert transaction is not None
    assert transaction.payload.id == rig.payload.id
    standing = transaction.confirm()
    if moment in ASKED:
        assert standing.outcome is (Outcome.LATCHED if swapped else Outcome.ARMED)
        rig.begin_ls(2)
        assert transaction.confirm().outcome is Outcome.LATCHED
        assert [(iov.run, iov.ls) for iov in ledger.history(STREAM)] == [(RUN, 12)]
    else:
        assert standing.outcome is Outcome.OLD
        assert rig.bank.active.id == rig.nominal.id
        assert transaction.abort().outcome is Outcome.OLD
        rig.collide(100, rates=[1, 1])
        assert board.previewed(STREAM)[0] == 0
        assert ledger.history(STREAM) == []
        assert ledger.next_generation(STREAM, 0) == 2
        again = begin()
        again.stage()
        rig.begin_ls(again.arm().ls - rig.registers.ls)
        assert again.confirm().outcome is Outcome.LATCHED
    assert board.read_bank(STREAM, "active").tolist() == rig.payload.words.tolist()
    assert resume() is None


@pytest.mark.parametrize("step", ["stage", "play", "stage again"])
def test_a_resumed_transaction_arms_nothing_that_was_not_played(
    rig: Rig, ledger: Ledger, begin: Begin, resume: Resume, step: str
) -> None:
    transaction = begin()
    transaction.prove()
    transaction.write()
    if step != "stage":
        transaction.play()
    if step == "stage again":
        transaction.write()
    resumed = resume()
    assert resumed is not None
    if step == "play":
        assert resumed.arm().outcome is Outcome.ARMED
        return
    with pytest.raises(TransactionError, match="have not played the golden vectors"):
        resumed.arm()
    resumed.stage()
    assert resumed.arm().outcome is Outcome.ARMED
