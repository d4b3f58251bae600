"""Projects that hls4ml has written: their types, weights and layers, as they stand in the C++.

The C++ and not the configuration says what the firmware computes, so that is what is read: `defines.h` for the types,
`parameters.h` for each layer's settings, the top function for their order, and the weights as the C++ reads them. The
arithmetic is that of hls4ml 1.3's `nnet_utils` for the backends Vivado and Vitis.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from firmware.errors import FixedPointError, ModelError, SpecificationError
from firmware.model.fixed import Fixed, Floats, Integers
from firmware.model.parts import Dense, Normalisation

CONFIGURATION = "hls4ml_config.yml"
BACKENDS = ("Vivado", "Vitis", "VivadoAccelerator")
FUNCTIONS = ("dense", "normalize", "linear", "relu")
IN_ORDER = ("DenseLatency",)
TRANSPOSED = ("DenseResource_rf_leq_nin", "DenseResource_rf_gt_nin_rem0")
"""Kernels that keep the weights as (n_out, n_in)."""
LAYERS_COMMENT = "hls-fpga-machine-learning insert layers"
"""The comment that they follow in the top function."""
ONE = Fixed(2, 2)
NOTHING = Fixed(1, 1)

_TYPEDEF = re.compile(r"typedef\s+(.+?)\s+(\w+);")
_STRUCT = re.compile(r"struct\s+(\w+)\s*:\s*nnet::\w+\s*\{(.*?)\n\};", re.DOTALL)
_SIZE = re.compile(r"static const unsigned (\w+) = (-?\d+);")
_USING = re.compile(r"using (\w+) = nnet::(?:product::)?(\w+)<")
_TOP = re.compile(r"^void \w+\(\s*(.*?)\s*\)\s*\{", re.DOTALL | re.MULTILINE)
_ARGUMENT = re.compile(r"(?:hls::stream<(\w+)>|(\w+))\s*&?\s*(\w+)(?:\[\w+\])?")
_DECLARATION = re.compile(r"(?:hls::stream<\w+>|\w+) \w+(?:\[\w+\]|\(\"\w+\"\));")
_CALL = re.compile(r"nnet::(\w+)<([^<>]*)>\(([^()]*)\);(?:\s*//\s*(\S+))?")
_ARRAY = re.compile(r"nnet::array<(.+),\s*[\d*]+>")


@dataclass(frozen=True)
class Call:
    """One layer as the top function calls it: template arguments and arguments by name."""

    name: str
    function: str
    types: tuple[str, ...]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class LayerStruct:
    """A layer's struct in `parameters.h`."""

    types: Mapping[str, str]
    sizes: Mapping[str, int]
    uses: Mapping[str, str]


