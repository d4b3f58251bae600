from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.datapath.patterns import EMPV1, EMPV2, FORMATS, MP7, Format, Frame, Pattern, parse, read, text
from firmware.errors import PatternError
from firmware.model.model import Model

Drawn = Callable[[Model, int, int], np.ndarray]


@st.composite
def patterns(draw: st.DrawFn, format: Format) -> Pattern:
    """Any pattern that the format can hold."""
    frames = st.builds(
        Frame,
        data=st.integers(0, (1 << format.word_bits) - 1),
        valid=st.booleans(),
        strobe=st.booleans(),
        **{name: st.booleans() if format.packets else st.just(False) for name in ("start_of_orbit", "start", "end")},
    )
    length = draw(st.integers(1, 12))
    column = st.lists(frames, min_size=length, max_size=length).map(tuple)
    links = draw(st.dictionaries(st.integers(0, 999), column, min_size=1, max_size=5))
    name = draw(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12))
    return Pattern(name, links)


@given(st.data(), st.sampled_from([*FORMATS.values()]))
def test_what_is_written_is_read_again(data: st.DataObject, format: Format) -> None:
    pattern = data.draw(patterns(format))
    assert parse(text(pattern, format)) == (format, pattern)


EXPECTED = {
    EMPV2: """\
ID: x1
Metadata: (strobe,) start of orbit, start of packet, end of packet, valid

      Link             000                    012
Frame 0000    1101 0123456789abcdef  00101 0000000000000001
Frame 0001    0011 00000000000000ff  10000 0000000000000000
""",
    EMPV1: """\
Board x1
 Quad/Chan :        q00c0                q03c0
      Link :         000                  012
Frame 0000 :  1v0123456789abcdef  0s1v0000000000000001
Frame 0001 :  1v00000000000000ff  1s0v0000000000000000
""",
    MP7: """\
Board x1
 Quad/Chan :    q00c0        q03c0
      Link :     000          012
Frame 0000 :  1v89abcdef  0s1v00000001
Frame 0001 :  1v000000ff  1s0v00000000
""",
}


@pytest.mark.parametrize("format", EXPECTED, ids=lambda format: format.name)
def test_the_formats_look_as_the_boards_software_has_them(format: Format) -> None:
    """Header, four-digit frame numbers, two spaces between columns, a strobe where it is low somewhere on the link."""
    packets = format.packets
    word = 0x0123456789ABCDEF & (1 << format.word_bits) - 1
    plain = Frame(word, True, start_of_orbit=packets, start=packets), Frame(255, True, end=packets)
    strobed = Frame(1, True, start=packets, strobe=False), Frame()
    assert text(Pattern("x1", {0: plain, 12: strobed}), format) == EXPECTED[format]


def test_a_file_of_other_software_is_read_whatever_its_spacing(tmp_path: Path) -> None:
    path = tmp_path / "captured.txt"
    path.write_text(
        "# a comment\nID: x1 \nMetadata: (strobe,) start of orbit, start of packet, end of packet, valid \n \n"
        "      Link              000                    004\n"
        " Frame 0000    1101 00000000000000AB  0000 0000000000000000 \n\n"
    )
    format, pattern = read(path)
    assert format is EMPV2
    assert pattern == Pattern("x1", {0: (Frame(0xAB, True, True, True),), 4: (Frame(),)})
    _, mp7 = parse("Board MP7\nQuad/Chan :    q00c0\nLink :     00\nFrame 0000 : 0v00000000\nFrame 0001 : 1v00000006\n")
    assert mp7.links == {0: (Frame(), Frame(6, True))}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "00000000000000ff",
            "00000000000000fg",
            "in.txt:6: link 0, frame 1: '0011 00000000000000fg', expected such as",
        ),
        ("0011 00", "0211 00", "in.txt:6: link 0, frame 1: '0211 00"),
        ("0000000000000001", "00000001", "in.txt:5: link 12, frame 0: '00101 00000001', expected such as '(s)1101 0"),
        ("Frame 0001", "Frame 0002", "in.txt:6: 'Frame 0002 .*, expected frame 1: 'Frame 0001  '"),
        ("  10000 0000000000000000", "", "in.txt:6: 1 words in frame 1, expected one for each of 2 links"),
        ("   012", "   000", "in.txt:4: links '000 .*000', expected numbers, each once"),
        ("Metadata: (strobe,)", "Metadata:", "in.txt:2: 'Metadata: start of orbit.*expected a line that begins with"),
        ("ID: ", "Id: ", "in.txt:1: 'Id: x1', expected a line that begins with 'ID: ' or 'Board '"),
    ],
)
def test_a_bad_frame_is_named_by_file_line_and_link(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "in.txt"
    assert EXPECTED[EMPV2].count(old) == 1
    path.write_text(EXPECTED[EMPV2].replace(old, new))
    with pytest.raises(PatternError, match=message.replace("(", r"\(").replace(")", r"\)")):
        read(path)


def test_words_of_two_widths_in_one_file_are_refused() -> None:
    mixed = EXPECTED[MP7].replace("1v000000ff", "1v00000000000000ff")
    with pytest.raises(PatternError, match=r"the pattern:5: link 0, frame 1: .*, expected such as '.1s.1v89abcdef'"):
        parse(mixed)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PatternError, match="no pattern file can be read"):
        read(tmp_path / "absent.txt")


def test_frames_that_a_format_cannot_hold_are_refused() -> None:
    with pytest.raises(PatternError, match="link 3, frame 1: 0x100000000 is no word of 32 bits"):
        text(Pattern("b", {3: (Frame(), Frame(1 << 32))}), MP7)
    with pytest.raises(PatternError, match="link 3, frame 0: EMPv1 cannot say where an orbit or packet is"):
        text(Pattern("b", {3: (Frame(start=True),)}), EMPV1)
    with pytest.raises(PatternError, match=r"of \[1, 2\] frames: expected one or more of one length"):
        Pattern("b", {0: (Frame(),), 1: (Frame(), Frame())})
    with pytest.raises(PatternError, match="expected a line of text"):
        Pattern("b\nID: c", {0: (Frame(),)})
