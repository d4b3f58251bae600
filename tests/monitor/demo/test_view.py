"""What the demo shows while it goes on."""

from rich.console import Console

from monitor.demo import view


def test_registers_are_told_by_field_with_the_range_of_their_values() -> None:
    changed = [{"field": "input_scale", "new_value": 1.05}, {"field": "input_scale", "new_value": 1.1}]
    told = view.changed_registers([*changed, {"field": "cuts", "new_value": 150.0}])
    assert told == "input_scale: 2 at 1.050…1.100, cuts: 1 at 150.000…150.000"
    assert view.changed_registers([]) == ""


def test_a_stream_without_a_verdict_is_only_named() -> None:
    console = Console(record=True, width=100)
    console.print(view.current("warming up", {"last": {}}))
    assert console.export_text().strip() == "driftd demo: warming up"
