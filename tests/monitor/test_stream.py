"""Counting: every crossing of the mask once, windows that never mix, and nothing silently gone."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.wire import CROSSINGS, Batch, EventHeader, Header
from monitor.daemon.config import Ingest
from monitor.daemon.stream import Accounting, Expectation, LsReport, StreamMonitor
from monitor.stats.reference import Reference

BITS = 12
MASK = np.zeros(CROSSINGS, np.bool_)
MASK[100:2100] = True


@pytest.fixture(scope="module")
def reference() -> Reference:
    codes = np.random.default_rng(1).geometric(0.02, 200_000).clip(max=4000)
    return Reference.build([(codes, None, None)], cuts=[150, 300], bits=BITS)


class Fed:
    """A monitor, what it closed, what it sampled, and a sender with a sequence of its own."""

    def __init__(self, reference: Reference, **ingest: int) -> None:
        self.closed: list[LsReport] = []
        self.sampled: list[Batch] = []
        self.monitor = StreamMonitor(
            "axol1tl", reference, [150, 300], {}, Ingest(**ingest), self.closed.append, self.sampled.append
        )
        self.seq: dict[tuple[str, int], int] = {}

    def header(self, kind: str, ls: int, source: str = "a", run: int = 1, **own: object) -> Header:
        seq = self.seq.get((source, run), 0)
        self.seq[source, run] = seq + 1
        given: dict[str, object] = {
            "kind": kind, "stream": "axol1tl", "source": source, "seq": seq, "run": run, "ls": ls, "orbit": 0,
            "n": 0, "dtype": "u2", "epoch": 1, "generation": 0, "t_ns": 0,
        }  # fmt: skip
        return Header(**given | own)  # type: ignore[arg-type]

    def begin(self, ls: int, **own: object) -> None:
        header = self.header("begin", ls, filled=int(MASK.sum()), ls_orbits=1, **own)  # type: ignore[arg-type]
        self.monitor.add(Batch(header, np.empty(0), mask=MASK))

    def send(self, ls: int, codes: npt.ArrayLike, **own: object) -> None:
        array = np.asarray(codes, dtype=np.uint16)
        given: dict[str, object] = {"n": len(array), "bx_class": "colliding"}
        self.monitor.add(Batch(self.header("batch", ls, **given | own), array))  # type: ignore[arg-type]


@pytest.fixture
def fed(reference: Reference) -> Callable[..., Fed]:
    return lambda **ingest: Fed(reference, **ingest)


def test_only_crossings_of_the_bunch_mask_count(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.begin(1)
    codes = np.where(np.tile(MASK, 2), 200, 4000)
    stream.send(1, codes, bx_class="all")
    stream.send(2, [1])
    report = stream.closed[0]
    assert report.n == 2 * MASK.sum()
    assert report.above.tolist() == [2 * MASK.sum(), 0]


def test_scores_of_all_crossings_wait_for_a_mask_and_are_counted_as_skipped(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.send(1, np.zeros(CROSSINGS), bx_class="all")
    stream.send(2, [1])
    assert stream.monitor.skipped == {"no_mask": 1}
    assert stream.closed == []


def test_sampled_events_outside_of_the_mask_are_left_out(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.begin(1)
    header = stream.header("batch", 1, n=CROSSINGS, bx_class="all", events=EventHeader(3, 2))
    events = np.array([[1, 1], [2, 2], [3, 3]], np.int16)
    index = np.array([0, 150, 3000], np.uint32)
    stream.monitor.add(Batch(header, np.zeros(CROSSINGS, np.uint16), events, index, np.full(3, 0.5, np.float32)))
    assert stream.sampled[0].events is not None
    assert stream.sampled[0].events.tolist() == [[2, 2]]


def test_generations_have_windows_of_their_own(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.send(1, [10] * 5)
    stream.send(1, [10] * 7, generation=1)
    stream.send(2, [10])
    assert [(report.key.generation, report.n) for report in stream.closed] == [(0, 5), (1, 7)]


def test_the_cuts_of_a_generation_are_those_of_its_payload(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.monitor.expect(1, 1, Expectation((25, 26)))
    stream.send(1, [25] * 4)
    stream.send(2, [25] * 4, generation=1)
    stream.send(3, [25])
    assert [report.above.tolist() for report in stream.closed] == [[0, 0], [4, 0]]


def test_a_lumi_section_closes_when_every_source_has_moved_on(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.send(1, [10], source="a")
    stream.send(1, [10], source="b")
    stream.send(2, [10], source="a")
    assert stream.closed == []
    stream.send(1, [10], source="b")
    stream.send(2, [10], source="b")
    assert [report.n for report in stream.closed] == [3]


def test_a_silent_source_holds_nobody_up_for_more_than_a_lumi_section(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.send(1, [10], source="a")
    stream.send(1, [10], source="b")
    stream.send(2, [10], source="a")
    stream.send(3, [10], source="a")
    assert [report.key.ls for report in stream.closed] == [1]


def test_late_batches_are_counted_as_late_and_stale_ones_as_skipped(fed: Callable[..., Fed]) -> None:
    stream = fed(late_ls=2)
    for ls in (1, 2, 3):
        stream.send(ls, [10])
    stream.send(1, [10])
    stream.send(2, [10])
    assert stream.monitor.totals()["a"].late == 2
    stream.send(5, [10])
    stream.send(1, [10])
    assert stream.monitor.skipped == {"stale": 1}


def test_a_new_run_begins_anew_at_lumi_section_1(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.send(500, [10] * 3)
    stream.send(1, [10] * 4, run=2)
    stream.send(2, [10], run=2)
    assert [(report.key.run, report.key.ls, report.n) for report in stream.closed] == [(1, 500, 3), (2, 1, 4)]


def test_duplicates_are_counted_once(fed: Callable[..., Fed]) -> None:
    stream = fed()
    stream.send(1, [10] * 3, seq=0)
    stream.send(1, [10] * 3, seq=0)
    stream.send(2, [10], seq=1)
    assert stream.closed[0].n == 3
    assert stream.monitor.totals()["a"].duplicates == 1


def test_scores_beyond_the_bits_of_the_model_are_never_counted_into_a_histogram(
    fed: Callable[..., Fed],
) -> None:
    stream = fed()
    stream.send(1, [10, 1 << BITS])
    stream.send(1, [10])
    stream.send(2, [10])
    assert stream.monitor.skipped == {"score_range": 1}
    assert stream.closed[0].n == 1


def test_float_scores_are_counted_as_codes(reference: Reference) -> None:
    stream = Fed(reference)
    header = stream.header("batch", 1, n=2, dtype="f4", bx_class="colliding")
    stream.monitor.add(Batch(header, np.array([200.0, 10.0], np.float32)))
    stream.send(2, [1])
    assert stream.closed[0].above.tolist() == [1, 0]


def test_a_flood_of_sources_does_not_grow_the_daemon(fed: Callable[..., Fed]) -> None:
    stream = fed()
    for number in range(1000):
        stream.send(1, [10], source=f"s{number}")
    assert len(stream.monitor.totals()) <= 256
    assert stream.monitor.skipped["too_many_sources"] == 1000 - 256


@given(st.permutations(range(30)), st.sets(st.integers(0, 29)))
def test_every_message_is_received_lost_or_a_duplicate(order: list[int], dropped: set[int]) -> None:
    """Sent in any order and with any losses, the books balance."""
    account = Accounting()
    arrived = [seq for seq in order if seq not in dropped]
    accepted = sum(account.accept(seq) for seq in arrived)
    assert accepted == account.received
    assert account.received + account.duplicates == len(arrived)
    if arrived:
        first = arrived[0]
        before = sum(seq < first for seq in arrived)
        assert account.duplicates == before
        assert account.received + account.lost == max(arrived) + 1 - first
