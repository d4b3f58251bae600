"""The fit's process: one model, loaded once and warm for the next drift, and the client that asks it.

Importing this module is cheap; the fit's libraries are loaded where the worker is built.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from firmware.process import Remote
from recalib.errors import RecalibError
from recalib.proposal import FitProgress, Judgement, Proposal
from recalib.request import FitRequest, JudgeRequest

if TYPE_CHECKING:
    from firmware.datapath.emulator import Answers
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
        """Fit every knob, choose one, and let the gates decide."""
        return self._engine.propose(request, progress)

    def judge(self, request: JudgeRequest) -> Judgement:
        """Hold the payload in force against the one before."""
        from recalib.judge import judge

        engine = self._engine
        return judge(engine.emulator, engine.package.model, engine.edges, request)


class RemoteFitWorker:
    """A `FitWorker` in a process of its own. Deadlines are in seconds.

    Args:
        package: the model package that the worker loads.
        make: what makes the worker there, if it is to be another one.

    Raises:
        RecalibError, FirmwareError: by every method, what the worker raises.
        ProcessError: by every method, if the worker is silent or dies; the next call starts another.
    """

    def __init__(self, package: Path, name: str = "fit", make: Callable[[Path], Any] = FitWorker) -> None:
        self._remote = Remote(make, package, name=name)

    @property
    def name(self) -> str:
        """The name of its process."""
        return self._remote.name

    @property
    def pid(self) -> int | None:
        """The number of its process, if it runs."""
        return self._remote.pid

    @property
    def rss_bytes(self) -> int:
        """Resident memory of its process."""
        return self._remote.rss_bytes

    def warm_up(self, cache: Path, deadline: float) -> str:
        """See `FitWorker.warm_up`."""
        found: str = self._remote.call("warm_up", cache, deadline=deadline)
        return found

    def propose(self, request: FitRequest, deadline: float, progress: FitProgress = lambda step: None) -> Proposal:
        """See `FitWorker.propose`. What ``progress`` raises ends the process, and with it the fit."""
        found: Proposal = self._remote.call("propose", request, deadline=deadline, on_progress=progress)
        return found

    def judge(self, request: JudgeRequest, deadline: float) -> Judgement:
        """See `FitWorker.judge`."""
        found: Judgement = self._remote.call("judge", request, deadline=deadline)
        return found

    def close(self) -> None:
        """End the process."""
        self._remote.close()


def _check_golden(package: Package, run: Callable[..., Answers]) -> None:
    wrong = int((run(package.golden_events, package.nominal).codes != package.golden_codes).sum())
    if wrong:
        raise RecalibError(f"{wrong} of {len(package.golden_codes)} golden codes of the package are not reproduced")
