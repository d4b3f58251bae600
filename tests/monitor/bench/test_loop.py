"""The figures of the loop: a fill as it is said to be, true quantiles, controllers as published, fair delays."""

import json
from collections import deque
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import genpareto

from firmware.datapath.emulator import Emulator
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.world.beam import Fill
from firmware.sim.world.detector import NOMINAL, Response, digitise
from firmware.sim.world.drifts import Drift
from firmware.sim.world.events import SIGNALS, Generator
from monitor.bench.arrays import Codes
from monitor.bench.loop import figures as bench_loop
from monitor.bench.loop import fill as bench_fill
from monitor.bench.loop.controllers import DELAY, Cut, Dspot, Fixed, Pd, pareto
from monitor.bench.loop.driftd import Driftd
from monitor.bench.loop.figures import TARGET, Ideal, Seat, Settings, SharedFill, figures, table
from monitor.bench.loop.fill import (
    RATE_CHANGES,
    Chunk,
    Course,
    Datapath,
    Oracle,
    Sample,
    chunks,
    draw_course,
    draw_oracle,
    registers,
)
from monitor.cli.main import main
from monitor.stats.count.reference import Reference
from recalib.arrays import Events
from recalib.training.train import TrainSettings
from tests.support.trained import trained

SMALL = TrainSettings(training_events=60_000, epochs=3, reference_events=200_000, pileup_edges=(20.0, 40.0, 60.0))
NO_EVENTS: Events = np.zeros((0, 57), np.int16)


@pytest.fixture(scope="module")
def path() -> Path:
    return trained(SMALL)


@pytest.fixture(scope="module")
def package(path: Path) -> Package:
    return Package.load(path)


@pytest.fixture(scope="module")
def datapath(package: Package) -> Datapath:
    return Datapath(package)


@pytest.fixture(scope="module")
def pool() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.fixture(scope="module")
def course(datapath: Datapath) -> Course:
    return draw_course(40, TARGET, datapath, seed=5)


@pytest.fixture(scope="module")
def oracle(course: Course, path: Path, pool: Executor) -> Oracle:
    return draw_oracle(course, 25_000, 5, path, pool)


@pytest.fixture(scope="module")
def world(package: Package, path: Path, datapath: Datapath, course: Course, oracle: Oracle) -> SharedFill:
    return SharedFill(package, path, datapath, course, oracle, Cut(1, TARGET), Reference.from_bytes(package.reference))


def decaying(n: int, drifts: tuple[Drift, ...] = (), rates: dict[int, float] | None = None) -> Course:
    return Course(n, Fill(start=56.0, decay=n / np.log(2.5), floor=0.0, since=0), drifts, rates or {})


def exponential(random: np.random.Generator, n: int, scale: float, start: float = 0.0) -> Codes:
    return (start + scale * random.standard_exponential(n)).astype(np.uint32)


def test_a_fill_decays_changes_suddenly_twice_and_ages(course: Course) -> None:
    pileup = course.pileup
    assert 54 <= pileup[0] <= 58
    assert 20.5 <= pileup[-1] <= 24
    assert np.allclose(np.diff(np.log(pileup)), np.log(pileup[1] / pileup[0]))
    assert len(course.rates) == 2
    ageing = [course.response(k).ageing for k in range(course.chunks)]
    assert ageing[0] == 0
    assert 0.1 <= ageing[-1] <= 0.2
    assert sum(step > 0 for step in np.diff(ageing)) == 8
    for chunk in course.rates:
        assert course.response(chunk - 1) != course.response(chunk)


def test_a_sudden_change_moves_the_rate_as_far_as_it_says(course: Course, datapath: Datapath) -> None:
    for chunk, told in course.rates.items():
        assert any(low <= told <= high for low, high in RATE_CHANGES)
        truth = Generator(77).draw(100_000, course.fill.pileup(chunk))
        before, after = (
            datapath.codes(digitise(truth, course.response(k)), datapath.nominal) for k in (chunk - 1, chunk)
        )
        cut = np.quantile(before, 1 - TARGET)
        assert (after >= cut).sum() / (before >= cut).sum() == pytest.approx(told, abs=0.15)


