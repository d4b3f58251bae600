import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from firmware.board.addresses import address_table
from firmware.board.nodes import parse_table
from firmware.datapath.emulator import Emulator
from firmware.datapath.export import export
from firmware.errors import PackageError
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.model.payload import Payload
from firmware.tools.compiler import compiler
from firmware.tools.verilator import Verilator
from tests.support.builds import built

Drawn = Callable[[Model, int, int], np.ndarray]

needs_make = pytest.mark.skipif(
    compiler() is None or shutil.which("make") is None or shutil.which("gcc") is None, reason="no g++, gcc or make"
)

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include "driftd_emulator.h"

static void *contents(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(*bytes);
    if (fread(data, 1, *bytes, file) != *bytes)
        exit(3);
    fclose(file);
    return data;
}

int main(void) {
    size_t bytes, differ = 0, accepted = 0;
    int32_t *events = contents("golden_events.bin", &bytes);
    size_t n = bytes / sizeof *events / DRIFTD_N_FEATURES;
    uint32_t *golden = contents("golden_codes.bin", &bytes);
    uint32_t *nominal = contents("nominal.bin", &bytes);
    uint32_t *codes = malloc(n * sizeof *codes), *core = malloc(n * sizeof *core);
    int64_t *latents = malloc(n * DRIFTD_N_LATENT * sizeof *latents);
    uint8_t *accepts = malloc(n * DRIFTD_N_CUTS);
    if (bytes != sizeof driftd_nominal || driftd_emulate(events, n, driftd_nominal, codes, core, latents, accepts) != n)
        return 2;
    for (size_t i = 0; i < n; i++)
        differ += codes[i] != golden[i] || core[i] != golden[i];
    for (size_t i = 0; i < DRIFTD_N_REGISTERS; i++)
        differ += nominal[i] != driftd_nominal[i];
    for (size_t i = 0; i < n * DRIFTD_N_CUTS; i++)
        accepted += accepts[i];
    events[7 * DRIFTD_N_FEATURES] = 1 << 20;
    size_t refused = driftd_emulate(events, n, driftd_nominal, codes, core, latents, accepts);
    printf("%s %zu %zu %zu %zu\n", DRIFTD_MODEL_ID, n, differ, accepted, refused);
    return differ != 0;
}
"""


def package_of(model: Model, nominal: Payload, events: np.ndarray) -> Package:
    return Package(
        model=model,
        nominal=nominal,
        address_table=address_table([("axol1tl", model.layout, model.n_cuts)]),
        reference=b"",
        golden_events=events.astype(np.int16),
        golden_codes=Emulator(model).codes(events, nominal),
        lineage={},
    )


@pytest.fixture(scope="module")
def exported(
    model: Model, nominal: Payload, random_events: Drawn, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Package, Path]:
    folder = tmp_path_factory.mktemp("export")
    package = package_of(model, nominal, random_events(model, 3000, 41))
    export(package, folder)
    return package, folder


def make(folder: Path) -> Path:
    """The library that the folder's Makefile builds, in the folder."""
    library = folder / "libdriftd_emulator.so"

    def run(path: Path) -> None:
        subprocess.run(["make", "-s", "-C", folder, f"CXX={compiler()}", "CXXFLAGS=-O1"], check=True)
        shutil.copy(library, path)

    if library.exists():
        return library
    sources = sorted(path for path in folder.rglob("*") if path.suffix in (".cpp", ".h") or path.name == "Makefile")
    found = built("exported.so", (path.read_bytes() for path in sources), run)
    if not library.exists():
        shutil.copy(found, library)
    return library


@needs_make
def test_a_c_program_gets_every_golden_word_from_the_library(exported: tuple[Package, Path]) -> None:
    """Sources, Makefile and header of the folder alone, away from this project and from hls4ml."""
    package, folder = exported
    (folder / "use.c").write_text(PROGRAM)
    make(folder)
    link = ["-L.", "-ldriftd_emulator", "-Wl,-rpath,$ORIGIN"]
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-o", "use", "use.c", *link], cwd=folder, check=True)
    said = subprocess.run(["./use"], cwd=folder, check=False, capture_output=True, text=True)
    accepts = Emulator(package.model).run(package.golden_events, package.nominal).accepts
    assert said.stdout.split() == [package.model.id, "3000", "0", str(accepts.sum()), "7"]
    assert said.returncode == 0
    assert accepts.any()


@needs_make
def test_the_library_takes_other_registers_and_gives_every_word(
    exported: tuple[Package, Path], random_payload: Callable[[Model, int], Payload]
) -> None:
    package, folder = exported
    emulate = ctypes.CDLL(str(make(folder))).driftd_emulate
    emulate.restype = ctypes.c_size_t
    model, events = package.model, package.golden_events.astype(np.int32)
    n = len(events)
    for seed in range(3):
        payload = random_payload(model, seed)
        arrays = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty((n, 8), np.int64), np.empty((n, 5), np.bool_)
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in (events, payload.words, *arrays)]
        assert emulate(pointers[0], ctypes.c_size_t(n), *pointers[1:]) == n
        words = Emulator(model).run(events, payload)
        for got, part in zip(arrays, ("codes", "core_codes", "latent", "accepts"), strict=True):
            np.testing.assert_array_equal(got, getattr(words, part))


def test_nothing_in_the_folder_points_out_of_it(exported: tuple[Package, Path]) -> None:
    _, folder = exported
    sources = [path for path in folder.rglob("*") if path.suffix in (".cpp", ".h", ".sv", ".json", ".xml")]
    assert len(sources) > 40
    for path in [*sources, folder / "Makefile"]:
        text = path.read_text(errors="replace")
        assert str(folder) not in text
        assert "site-packages" not in text
    assert (folder / "firmware" / "ap_types" / "ap_fixed.h").exists()


def test_the_address_table_and_the_payload_are_the_packages(exported: tuple[Package, Path]) -> None:
    package, folder = exported
    assert (folder / "nominal.bin").read_bytes() == package.nominal.to_bytes()
    assert parse_table((folder / "address_table.xml").read_text()) == parse_table(package.address_table)


@pytest.mark.skipif(Verilator.find() is None, reason="no Verilator")
def test_the_rtl_is_whole(exported: tuple[Package, Path]) -> None:
    sources = sorted((exported[1] / "rtl").glob("*.sv"))
    assert Verilator.get().lint(sources, "datapath") == ""


def test_a_folder_that_is_not_empty_is_left_alone(exported: tuple[Package, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(PackageError, match="is not empty: name another folder"):
        export(exported[0], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
