"""The registers of one stream and its datapath in SystemVerilog, run by Verilator."""

import ctypes
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware.board.register_map import ACTIVE, GENERATION
from firmware.errors import BusError
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import datapath, top
from firmware.sim.bank import Counts
from firmware.tools import verilator
from firmware.tools.compiler import processor
from firmware.tools.verilator import Verilator

CLOCK = top.HERE / "clock.cpp"


class RtlBank:
    """A drop-in for `Bank` that decides by itself: registers, preview and counters are those of the hardware.

    A block that leaves the registers is written up to there, as on a real bus. The hardware is built once for a
    nominal payload, and kept in `directory`. Several threads may use it.

    Raises:
        VerilatorMissing: if it must be built and there is no Verilator.
        CompilationError: if the build fails.
    """

    def __init__(self, model: Model, nominal: Payload, directory: Path) -> None:
        self._model = model
        self._lock = Lock()
        self._hardware = ctypes.CDLL(str(_library(model, nominal, directory.resolve())))
        self._hardware.driftd_create.restype = ctypes.c_void_p
        self._hardware.driftd_access.restype = ctypes.c_size_t
        self._stream = ctypes.c_void_p(self._hardware.driftd_create())
        self.boot()

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self._hardware.driftd_destroy(self._stream)

    @property
    def generation(self) -> int:
        """The active generation, as its register says."""
        return self.read(GENERATION, 1)[0]

    @property
    def active(self) -> Payload:
        """The payload that the words of the active bank make."""
        layout = self._model.layout
        words = np.array(self.read(ACTIVE, layout.n_words), np.uint32)
        return Payload.from_registers(layout, self._model.id, words)

    def boot(self) -> None:
        """Reset: nominal registers, generation 0, counters cleared."""
        with self._lock:
            self._hardware.driftd_boot(self._stream)

    def begin_ls(self, ls: int) -> None:
        """Start lumi section `ls`, with the armed registers if their time has come."""
        with self._lock:
            self._hardware.driftd_begin_ls(self._stream, ctypes.c_uint32(ls))

    def end_ls(self, counts: Counts) -> None:
        """End the lumi section: the hardware publishes its own counts, beside what the publisher dropped."""
        with self._lock:
            self._hardware.driftd_end_ls(self._stream, ctypes.c_uint32(counts.dropped))

    def decide(self, events: npt.NDArray[Any], lock: RLock) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        """Codes (n,) and accept bits (n, n_cuts) of events (n, n_features), the last of which counts nowhere.

        Raises:
            ModelError: if the events have a wrong shape or a number that its feature cannot take.
        """
        self._model.check_events(events)
        events = np.ascontiguousarray(events, np.int32)
        n = len(events)
        codes, accepts = np.empty(n, np.uint32), np.empty(n, np.uint32)
        with self._lock:
            self._hardware.driftd_decide(
                self._stream,
                _pointer(events),
                ctypes.c_size_t(n),
                ctypes.c_size_t(n - 1),
                _pointer(codes),
                _pointer(accepts),
            )
        return codes, (accepts[:, None] >> np.arange(self._model.n_cuts) & 1).astype(np.bool_)

    def read(self, offset: int, n: int) -> Sequence[int]:
        """n words from `offset` on.

        Raises:
            BusError: if one of them is no readable register.
        """
        words = np.empty(n, np.uint32)
        if self._access(False, offset, words) < n:
            raise BusError(f"{n} words at {offset:#x} are not readable")
        read: list[int] = words.tolist()
        return read

    def write(self, offset: int, words: Sequence[int]) -> None:
        """Write words from `offset` on, up to the first that the hardware refuses.

        Raises:
            BusError: if one of them is no writable register.
        """
        if self._access(True, offset, np.array(words, np.uint32)) < len(words):
            raise BusError(f"{len(words)} words at {offset:#x} are not writable")

    def _access(self, write: bool, offset: int, words: npt.NDArray[np.uint32]) -> int:
        """Words that went over the bus."""
        with self._lock:
            done: int = self._hardware.driftd_access(
                self._stream,
                ctypes.c_bool(write),
                ctypes.c_uint32(offset),
                _pointer(words),
                ctypes.c_size_t(len(words)),
            )
        return done


def _library(model: Model, nominal: Payload, directory: Path) -> Path:
    """The hardware with this image, built where it is not there yet."""
    program = Verilator.get()
    with tempfile.TemporaryDirectory() as name:
        sources = top.write(model, nominal, Path(name))
        digest = hashlib.sha256(f"{program.version} {processor()}".encode())
        for file in (*sources, CLOCK, Path(verilator.__file__)):
            digest.update(file.read_bytes())
        library = directory / f"{model.id[:16]}-{digest.hexdigest()[:16]}-bank.so"
        if not library.exists():
            sizes = datapath.sizes(model)
            defines = {"N_FEATURES": sizes.n_features, "INPUT_WIDTH": sizes.input_width, "LATENCY": sizes.latency}
            program.build(sources, top.NAME, CLOCK, defines, library)
    return library


def _pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
