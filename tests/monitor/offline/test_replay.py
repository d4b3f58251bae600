"""Replay: archived scores and histograms through the daemon's own counting, detectors and policy."""

import csv
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from pyarrow import parquet

from firmware.board.addresses import address_table
from firmware.model import axol1tl
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.sim.board import SimBoard
from firmware.sim.settings import BoardSettings
from firmware.sim.world.beam import Fill, bunch_mask
from firmware.wire import CROSSINGS, Batch
from monitor.archive import references
from monitor.archive.errors import FileFault
from monitor.archive.recipe import Recipe
from monitor.archive.sources import reference_of_stream
from monitor.archive.tap import messages
from monitor.cli.main import main
from monitor.offline.replay import StreamSetup, replay
from monitor.offline.result import ReplayResult
from monitor.stats.count.binning import Binning
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.counter import Counter, Scale
from monitor.stats.count.reference import Reference
from monitor.stats.errors import StatsError
from monitor.watch.policy import Policy
from monitor.watch.report import LsReport
from monitor.watch.stream import StreamMonitor
from tests.support.places import DATA

FILL = DATA / "pileup_fill_6360.csv"
BITS = 12
PER_LS = 20_000


def scores(pileup: float, rng: np.random.Generator, gain: float = 1.0, n: int = PER_LS) -> npt.NDArray[np.uint16]:
    """Scores whose tail grows with pile-up."""
    return (gain * rng.gamma(2, 20 + pileup, n)).clip(0, 4095).astype(np.uint16)


def archive(pileups: npt.ArrayLike, gains: npt.ArrayLike = 1.0, seed: int = 1, run: int = 7) -> dict[str, Any]:
    """Events of lumi sections 1, 2, …"""
    rng = np.random.default_rng(seed)
    pileup = np.asarray(pileups, dtype=np.float64)
    gain = np.broadcast_to(gains, pileup.shape)
    return {
        "scores": np.concatenate([scores(mean, rng, factor) for mean, factor in zip(pileup, gain, strict=True)]),
        "run": np.full(len(pileup) * PER_LS, run),
        "ls": np.repeat(1 + np.arange(len(pileup)), PER_LS),
        "pileup": np.repeat(pileup, PER_LS),
    }


