"""What the demo shows while it goes on."""

import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from monitor.demo import demo, view
from monitor.demo.marks import Marks


def test_registers_are_told_by_field_with_the_range_of_their_values() -> None:
    changed = [{"field": "input_scale", "new_value": 1.05}, {"field": "input_scale", "new_value": 1.1}]
    told = view.changed_registers([*changed, {"field": "cuts", "new_value": 150.0}])
    assert told == "input_scale: 2 at 1.050…1.100, cuts: 1 at 150.000…150.000"
    assert view.changed_registers([]) == ""


def test_a_stream_without_a_verdict_is_only_named() -> None:
    console = Console(record=True, width=100)
    console.print(view.current("warming up", {"last": {}}))
    assert console.export_text().strip() == "driftd demo: warming up"


def test_without_matplotlib_there_is_no_plot_and_a_line_that_says_what_draws_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    console, reference = Console(record=True, width=100), Any
    assert demo._drawn(console, tmp_path / "demo.png", reference, [], Marks()) is None  # type: ignore[arg-type]
    assert console.export_text() == "no plot: matplotlib is not installed: pip install 'driftd[plots]'\n"
