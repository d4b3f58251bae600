import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from firmware.datapath.compiled import CompiledDatapath
from firmware.datapath.cpp import spelling
from firmware.datapath.emulator import Emulator
from firmware.errors import CompilationError, CompilerMissing, ModelError, PayloadError
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.tools.compiler import compiler
from tests.support.builds import built
from tests.support.networks import differences, extreme_weights, odd_models, random_casts, random_raws
from tests.support.places import ROOT

Drawn = Callable[[Model, int, int], np.ndarray]

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")


@pytest.fixture(scope="session")
def compiled(model: Model, built_datapaths: Path) -> CompiledDatapath:
    return CompiledDatapath(model, built_datapaths)


@needs_compiler
def test_both_datapaths_agree_on_every_word_under_the_nominal_payload(
    model: Model, compiled: CompiledDatapath, nominal: Payload, random_events: Drawn
) -> None:
    events = random_events(model, 40_000, 10)
    words = compiled.run(events, nominal)
    assert differences(words, Emulator(model).run(events, nominal)) == [0, 0, 0, 0]
    assert len(np.unique(words.codes)) > 10_000


@needs_compiler
def test_both_datapaths_agree_on_every_word_under_random_payloads(
    model: Model,
    compiled: CompiledDatapath,
    random_events: Drawn,
    random_payload: Callable[[Model, int], Payload],
) -> None:
    emulator = Emulator(model)
    seen = 0
    for seed in range(20):
        events, payload = random_events(model, 4000, seed), random_payload(model, seed)
        words = compiled.run(events, payload)
        assert differences(words, emulator.run(events, payload)) == [0, 0, 0, 0], seed
        seen += len(np.unique(words.codes)) > 100
    assert seen > 10


@needs_compiler
@pytest.mark.parametrize("low", [0, 1 << 13, (1 << 16) - 3])
def test_both_datapaths_agree_on_every_word_whatever_the_scales_of_rings_and_inputs(
    model: Model, compiled: CompiledDatapath, nominal: Payload, random_events: Drawn, low: int
) -> None:
    """From `low` to the largest number of the registers, 3.9999: from there the product saturates in every ring."""
    events, random = random_events(model, 10_000, 15), np.random.default_rng(low)
    names = ("input_scale", "ring_scale")
    payload = nominal.replace(**{name: random.integers(low, 1 << 16, model.layout[name].size) for name in names})
    words = compiled.run(events, payload)
    assert differences(words, Emulator(model).run(events, payload)) == [0, 0, 0, 0]
    assert len(np.unique(words.codes)) > 1000


@needs_compiler
@pytest.mark.parametrize("code", [4095, 4096])
def test_both_datapaths_agree_at_the_end_of_the_lut_and_at_a_cut(
    model: Model, compiled: CompiledDatapath, nominal: Payload, random_events: Drawn, code: int
) -> None:
    events = random_events(model, 1, 14)
    payload = nominal.replace(output_scale=0, output_offset=code, lut=[4096] * 4096, cuts=[4095, 4096, 4097, 0, 9])
    words = compiled.run(events, payload)
    assert differences(words, Emulator(model).run(events, payload)) == [0, 0, 0, 0]
    assert words.codes.tolist() == [4096]
    assert words.accepts.tolist() == [[True, True, False, True, True]]


@needs_compiler
def test_the_compiled_datapath_gives_the_published_scores_of_axol1tl_v4(
    v4: Model, built_datapaths: Path, shared_data: Path
) -> None:
    compiled = CompiledDatapath(v4, built_datapaths)
    with np.load(shared_data / "axol1tl_v4_golden.npz") as golden:
        for orbit in ("2024_v1_3_0_data_000", "Collisions2025_v1_0_0_data_000"):
            words = compiled.run(golden[f"{orbit}/inputs"], Payload.nominal(v4, np.full(5, 346)))
            assert (words.codes != golden[f"{orbit}/score_x16"]).sum() == 0


@needs_compiler
@pytest.mark.parametrize("name", odd_models())
def test_both_datapaths_agree_on_other_networks(
    name: str, built_datapaths: Path, random_events: Drawn, random_payload: Callable[[Model, int], Payload]
) -> None:
    model = odd_models()[name]
    compiled, emulator = CompiledDatapath(model, built_datapaths), Emulator(model)
    for seed in range(10):
        events, payload = random_events(model, 2000, seed), random_payload(model, seed)
        words = compiled.run(events, payload)
        assert differences(words, emulator.run(events, payload)) == [0, 0, 0, 0], seed
    words = compiled.run(events, Payload.nominal(model, np.full(model.n_cuts, 100)))
    assert len(np.unique(words.codes)) > 100


@needs_compiler
@pytest.mark.parametrize("name", ["weights", "unsigned weights"])
def test_both_datapaths_agree_on_every_word_whatever_the_weights(
    name: str, built_datapaths: Path, random_events: Drawn
) -> None:
    model = odd_models()[name]
    compiled, emulator, events = (
        CompiledDatapath(model, built_datapaths),
        Emulator(model),
        random_events(model, 2000, 3),
    )
    for payload in extreme_weights(model):
        assert differences(compiled.run(events, payload), emulator.run(events, payload)) == [0, 0, 0, 0]


