"""How a simulated board runs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from firmware.errors import BoardSettingsError
from firmware.sim.stream import Sampling
from firmware.sim.world.beam import Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSettings:
    """How a simulated board runs.

    Addresses are ZeroMQ endpoints to bind; `*` as a port takes a free one, as does `ipbus_port` 0.
    `ls_seconds` 0 runs as fast as it can, `duration_ls` 0 until it is stopped. A lumi section has
    `orbits_per_ls` orbits instead of 2^18, with 2556 colliding crossings each. `pileup_error` is the
    relative error of the published pile-up; `parent_pid` ends the board with that process. The same
    `seed` gives the same scores, but other crossings than a `Generator` of that seed. `execution` is how the
    streams decide: by the emulator, by its C++ twin, or, registers and all, as SystemVerilog in Verilator; what
    that takes to be built is kept in `cache`.
    """

    packages: tuple[Path, ...] = ()
    publish: tuple[str, ...] = ("tcp://127.0.0.1:*",)
    pattern: Literal["push", "pub"] = "push"
    ipbus_host: str = "127.0.0.1"
    ipbus_port: int = 0
    control: str = "tcp://127.0.0.1:*"
    source: str = "board"
    run: int = 1
    seed: int = 1
    orbits_per_ls: int = 40
    ls_seconds: float = 0.0
    duration_ls: int = 0
    orbits_per_message: int = 4
    bx_class: Literal["all", "colliding"] = "all"
    sampling: Sampling = field(default_factory=Sampling)
    fill: Fill = field(default_factory=Fill)
    pileup_error: float = 0.0
    conditions: tuple[str, ...] = ()
    execution: Literal["numpy", "compiled", "rtl"] = "numpy"
    cache: Path = Path("var/datapath")
    parent_pid: int | None = None

    def __post_init__(self) -> None:
        if self.orbits_per_message < 1 or self.orbits_per_ls % self.orbits_per_message:
            raise BoardSettingsError(
                f"orbits_per_ls = {self.orbits_per_ls} is no multiple of orbits_per_message = {self.orbits_per_message}"
            )
