"""How it is written which knob was turned."""

import pytest

from recalib.errors import SettingsError
from recalib.knobs.names import DEFAULT_KNOBS, KNOBS, KnobName, Turned

WRITTEN = {
    Turned(): "none",
    Turned(KnobName.THRESHOLD): "threshold",
    Turned(KnobName.INPUT_SCALE): "input_scale",
    Turned(KnobName.INPUT_SCALE, with_cuts=True): "input_scale+threshold",
}


@pytest.mark.parametrize(("turned", "text"), WRITTEN.items(), ids=str)
def test_what_was_turned_is_written_and_read_back(turned: Turned, text: str) -> None:
    assert str(turned) == text
    assert Turned.parse(text) == turned


@pytest.mark.parametrize("text", ["voodoo", "", "+threshold", "input_scale+lut"])
def test_what_names_no_knob_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="names no knob: expected one of threshold"):
        Turned.parse(text)


def test_cuts_are_moved_by_themselves_or_after_a_knob() -> None:
    assert Turned(KnobName.THRESHOLD).moves_cuts
    assert Turned(KnobName.WEIGHTS, with_cuts=True).moves_cuts
    assert not Turned(KnobName.WEIGHTS).moves_cuts
    assert Turned(KnobName.WEIGHTS, with_cuts=True).alone == Turned(KnobName.WEIGHTS)


def test_what_a_stream_may_turn_at_first_is_among_the_knobs() -> None:
    assert set(DEFAULT_KNOBS) < set(KNOBS)
