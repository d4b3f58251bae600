"""The emulator of a model as C++ sources with a C interface, for software that knows nothing of this project."""

import json
import shutil
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import ArrayLike

from firmware.datapath.compiled import PROJECT, write_core
from firmware.datapath.cpp import source
from firmware.errors import PackageError
from firmware.model.model import Model
from firmware.model.package import Package
from firmware.rtl import datapath as rtl

HEADER = Template("""\
/* The emulator of stream $name, model $model. */
#ifndef DRIFTD_EMULATOR_H
#define DRIFTD_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

#define DRIFTD_MODEL_ID "$model"
#define DRIFTD_N_FEATURES $n_features
#define DRIFTD_N_LATENT $n_latent
#define DRIFTD_N_CUTS $n_cuts
#define DRIFTD_N_REGISTERS $n_registers
#define DRIFTD_CODE_LSB $lsb

#ifdef __cplusplus
extern "C" {
#endif

/* The registers that change nothing, with the cuts that the model was made for. */
extern const uint32_t driftd_nominal[DRIFTD_N_REGISTERS];

/* What the firmware says about n events.
 *
 * events      hardware integers [n][DRIFTD_N_FEATURES]
 * registers   the words of a bank [DRIFTD_N_REGISTERS]
 * codes       score codes behind output registers and LUT [n]
 * core_codes  score codes before them [n]
 * latents     raws behind the latent registers [n][DRIFTD_N_LATENT]
 * accepts     1 where code >= cut [n][DRIFTD_N_CUTS]
 *
 * Returns n, or the index of the first event with a number that its feature cannot take: nothing is then written.
 * No state is kept: threads may call it at once.
 */
size_t driftd_emulate(const int32_t *events, size_t n, const uint32_t *registers, uint32_t *codes,
                      uint32_t *core_codes, int64_t *latents, uint8_t *accepts);

#ifdef __cplusplus
}
#endif

#endif
""")

EMULATOR = Template("""\
#include "driftd_emulator.h"

extern "C" void driftd_run(const int32_t *events, size_t n, const uint32_t *words, uint32_t *codes,
                           uint32_t *core_codes, int64_t *latents, uint8_t *accepts);

extern "C" {

const uint32_t driftd_nominal[DRIFTD_N_REGISTERS] = {$nominal};

static const int32_t lowest[DRIFTD_N_FEATURES] = {$lowest};
static const int32_t highest[DRIFTD_N_FEATURES] = {$highest};

size_t driftd_emulate(const int32_t *events, size_t n, const uint32_t *registers, uint32_t *codes,
                      uint32_t *core_codes, int64_t *latents, uint8_t *accepts) {
    for (size_t i = 0; i < n; i++)
        for (int j = 0; j < DRIFTD_N_FEATURES; j++) {
            int32_t number = events[i * DRIFTD_N_FEATURES + j];
            if (number < lowest[j] || number > highest[j])
                return i;
        }
    driftd_run(events, n, registers, codes, core_codes, latents, accepts);
    return n;
}
}
""")

MAKEFILE = """\
CXX ?= g++
CXXFLAGS ?= -O2

libdriftd_emulator.so: datapath.cpp emulator.cpp driftd_emulator.h
	$(CXX) -std=c++17 $(CXXFLAGS) -w -fPIC -shared -I. -Ifirmware -Ifirmware/ap_types -o $@ datapath.cpp emulator.cpp

clean:
	rm -f libdriftd_emulator.so

.PHONY: clean
"""


def export(package: Package, folder: Path) -> list[Path]:
    """Write sources, Makefile, nominal payload, golden vectors, address table and RTL into `folder`; the files.

    Of a forest there is no RTL, but its nodes as conifer's runtime loads them, and the unit's source under its licence.

    The golden vectors are little-endian arrays: events int32 [n][features], codes uint32 [n]. The C++ brings hls4ml's
    headers along and needs none that are installed.

    Raises:
        PackageError: if there is something in the folder.
    """
    model = package.model
    if folder.exists() and any(folder.iterdir()):
        raise PackageError(f"{folder} is not empty: name another folder, or empty it")
    with TemporaryDirectory() as project:
        ports = write_core(model, Path(project))
        shutil.copytree(Path(project) / "firmware", folder / "firmware")
    (folder / "datapath.cpp").write_text(source(model, PROJECT, ports))
    (folder / "emulator.cpp").write_text(_emulator(package))
    (folder / "driftd_emulator.h").write_text(_header(model))
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "address_table.xml").write_text(package.address_table)
    (folder / "model.json").write_text(json.dumps(model.to_arrays()[0], indent=1))
    (folder / "nominal.bin").write_bytes(package.nominal.to_bytes())
    (folder / "golden_events.bin").write_bytes(package.golden_events.astype("<i4").tobytes())
    (folder / "golden_codes.bin").write_bytes(package.golden_codes.astype("<u4").tobytes())
    if model.forest is not None:
        (folder / "nodes.json").write_text(model.forest.to_json())
        return _files(folder)
    (folder / "rtl").mkdir(exist_ok=True)
    for part in rtl.write(model, folder / "rtl"):
        (folder / "rtl" / part.name).write_text(part.read_text())
    return _files(folder)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _header(model: Model) -> str:
    return HEADER.substitute(
        name=model.name,
        model=model.id,
        n_features=model.n_features,
        n_latent=model.n_latent,
        n_cuts=model.n_cuts,
        n_registers=model.layout.n_words,
        lsb=model.lsb,
    )


def _emulator(package: Package) -> str:
    low, high = package.model.limits
    return EMULATOR.substitute(nominal=_list(package.nominal.words), lowest=_list(low), highest=_list(high))


def _list(numbers: ArrayLike) -> str:
    return ", ".join(map(str, np.asarray(numbers).tolist()))
