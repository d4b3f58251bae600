"""What it costs to be reconfigurable: the cells of a stream with all of its parts, and with some left out."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from operator import add, sub
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Self

from numpy.typing import ArrayLike

from firmware.errors import SynthesisError
from firmware.model.model import Model
from firmware.model.payload import Payload
from firmware.rtl import datapath, top
from firmware.tools.yosys import Yosys, flow

KNOBS = {
    "input scales and offsets": ("input_scale", "input_offset"),
    "ring scales": ("ring_scale",),
    "conditions": ("conditioning",),
    "last layer's weights": ("weights", "biases"),
    "latent scales and offsets": ("latent_scale", "latent_offset"),
    "output scale and offset": ("output_scale", "output_offset"),
    "LUT": ("lut",),
    "cuts": ("cuts",),
}
"""The fields that are reconfigurable together."""
FROZEN, BANK, ALL, WITH_PREVIEW, WITH_PLAYBACK = "frozen datapath", "register bank", "all knobs", "preview", "playback"
TOGETHER = "in common"
UNDRIVEN = "setundef -undriven -zero"
ALONE = (
    "delete registered nominal",
    "connect -port core valid_in event_valid",
    "connect -port core bank_in 1'd0",
    "connect -port core valid_out out_valid",
    UNDRIVEN,
)
"""Leave nothing but the datapath, which then has the ports to itself."""
UNPLAYED = (
    "cd registered",
    "delete player",
    "connect -set playback_event event_in",
    "connect -set playback_bank entering_bank",
    UNDRIVEN,
)
"""Leave out the memory that is played, so that nothing waits beside the trigger's events."""
LIMIT_S = 3600.0

LUTS = {
    **{f"LUT{n}": 1 for n in range(1, 7)},
    **dict.fromkeys(("INV", "RAM32X1S", "RAM64X1S"), 1),
    **dict.fromkeys(("RAM32X1D", "RAM64X1D", "RAM128X1S"), 2),
    **dict.fromkeys(("RAM32M", "RAM64M", "RAM128X1D", "RAM256X1S"), 4),
    **dict.fromkeys(("RAM32M16", "RAM64M8", "RAM256X1D", "RAM512X1S"), 8),
}
"""LUTs of a cell, those of distributed RAM by the configurable logic block's guide (UG574)."""
SRLS = ("SRL16E", "SRLC16E", "SRLC32E")
FFS = ("FDRE", "FDSE", "FDCE", "FDPE")
WITHIN_SLICE = ("CARRY4", "CARRY8", "MUXF7", "MUXF8", "MUXF9")
"""Carry chains and wide multiplexers: they lie beside the LUTs that they join."""


@dataclass(frozen=True)
class Resources:
    """LUTs as logic, shift register or RAM, of which shift registers; flip-flops, block RAMs, DSPs."""

    lut: int = 0
    srl: int = 0
    ff: int = 0
    ramb36: int = 0
    ramb18: int = 0
    dsp: int = 0

    @classmethod
    def of(cls, cells: Mapping[str, int]) -> Self:
        """Of the cells of a design, by their type.

        Raises:
            SynthesisError: for a cell whose size is unknown.
        """
        counts = dict.fromkeys((field.name for field in fields(cls)), 0)
        for cell, n in cells.items():
            if cell in LUTS:
                counts["lut"] += n * LUTS[cell]
            elif cell in SRLS:
                counts["lut"] += n
                counts["srl"] += n
            elif cell in FFS:
                counts["ff"] += n
            elif cell.startswith(("RAMB36", "RAMB18", "DSP48")):
                counts["dsp" if cell.startswith("DSP") else cell[:6].lower()] += n
            elif cell not in WITHIN_SLICE:
                raise SynthesisError(f"{n} cells {cell}: their size is unknown, give it in {__name__}")
        return cls(**counts)

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(*map(add, self._counts, other._counts))

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(*map(sub, self._counts, other._counts))

    @property
    def _counts(self) -> tuple[int, ...]:
        return tuple(asdict(self).values())

    def shares(self, device: "Resources") -> dict[str, float]:
        """The part of a device's LUTs, flip-flops, block RAMs and DSPs."""
        return {
            "lut": self.lut / device.lut,
            "ff": self.ff / device.ff,
            "bram": (self.ramb36 + self.ramb18 / 2) / device.ramb36,
            "dsp": self.dsp / device.dsp,
        }


