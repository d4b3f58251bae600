"""Pattern files of CMS boards: what the links of a board play or capture, a frame at a time.

Three text formats, as the readers and writers of CMSSW's `L1Trigger/DemonstratorTools` (`src/utilities.cc`) take EMPv1
and EMPv2, and the MP7 software's `BoardData` takes MP7. A file names a board and its links, then holds a line per
frame with a word per link. MP7 and EMPv1 have a word's valid bit, EMPv2 also where an orbit and a packet start and
where a packet ends; a strobe that is low anywhere on a link is written for all of that link.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware.errors import PatternError

METADATA = "Metadata: (strobe,) start of orbit, start of packet, end of packet, valid"
BUFFER_FRAMES = 1024
"""That a link's buffer holds."""


@dataclass(frozen=True)
class Format:
    """`packets` says whether a frame tells of orbits and packets; a crossing has so many `frames`."""

    name: str
    word_bits: int
    packets: bool
    frames: int

    @property
    def digits(self) -> int:
        """Hexadecimal digits of a word."""
        return self.word_bits // 4

    @property
    def crossings(self) -> int:
        """That a buffer holds."""
        return BUFFER_FRAMES // self.frames

    @property
    def token(self) -> str:
        """What a frame looks like, as an error shows it."""
        word = "0123456789abcdef"[-self.digits :]
        return f"(s)1101 {word}" if self.packets else f"(1s)1v{word}"


MP7 = Format("MP7", 32, packets=False, frames=6)
EMPV1 = Format("EMPv1", 64, packets=False, frames=9)
EMPV2 = Format("EMPv2", 64, packets=True, frames=9)
FORMATS = {format.name: format for format in (EMPV2, EMPV1, MP7)}

_MARKED = re.compile(r"([01])?([01])([01])([01])([01]) ([0-9a-fA-F]{16})")
_PLAIN = re.compile(r"(?:([01])s)?([01])v([0-9a-fA-F]{16}|[0-9a-fA-F]{8})")
_FRAME = re.compile(r"Frame (\d+)(?: :|  )(.*)")


@dataclass(frozen=True)
class Frame:
    """One word of a link, and what is said of it; `start` and `end` are those of a packet."""

    data: int = 0
    valid: bool = False
    start_of_orbit: bool = False
    start: bool = False
    end: bool = False
    strobe: bool = True


@dataclass(frozen=True)
class Pattern:
    """The frames of a board's links, of one length.

    Raises:
        PatternError: if there is no link, one has another length, or the name is no line of text.
    """

    name: str
    links: Mapping[int, tuple[Frame, ...]]

    def __post_init__(self) -> None:
        if len(self.name.splitlines()) != 1 or self.name != self.name.strip():
            raise PatternError(f"the name of a board is {self.name!r}, expected a line of text")
        lengths = {len(frames) for frames in self.links.values()}
        if len(lengths) != 1 or min(self.links) < 0:
            raise PatternError(
                f"links {list(self.links)} of {sorted(lengths)} frames: expected one or more of one length"
            )


def text(pattern: Pattern, format: Format) -> str:
    """The pattern as a file holds it.

    Raises:
        PatternError: naming link and frame that the format cannot hold.
    """
    strobed = {link: not all(frame.strobe for frame in frames) for link, frames in pattern.links.items()}
    columns = [[_token(frame, format, strobed[link]) for frame in frames] for link, frames in pattern.links.items()]
    for link, frames in pattern.links.items():
        _check(link, frames, format)
    widths = [max(map(len, column), default=6) for column in columns]
    labels = {"Link": [f"{link:03d}" for link in pattern.links]}
    if format.packets:
        head, colon = [f"ID: {pattern.name}", METADATA, ""], " "
    else:
        head, colon = [f"Board {pattern.name}"], ":"
        labels = {"Quad/Chan": [f"q{link // 4:02d}c{link % 4}" for link in pattern.links], **labels}
    head += [f"{label:>10} {colon}{_row(names, widths)}" for label, names in labels.items()]
    rows = [f"Frame {i:04d} {colon}{_row(tokens, widths)}" for i, tokens in enumerate(zip(*columns, strict=True))]
    return "\n".join([*head, *rows]) + "\n"