def histograms(events: dict[str, Any], edges: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The same, as a histogram a lumi section."""
    rows = events["scores"].reshape(-1, PER_LS)
    counts = np.array([np.histogram(row, edges)[0] for row in rows])
    return {"counts": counts, "edges": edges} | {name: events[name][::PER_LS] for name in ("run", "ls", "pileup")}


Replay = Callable[..., ReplayResult]


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(5)
    means = np.repeat(np.linspace(12, 62, 51), 3)
    chunks = [(scores(mean, rng), None, float(mean)) for mean in means]
    edges = np.linspace(11.5, 62.5, 18).tolist()
    return reference_of_sample(chunks, target_rates=[0.01, 0.002], bits=BITS, pileup_edges=edges)


@pytest.fixture
def run(reference: Reference, tmp_path: Path) -> Replay:
    def play(arrays: dict[str, Any], **own: Any) -> ReplayResult:
        np.savez(tmp_path / "archive.npz", **arrays)
        subject = StreamSetup(reference, **own).on_archive([str(tmp_path / "archive.npz")])
        return replay([str(tmp_path / "archive.npz")], subject, subject.detectors())

    return play


def driftd(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_every_score_of_every_lumi_section_is_judged_at_its_pileup(run: Replay) -> None:
    found = run(archive([20.0, 30.0, 40.0]))
    assert [(ls.run, ls.ls, ls.n, ls.pileup) for ls in found.lumi_sections] == [
        (7, ls, PER_LS, pytest.approx(pileup)) for ls, pileup in ((1, 20.0), (2, 30.0), (3, 40.0))
    ]
    assert found.skipped == {}


@pytest.mark.skipif(not FILL.exists(), reason="needs the measured pile-up of a fill in ../shared/data")
def test_a_fill_without_drift_gives_none_and_one_with_a_gain_is_found(run: Replay) -> None:
    """The pile-up of a real fill falls by a factor of three: that alone is no drift."""
    with FILL.open() as file:
        pileup = np.array([float(row[7]) for row in csv.reader(file) if not row[0].startswith("#")])
    pileup = pileup[pileup > 12][::50]
    gains = np.where(np.arange(len(pileup)) < 40, 1.0, 1.12)
    calm, drifted = run(archive(pileup)), run(archive(pileup, gains))
    assert {ls.level for ls in calm.lumi_sections} == {"ok"}
    levels = [ls.level for ls in drifted.lumi_sections]
    assert set(levels[:40]) == {"ok"}
    assert "drift" in levels[40:46]
    assert drifted.summary()["drifts"][0]["ls"] == 1 + levels.index("drift")


def test_histograms_are_judged_as_the_events_that_made_them(run: Replay, reference: Reference) -> None:
    """One block a lumi section either way: the same counts, verdicts and words."""
    events = archive(np.arange(55.0, 19.0, -3.0), np.where(np.arange(12) < 6, 1.0, 1.15))
    of_events, of_histograms = run(events), run(histograms(events, reference.cells.edges))
    assert of_events.lumi_sections == of_histograms.lumi_sections
    assert of_events.lumi_sections[-1].level == "drift"


def test_coarser_histograms_keep_the_bins_that_they_allow(run: Replay, reference: Reference) -> None:
    edges = np.union1d(reference.binning.edges[::3], [0, *reference.binning.cuts, 1 << BITS])
    found = run(histograms(archive([30.0] * 8, np.where(np.arange(8) < 4, 1.0, 1.2)), edges))
    assert [ls.n for ls in found.lumi_sections] == [PER_LS] * 8
    assert [ls.level for ls in found.lumi_sections][:4] == ["ok"] * 4
    assert found.lumi_sections[-1].level == "drift"


def test_histograms_that_do_not_end_on_the_cuts_are_refused(run: Replay) -> None:
    with pytest.raises(FileFault, match=r"archive.npz: cuts .* are no edges of the other histogram"):
        run(histograms(archive([30.0]), np.array([0, 7, 11, 13, 1 << BITS])))


def test_a_parquet_archive_holds_edges_in_every_row(reference: Reference, tmp_path: Path) -> None:
    arrays = histograms(archive([30.0, 29.0, 28.0]), reference.cells.edges)
    columns = {
        name: pa.array(list(np.broadcast_to(array, (3, len(array))) if name == "edges" else array))
        for name, array in arrays.items()
    }
    parquet.write_table(pa.table(columns), tmp_path / "archive.parquet")
    subject = StreamSetup(reference).on_archive([str(tmp_path / "archive.parquet")])
    found = replay([str(tmp_path / "archive.parquet")], subject, subject.detectors())
    assert [(ls.ls, ls.n) for ls in found.lumi_sections] == [(1, PER_LS), (2, PER_LS), (3, PER_LS)]


def test_rows_out_of_order_and_several_runs_are_put_in_order(run: Replay) -> None:
    parts = [archive([30.0] * 3, seed=run_number, run=run_number) for run_number in (7, 8)]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    shuffled = np.random.default_rng(1).permutation(len(arrays["scores"]))
    found = run({name: array[shuffled] for name, array in arrays.items()})
    assert [(ls.run, ls.ls, ls.n) for ls in found.lumi_sections] == [
        (r, ls, PER_LS) for r in (7, 8) for ls in (1, 2, 3)
    ]


def test_a_lumi_section_that_comes_back_is_skipped_and_counted(run: Replay) -> None:
    arrays = archive([30.0] * 12)
    arrays["ls"][-PER_LS:] = 1
    found = run(arrays)
    assert len(found.lumi_sections) == 11
    assert found.skipped["stale"] > 0


def test_empty_histograms_are_no_lumi_sections(run: Replay, reference: Reference) -> None:
    arrays = histograms(archive([30.0] * 4), reference.cells.edges)
    arrays["counts"][2] = 0
    assert [ls.ls for ls in run(arrays).lumi_sections] == [1, 2, 4]


def board(seed: int, *conditions: str) -> Iterator[Batch]:
    """Twelve lumi sections of a simulated board, off its socket; those before it is connected are lost."""
    random = np.random.default_rng(3)
    shapes = ((57, 28), (28, 15), (15, 8))
    weights = [random.normal(0, 0.4, shape) for shape in shapes]
    biases = [random.normal(0, 0.3, shape[1]) for shape in shapes]
    model = axol1tl.model("axol1tl", weights, biases, np.tile([3, 5, 6], 19), np.zeros(57), lut_bits=6, n_cuts=2)
    nominal = Payload.nominal(model, [60, 120])
    table = address_table([("axol1tl", model.layout, model.n_cuts)])
    package = Package(model, nominal, table, b"", np.zeros((1, 57), np.int16), np.zeros(1, np.int64), {})
    settings = BoardSettings(
        orbits_per_ls=4, orbits_per_message=2, duration_ls=12, fill=Fill(start=40), seed=seed, conditions=conditions
    )
    with SimBoard([package], settings) as simulated:
        thread = threading.Thread(target=simulated.run)
        thread.start()
        try:
            for batch in messages(simulated.status()["publish"][0], "pull", "axol1tl", silent_s=20):
                yield batch
                if batch.header.kind == "end":
                    return
        finally:
            simulated.stop()
            thread.join()


def test_a_recorded_board_is_judged_as_the_daemon_judged_it_live(tmp_path: Path) -> None:
    """A reference taken off the live stream; then another stream of the board, live and from the archive."""
    reference, _ = reference_of_stream(board(1), 10, Recipe(target_rates=(0.05, 0.01)))
    assert reference.m == 10 * 4 * bunch_mask().sum()
    subject = StreamSetup(reference)
    live: list[LsReport] = []
    cuts, error = reference.binning.cuts, subject.detect.pileup_error
    monitor = StreamMonitor(
        "axol1tl", reference, cuts, subject.detectors(), subject.ingest, live.append, lambda batch: None, error
    )
    mask, recorded = None, []
    for batch in board(2, "jet_energy_scale=-0.2"):
        monitor.add(batch)
        mask = mask if batch.mask is None else batch.mask
        if batch.header.kind == "batch" and mask is not None:
            codes = batch.codes[np.tile(mask, len(batch.codes) // CROSSINGS)]
            header = batch.header
            rows = [np.full(len(codes), value) for value in (header.run, header.ls, header.pileup)]
            recorded.append([codes, *rows])
    columns = [np.concatenate(column) for column in zip(*recorded, strict=True)]
    np.savez(tmp_path / "board.npz", **dict(zip(("scores", "run", "ls", "pileup"), columns, strict=True)))
    found = replay([str(tmp_path / "board.npz")], subject, subject.detectors())
    policy = Policy(subject.detect, subject.hold, reference)
    verdicts = [policy.assess(report) for report in live]
    assert [(ls.run, ls.ls, ls.n) for ls in found.lumi_sections] == [(r.key.run, r.key.ls, r.n) for r in live]
    assert [(ls.level, ls.ratios) for ls in found.lumi_sections] == [(v.level, v.ratios) for v in verdicts]
    assert [ls.kl for ls in found.lumi_sections] == pytest.approx([r.divergence.kl_corrected for r in live])
    assert found.lumi_sections[-1].level == "drift"


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no lumi section": ({"scores": np.arange(9)}, "no column ls; there is scores"),
    "broken lumi section": (
        {"scores": np.arange(9), "ls": np.r_[np.ones(8), 1.5]},
        "column 'ls', row 8: 1.5 is no number of a run or lumi section",
    ),
    "score": (
        {"scores": np.r_[np.arange(8), 5000], "ls": np.ones(9, int)},
        "column 'scores', row 8: 5000 is no score from 0 to below 4096",
    ),
    "not a number": (
        {"scores": np.r_[np.ones(8), np.nan], "ls": np.ones(9)},
        "column 'scores', row 8: nan is no score",
    ),
    "no edges": ({"counts": np.ones((2, 5)), "ls": np.ones(2)}, "column 'counts' without a column 'edges'"),
    "negative counts": (
        {"counts": np.array([[5] * 5, [5, 5, -1, 5, 5]]), "ls": np.ones(2), "edges": np.array([0, 1, 2, 3, 4, 4096])},
        "are no edges",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_is_named_and_ends_with_65(reference: Reference, tmp_path: Path, name: str) -> None:
    arrays, said = BAD[name]
    references.save(reference, tmp_path / "a.ref")
    np.savez(tmp_path / "bad.npz", **arrays)
    done = driftd("replay", tmp_path / "bad.npz", "--reference", tmp_path / "a.ref")
    assert done.exit_code == 65
    assert f"{tmp_path / 'bad.npz'}: " in done.output
    assert said in done.output


def test_the_command_tells_alarms_changes_and_a_summary_and_draws(reference: Reference, tmp_path: Path) -> None:
    references.save(reference, tmp_path / "a.ref")
    np.savez(tmp_path / "archive.npz", **archive([40.0] * 12, np.where(np.arange(12) < 6, 1.0, 1.15)))
    arguments = ("replay", tmp_path / "archive.npz", "--reference", tmp_path / "a.ref")
    said = driftd(*arguments, "--plot", tmp_path / "a.png").output
    assert "run 7 LS 8 drift: " in said
    assert "12 lumi sections (0.1 h), 240,000 scores: " in said
    assert "lumi sections a second" in said
    assert (tmp_path / "a.png").stat().st_size > 10_000
    figures = json.loads(driftd(*arguments, "--json").output)
    assert figures["levels"]["drift"] == 5
    assert figures["alarms_per_hour"]["e_mixture"] == figures["alarms"]["e_mixture"] / figures["hours"]


def test_tune_prints_settings_that_keep_to_the_alarms(reference: Reference, tmp_path: Path) -> None:
    references.save(reference, tmp_path / "a.ref")
    np.savez(tmp_path / "archive.npz", **archive([40.0] * 60))
    done = driftd("replay", tmp_path / "archive.npz", "--reference", tmp_path / "a.ref", "--tune", 1)
    assert done.exit_code == 0
    assert "[streams.NAME.detect.detectors]\ne_mixture = {}\n" in done.output
    assert "adwin_kl = { delta = " in done.output


def test_the_stream_of_a_configuration_is_replayed_with_its_settings(reference: Reference, tmp_path: Path) -> None:
    references.save(reference, tmp_path / "a.ref")
    np.savez(tmp_path / "archive.npz", **archive([40.0] * 4))
    (tmp_path / "config.toml").write_text(
        '[boards.gt]\nuri = "ipbusudp-2.0://127.0.0.1:50001"\n[streams.axol1tl]\npackage = "a.ref"\nboard = "gt"\n'
        'addresses = ["tcp://127.0.0.1:5555"]\n[streams.axol1tl.detect]\nmin_scores = 50000\n'
    )
    arguments = ("replay", tmp_path / "archive.npz", "--config", tmp_path / "config.toml")
    assert json.loads(driftd(*arguments, "--json").output)["levels"]["thin"] >= 2
    assert driftd(*arguments, "--stream", "other").exit_code == 2
    assert driftd(*arguments[:-1], tmp_path / "none.toml").exit_code == 65


def test_counts_on_other_cells_are_refused() -> None:
    counter = Counter(Scale(Binning(np.array([0, 4, 16])), cuts=()))
    assert counter.add_counts(np.array([3, 1]), pileup=20.0) == 4
    with pytest.raises(StatsError, match="expected those of 2 parts"):
        counter.add_counts(np.array([3, 1, 1]))
    assert counter.take().tolist() == [3, 1]
