"""The fit's process: one model, loaded once, warm for the next drift."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from firmware.hls import CompiledDatapath, compiler
from firmware.package import Package
from recalib.fit import Engine
from recalib.proposal import Judgement, Proposal
from recalib.request import FitRequest, JudgeRequest

__all__ = ["FitRequest", "FitWorker", "JudgeRequest"]


class FitWorker:
    def __init__(self, package_path: Path) -> None:
        torch.set_num_threads(1)
        self.package = Package.load(package_path)
        self.engine = Engine(self.package)

    def warm_up(self, cache: Path) -> str:
        if compiler() is None:
            return "NumPy emulator alone: no C++ compiler"
        return "compiled"

    def propose(self, request: FitRequest, progress: Callable[[str], Any] = lambda stage: None) -> Proposal:
        return self.engine.propose(request, progress)

    def judge(self, request: JudgeRequest) -> Judgement:
        return Judgement(0, 0, 0, (), (), (), False, "temporary")