def read(path: Path) -> tuple[Format, Pattern]:
    """The pattern in a file of any of the formats.

    Raises:
        PatternError: naming file, line and link, and what was expected there.
    """
    try:
        return parse(path.read_text(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PatternError(f"{path}: no pattern file can be read: {error}") from error


def parse(content: str, source: str = "the pattern") -> tuple[Format, Pattern]:
    """The format and the pattern of a file's content."""
    lines = _Lines(content, source)
    packets = lines.next_is(("ID: ", "Board ")) == "ID: "
    name = lines.rest.strip()
    if packets:
        lines.next_is((METADATA,))
    else:
        lines.next_is(("Quad/Chan :",))
    lines.next_is(("Link  ",) if packets else ("Link :",))
    links = lines.links()
    columns: dict[int, list[Frame]] = {link: [] for link in links}
    digits = 0
    for number, tokens in enumerate(lines.frames(packets)):
        if len(tokens) != len(links):
            raise lines.fault(f"{len(tokens)} words in frame {number}, expected one for each of {len(links)} links")
        for link, token in zip(links, tokens, strict=True):
            match = (_MARKED if packets else _PLAIN).fullmatch(token)
            digits = digits or (len(match[match.re.groups]) if match else 0)
            if match is None or len(match[match.re.groups]) != digits:
                wanted = (EMPV2 if packets else MP7 if digits == MP7.digits else EMPV1).token
                raise lines.fault(f"link {link}, frame {number}: {token!r}, expected such as {wanted!r}")
            columns[link].append(_frame(match))
    format = EMPV2 if packets else MP7 if digits == MP7.digits else EMPV1
    return format, Pattern(name, {link: tuple(frames) for link, frames in columns.items()})


class _Lines:
    """The lines that are neither empty nor comments, and where they stand."""

    def __init__(self, content: str, source: str) -> None:
        self._numbered = [
            (i, line.strip())
            for i, line in enumerate(content.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        self._source = source
        self._at = -1
        self.rest = ""

    def fault(self, what: str) -> PatternError:
        number = self._numbered[min(self._at, len(self._numbered) - 1)][0] if self._numbered else 1
        return PatternError(f"{self._source}:{number}: {what}")

    def next_is(self, beginnings: Sequence[str]) -> str:
        """Go on to a line that begins so; `rest` is what follows there."""
        self._at += 1
        line = self._numbered[self._at][1] if self._at < len(self._numbered) else ""
        for beginning in beginnings:
            if line.startswith(beginning):
                self.rest = line.removeprefix(beginning)
                return beginning
        expected = " or ".join(repr(beginning) for beginning in beginnings)
        raise self.fault(f"{line[:40]!r}, expected a line that begins with {expected}")

    def links(self) -> list[int]:
        names = self.rest.split()
        if not names or not all(name.isdecimal() for name in names) or len({*map(int, names)}) != len(names):
            raise self.fault(f"links {self.rest.strip()!r}, expected numbers, each once")
        return [int(name) for name in names]

    def frames(self, packets: bool) -> Iterator[list[str]]:
        """The words of each line to come."""
        number = 0
        while self._at + 1 < len(self._numbered):
            self._at += 1
            match = _FRAME.fullmatch(self._numbered[self._at][1])
            if match is None or int(match[1]) != number:
                line = self._numbered[self._at][1]
                raise self.fault(
                    f"{line[:40]!r}, expected frame {number}: 'Frame {number:04d}{'  ' if packets else ' :'}'"
                )
            yield re.split(r"\s{2,}" if packets else r"\s+", match[2].strip())
            number += 1


def _frame(match: re.Match[str]) -> Frame:
    strobe, *flags, word = match.groups()
    bits = [flag == "1" for flag in flags]
    marks = dict(zip(("start_of_orbit", "start", "end"), bits[:-1], strict=False))
    return Frame(int(word, 16), bits[-1], strobe=strobe != "0", **marks)


def _token(frame: Frame, format: Format, strobed: bool) -> str:
    word = f"{frame.data:0{format.digits}x}"
    if not format.packets:
        return f"{f'{frame.strobe:d}s' if strobed else ''}{frame.valid:d}v{word}"
    strobe = f"{frame.strobe:d}" if strobed else ""
    return f"{strobe}{frame.start_of_orbit:d}{frame.start:d}{frame.end:d}{frame.valid:d} {word}"


def _check(link: int, frames: Sequence[Frame], format: Format) -> None:
    for number, frame in enumerate(frames):
        if not 0 <= frame.data < 1 << format.word_bits:
            raise PatternError(f"link {link}, frame {number}: {frame.data:#x} is no word of {format.word_bits} bits")
        if not format.packets and (frame.start_of_orbit or frame.start or frame.end):
            raise PatternError(f"link {link}, frame {number}: {format.name} cannot say where an orbit or packet is")


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"  {cell:^{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
