"""Counting: every crossing of the mask once, windows that never mix, and nothing silently gone."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from firmware.wire import CROSSINGS, Batch, EventHeader, Header
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.expected import Expected
from monitor.stats.count.reference import Reference
from monitor.watch.accounting import Accounting
from monitor.watch.report import Expectation, LsReport
from monitor.watch.settings import IngestSettings
from monitor.watch.stream import RUNS_KEPT, StreamMonitor

BITS = 12
MASK = np.zeros(CROSSINGS, np.bool_)
MASK[100:2100] = True


@pytest.fixture(scope="module")
def reference() -> Reference:
    codes = np.random.default_rng(1).geometric(0.02, 200_000).clip(max=4000)
    return reference_of_sample([(codes, None, None)], cuts=[150, 300], bits=BITS)


class Fed:
    """A monitor, what it closed, what it sampled, and a sender with a sequence of its own."""

    def __init__(self, reference: Reference, **ingest: int) -> None:
        self.closed: list[LsReport] = []
        self.sampled: list[Batch] = []
        self.monitor = StreamMonitor(
            "axol1tl", reference, [150, 300], {}, IngestSettings(**ingest), self.closed.append, self.sampled.append
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


def test_a_mask_in_which_nothing_collides_leaves_nothing_to_count(fed: Callable[..., Fed]) -> None:
    stream = fed()
    header = stream.header("begin", 1, filled=0, ls_orbits=1)
    stream.monitor.add(Batch(header, np.empty(0), mask=np.zeros(CROSSINGS, np.bool_)))
    stream.send(1, np.zeros(CROSSINGS), bx_class="all")
    stream.send(2, [1])
    assert stream.monitor.skipped == {"no_collisions": 1}
    assert stream.closed == []


class Seen:
    """A detector that keeps what it is shown."""

    statistic = 0.0
    drift_detected = False

    def __init__(self) -> None:
        self.blocks: list[tuple[npt.NDArray[np.int64], Expected]] = []
        self.phis: list[float] = []

    def update(self, counts: npt.NDArray[np.int64], expected: Expected, phi: float) -> None:
        self.blocks.append((counts, expected))
        self.phis.append(phi)

    def reset(self) -> None:
        pass


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 60))
def test_the_detectors_see_every_score_once_in_blocks(reference: Reference, sizes: list[int], block: int) -> None:
    stream, seen = Fed(reference, block_scores=block), Seen()
    stream.monitor.detectors = {"seen": seen}
    for size in sizes:
        stream.send(1, np.arange(size))
    stream.monitor.add(Batch(stream.header("end", 1, totals={}), np.empty(0)))
    (report,) = stream.closed
    np.testing.assert_array_equal(np.sum([counts for counts, _ in seen.blocks], axis=0), report.window.counts)
    assert report.n == sum(sizes)
    assert all(block <= counts.sum() < block + 40 for counts, _ in seen.blocks[:-1])


@pytest.fixture(scope="module")
def sliced() -> Reference:
    codes = np.random.default_rng(1).geometric(0.02, 100_000).clip(max=4000)
    chunks = [(codes + shift, None, pileup) for shift, pileup in ((0, 20.0), (5, 40.0))]
    return reference_of_sample(chunks, cuts=[150, 300], bits=BITS, pileup_edges=[0, 30, 60])


def test_pile_up_slices_are_counted_apart_and_each_against_what_it_should_be(sliced: Reference) -> None:
    stream, seen = Fed(sliced, block_scores=10), Seen()
    stream.monitor.detectors = {"seen": seen}
    for codes, pileup in (([10] * 6, 20.0), ([20] * 7, 40.0), ([10] * 6, 20.0), ([20] * 7, 40.0)):
        stream.send(1, codes, pileup=pileup)
    stream.send(2, [1])
    (report,) = stream.closed
    assert {number: int(part.counts.sum()) for number, part in report.window.slices.items()} == {0: 12, 1: 14}
    assert report.pileup == pytest.approx((12 * 20 + 14 * 40) / 26)
    for (counts, expected), n, pileup in zip(seen.blocks, (12, 14), (20.0, 40.0), strict=True):
        assert counts.sum() == n
        np.testing.assert_array_equal(expected.p, sliced.expected(pileup).p)


def test_what_is_expected_is_the_same_object_while_the_pile_up_stays(sliced: Reference) -> None:
    stream, seen = Fed(sliced, block_scores=100), Seen()
    stream.monitor.detectors = {"seen": seen}
    for size in range(1, 80):
        stream.send(1, [10] * size, pileup=35.1234567)
    assert len({id(expected) for _, expected in seen.blocks}) == 1
    stream.send(1, [10] * 1000, pileup=35.3)
    assert len({id(expected) for _, expected in seen.blocks}) == 2


def test_no_detector_sees_blocks_at_a_pile_up_that_the_reference_does_not_know(sliced: Reference) -> None:
    stream, seen = Fed(sliced, block_scores=10), Seen()
    stream.monitor.detectors = {"seen": seen}
    for pileup in (40.0, 75.0):
        stream.send(1, [10] * 12, pileup=pileup)
    stream.send(2, [1])
    assert len(seen.blocks) == 1
    assert stream.closed[0].n == 24


def test_the_detectors_are_told_how_much_more_than_chance_the_blocks_vary(reference: Reference) -> None:
    """Every score four times: the blocks vary four times as much as independent scores."""
    stream, seen = Fed(reference, block_scores=400), Seen()
    stream.monitor.detectors = {"seen": seen}
    random = np.random.default_rng(2)
    for _ in range(600):
        stream.send(1, np.repeat(random.geometric(0.02, 100).clip(max=4000), 4))
    assert seen.phis[0] == 1
    assert seen.phis[-1] == pytest.approx(4, rel=0.25)


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


def test_what_is_skipped_is_told_once_per_cause_and_source(fed: Callable[..., Fed]) -> None:
    stream = fed()
    with capture_logs() as said:
        for source in ("a", "b", "a", "b"):
            stream.send(1, [1 << BITS], source=source)
    assert stream.monitor.skipped == {"score_range": 4}
    assert [(entry["cause"], entry["source"]) for entry in said] == [("score_range", "a"), ("score_range", "b")]


def test_messages_of_older_runs_are_accounted_for_too(fed: Callable[..., Fed]) -> None:
    stream = fed()
    for run in range(50, 0, -1):
        stream.send(1, [10], run=run)
        stream.send(1, [10], run=run, seq=5)
    totals = stream.monitor.totals()["a"]
    assert (totals.received, totals.lost) == (100, 4 * 50)
    assert stream.monitor.scores == 2
    assert stream.monitor.skipped == {"stale": 98}
    assert len(stream.monitor._sources) <= RUNS_KEPT


def test_memory_is_flat_under_many_runs_sources_and_generations(reference: Reference) -> None:
    stream = Fed(reference)
    stream.monitor._close = lambda report: None
    random = np.random.default_rng(1)

    def flood() -> None:
        for _ in range(1500):
            run, ls, epoch, generation, source = random.integers(1, 1000, 5).tolist()
            where: dict[str, Any] = {"run": run, "epoch": epoch, "generation": generation, "source": f"s{source}"}
            stream.send(ls, [10], seq=0, **where)
            stream.send(1, [10], seq=1, **where | {"run": 1000})

    tracemalloc.start()
    flood()
    before, _ = tracemalloc.get_traced_memory()
    flood()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 400_000
    assert peak < 6_000_000


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
