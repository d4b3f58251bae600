"""The datapath as RTL: the generated SystemVerilog in Verilator."""

import ctypes
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.datapath.emulator import Answers, check_payload
from firmware.errors import OutOfStep
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import datapath, pipeline, statements
from firmware.tools import verilator
from firmware.tools.compiler import processor
from firmware.tools.verilator import Verilator

HARNESS = Path(datapath.__file__).with_suffix(".cpp")


class VerilatedDatapath:
    """Runs events through the RTL of a model, which it builds once and keeps in `directory`.

    Raises:
        VerilatorMissing: if there is no Verilator.
        CompilerMissing: if it must be built and there is no compiler.
        CompilationError: if Verilator or the compiler fails.
    """

    def __init__(self, model: Model, directory: Path) -> None:
        self.model = model
        program = Verilator.get()
        library = directory.resolve() / f"{model.id[:16]}-{_recipe(program)}.so"
        if not library.exists():
            _build(program, model, library)
        self._run = ctypes.CDLL(str(library)).driftd_run
        self._run.restype = ctypes.c_size_t

    def run(self, events: NDArray[Any], payload: Payload) -> Answers:
        """The same words as `Emulator.run`, for the same arguments and with the same errors."""
        return self.stream(events, np.zeros(len(events), np.int8), payload, payload)

    def stream(self, events: NDArray[Any], banks: NDArray[Any], active: Payload, shadow: Payload) -> Answers:
        """One slot after the other, a clock each, every event with the bank that it goes through.

        Args:
            events: hardware integers (n, n_features).
            banks: (n,), 0 for the bank with `active`, 1 for the one with `shadow`, -1 for an empty slot, whose
                event is not valid and whose words mean nothing.

        Raises:
            OutOfStep: if an answer does not come `latency` clocks behind its event, with its bank.
        """
        model, n = self.model, len(events)
        for payload in (active, shadow):
            check_payload(model, payload)
        model.check_events(events)
        events, banks = np.ascontiguousarray(events, np.int64), np.ascontiguousarray(banks, np.int8)
        words = np.concatenate([active.words, shadow.words])
        codes, core_codes = np.empty(n, np.uint32), np.empty(n, np.uint32)
        latent, accepts = np.empty((n, model.n_latent), np.int64), np.empty((n, model.n_cuts), np.bool_)
        arrays = (words, codes, core_codes, latent, accepts)
        wrong = self._run(_pointer(events), _pointer(banks), ctypes.c_size_t(n), *map(_pointer, arrays))
        if wrong:
            raise OutOfStep(f"{wrong} of {n} slots were not answered {datapath.sizes(model).latency} clocks later")
        return Answers(codes, core_codes, latent, accepts)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _recipe(program: Verilator) -> str:
    """What a library depends on besides its model: Verilator, the processor and our code."""
    digest = hashlib.sha256(f"{program.version} {processor()}".encode())
    code = (__file__, datapath.__file__, pipeline.__file__, statements.__file__, verilator.__file__)
    for file in (HARNESS, *datapath.DATAPATH_PARTS, *map(Path, code)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _build(program: Verilator, model: Model, library: Path) -> None:
    defines = {name.upper(): size for name, size in vars(datapath.sizes(model)).items()}
    defines["LATENT_SIGNED"] = int(model.latent.result_type.signed)
    with tempfile.TemporaryDirectory() as folder:
        sources = datapath.write(model, Path(folder))
        program.build(sources, "datapath", HARNESS, defines, library)
