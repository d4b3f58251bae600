"""The datapath in C++: hls4ml's core, or conifer's, with registers, score, LUT and cuts on `ap_types` around it."""

import ctypes
import hashlib
import importlib.metadata
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firmware.datapath import cpp
from firmware.datapath.cpp import source, spelling
from firmware.datapath.emulator import Answers, check_payload
from firmware.extras import needed
from firmware.model.fixed import Fixed
from firmware.model.model import Model
from firmware.model.parts import Registers
from firmware.model.payload import Payload
from firmware.tools import compiler
from firmware.tools.compiler import compile_cpp, needed_compiler, processor

INCLUDES = ("-I.", "-Ifirmware", "-Ifirmware/ap_types")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-DNDEBUG", "-fPIC", "-shared", "-fvisibility=hidden", "-w")
PROJECT = "core"


class CompiledDatapath:
    """Runs events through the C++ datapath of a model, which it builds once and keeps in `directory`.

    Raises:
        CompilerMissing: if it must be built and there is no compiler.
        CompilationError: if the compiler fails.
    """

    def __init__(self, model: Model, directory: Path) -> None:
        self.model = model
        library = directory.resolve() / f"{model.id[:16]}-{_recipe(model)}.so"
        if not library.exists():
            _build(model, library)
        self._run = ctypes.CDLL(str(library)).driftd_run
        self._run.restype = None

    def run(self, events: NDArray[Any], payload: Payload) -> Answers:
        """The same words as `Emulator.run`, for the same arguments and with the same errors."""
        model, n = self.model, len(events)
        check_payload(model, payload)
        model.check_events(events)
        events = np.ascontiguousarray(events, dtype=np.int32)
        codes, core_codes = np.empty(n, np.uint32), np.empty(n, np.uint32)
        latent = np.empty((n, model.n_latent), np.int64)
        accepts = np.empty((n, model.n_cuts), np.bool_)
        self._run(
            _pointer(events),
            ctypes.c_size_t(n),
            _pointer(payload.words),
            *map(_pointer, (codes, core_codes, latent, accepts)),
        )
        return Answers(codes, core_codes, latent, accepts)


def _pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _recipe(model: Model) -> str:
    """What a library depends on besides its model: hls4ml, conifer for a forest, the processor and our code."""
    with needed("forests"):
        versions = [importlib.metadata.version(package) for package in ("hls4ml", *["conifer"] * bool(model.forest))]
    digest = hashlib.sha256(f"{versions} {processor()}".encode())
    for source_file in (__file__, cpp.__file__, compiler.__file__):
        digest.update(Path(source_file).read_bytes())
    return digest.hexdigest()[:16]


def _build(model: Model, library: Path) -> None:
    """Write the project aside, compile it, and move the library into its place in one step."""
    cxx = needed_compiler()
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as name:
        project = Path(name)
        ports = write_core(model, project)
        (project / "datapath.cpp").write_text(source(model, PROJECT, ports))
        command = [cxx, *_FLAGS, *INCLUDES, "-o", "datapath.so", "datapath.cpp"]
        compile_cpp(command, project, f"the datapath of {model.name}")
        (project / "datapath.so").replace(library)


def write_core(model: Model, project: Path) -> list[tuple[str, str]]:
    """Let hls4ml write the core; its ports as (layout field, C++ type), in the order of its arguments.

    Of a forest that is what comes before it; conifer's unit is laid beside it.
    """
    import hls4ml

    layers = list(_layers(model))
    config = hls4ml.utils.config.create_config(
        output_dir=str(project), project_name=PROJECT, backend="Vitis", write_weights_txt=False
    )
    config["HLSConfig"] = {
        "Model": {"Precision": "ap_fixed<16,6>", "ReuseFactor": 1, "Strategy": "Latency"},
        "LayerName": {
            layer["name"]: {"Precision": {part: spelling(type) for part, type in layer.pop("types").items()}}
            for layer in layers
        },
    }
    core = hls4ml.model.ModelGraph.from_layer_list(config, layers)
    ports = {}
    for layer, weight, field in _ports(model):
        variable = core.graph[layer].weights[weight]
        hls4ml.backends.fpga.fpga_types.BramWeightVariableConverter.convert(variable)
        ports[variable.name] = (field, variable.type.name)
    core.write()
    _keep_numbers_in_registers(project / "firmware/ap_types/etc/ap_private.h")
    if model.forest is not None:
        shutil.copy(_conifer() / "backends/fpu/src/fpu.h", project / "firmware")
    return [ports[w.name] for w in core.get_weight_variables() if w.storage.lower() == "bram"]