@needs_compiler
def test_the_compiled_datapath_refuses_what_the_emulator_refuses(
    model: Model, compiled: CompiledDatapath, nominal: Payload
) -> None:
    with pytest.raises(ModelError, match="met_pt = 5000"):
        compiled.run(np.full((1, 57), 5000), nominal)
    with pytest.raises(PayloadError, match=f"not for {model.id}"):
        compiled.run(np.zeros((1, 57), int), Payload.nominal(replace(model, name="other"), [0] * 5))


USE = """
import json, sys
from pathlib import Path
import numpy as np
from firmware.datapath.compiled import CompiledDatapath
from firmware.model.model import Model
description, arrays = json.loads(Path(sys.argv[1]).read_text())
model = Model.from_arrays(description, {name: np.array(array) for name, array in arrays.items()})
CompiledDatapath(model, Path(sys.argv[2]))
print(*sorted({"hls4ml", "torch"} & sys.modules.keys()))
"""


def use(model_file: Path, directory: Path, **environment: str) -> subprocess.Popen[str]:
    """Another process that opens the datapath of a model and tells what it had to import."""
    return subprocess.Popen(
        [sys.executable, "-c", USE, str(model_file), str(directory)],
        env={**os.environ, **environment},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def small_model_file(tmp_path: Path) -> Path:
    description, arrays = odd_models()["distance"].to_arrays()
    path = tmp_path / "model.json"
    path.write_text(json.dumps([description, {name: array.tolist() for name, array in arrays.items()}]))
    return path


@needs_compiler
def test_two_processes_may_build_at_once_quietly_and_later_ones_need_no_tools(
    small_model_file: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "new" / "cache"
    builders = [use(small_model_file, directory) for _ in range(2)]
    outcomes = [(*builder.communicate(timeout=120), builder.returncode) for builder in builders]
    assert outcomes == [("hls4ml\n", "", 0)] * 2
    assert [path.suffix for path in directory.iterdir()] == [".so"]
    later = use(small_model_file, directory, DRIFTD_CXX="none")
    assert (*later.communicate(timeout=60), later.returncode) == ("\n", "", 0)


def test_without_a_compiler_and_without_a_library_there_is_no_datapath(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTD_CXX", "none")
    assert compiler() is None
    with pytest.raises(CompilerMissing, match="install g\\+\\+ or name one in DRIFTD_CXX"):
        CompiledDatapath(model, tmp_path)


def test_a_failing_compiler_leaves_nothing_behind(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTD_CXX", "false")
    with pytest.raises(CompilationError, match="false failed on the datapath of random"):
        CompiledDatapath(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


CASTS = """
#include "ap_fixed.h"
#include <cstddef>
#include <cstdint>

template <class From, class To, class Bits> static void cast(const int64_t *in, int64_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        From from;
        from.range() = ap_int<64>(in[i]);
        To to = from;
        Bits bits = to.range();
        out[i] = bits.to_int64();
    }
}

template <class To, class Bits> static void quantize(const double *in, int64_t *out, size_t n) {
    for (size_t i = 0; i < n; i++) {
        To to = in[i];
        Bits bits = to.range();
        out[i] = bits.to_int64();
    }
}

extern "C" {
"""


@needs_compiler
def test_casts_are_those_of_the_ap_types_headers(tmp_path: Path) -> None:
    casts = random_casts()
    spec = find_spec("hls4ml")
    assert spec is not None
    assert spec.origin is not None
    headers = Path(spec.origin).parent / "templates/vivado/ap_types"
    functions = []
    for i, (source, target) in enumerate(casts):
        bits = Fixed(target.width, target.width, target.signed)
        functions.append(
            f"void cast{i}(const int64_t *in, int64_t *out, size_t n)"
            f"{{ cast<{spelling(source)}, {spelling(target)}, {bits}>(in, out, n); }}\n"
            f"void quantize{i}(const double *in, int64_t *out, size_t n)"
            f"{{ quantize<{spelling(target)}, {bits}>(in, out, n); }}\n"
        )
    source_file = tmp_path / "casts.cpp"
    source_file.write_text(CASTS + "".join(functions) + "}")
    options = ["-std=c++17", "-O0", "-DNDEBUG", "-w", "-fPIC", "-shared", f"-I{headers}"]
    content = [source_file.read_bytes(), *(path.read_bytes() for path in sorted(headers.rglob("*.h")))]
    library = ctypes.CDLL(
        str(
            built(
                "casts.so",
                content,
                lambda path: subprocess.run([str(compiler()), *options, "-o", path, source_file], check=True),
            )
        )
    )

    rng = np.random.default_rng(13)
    for i, (source, target) in enumerate(casts):
        raw = random_raws(rng, source, target)
        reference = np.empty_like(raw)
        library[f"cast{i}"](*pointers(raw, reference), ctypes.c_size_t(raw.size))
        assert (target.cast(raw, source.frac) == reference).all(), f"{source} to {target}"

        values = np.concatenate([source.value(raw), (rng.integers(-999, 999, 200) + 0.5) * target.lsb])
        reference = np.empty(values.size, dtype=np.int64)
        library[f"quantize{i}"](*pointers(values, reference), ctypes.c_size_t(values.size))
        assert (target.quantize(values) == reference).all(), f"doubles to {target}"


def pointers(*arrays: np.ndarray) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]