@dataclass(frozen=True)
class HlsProject:
    """An hls4ml project of dense layers in a row.

    Raises:
        SpecificationError: if a file is missing or a part is not what is supported; the text names it.
    """

    folder: Path
    name: str

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The project that lies in a folder, by its `hls4ml_config.yml`; its backend must be one of `BACKENDS`."""
        settings = dict(re.findall(r"^(\w+): *(.*?) *$", _read(folder / CONFIGURATION), re.MULTILINE))
        backend = settings.get("Backend", "")
        if backend not in BACKENDS:
            raise SpecificationError(f"{folder}: written for the backend {backend}, expected {' or '.join(BACKENDS)}")
        return cls(folder, settings.get("ProjectName", ""))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all files that are read."""
        files = [*self._firmware.glob("*.h"), *self._firmware.glob("*.cpp"), *(self._firmware / "weights").iterdir()]
        found = hashlib.sha256()
        for file in sorted(files):
            found.update(f"{file.name}\n".encode() + file.read_bytes())
        return found.hexdigest()

    @cached_property
    def input_type(self) -> Fixed:
        """The type of each number that the top function takes."""
        return self._type(self._ports[0][0], "the input")

    @cached_property
    def n_inputs(self) -> int:
        """Numbers that the first layer takes."""
        return self._size(self.calls[0], "n_in")

    @cached_property
    def feature_type(self) -> Fixed:
        """The integers whose bits are those of the inputs."""
        return Fixed(self.input_type.width, self.input_type.width, self.input_type.signed)

    def normalisation(self, given: Fixed) -> Normalisation:
        """Puts the point of the inputs where the project has it, behind registers that give numbers `given`."""
        frac, zeros = self.input_type.frac, np.zeros(self.n_inputs, np.int64)
        held = Fixed(given.width, given.integer, given.signed)
        moved = Fixed(given.width, given.integer - frac, given.signed)
        result = replace(self.input_type, rounding="RND_CONV", overflow="SAT")
        return Normalisation(zeros + frac, zeros, held, moved, result)

    @cached_property
    def layers(self) -> tuple[Dense, ...]:
        """The calls as dense layers: casts and ReLU within the layer before where that is exact, else as their own."""
        layers: list[Dense] = []
        given = self.input_type
        for call in self.calls:
            result = self._type(call.types[1], call.name)
            try:
                match call.function:
                    case "dense":
                        layers.append(self._dense(call, given, result))
                    case "normalize":
                        layers.append(self._normalize(call, given, result))
                    case _:
                        _activate(layers, self._size(call, "n_in"), given, result, call.function == "relu")
            except (FixedPointError, ModelError) as error:
                raise SpecificationError(f"layer {call.name}: {error}") from error
            given = result
        return tuple(layers)

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """In the order of the top function, each on what the one before it gives."""
        found = []
        value = self._ports[0][1]
        for line in map(str.strip, self._top.partition(LAYERS_COMMENT)[2].splitlines()):
            if line == "}":
                break
            if not line or line.startswith(("#", "//", "nnet::save_layer_output")) or _DECLARATION.fullmatch(line):
                continue
            match = _CALL.fullmatch(line)
            if match is None:
                raise SpecificationError(f"{self.name}.cpp: {line!r} is no layer that is understood")
            function, types, arguments = match[1], _split(match[2]), _split(match[3])
            call = Call(match[4] or arguments[1], function, types, arguments)
            if function not in FUNCTIONS:
                raise SpecificationError(
                    f"layer {call.name}: nnet::{function} is not supported, expected one of {', '.join(FUNCTIONS)}; "
                    "where it stands last and only rises, leave it out: a cut before it selects the same events"
                )
            if arguments[0] != value:
                raise SpecificationError(f"layer {call.name} takes {arguments[0]}, expected {value}: layers in a row")
            value = arguments[1]
            found.append(call)
        if not found or value != self._ports[1][1]:
            raise SpecificationError(f"{self.name}.cpp: its layers end in {value}, expected {self._ports[1][1]}")
        return tuple(found)

    @property
    def _firmware(self) -> Path:
        return self.folder / "firmware"

    @cached_property
    def _top(self) -> str:
        return _read(self._firmware / f"{self.name}.cpp")

    @cached_property
    def _ports(self) -> list[tuple[str, str]]:
        """Type and name of the arguments of the top function: the input and the output."""
        match = _TOP.search(self._top)
        ports = [(a or b, name) for a, b, name in _ARGUMENT.findall(match[1])] if match else []
        if len(ports) != 2:
            said = ", ".join(name for _, name in ports)
            raise SpecificationError(f"{self.name}.cpp has the ports {said}: expected one input and one output")
        return ports

    @cached_property
    def _types(self) -> dict[str, str]:
        return {name: spelling for spelling, name in _TYPEDEF.findall(_read(self._firmware / "defines.h"))}

    @cached_property
    def _structs(self) -> dict[str, LayerStruct]:
        return {
            name: LayerStruct(
                {alias: of for of, alias in _TYPEDEF.findall(body)},
                {size: int(value) for size, value in _SIZE.findall(body)},
                dict(_USING.findall(body)),
            )
            for name, body in _STRUCT.findall(_read(self._firmware / "parameters.h"))
        }

    def _settings(self, call: Call) -> LayerStruct:
        try:
            return self._structs[call.types[-1]]
        except KeyError:
            raise SpecificationError(f"layer {call.name}: no struct {call.types[-1]} in parameters.h") from None

    def _size(self, call: Call, name: str) -> int:
        try:
            return self._settings(call).sizes[name]
        except KeyError:
            raise SpecificationError(f"layer {call.name}: no {name} in {call.types[-1]} of parameters.h") from None

    def _type(self, name: str, where: str) -> Fixed:
        """A typedef of `defines.h`; of a stream, what it carries."""
        spelling = self._types.get(name, name)
        array = _ARRAY.fullmatch(spelling)
        plain = re.sub(r",0>$", ">", array[1] if array else spelling)
        try:
            return Fixed.parse(plain)
        except FixedPointError as error:
            raise SpecificationError(f"layer {where}: the type {name}: {error}") from error

    def _constant(self, call: Call, argument: int, type: Fixed, size: int) -> Integers:
        name = call.arguments[argument]
        values = _weights(self._firmware / "weights", name)
        if values.size != size:
            raise SpecificationError(f"layer {call.name}: {name} holds {values.size} numbers, expected {size}")
        return type.quantize(values)

    def _parameters(self, call: Call, names: Sequence[str]) -> Iterator[Fixed]:
        types = self._settings(call).types
        return (self._type(types.get(f"{name}_t", f"{name}_t"), call.name) for name in names)

    def _dense(self, call: Call, given: Fixed, result: Fixed) -> Dense:
        settings = self._settings(call)
        n_in, n_out = self._size(call, "n_in"), self._size(call, "n_out")
        weight_type, bias_type, accum = self._parameters(call, ("weight", "bias", "accum"))
        kernel = settings.uses.get("kernel", "")
        if kernel not in (*IN_ORDER, *TRANSPOSED):
            raise SpecificationError(
                f"layer {call.name}: the kernel {kernel} is not supported: use the strategy Latency or Resource"
            )
        weight = self._constant(call, 2, weight_type, n_in * n_out)
        weight = weight.reshape(n_out, n_in).T if kernel in TRANSPOSED else weight.reshape(n_in, n_out)
        _check_product(call, settings, weight)
        bias = self._constant(call, 3, bias_type, n_out)
        layer = Dense(weight, bias, weight_type, bias_type, accum, result, relu=False)
        reused = kernel in TRANSPOSED and self._size(call, "reuse_factor") > 1
        if reused and accum.overflow != "WRAP" and not layer.lossless(given):
            raise SpecificationError(
                f"layer {call.name}: its sums may saturate in {accum}, and with the strategy Resource and a reuse "
                "factor above 1 in another order: give it an accum type that wraps or is wide enough"
            )
        return layer

    def _normalize(self, call: Call, given: Fixed, result: Fixed) -> Dense:
        settings = self._settings(call)
        n = self._size(call, "n_in")
        n_filt = settings.sizes.get("n_filt", -1)
        if n_filt not in (-1, n):
            raise SpecificationError(f"layer {call.name}: one scale for several of its {n} inputs is not supported")
        scale_type, bias_type = self._parameters(call, ("scale", "bias"))
        scale = self._constant(call, 2, scale_type, n)
        _check_product(call, settings, scale)
        return Dense.elementwise(scale, self._constant(call, 3, bias_type, n), scale_type, bias_type, given, result)