def _ports(model: Model) -> Iterator[tuple[str, str, str]]:
    """Layer, weight of it and layout field of all that hls4ml is not to know."""
    for part in ("input", "latent") if model.forest is None else ("input",):
        yield f"{part}_registers", "scale", f"{part}_scale"
        yield f"{part}_registers", "bias", f"{part}_offset"
    if model.conditions:
        yield "dense0", "bias", "conditioning"
    if model.has_weights:
        yield f"dense{len(model.layers) - 1}", "weight", "weights"
        yield f"dense{len(model.layers) - 1}", "bias", "biases"


def _conifer() -> Path:
    """Where conifer is installed, which is not imported."""
    with needed("forests"):
        return Path(str(importlib.metadata.distribution("conifer").locate_file("conifer")))


def _keep_numbers_in_registers(header: Path) -> None:
    """Drop a `volatile` that sends every number through memory and changes no result (7 times the speed)."""
    text = header.read_text()
    header.write_text(text.replace("clearUnusedBits(void) volatile", "clearUnusedBits(void)"))


def _layers(model: Model) -> Iterator[dict[str, Any]]:
    """The core as hls4ml's layers, each with the types of its parts."""
    n, norm = model.n_features, model.normalisation
    yield {
        "class_name": "InputLayer",
        "name": "events",
        "input_shape": [n],
        "types": {"result": model.input_type},
    }
    yield _registers("input_registers", n, model.input)
    yield _affine("subtract", np.ones(n), -norm.offset, Fixed(2, 2), norm.offset_type, norm.subtract_type)
    yield _affine("shift", 2.0**-norm.shift, np.zeros(n), norm.scale_type, Fixed(1, 1), norm.shift_type)
    yield _activation("normalise", "linear", n, norm.result_type)
    if model.forest is not None:
        return
    for i, layer in enumerate(model.wired):
        n_in, n_out = layer.weight.shape
        activation = "relu" if layer.relu else "linear" if layer.sum_type else None
        yield {
            "class_name": "Dense",
            "name": f"dense{i}",
            "n_in": n_in,
            "n_out": n_out,
            "weight_data": layer.weight_type.value(layer.weight),
            "bias_data": layer.bias_type.value(layer.bias),
            "types": {
                "weight": _size(layer.weight_type),
                "bias": _size(layer.bias_type),
                "accum": layer.accum_type,
                "result": layer.linear_type if activation else layer.result_type,
            },
        }
        if activation:
            yield _activation(f"{activation}{i}", activation, n_out, layer.result_type)
    yield _registers("latent_registers", model.n_latent, model.latent)


def _registers(name: str, n: int, registers: Registers) -> dict[str, Any]:
    """A scale and an offset that become ports; hls4ml would drop a step that does nothing as written."""
    offsets = np.full(n, registers.offset_type.lsb)
    return _affine(name, np.ones(n), offsets, registers.scale_type, registers.offset_type, registers.result_type)


def _affine(
    name: str, scale: NDArray[Any], bias: NDArray[Any], scale_type: Fixed, bias_type: Fixed, result: Fixed
) -> dict[str, Any]:
    if (scale == 1).all() and (bias == 0).all():
        return _activation(name, "linear", scale.size, result)
    return {
        "class_name": "BatchNormalization",
        "name": name,
        "n_in": scale.size,
        "n_filt": -1,
        "scale_data": scale.astype(np.float64),
        "bias_data": bias.astype(np.float64),
        "types": {"scale": scale_type, "bias": bias_type, "result": result},
    }


def _activation(name: str, activation: str, n: int, result: Fixed) -> dict[str, Any]:
    return {
        "class_name": "Activation",
        "name": name,
        "activation": activation,
        "n_in": n,
        "types": {"result": result},
    }


def _size(type: Fixed) -> Fixed:
    """The type of a constant, which no mode shall change."""
    return Fixed(type.width, type.integer, type.signed)
