"""What lives in the fit's process: one model, loaded once and warm for the next drift.

Importing this module is cheap; the fit's libraries are loaded where the object is built.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from recalib.errors import RecalibError
from recalib.proposal import FitProgress, Judgement, Proposal
from recalib.request import FitRequest, JudgeRequest

if TYPE_CHECKING:
    from firmware.datapath.emulator import Words
    from firmware.model.package import Package
    from recalib.fit.engine import Engine


class FitWorker:
    """Fits and judges for one model package; only plain values go in and out.

    Raises:
        FirmwareError, StatsError: the package or its reference cannot be used.
    """

    def __init__(self, package: Path) -> None:
        import torch

        from firmware.model.package import Package
        from recalib.fit.engine import Engine

        torch.set_num_threads(1)
        self._engine: Engine = Engine(Package.load(package))

    def warm_up(self, cache: Path) -> str:
        """Build the compiled datapath if there is a compiler, and prove the package's golden vectors on it.

        Returns:
            Which executions stand behind a payload, for people.

        Raises:
            RecalibError: an execution does not give the golden codes.
        """
        from firmware.datapath.compiled import CompiledDatapath
        from firmware.tools.compiler import compiler

        package = self._engine.package
        _check_golden(package, self._engine.emulator.run)
        if compiler() is None:
            return "NumPy emulator alone: there is no C++ compiler"
        datapath = CompiledDatapath(package.model, cache)
        _check_golden(package, datapath.run)
        self._engine.datapath = datapath
        return f"NumPy emulator and compiled datapath, equal on {len(package.golden_codes)} golden events"

    def propose(self, request: FitRequest, progress: FitProgress = lambda step: None) -> Proposal:
        return self._engine.propose(request, progress)

    def judge(self, request: JudgeRequest) -> Judgement:
        from recalib.judge import judge

        engine = self._engine
        return judge(engine.emulator, engine.package.model, engine.edges, request)


def _check_golden(package: Package, run: Callable[..., Words]) -> None:
    wrong = int((run(package.golden_events, package.nominal).codes != package.golden_codes).sum())
    if wrong:
        raise RecalibError(f"{wrong} of {len(package.golden_codes)} golden codes of the package are not reproduced")
