"""Drivers and transactions, as for the emulated board, with the hardware in Verilator behind the bus."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from firmware.board.register_map import SHADOW
from firmware.datapath.emulator import Emulator
from firmware.model.payload import Payload
from firmware.sim.rtl_bank import RtlBank
from tests.firmware.board.test_uhal import (
    test_a_preview_starts_from_zero_and_counts_its_share_until_it_is_stopped,
    test_a_register_that_the_board_refuses_is_an_error_and_no_silence,
    test_disarming_disarms,
    test_identity_is_what_the_registers_say,
    test_the_state_is_what_the_registers_say,
)
from tests.firmware.push.test_transaction import (
    begin,
    ledger,
    test_a_generation_that_is_not_above_the_active_one_is_refused,
    test_a_payload_becomes_active_at_its_target_and_the_ledger_knows_every_step,
    test_a_preview_of_anything_but_the_payload_is_refused,
    test_a_rollback_is_the_old_payload_under_the_next_generation,
    test_an_abort_that_comes_after_the_swap_says_so_and_records_the_interval,
    test_an_aborted_transaction_leaves_the_active_bank_as_it_was,
    test_an_arm_that_comes_too_late_is_explained_and_can_be_repeated,
    test_arming_twice_changes_nothing_and_says_so,
    test_nothing_is_armed_when_the_shadow_bank_changed_since_staging,
    test_one_flipped_bit_on_the_way_is_found_and_named,
    test_staging_takes_back_what_is_armed,
)
from tests.support.rig import Bench, Rig, reached, tiny_model

__all__ = [
    "begin",
    "ledger",
    "test_a_generation_that_is_not_above_the_active_one_is_refused",
    "test_a_payload_becomes_active_at_its_target_and_the_ledger_knows_every_step",
    "test_a_preview_of_anything_but_the_payload_is_refused",
    "test_a_preview_starts_from_zero_and_counts_its_share_until_it_is_stopped",
    "test_a_register_that_the_board_refuses_is_an_error_and_no_silence",
    "test_a_rollback_is_the_old_payload_under_the_next_generation",
    "test_an_abort_that_comes_after_the_swap_says_so_and_records_the_interval",
    "test_an_aborted_transaction_leaves_the_active_bank_as_it_was",
    "test_an_arm_that_comes_too_late_is_explained_and_can_be_repeated",
    "test_arming_twice_changes_nothing_and_says_so",
    "test_disarming_disarms",
    "test_identity_is_what_the_registers_say",
    "test_nothing_is_armed_when_the_shadow_bank_changed_since_staging",
    "test_one_flipped_bit_on_the_way_is_found_and_named",
    "test_staging_takes_back_what_is_armed",
    "test_the_state_is_what_the_registers_say",
]

PRESCALE = 0x18


class RtlRig(Rig):
    """The board with its registers in SystemVerilog, which is as new after a reset."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        super().__init__(tiny_model())

    @cached_property
    def _hardware(self) -> RtlBank:
        return RtlBank(self.model, self.nominal, self._cache)

    def new_bank(self) -> RtlBank:
        self._hardware.boot()
        return self._hardware

    def collide(self, n: int, rates: Sequence[float]) -> None:
        """n colliding crossings, of which those previewed are accepted by the shadow bank in these shares."""
        layout = self.model.layout
        words = np.array(self.bank.read(SHADOW, layout.n_words), np.uint32)
        low, high = self.model.limits
        random = np.random.default_rng(2)
        pool = random.integers(low, high + 1, (5000, self.model.n_features)) * random.random((5000, 1)) ** 4
        pool = pool.astype(np.int64)
        accepts = Emulator(self.model).run(pool, Payload.from_registers(layout, self.model.id, words)).accepts
        tried = np.arange(n)[:: self.bank.read(PRESCALE, 1)[0] or n]
        wanted = np.arange(tried.size)[:, None] < np.rint(np.multiply(rates, tried.size))
        events = np.zeros((n + 1, self.model.n_features), np.int64)
        events[tried] = pool[[np.flatnonzero((accepts == pattern).all(axis=1))[0] for pattern in wanted]]
        self.bank.decide(events, self.registers.lock)


@pytest.fixture(scope="module")
def bench(rtl_cache: Path) -> Iterator[Bench]:
    with reached(RtlRig(rtl_cache)) as found:
        yield found
