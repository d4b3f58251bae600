from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from firmware.datapath.emulator import Emulator
from firmware.datapath.packing import Packing, answer_raws, mismatches
from firmware.datapath.patterns import EMPV2, FORMATS, MP7, Format, Frame, Pattern, parse, text
from firmware.errors import PatternError
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.payload import Payload

Drawn = Callable[[Model, int, int], np.ndarray]


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
def test_events_that_are_packed_and_played_come_back(format: Format, model: Model, random_events: Drawn) -> None:
    """Negative numbers and the ends of every range among them; all of a format's links and crossings are used."""
    packing = Packing.of_events(model, format, first_link=8)
    events = random_events(model, format.crossings, 31)
    events[:2] = model.limits
    written = text(packing.pattern(events, "board"), format)
    found, pattern = parse(written)
    assert found is format
    np.testing.assert_array_equal(packing.raws(pattern), events)
    assert len(pattern.links) == -(-packing.n_words // format.frames)
    assert len(next(iter(pattern.links.values()))) <= 1024


def test_no_field_is_divided_between_words_and_none_overlap(model: Model) -> None:
    for format in FORMATS.values():
        places = Packing.of_events(model, format).places
        bits = [(p.word, bit) for p in places for bit in range(p.low, p.low + p.type.width)]
        assert len(set(bits)) == len(bits)
        assert max(bit for _, bit in bits) < format.word_bits
    first = Packing.of_events(model, EMPV2).places[:6]
    assert [(p.name, p.word, p.low) for p in first] == [
        ("met_pt", 0, 0),
        ("met_eta", 0, 12),
        ("met_phi", 0, 21),
        ("eg0_pt", 0, 31),
        ("eg0_eta", 0, 40),
        ("eg0_phi", 0, 49),
    ]


def test_an_event_is_a_packet_at_the_start_of_its_crossing(model: Model, random_events: Drawn) -> None:
    packing = Packing.of_events(model, EMPV2)
    link = packing.pattern(random_events(model, 2, 1), "b").links[0]
    marks = [(f.start_of_orbit, f.start, f.end, f.valid) for f in link]
    assert marks[0] == (True, True, False, True)
    assert marks[9] == (False, True, False, True)
    assert marks[8] == (False, False, True, True)
    assert len(marks) == 18
    tail = [f.valid for f in packing.pattern(random_events(model, 2, 1), "b").links[1]]
    assert tail == [True] * (packing.n_words - 9) + [False] * (18 - packing.n_words) + tail[9:]


def test_answers_are_read_back_from_any_frame_on(model: Model, nominal: Payload, random_events: Drawn) -> None:
    """A capture begins some frames before the first answer."""
    words = Emulator(model).run(random_events(model, 50, 2), nominal)
    packing = Packing.of_answers(model, EMPV2, first_link=4)
    pattern = packing.pattern(answer_raws(words), "b")
    late = Pattern("b", {link: (Frame(),) * 37 + frames for link, frames in pattern.links.items()})
    found = packing.raws(late)
    np.testing.assert_array_equal(found[:, 0], words.codes)
    np.testing.assert_array_equal(found[:, 1:], words.accepts)


def test_a_wrong_answer_is_named_by_event_and_field() -> None:
    expected = np.array([[5, 0], [6, 1], [7, 1]])
    captured = expected.copy()
    captured[1] = 9, 0
    assert [*mismatches(captured, expected, ["code", "accept0"])] == [
        "event 1: code is 9, expected 6",
        "event 1: accept0 is 0, expected 1",
    ]


def test_a_capture_that_is_no_row_of_whole_events_is_refused(model: Model, random_events: Drawn) -> None:
    packing = Packing.of_events(model, EMPV2)
    good = packing.pattern(random_events(model, 3, 3), "b")

    def with_link(link: int, frames: tuple[Frame, ...]) -> Pattern:
        return Pattern("b", {**good.links, link: frames})

    lost = tuple(replace(f, valid=False) if i == 4 else f for i, f in enumerate(good.links[0]))
    with pytest.raises(PatternError, match="link 0 has 26 valid words, expected 9 an event"):
        packing.raws(with_link(0, lost))
    moved = tuple(replace(f, start=i == 10) if i in (9, 10) else f for i, f in enumerate(good.links[0]))
    with pytest.raises(PatternError, match="link 0, frame 9: start 0, end 0, expected 1, 0: an event is a packet"):
        packing.raws(with_link(0, moved))
    fewer = tuple(replace(f, valid=False) if i >= 18 else f for i, f in enumerate(good.links[1]))
    with pytest.raises(PatternError, match=r"links hold different numbers of events: \{0: 3, 1: 2\}"):
        packing.raws(with_link(1, fewer))
    with pytest.raises(PatternError, match="no link 1: there are 0"):
        packing.raws(Pattern("b", {0: good.links[0]}))


def test_a_field_wider_than_a_word_is_refused() -> None:
    with pytest.raises(PatternError, match="x has 33 bits, but a word of MP7 has 32"):
        Packing.build(MP7, 0, [("x", Fixed(33, 33))])