def test_another_seed_is_another_fill(datapath: Datapath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_fill, "DRIFT_SIZING_EVENTS", 10_000)
    one = draw_course(40, TARGET, datapath, seed=5)
    assert draw_course(40, TARGET, datapath, seed=5) == one
    assert draw_course(40, TARGET, datapath, seed=6).drifts != one.drifts


def test_a_change_replaces_an_earlier_one_of_its_kind_and_adds_to_others() -> None:
    drifts = (
        Drift("ageing", 0.1, ramp=4, since=2),
        Drift("jet_energy_scale", 0.02, since=3),
        Drift("jet_energy_scale", -0.03, since=8),
    )
    course = decaying(12, drifts)
    assert course.response(1) == Response()
    assert course.response(3) == Response(jet_energy_scale=0.02, ageing=0.05)
    assert course.response(9) == Response(jet_energy_scale=-0.03, ageing=0.1)


def test_crossings_are_fresh_for_every_chunk_and_the_same_for_the_same_seed(
    path: Path, datapath: Datapath, pool: Executor, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a fill in which nothing happens, so that the same numbers would make the same crossings."""
    monkeypatch.setattr(bench_fill, "DRAWN_TOGETHER", 5000)
    steady = Course(2, Fill(start=50.0, floor=50.0, since=0), (), {})

    def drawn(events: int, seed: int) -> list[Chunk]:
        return list(chunks(steady, events, seed, path, datapath, pool, 1))

    one, two = drawn(10_000, 1)
    assert one.crossings.events.shape == (10_000, 57)
    everything = [*one.crossings.events, *two.crossings.events, *drawn(5000, 1)[0].crossings.events]
    assert len({row.tobytes() for row in everything}) > 0.99 * len(everything)
    assert np.array_equal(drawn(10_000, 1)[1].crossings.events, two.crossings.events)
    assert not np.array_equal(drawn(10_000, 2)[0].crossings.events, one.crossings.events)
    moved = package.nominal.replace_values(input_scale=np.full(57, 1.05))
    for payload in (package.nominal, moved):
        codes = Emulator(package.model).codes(one.crossings.events, payload)
        assert np.array_equal(one.crossings.codes(payload), codes)
    assert set(one.signals) == set(SIGNALS)
    for kind, sample in one.signals.items():
        assert np.array_equal(one.undrifted[kind], sample.codes(package.nominal)), "nothing happens in this fill"


def test_the_header_tells_the_pileup_with_an_error(
    course: Course, path: Path, datapath: Datapath, pool: Executor
) -> None:
    told = np.array([chunk.pileup for chunk in chunks(course, 1000, 1, path, datapath, pool, 1)])
    assert 0.005 < (told / course.pileup - 1).std() < 0.02


def test_events_are_run_again_only_where_their_scores_can_differ(package: Package, datapath: Datapath) -> None:
    sample = Sample(package.golden_events.astype(np.int16), datapath)
    codes = sample.codes(package.nominal)
    assert np.array_equal(codes, package.golden_codes)
    other = package.nominal.replace(cuts=[1, 2])
    assert registers(other) == registers(package.nominal)
    assert sample.codes(other) is codes
    scaled = package.nominal.replace_values(output_scale=0.5)
    assert not np.array_equal(sample.codes(scaled), codes)


def test_the_oracle_is_as_good_as_it_says_on_a_tail_that_is_known() -> None:
    drifts = (
        Drift("ageing", 0.15, ramp=20, since=25),
        Drift("jet_energy_scale", 0.02, since=40),
        Drift("eg_scale", 0.1, since=70),
    )
    course, n = decaying(100, drifts, {40: 1.2, 70: 0.8}), 400_000
    k, u = np.arange(100), np.log(course.pileup / 40)
    ageing = np.array([course.response(chunk).ageing for chunk in range(100)])
    scale = 200 * np.exp(0.3 * u + 0.04 * (k >= 40) - 0.05 * (k >= 70) - 0.5 * ageing)
    codes = np.arange(4001)
    random = np.random.default_rng(3)
    counts = []
    for width in scale:
        above = np.exp(-codes / width)
        counts.append(random.multinomial(n, np.append(-np.diff(above), above[-1])))
    oracle = Oracle(course, np.array(counts), n)
    error = oracle.error(TARGET)
    assert np.sqrt(np.mean(error**2)) < 0.015
    cuts = np.array([oracle.cut(chunk, TARGET) for chunk in range(100)])
    pulls = (np.log(TARGET) + cuts / scale) / np.hypot(error, 0.3 / scale)
    assert 0.5 < np.sqrt(np.mean(pulls**2)) < 1.6
    assert 0.6 < oracle.chi2(TARGET) < 1.5
    assert oracle.tail(0, TARGET) == pytest.approx(scale[0], rel=0.1)
    assert oracle.rate(0, cuts[0]) == pytest.approx(TARGET, rel=0.01)
    assert oracle.rate(60, cuts[0]) == pytest.approx(np.exp(-cuts[0] / scale[60]), rel=0.1)


def test_the_oracle_holds_for_crossings_that_it_has_not_seen(
    course: Course, oracle: Oracle, path: Path, datapath: Datapath, pool: Executor
) -> None:
    accepted, n = 0, 25_000
    for chunk in chunks(course, n, 99, path, datapath, pool, 1):
        accepted += int((chunk.crossings.codes(datapath.nominal) >= oracle.cut(chunk.number, TARGET)).sum())
    assert accepted / (n * course.chunks) == pytest.approx(TARGET, rel=0.1)


def test_a_cut_is_moved_alone(package: Package) -> None:
    moved = Cut(1, TARGET).moved(package.nominal, 1234.4)
    assert registers(moved) == registers(package.nominal)
    assert moved.raw("cuts").tolist() == [package.nominal.raw("cuts")[0], 1234]


def test_the_pd_controller_is_the_published_one(package: Package) -> None:
    """The rate of 1 % is 0.75 above its target; a step of Kp·e, and Kd·e for the first chunk's change."""
    cut = Cut(1, TARGET)
    start = cut.moved(package.nominal, 1000)
    codes = np.repeat(np.array([10, 1000], np.uint32), (99_000, 1000))
    for gains, step in (((15.0, 0.0), 15 * 0.75), ((15.0, 4.0), 19 * 0.75)):
        pd = Pd(start, cut, 10.0, gains)
        pd.see(40.0, NO_EVENTS, codes)
        assert cut.of(pd.payload) == round(1000 + 10 * step)
    pd = Pd(start, cut, 10.0, (15.0, 4.0))
    for _ in range(DELAY):
        pd.see(40.0, NO_EVENTS, codes)
    assert cut.of(pd.payload) == round(1000 + 10 * 34 * 0.75)
    pd.see(40.0, NO_EVENTS, codes)
    assert cut.of(pd.payload) == round(1000 + 10 * (34 * 0.75 - 15 * 0.25 - 4)), "nothing is above what is in force"


def test_the_pd_controller_settles_at_the_target(package: Package) -> None:
    cut, random = Cut(1, TARGET), np.random.default_rng(1)
    pd = Pd(cut.moved(package.nominal, 900), cut, 200 / 58.3, (60.0, 0.0))
    for _ in range(60):
        pd.see(40.0, NO_EVENTS, exponential(random, 50_000, 200))
    assert np.exp(-cut.of(pd.payload) / 200) == pytest.approx(TARGET, rel=0.15)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_the_pareto_fit_finds_what_was_drawn(shape: float) -> None:
    peaks = genpareto.rvs(shape, scale=120.0, size=20_000, random_state=4)
    found, scale = pareto(peaks, np.ones(len(peaks), np.int64))
    assert found == pytest.approx(shape, abs=0.03)
    assert scale == pytest.approx(120.0, rel=0.04)
    whole, counts = np.unique(np.floor(peaks), return_counts=True)
    assert pareto(whole + 0.5, counts) == pytest.approx((found, scale), abs=0.6)
    theirs, _, their_scale = genpareto.fit(peaks, floc=0)
    assert (found, scale / 120) == pytest.approx((theirs, their_scale / 120), abs=5e-3)


def test_dspot_extrapolates_to_the_target_and_follows_the_mean(package: Package) -> None:
    cut, random = Cut(1, TARGET), np.random.default_rng(2)
    dspot = Dspot(package.nominal, cut, window=4, depth=2)

    def rate(start: float) -> float:
        return float(np.exp(-(cut.of(dspot.payload) - start) / 200))

    dspot.see(40.0, NO_EVENTS, exponential(random, 50_000, 200))
    assert rate(0) == pytest.approx(TARGET, rel=0.3)
    for _ in range(5):
        dspot.see(40.0, NO_EVENTS, exponential(random, 50_000, 200))
    assert rate(0) == pytest.approx(TARGET, rel=0.12)
    for _ in range(6):
        dspot.see(40.0, NO_EVENTS, exponential(random, 50_000, 200, start=100))
    assert rate(100) == pytest.approx(TARGET, rel=0.12)
    for _ in range(6):
        dspot.see(40.0, NO_EVENTS, exponential(random, 50_000, 120))
    assert np.exp(-cut.of(dspot.payload) / 120) == pytest.approx(TARGET, rel=0.12), "the window forgets"


class Counting:
    """Wants, after chunk k, a cut of 1000 + k."""

    def __init__(self, payload: Payload) -> None:
        self.payload, self.seen = payload, 0

    def see(self, pileup: float, events: Events, codes: Codes) -> None:
        self.payload = Cut(1, TARGET).moved(self.payload, 1000 + self.seen)
        self.seen += 1


def empty(world: SharedFill, number: int) -> Chunk:
    """Each code from 0 to 4999 once, so that the rate tells the cut; no events."""
    codes = np.arange(5000, dtype=np.uint32)
    key = registers(world.package.nominal)
    sample = Sample(NO_EVENTS, world.datapath, {key: codes})
    return Chunk(number, 40.0, sample, dict.fromkeys(SIGNALS, sample), dict.fromkeys(SIGNALS, codes))


def test_what_is_decided_on_a_chunk_acts_from_the_second_after_it(world: SharedFill) -> None:
    counting, fixed = Seat.of(Counting(world.start)), Seat.of(Fixed(world.start))
    ideal = Seat(Ideal(world), deque(world.ideal(k) for k in range(DELAY)))
    for k in range(world.course.chunks):
        for seat in (counting, fixed, ideal):
            seat.take(empty(world, k), world)

    def cuts(seat: Seat) -> list[int]:
        return [round(5000 * (1 - rate)) for rate in seat.rates]

    first = world.oracle.cut(0, TARGET)
    assert cuts(counting) == [first, first, *(1000 + k for k in range(world.course.chunks - 2))]
    assert cuts(fixed) == [first] * world.course.chunks
    assert cuts(ideal) == [world.oracle.cut(k, TARGET) for k in range(world.course.chunks)]
    assert fixed.changes == 0
    assert counting.changes == world.course.chunks - 1
    assert ideal.expected == pytest.approx([TARGET] * world.course.chunks, rel=0.01)


def test_the_expected_rate_of_other_scores_is_not_known(world: SharedFill) -> None:
    seat = Seat.of(Fixed(world.start.replace_values(output_scale=0.5)))
    seat.take(Chunk(0, 40.0, Sample(world.package.golden_events, world.datapath), {}, {}), world)
    assert np.isnan(seat.expected).all()


def test_figures_count_the_chunks_in_tolerance(world: SharedFill) -> None:
    seat = Seat.of(Fixed(world.start))
    seat.rates = [TARGET, 1.09 * TARGET, 0.91 * TARGET, 1.12 * TARGET, 0.5 * TARGET]
    seat.expected = [TARGET, TARGET, 2 * TARGET, TARGET, 0.95 * TARGET]
    seat.signals = {kind: [0.4, 0.5] for kind in SIGNALS}
    found = figures(seat, dict.fromkeys(SIGNALS, 0.5))
    assert found["in_tolerance"] == 0.6
    assert found["in_band"] == 0.8
    assert found["rms"] == pytest.approx(np.sqrt(np.mean(np.log([1, 1.09, 0.91, 1.12, 0.5]) ** 2)), rel=1e-3)
    assert found["signal_efficiency"] == {kind: pytest.approx(0.9) for kind in SIGNALS}


def test_the_undrifted_trigger_has_its_target_at_every_pileup(world: SharedFill, datapath: Datapath) -> None:
    for number in (0, world.course.chunks - 1):
        events = digitise(Generator(number).draw(400_000, world.course.pileup[number]))
        chunk = Chunk(number, 40.0, Sample(events, datapath), {}, {"all": datapath.codes(events, datapath.nominal)})
        assert world.undrifted(chunk)["all"] == pytest.approx(TARGET, rel=0.3), "few events in the reference"


def test_the_command_runs_a_fill_and_says_what_came_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recalib.training.train.build_package", lambda where, settings, progress: None)
    monkeypatch.setattr(bench_loop, "Settings", partial(Settings, oracle_events=750_000))
    command = ["bench", "loop", "--package", str(path), "--chunks", "15", "--seed", "3", "--json"]
    chosen = ["--controller", "fixed", "--controller", "pd", "--controller", "dspot"]
    result = CliRunner().invoke(main, [*command, *chosen, "--events", "5000", "--events", "60000"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert set(found["fraction"]) == {"5000", "60000"}
    names = ["oracle", "fixed", "pd", "pd_best", "dspot", "dspot_best"]
    for events, rows in found["controllers"].items():
        assert list(rows) == names
        assert rows["oracle"]["in_band"] == 1
        assert rows["fixed"]["in_band"] < 1
        assert rows["pd_best"]["in_tolerance"] >= rows["pd"]["in_tolerance"]
        assert rows["dspot_best"]["in_tolerance"] >= rows["dspot"]["in_tolerance"]
        assert found["relative"][events]["oracle"] == 1
    few, many = found["controllers"].values()
    assert few["oracle"]["rms"] > many["oracle"]["rms"]
    assert many["fixed"]["in_tolerance"] < many["oracle"]["in_tolerance"]
    assert found["relative_to_oracle"] is None
    assert found["seed"] == 3
    assert sum(line.startswith("  pd_best") for line in table(found)) == 2


def test_the_shipped_loop_brings_the_rate_back(world: SharedFill, datapath: Datapath, tmp_path: Path) -> None:
    """Through its own board: where the payload of the start would accept too little, its own hold the rate."""
    driftd = Driftd(world.package, world.start, tmp_path)
    rates = []
    for ls in range(20):
        drift = Response(jet_energy_scale=-0.08) if ls >= 4 else NOMINAL
        events = digitise(Generator(ls).draw(60_000, 40.0), drift)
        active = driftd._board.active
        codes = datapath.codes(events, active)
        old = datapath.codes(events, world.start)
        rates.append([(c >= p.raw("cuts")[1]).mean() for c, p in ((codes, active), (old, world.start))])
        driftd.see(40.0, events, codes)
    assert driftd.payload.id != world.start.id
    assert driftd.history
    held, fixed = np.mean(rates[-6:], axis=0)
    assert fixed < 0.7 * TARGET
    assert held == pytest.approx(TARGET, rel=0.25)


def test_an_unknown_controller_is_refused() -> None:
    result = CliRunner().invoke(main, ["bench", "loop", "--controller", "pid"])
    assert result.exit_code == 64
    assert "pid" in result.output
