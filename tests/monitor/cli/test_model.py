"""`driftd model`: the way of a model from outside through all its verbs."""

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from firmware.datapath.emulator import Emulator
from firmware.datapath.packing import Packing
from firmware.datapath.patterns import EMPV2, FORMATS, Frame, Pattern, read, text
from firmware.model.package import Package
from firmware.tools.compiler import compiler
from firmware.tools.verilator import Verilator
from monitor.cli.main import main
from monitor.stats.count.reference import Reference
from tests.support.places import DATA
from tests.support.specifications import AXOL1TL_V4, SMALL

EVENTS = 20_000


def driftd(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["model", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A specification with weights, and events with pile-up."""
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(2)
    arrays = {
        "weight0": rng.normal(0, 0.5, (6, 4)),
        "bias0": rng.normal(0, 1, 4),
        "weight1": rng.normal(0, 0.5, (4, 2)),
    }
    np.savez(folder / "weights.npz", **arrays)
    (folder / "small.toml").write_text(SMALL)
    pt = rng.exponential(60, (EVENTS, 3)).astype(np.int16)
    angle = rng.integers(-200, 200, (EVENTS, 2)).astype(np.int16)
    phi = rng.integers(0, 700, EVENTS).astype(np.int16)
    inputs = np.column_stack([pt[:, 0], angle[:, 0], pt[:, 1], angle[:, 1], pt[:, 2], phi])
    np.savez(folder / "events.npz", inputs=inputs, pu=rng.uniform(20, 60, EVENTS))
    return folder


@pytest.fixture(scope="module")
def package(folder: Path) -> Path:
    out = folder / "small.driftd"
    said = driftd("import", folder / "small.toml", "--events", folder / "events.npz", "--out", out)
    assert said.exit_code == 0, said.output
    return out


def test_an_imported_package_has_the_reference_of_its_events(package: Path) -> None:
    """Cuts are the codes that come nearest to the target rates; the nominal payload has them."""
    loaded = Package.load(package)
    reference = Reference.from_bytes(loaded.reference)
    assert reference.m == EVENTS
    assert reference.target_rates == pytest.approx([0.05, 0.01], rel=0.1)
    assert loaded.nominal.raw("cuts").tolist() == list(reference.binning.cuts)
    with np.load(package.parent / "events.npz") as events:
        accepts = Emulator(loaded.model).run(events["inputs"], loaded.nominal).accepts
    assert accepts.mean(axis=0) == pytest.approx(reference.target_rates, abs=1e-3)
    assert loaded.lineage["events"].keys() == {"events.npz"}


def test_the_golden_events_are_corners_and_events_of_the_sample(package: Path) -> None:
    loaded = Package.load(package)
    model, golden = loaded.model, loaded.golden_events
    low, high = model.limits
    assert len(golden) == 2048
    assert {tuple(low), tuple(high), (0,) * 6} <= {tuple(event) for event in golden.tolist()}
    assert ((golden == low).sum(axis=0) > 1).all()
    assert ((golden == high).sum(axis=0) > 1).all()
    with np.load(package.parent / "events.npz") as events:
        sample = {tuple(event) for event in events["inputs"].tolist()}
    assert sum(tuple(event) in sample for event in golden.tolist()) > 1500


def test_the_same_source_and_events_give_the_same_package(folder: Path, package: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.driftd"
    weights = "--weights", folder / "weights.npz"
    driftd("import", folder / "small.toml", "--events", folder / "events.npz", "--out", out, *weights)
    assert out.read_bytes() == package.read_bytes()


def test_given_cuts_keep_their_codes_and_pileup_makes_slices(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "cuts.driftd"
    cuts = "--cut", 30000, "--cut", 60000
    slices = "--pileup", "pu", "--pileup-slices", 4
    said = driftd("import", folder / "small.toml", "--events", folder / "events.npz", "--out", out, *cuts, *slices)
    assert said.exit_code == 0, said.output
    loaded = Package.load(out)
    reference = Reference.from_bytes(loaded.reference)
    assert loaded.nominal.raw("cuts").tolist() == [30000, 60000]
    assert reference.slice_counts.sum(axis=1) == pytest.approx([EVENTS / 4] * 4, rel=0.02)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the outside data are absent: no folder {DATA}")
def test_axol1tl_v4_is_imported_and_meets_every_published_score(tmp_path: Path) -> None:
    spec, out = tmp_path / "v4.toml", tmp_path / "v4.driftd"
    spec.write_text(AXOL1TL_V4)
    said = driftd("import", spec, "--weights", DATA / "axol1tl_v4_weights.npz", "--generated", 30_000, "--out", out)
    assert said.exit_code == 0, said.output
    loaded = Package.load(out)
    assert Reference.from_bytes(loaded.reference).pileup_edges is not None
    emulator = Emulator(loaded.model)
    with np.load(DATA / "axol1tl_v4_golden.npz") as golden:
        for orbit in ("2024_v1_3_0_data_000", "Collisions2025_v1_0_0_data_000"):
            words = emulator.run(golden[f"{orbit}/inputs"], loaded.nominal)
            assert (words.codes != golden[f"{orbit}/score_x16"]).sum() == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--generated", 1000], 78, "the generator makes 57 inputs .* not those of small: give events of files"),
        (["--events", "absent.npz"], 65, "absent.npz: No such file"),
        (["--events", "events.npz", "--inputs", "pu"], 65, "column 'pu' holds float64: expected hardware integers"),
        (["--events", "events.npz", "--inputs", "x"], 65, "no column x; there is inputs, pu"),
        (["--events", "wide.npz"], 65, "wide.npz, rows from 0 on: event 3: jet0_pt = 3000 is outside ap_uint<11>"),
        (["--events", "events.npz", "--name", "no name"], 78, "name: String should match"),
        (["--events", "events.npz", "--weights", "events.npz"], 78, "no array 'weight0' in .*events.npz"),
        (["--events", "events.npz", "--pileup-slices", 3], 65, "pile-up slices need a column of pile-up"),
        ([], 2, "give either --events FILE or --generated N"),
    ],
)
def test_what_cannot_be_imported_is_said_and_nothing_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[object], code: int, message: str
) -> None:
    monkeypatch.chdir(folder)
    with np.load("events.npz") as events:
        wide = events["inputs"][:10].copy()
    wide[3, 0] = 3000
    np.savez("wide.npz", inputs=wide)
    said = driftd("import", "small.toml", "--out", tmp_path / "out.driftd", *options)
    assert said.exit_code == code, said.output
    assert re.search(message, said.output), said.output
    assert not (tmp_path / "out.driftd").exists()


def test_features_wider_than_events_carry_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    spec = folder / "wide.toml"
    spec.write_text(SMALL.replace("uint<12>", "uint<16>"))
    said = driftd("import", spec, "--events", folder / "events.npz", "--out", tmp_path / "out.driftd")
    assert said.exit_code == 78
    assert "met_pt is ap_uint<16>, but events carry inputs from -32768 to 32767" in said.output


def test_a_package_is_verified_in_every_execution(package: Path, tmp_path: Path) -> None:
    said = driftd("verify", package, "--cache", tmp_path, "--json")
    assert said.exit_code == 0, said.output
    found = json.loads(said.output)
    have = {"numpy": True, "compiled": compiler() is not None, "verilated": Verilator.find() is not None}
    expected = [name for name, there in have.items() if there and (name != "verilated" or have["compiled"])]
    assert list(found["executions"]) == expected
    for name in expected:
        words = 2048 if name == "numpy" else 2048 * (2 + 2 + 2)
        assert found["executions"][name] == {"words": words, "mismatches": []}


def test_golden_codes_that_the_model_does_not_give_are_named(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTD_CXX", "none")
    loaded = Package.load(package)
    codes = loaded.golden_codes.copy()
    codes[[3, 70]] += 1
    wrong = tmp_path / "wrong.driftd"
    replace(loaded, golden_codes=codes).save(wrong)
    said = driftd("verify", wrong, "--cache", tmp_path)
    assert said.exit_code == 1
    assert f"event 3: codes is {codes[3] - 1}, the package has {codes[3]}" in said.output
    assert "2,048 words compared, 2 differ" in said.output
    assert "compiled   was skipped: no C++ compiler" in said.output


@pytest.mark.parametrize("verb", [["inspect"], ["verify"], ["export", "--out", "x"], ["diff", "small.driftd"]])
def test_a_changed_byte_is_found_by_every_verb_and_named(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]
) -> None:
    monkeypatch.chdir(package.parent)
    data = bytearray(package.read_bytes())
    with zipfile.ZipFile(package) as archive:
        data[archive.getinfo("nominal.bin").header_offset + 30 + len("nominal.bin") + 9] ^= 1
    bad = tmp_path / "bad.driftd"
    bad.write_bytes(data)
    name, *rest = verb
    said = driftd(name, bad, *rest)
    assert said.exit_code == 1
    assert "member nominal.bin is changed" in said.output


def test_packages_that_differ_are_told_apart_by_name(package: Path, tmp_path: Path) -> None:
    loaded = Package.load(package)
    same = driftd("diff", package, package)
    assert (same.exit_code, same.output) == (0, "")
    other = tmp_path / "other.driftd"
    cuts = loaded.nominal.raw("cuts") + np.array([0, 4])
    replace(loaded, nominal=loaded.nominal.replace(cuts=cuts), lineage={"specification": "x"}).save(other)
    said = driftd("diff", package, other)
    assert said.exit_code == 1
    assert f"nominal.cuts: 1 of 2 differ, the first [1]: {cuts[1] - 4} → {cuts[1]}\n" in said.output
    assert "lineage.specification: " in said.output
    assert "model" not in said.output


def test_models_and_references_that_differ_are_told_apart_by_name(folder: Path, package: Path, tmp_path: Path) -> None:
    spec, other = folder / "other.toml", tmp_path / "other.driftd"
    spec.write_text(SMALL.replace("ufixed<8,5,TRN,SAT>", "ufixed<8,5,RND,SAT>").replace("phi =", "psi ="))
    with np.load(folder / "weights.npz") as w:
        arrays = dict(w)
    arrays["weight1"][2, 1] += 1
    np.savez(tmp_path / "weights.npz", **arrays)
    weights = "--weights", tmp_path / "weights.npz"
    driftd("import", spec, "--events", folder / "events.npz", "--out", other, "--target-rate", 0.02, *weights)
    said = driftd("diff", package, other)
    assert said.exit_code == 1
    for line in (
        "model.features.5.kind: phi → psi",
        "model.layers.0.result_type: ap_ufixed<8,5,AP_TRN,AP_SAT> → ap_ufixed<8,5,AP_RND,AP_SAT>",
        "model.n_cuts: 2 → 1",
        "layers.1.weight: 1 of 8 differ, the first [2, 1]: ",
        "reference.target_rates: ",
    ):
        assert line in said.output


@pytest.mark.parametrize("name", FORMATS)
def test_a_board_that_answers_what_was_played_is_verified_by_its_capture(
    package: Path, tmp_path: Path, name: str
) -> None:
    """The played file holds the golden events; the expected answers, a few frames late, are a good capture."""
    files = tmp_path / "in.txt", tmp_path / "out.txt"
    said = driftd("patterns", package, "--format", name, "--out", files[0], "--expected", files[1], "--first", 100)
    assert said.exit_code == 0, said.output
    assert "link 0, frame 0, bits 10:0  jet0_pt ap_uint<11>" in said.output
    loaded = Package.load(package)
    format, pattern = read(files[0])
    events = Packing.of_events(loaded.model, format).raws(pattern)
    np.testing.assert_array_equal(events, loaded.golden_events[100 : 100 + format.crossings])
    _, answers = read(files[1])
    late = Pattern("board", {link: (Frame(),) * 5 + frames for link, frames in answers.links.items()})
    captured = tmp_path / "captured.txt"
    captured.write_text(text(late, format))
    said = driftd("verify", package, "--captured", captured, "--first", 100)
    assert said.exit_code == 0, said.output
    assert f"{3 * format.crossings} words compared, 0 differ" in said.output


def test_a_capture_with_a_wrong_word_is_named_by_event_and_field(package: Path, tmp_path: Path) -> None:
    files = tmp_path / "in.txt", tmp_path / "out.txt"
    driftd("patterns", package, "--out", files[0], "--expected", files[1], "--events", 20)
    _, answers = read(files[1])
    frames = [*answers.links[0]]
    code = frames[9 * 12].data & (1 << 17) - 1
    frames[9 * 12] = replace(frames[9 * 12], data=frames[9 * 12].data ^ 1)
    files[1].write_text(text(Pattern("board", {0: tuple(frames)}), EMPV2))
    said = driftd("verify", package, "--captured", files[1])
    assert said.exit_code == 1
    assert f"event 12: code is {code ^ 1}, expected {code}" in said.output
    assert "60 words compared, 1 differ" in said.output


def test_an_export_names_its_header(package: Path, tmp_path: Path) -> None:
    said = driftd("export", package, "--out", tmp_path / "emulator")
    assert said.exit_code == 0, said.output
    assert "driftd_emulator.h says how" in said.output
    assert Package.load(package).model.id in (tmp_path / "emulator" / "driftd_emulator.h").read_text()


def test_inspect_says_what_is_there(package: Path) -> None:
    said = driftd("inspect", package)
    assert said.exit_code == 0
    assert "network    6 → 4 → 2, sum_of_squares" in said.output
    assert "target rates [0.0" in said.output
