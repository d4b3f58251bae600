"""References out of files and of the live stream: what is built, shown and compared, and what is refused."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import zmq
from click.testing import CliRunner, Result

from firmware.board.addresses import address_table
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.wire import CROSSINGS, Batch, Header, encode
from monitor.archive import references
from monitor.cli.main import main
from monitor.stats.count.building import reference_of_sample
from monitor.stats.count.reference import Reference
from tests.support.places import DATA
from tests.support.rig import small_model

ZERO_BIAS = DATA / "zero_bias_score_histogram.npz"
BITS = ("--bits", "12")
N = 50_000


def sample(seed: int = 1, gain: float = 1.0, n: int = N) -> dict[str, npt.NDArray[Any]]:
    """Scores whose tail grows with pile-up."""
    rng = np.random.default_rng(seed)
    pileup = rng.uniform(15, 55, n)
    scores = (rng.gamma(2, 20 + pileup) * gain).clip(0, 4095).astype(np.uint16)
    return {"scores": scores, "pileup": pileup, "inputs": rng.integers(0, 50, (n, 2)).astype(np.int16)}


def driftd(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Reference]:
    """Build from arrays with the command line; the reference."""

    def build(arrays: dict[str, Any], *options: object, name: str = "sample") -> Reference:
        np.savez(tmp_path / f"{name}.npz", **arrays)
        done = driftd("reference", "build", tmp_path / f"{name}.npz", "--out", tmp_path / f"{name}.ref", *options)
        assert done.exit_code == 0, done.output
        return references.load(tmp_path / f"{name}.ref")

    return build


def refused(folder: Path, *arguments: object) -> str:
    """What `reference build` says of input that it refuses; nothing is left behind."""
    before = sorted(folder.iterdir())
    done = driftd("reference", "build", *arguments, "--out", folder / "none.ref")
    assert done.exit_code == 65, done.output
    assert sorted(folder.iterdir()) == before
    return done.output


def test_a_reference_of_files_is_that_of_the_arrays(built: Callable[..., Reference]) -> None:
    arrays = sample()
    edges = [10.0, 30.0, 60.0]
    options = ("--pileup", "pileup", "--inputs", "inputs", "--pileup-edges", "10,30,60", "--cut", 300, "--cut", 400)
    found = built(arrays, *BITS, *options, "--events", 1000)
    chunk = arrays["scores"], arrays["inputs"], arrays["pileup"]
    wanted = reference_of_sample([chunk], cuts=[300, 400], bits=12, pileup_edges=edges, max_events=1000)
    np.testing.assert_array_equal(found.cells.edges, wanted.cells.edges)
    np.testing.assert_array_equal(found.cell_counts, wanted.cell_counts)
    np.testing.assert_array_equal(found.target_rates, wanted.target_rates)
    np.testing.assert_allclose(found.pileup_means, wanted.pileup_means)
    assert [counts.sum() for counts in found.feature_counts] == [N, N]
    assert len(found.events) == 1000


def test_slices_hold_equal_shares(built: Callable[..., Reference]) -> None:
    found = built(sample(), *BITS, "--pileup", "pileup", "--pileup-slices", 4, "--target-rate", 0.01)
    assert found.slice_counts.sum(axis=1).tolist() == pytest.approx([N / 4] * 4, rel=0.01)


def test_float_scores_get_a_power_of_two_that_leaves_room_above(
    built: Callable[..., Reference], tmp_path: Path
) -> None:
    scores = np.random.default_rng(1).exponential(20, N)
    scores[0] = 250.0
    found = built({"scores": scores}, "--bits", 16, "--cut", 100.0)
    assert found.lsb == 2**-7
    assert found.binning.cuts == (12_800,)
    assert found.target_rates[0] == pytest.approx(np.mean(scores >= 100 - found.lsb / 2))
    said = driftd("reference", "build", tmp_path / "sample.npz", "--out", tmp_path / "b.ref", "--bits", 16).output
    assert "a code is 0.0078125 (lsb), 16 bits reach to 512" in said


def test_a_histogram_with_float_edges_keeps_its_bins(built: Callable[..., Reference]) -> None:
    edges = np.linspace(0.5, 256.5, 65)
    counts = np.random.default_rng(1).multinomial(100_000, np.exp(-edges[:-1] / 20) / np.exp(-edges[:-1] / 20).sum())
    found = built({"edges": edges, "counts": counts}, "--cut", edges[20], "--bits", 16)
    assert found.m == 100_000
    assert found.target_rates[0] == pytest.approx(counts[20:].sum() / counts.sum())
    inner = found.cells.edges[1:-1] * found.lsb
    assert all(np.abs(edges - edge).min() < found.lsb for edge in inner)
    own = np.searchsorted(edges, inner - found.lsb)
    np.testing.assert_array_equal(found.cell_counts[0], np.add.reduceat(counts, [0, *own]))


def test_histograms_by_lumi_section_are_sliced_by_their_pileup(built: Callable[..., Reference]) -> None:
    counts = np.array([[80, 15, 5], [70, 20, 10], [60, 25, 15]])
    options = ("--bits", 8, "--pileup", "pileup", "--pileup-edges", "0,35,60")
    arrays = {"edges": np.array([0, 50, 100, 256]), "counts": counts, "pileup": np.array([50.0, 40.0, 30.0])}
    found = built(arrays, *options)
    assert found.slice_counts.tolist() == [[60, 25, 15], [150, 35, 15]]
    assert found.pileup_means is not None
    assert found.pileup_means.tolist() == [30.0, 45.0]


@pytest.mark.skipif(not ZERO_BIAS.exists(), reason="needs the measured zero-bias scores in ../shared/data")
def test_the_measured_zero_bias_histogram_makes_a_reference(tmp_path: Path) -> None:
    out = tmp_path / "zero_bias.ref"
    assert driftd("reference", "build", ZERO_BIAS, "--out", out, "--target-rate", 0.001).exit_code == 0
    found = references.load(out)
    with np.load(ZERO_BIAS) as file:
        edges, counts = file["edges"], file["counts"]
    cut = int(np.argmin(np.abs(edges - found.binning.cuts[0] * found.lsb)))
    assert found.m == 4_363_289
    assert found.rates_of(found.counts / found.m)[0] == pytest.approx(counts[cut:].sum() / counts.sum())
    assert found.rates_of(found.p)[0] == pytest.approx(1e-3, rel=0.1)


def test_show_says_how_well_the_rates_are_known_and_how_small_a_drift_shows(
    built: Callable[..., Reference], tmp_path: Path
) -> None:
    built(sample(), *BITS, "--cut", 300, "--pileup", "pileup", "--pileup-edges", "10,30,60")
    path = tmp_path / "sample.ref"
    said = json.loads(driftd("reference", "show", path, "--scores-per-ls", 1e5, "--json").output)
    rate = np.mean(sample()["scores"] >= 300)
    cut = said["cuts"][0]
    assert said["events"] == N
    assert cut["rate"] == pytest.approx(rate)
    assert cut["relative_error"] == pytest.approx(np.sqrt((1 - rate) / rate / N))
    assert said["kl_floor"] == pytest.approx((said["bins"] - 1) * (1 / N + 1e-5) / 2)
    assert sum(part["events"] for part in said["slices"]) == N
    words = driftd("reference", "show", path, "--plot", tmp_path / "a.png").output
    assert "50,000" in words
    assert "cut        300" in words
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_the_reference_of_a_model_package_is_shown_too(built: Callable[..., Reference], tmp_path: Path) -> None:
    found = built(sample(), *BITS, "--cut", 300)
    model = small_model()
    table = address_table([(model.name, model.layout, model.n_cuts)])
    golden = np.zeros((1, 57), np.int16), np.zeros(1, np.int64)
    nominal = Payload.nominal(model, [100, 200])
    Package(model, nominal, table, found.to_bytes(), *golden, {}).save(tmp_path / "model.driftd")
    shown = [driftd("reference", "show", tmp_path / name).output for name in ("model.driftd", "sample.ref")]
    assert shown[0] == shown[1]
    damaged = bytearray((tmp_path / "model.driftd").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "model.driftd").write_bytes(damaged)
    done = driftd("reference", "show", tmp_path / "model.driftd")
    assert done.exit_code == 65
    assert "is changed" in done.output


def test_compare_tells_chance_from_drift(built: Callable[..., Reference], tmp_path: Path) -> None:
    for name, arrays in {"a": sample(1), "same": sample(2), "gain": sample(3, gain=1.05)}.items():
        built(arrays, *BITS, "--cut", 300, name=name)
    same = driftd("reference", "compare", tmp_path / "a.ref", tmp_path / "same.ref").output
    assert "which chance explains" in same
    gain = driftd("reference", "compare", tmp_path / "a.ref", tmp_path / "gain.ref").output
    assert "which chance does not explain" in gain
    assert "gain" in gain.splitlines()[-1]


def test_compare_at_the_pileup_of_the_other(built: Callable[..., Reference], tmp_path: Path) -> None:
    """Another mix of pile-up is a difference, but none given the pile-up."""
    slices = ("--pileup", "pileup", "--pileup-edges", "15,20,25,30,35,40,45,50,56")
    built(sample(1, n=400_000), *BITS, *slices, "--cut", 300, name="a")
    other = sample(2, n=200_000)
    low = other["pileup"] < 35
    built(
        {name: array[low] for name, array in other.items()},
        *BITS,
        "--pileup",
        "pileup",
        "--pileup-edges",
        "15,20,25,30,35",
        "--cut",
        300,
        name="b",
    )
    said = json.loads(driftd("reference", "compare", tmp_path / "a.ref", tmp_path / "b.ref", "--json").output)
    assert said["divergence"]["p_value"] < 1e-100
    assert said["given_pileup"]["p_value"] > 1e-3


BAD: dict[str, tuple[dict[str, Any], tuple[object, ...], str]] = {
    "empty": ({"scores": np.zeros(0, np.int64)}, (), "0 reference events"),
    "fewer events than bins": ({"scores": np.arange(20)}, (), "20 reference events for 29 bins: take more events"),
    "negative": ({"scores": np.r_[np.arange(50), -3]}, (), "column 'scores', row 50: -3 is no score from 0"),
    "too large": ({"scores": np.r_[np.arange(50), 4096]}, (), "row 50: 4096 is no score from 0 to below 4096"),
    "not a number": ({"scores": np.r_[np.ones(40), np.nan]}, (), "column 'scores', row 40: nan is no score"),
    "negative float": ({"scores": np.r_[np.ones(40), -0.5]}, ("--lsb", 1), "column 'scores', row 40: -0.5 is no score"),
    "cut out of range": ({"scores": np.arange(99)}, ("--cut", 5000), "cut 5000 is out of range"),
    "cut above all": ({"scores": np.arange(99)}, ("--cut", 500), "no reference event has a code from 500"),
    "broken cut": ({"scores": np.arange(99)}, ("--cut", 1.5), "cut 1.5: the scores are codes"),
    "missing column": ({"score": np.arange(99)}, (), "no column scores; there is score"),
    "missing pile-up": ({"scores": np.arange(99)}, ("--pileup", "pu"), "no column pu; there is scores"),
    "pile-up": (
        {"scores": np.arange(99), "pu": np.r_[np.ones(98), np.nan]},
        ("--pileup", "pu"),
        "column 'pu', row 98: nan is no pile-up",
    ),
    "inputs": (
        {"scores": np.arange(99), "x": np.r_[np.ones(98, np.int64), 40_000]},
        ("--inputs", "x"),
        "column 'x', row 98: 40000 is no input of 16 bits",
    ),
    "edges": (
        {"edges": np.array([0, 10, 5, 20]), "counts": np.full(3, 99)},
        (),
        "column 'edges', row 2: 5, expected numbers from 0 that increase",
    ),
    "counts": ({"edges": np.arange(4), "counts": np.array([5, -1, 5])}, (), "column 'counts', row 1: -1 is no count"),
    "number of counts": ({"edges": np.arange(4), "counts": np.full(4, 99)}, (), "4 counts for 4 edges"),
    "cut between edges": (
        {"edges": np.arange(0, 100, 10), "counts": np.full(9, 99)},
        ("--cut", 15),
        r"cut 15 is no edge: take \[10, 20\]",
    ),
    "no edges": ({"counts": np.full(4, 99)}, (), "column 'counts' without a column 'edges'"),
    "slices": (
        {"scores": np.arange(99), "pu": np.ones(99)},
        ("--pileup", "pu", "--pileup-slices", 3),
        "pile-up takes too few values for 3 slices",
    ),
    "empty slice": (
        {"scores": np.arange(99), "pu": np.ones(99)},
        ("--pileup", "pu", "--pileup-edges", "0,20,40"),
        "no event with pile-up from 20 to 40: join this slice to another",
    ),
    "slices of nothing": ({"scores": np.arange(99)}, ("--pileup-edges", "0,20"), "need a column of pile-up"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_and_leaves_no_reference(tmp_path: Path, name: str) -> None:
    arrays, options, said = BAD[name]
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    message = refused(tmp_path, path, *BITS, *options)
    assert str(path) in message
    assert re.search(said, message)


def test_files_of_other_kinds_and_cut_off_ones_leave_no_reference(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(99))
    np.save(tmp_path / "b.npy", np.arange(99.0))
    assert "b.npy: column 'scores' holds floats, but integers in" in refused(tmp_path, tmp_path / "*.npy")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["scores"] = np.arange(100_000)
    whole = (tmp_path / "c.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(whole[: len(whole) // 2])
    assert f"{tmp_path / 'c.h5'}: damaged, cut off" in refused(tmp_path, tmp_path / "c.h5")


def test_a_reference_is_replaced_whole_or_not_at_all(
    built: Callable[..., Reference], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = built(sample(), *BITS).to_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        references.save(reference_of_sample([(sample(2)["scores"], None, None)], bits=12), tmp_path / "sample.ref")
    assert (tmp_path / "sample.ref").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.npz", "sample.ref"]


def test_what_is_no_reference_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.ref"
    path.write_bytes(b"nothing of the sort")
    for done in (driftd("reference", "show", path), driftd("reference", "compare", path, path)):
        assert done.exit_code == 65
        assert f"{path}: not a reference, or a damaged one" in done.output
    assert "No such file" in driftd("reference", "show", tmp_path / "b.ref").output


class Sender:
    """A board's socket that sends lumi sections of scores again and again, in a thread."""

    def __init__(self, kind: int, **own: Any) -> None:
        self.context = zmq.Context()
        self.context.setsockopt(zmq.LINGER, 0)
        self.socket = self.context.socket(kind)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.own = own
        self.sent = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.send)
        self.mask = np.zeros(CROSSINGS, np.bool_)
        self.mask[:1000] = True
        self.thread.start()

    def header(self, seq: int, kind: str = "batch", **own: Any) -> Header:
        given = {
            "kind": kind, "stream": "axol1tl", "source": "a", "seq": seq, "run": 1, "ls": 1 + seq // 10, "orbit": 0,
            "n": CROSSINGS if kind == "batch" else 0, "dtype": "u2", "epoch": 1, "generation": 0, "t_ns": 0,
            "pileup": 20.0 + 20 * (seq // 10 % 2),
        }  # fmt: skip
        return Header(**given | (self.own if kind == "batch" else {}) | own)  # type: ignore[arg-type]

    def send(self) -> None:
        rng = np.random.default_rng(1)
        self.put(Batch(self.header(0, "begin", filled=1000, ls_orbits=10), np.empty(0), mask=self.mask))
        for seq in range(1, 1_000_000):
            if self.stopping.is_set():
                return
            self.put(Batch(self.header(seq), np.where(self.mask, rng.integers(0, 1000, CROSSINGS), 4000)))

    def put(self, batch: Batch) -> None:
        while not self.stopping.is_set():
            try:
                self.socket.send_multipart([*encode(batch)], zmq.NOBLOCK)
                self.socket.send_multipart([b"other", b"malformed"], zmq.NOBLOCK)
                self.sent += 1
                return
            except zmq.Again:
                time.sleep(0.001)

    def close(self) -> None:
        self.stopping.set()
        self.thread.join()
        self.context.destroy()


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    senders: list[Sender] = []

    def start(kind: int = zmq.PUSH, **own: Any) -> Sender:
        senders.append(Sender(kind, **own))
        return senders[-1]

    yield start
    for one in senders:
        one.close()


def test_the_live_stream_makes_a_reference_of_its_colliding_crossings(
    sender: Callable[..., Sender], tmp_path: Path
) -> None:
    out = tmp_path / "live.ref"
    options = ("--pattern", "pull", "--lumi-sections", 4, "--pileup-edges", "0,30,60", "--cut", 900)
    address = f"tcp://127.0.0.1:{sender().port}"
    done = driftd("reference", "build", "--from-stream", address, "--out", out, *BITS, *options)
    assert done.exit_code == 0, done.output
    found = references.load(out)
    assert found.m == 39 * 1000
    assert found.slice_counts.sum(axis=1).tolist() == [19_000, 20_000]
    assert found.target_rates[0] == pytest.approx(0.1, rel=0.05)


def test_a_subscriber_that_missed_the_bunch_mask_says_so(sender: Callable[..., Sender], tmp_path: Path) -> None:
    board = sender(zmq.PUB)
    time.sleep(0.2)
    options = ("--from-stream", f"tcp://127.0.0.1:{board.port}", "--lumi-sections", 3)
    assert "no bunch mask so far; it comes with the begin of a run" in refused(tmp_path, *options)


def test_float_scores_of_a_stream_need_an_lsb(sender: Callable[..., Sender], tmp_path: Path) -> None:
    options = ("--from-stream", f"tcp://127.0.0.1:{sender(dtype='f4').port}", "--pattern", "pull")
    assert "give the score of one code (lsb)" in refused(tmp_path, *options)


def test_a_silent_stream_is_given_up(tmp_path: Path) -> None:
    options = ("--from-stream", "tcp://127.0.0.1:9", "--silent-s", 0.2)
    assert "no message of stream 'axol1tl' within 0.2 s" in refused(tmp_path, *options)


def test_an_interrupt_leaves_no_reference(sender: Callable[..., Sender], tmp_path: Path) -> None:
    board = sender()
    command = [sys.executable, "-m", "monitor", "reference", "build", "--pattern", "pull"]
    source = ["--from-stream", f"tcp://127.0.0.1:{board.port}", "--lumi-sections", "10000000"]
    process = subprocess.Popen(
        [*command, *source, "--out", str(tmp_path / "a.ref")],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    while board.sent < 2000:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 1
    assert list(tmp_path.iterdir()) == []
