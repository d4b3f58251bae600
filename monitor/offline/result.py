"""What a replay came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from monitor.terms import LS_SECONDS
from monitor.watch.policy import Verdict
from monitor.watch.report import LsReport


@dataclass(frozen=True)
class ReplayedLs:
    """One lumi section, as the daemon would have seen it."""

    run: int
    ls: int
    n: int
    pileup: float | None
    level: str
    text: str
    kl: float
    kl_error: float
    psi: float
    ratios: tuple[float, ...]
    alarms: tuple[str, ...]

    @classmethod
    def of(cls, report: LsReport, verdict: Verdict) -> ReplayedLs:
        """What was counted in it, and what the policy said."""
        return cls(
            run=report.key.run,
            ls=report.key.ls,
            n=report.n,
            pileup=report.pileup,
            level=verdict.level,
            text=verdict.text,
            kl=report.divergence.kl_corrected,
            kl_error=report.divergence.kl_error,
            psi=report.divergence.psi_corrected,
            ratios=verdict.ratios,
            alarms=tuple(alarm.detector for alarm in report.alarms if alarm.drift),
        )


@dataclass
class ReplayResult:
    """What a replay came to."""

    lumi_sections: list[ReplayedLs] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Lumi sections by level, alarms by detector, and each beginning of a drift, as a JSON object has them."""
        hours = len(self.lumi_sections) * LS_SECONDS / 3600
        alarms = Counter(name for ls in self.lumi_sections for name in ls.alarms)
        began = [
            ls
            for before, ls in zip([None, *self.lumi_sections], self.lumi_sections, strict=False)
            if ls.level == "drift" and (before is None or before.level != "drift")
        ]
        return {
            "lumi_sections": len(self.lumi_sections),
            "hours": hours,
            "scores": sum(ls.n for ls in self.lumi_sections),
            "levels": Counter(ls.level for ls in self.lumi_sections),
            "alarms": alarms,
            "alarms_per_hour": {name: n / hours for name, n in alarms.items()},
            "drifts": [{"run": ls.run, "ls": ls.ls, "text": ls.text} for ls in began],
            "skipped": self.skipped,
            "seconds": self.seconds,
            "ls_per_s": len(self.lumi_sections) / max(self.seconds, 1e-9),
        }