def _activate(layers: list[Dense], n: int, given: Fixed, result: Fixed, relu: bool) -> None:
    """Cast n values of type `given`, above zero alone if `relu`."""
    if layers and not layers[-1].relu and layers[-1].sum_type is None:
        last = layers[-1]
        sum_type = None if given.holds(last.accum_type) else given
        layers[-1] = replace(last, result_type=result, relu=relu, sum_type=sum_type)
    else:
        ones, zeros = np.ones(n, np.int64), np.zeros(n, np.int64)
        layers.append(replace(Dense.elementwise(ones, zeros, ONE, NOTHING, given, result), relu=relu))


def _check_product(call: Call, settings: LayerStruct, weight: Integers) -> None:
    """Ternary products take -2 for 1; all others here are plain."""
    product = settings.uses.get("product", "")
    if product != "mult" and not (product == "weight_ternary" and weight.min() > -2):
        raise SpecificationError(f"layer {call.name}: the product {product} is not supported, expected mult")


def _weights(folder: Path, name: str) -> Floats:
    """As the C++ reads them: from the text file, or else from the header."""
    file = folder / f"{name}.txt"
    if file.exists():
        text = _read(file)
    else:
        match = re.search(r"=\s*\{(.*?)\}", _read(folder / f"{name}.h"), re.DOTALL)
        text = match[1] if match else ""
    try:
        return np.array([float(number) for number in _split(text)])
    except ValueError as error:
        raise SpecificationError(f"{folder / name}: {error}") from None


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecificationError(f"{file}: no file of an hls4ml project ({error}); call `write()` first") from None