DEVICES = {
    "VU9P": Resources(lut=1_182_240, ff=2_364_480, ramb36=2_160, dsp=6_840),
    "VU13P": Resources(lut=1_728_000, ff=3_456_000, ramb36=2_688, dsp=12_288),
}
"""CLB LUTs and flip-flops, 36 Kb blocks, DSPs: AMD's UltraScale architecture overview (DS890), Virtex UltraScale+."""


@dataclass(frozen=True)
class Design:
    """The stream of a model, of which commands of Yosys make some parts constant or leave them out."""

    name: str
    model: Model
    nominal: Payload
    cuts: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What the parts of a stream cost; `parts` add up to `total`.

    `frozen` is the datapath with nothing to set: scales of 1, offsets of 0, constant weights and cuts, without rings
    and LUT, but with the clocks of the other knobs. `bank` is bus, banks, CRC, counters, boot image and what lets
    events in. Each of `knobs` is what it alone adds to these two, its registers with it; `together` is what all add
    beyond their sum, below 0 where two need the same. `preview` and `playback` come on top.
    """

    frozen: Resources
    bank: Resources
    knobs: dict[str, Resources]
    together: Resources
    preview: Resources
    playback: Resources
    frozen_clocks: int
    clocks: int

    @property
    def parts(self) -> dict[str, Resources]:
        """Each part by its name; they add up to `total`."""
        return {
            FROZEN: self.frozen,
            BANK: self.bank,
            **self.knobs,
            TOGETHER: self.together,
            WITH_PREVIEW: self.preview,
            WITH_PLAYBACK: self.playback,
        }

    @property
    def total(self) -> Resources:
        """The whole stream, with preview and playback."""
        return sum(self.parts.values(), Resources())


@dataclass(frozen=True)
class Synthesis:
    """How to synthesise: `cache` keeps the counts of what was synthesised before, `jobs` run side by side."""

    family: str = "xcup"
    dsp: bool = True
    cache: Path = Path("var/cost")
    jobs: int = 2
    limit_s: float = LIMIT_S


def cost(model: Model, cuts: ArrayLike, settings: Synthesis, progress: Callable[[str], None]) -> Cost:
    """Synthesise the stream of a model with and without each of its parts.

    Args:
        cuts: codes of the cuts where they are constant, (n_cuts,).

    Raises:
        YosysMissing: if there is no Yosys.
        SynthesisError: if it fails or does not end in time; the text names the design.
    """
    yosys, counts = Yosys.get(), dict[str, Resources]()
    settings.cache.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(settings.jobs) as pool:
        runs = {pool.submit(count, yosys, design, settings): design.name for design in designs(model, cuts)}
        try:
            for run in as_completed(runs):
                counts[runs[run]], seconds = run.result()
                progress(f"{len(counts)} of {len(runs)} synthesised: {runs[run]}, {seconds:.0f} s")
        finally:
            pool.shutdown(cancel_futures=True)
    knobs = {name: counts[name] - counts[BANK] for name in _knobs(model)}
    return Cost(
        frozen=counts[FROZEN],
        bank=counts[BANK] - counts[FROZEN],
        knobs=knobs,
        together=counts[ALL] - counts[BANK] - sum(knobs.values(), Resources()),
        preview=counts[WITH_PREVIEW] - counts[ALL],
        playback=counts[WITH_PLAYBACK] - counts[WITH_PREVIEW],
        frozen_clocks=datapath.sizes(_frozen(model, ())).latency,
        clocks=datapath.sizes(model).latency,
    )


def designs(model: Model, cuts: ArrayLike) -> list[Design]:
    """What is synthesised, the largest first: each is the stream as it is written, less what is cut from it."""
    every = [field.name for field in model.layout.fields]
    unseen = (*UNPLAYED, "cd banks", "connect -set prescale 32'd0")

    def design(name: str, live: Sequence[str], cut: Sequence[str], entrance: str = "registered") -> Design:
        of = _frozen(model, live)
        nominal = Payload.nominal(of, cuts)
        return Design(name, of, nominal, (*_constants(of, nominal, live), _event(of, entrance), *cut))

    return [
        design(WITH_PLAYBACK, every, ()),
        design(WITH_PREVIEW, every, UNPLAYED),
        design(ALL, every, unseen),
        *(design(name, live, unseen) for name, live in _knobs(model).items()),
        design(BANK, (), unseen),
        design(FROZEN, (), ALONE, "core"),
    ]


def count(yosys: Yosys, design: Design, settings: Synthesis) -> tuple[Resources, float]:
    """The cells of a design, and the seconds that it took to count them."""
    start = monotonic()
    with TemporaryDirectory(dir=settings.cache) as folder:
        sources = top.write(design.model, design.nominal, Path(folder))
        commands = flow(settings.family, dsp=settings.dsp)
        digest = hashlib.sha256(json.dumps([yosys.version, design.cuts, commands]).encode())
        for source in sources:
            digest.update(source.read_bytes())
        known = settings.cache / f"{digest.hexdigest()[:32]}.json"
        try:
            if not known.exists():
                cells = yosys.synthesise(sources, top.NAME, design.cuts, commands, settings.limit_s)
                fresh = Path(folder) / known.name
                fresh.write_text(json.dumps(cells))
                fresh.replace(known)
            return Resources.of(json.loads(known.read_text())), monotonic() - start
        except SynthesisError as error:
            raise SynthesisError(f"{design.name}: {error}") from error


def _knobs(model: Model) -> dict[str, tuple[str, ...]]:
    names = {field.name for field in model.layout.fields}
    return {knob: own for knob, own in KNOBS.items() if names.issuperset(own)}


def _frozen(model: Model, live: Sequence[str]) -> Model:
    """The model without the rings and the LUT that are not live, and with weights in registers only where they are."""
    weights = "weights" in live
    return replace(
        model,
        rings=model.rings if "ring_scale" in live else (),
        layers=tuple(replace(each, reconfigurable=each.reconfigurable and weights) for each in model.layers),
        lut_bits=model.lut_bits if "lut" in live else 0,
    )


def _constants(model: Model, payload: Payload, live: Sequence[str]) -> list[str]:
    """Give the datapath the words of a payload in place of all registers but those of the fields `live`."""
    n = datapath.sizes(model).n_registers
    owner = [field.name for field in model.layout.fields for _ in range(field.size)]
    signals = [
        f"registers[{32 * i + 31}:{32 * i}]" if owner[i % n] in live else f"32'd{payload.words[i % n]}"
        for i in range(2 * n)
    ]
    lut = [] if "lut" in live else ["connect -port core lut_data 32'd0"]
    return [f"connect -port core registers {_joined(signals)}", *lut]


def _event(model: Model, cell: str) -> str:
    """Let an event of no more bits than its features have come to the part `cell` of the top module."""
    width, signals = model.input_type.width, []
    for j, feature in enumerate(model.features):
        low, high = j * width, j * width + feature.type.width - 1
        above = f"event_in[{high}]" if feature.type.signed else "1'd0"
        signals += [f"event_in[{high}:{low}]", *[above] * (width - feature.type.width)]
    return f"connect -port {cell} event_in {_joined(signals)}"


def _joined(signals: Sequence[str]) -> str:
    """One signal of several, the first of them lowest."""
    return ",".join(reversed(signals))
