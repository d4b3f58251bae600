"""What a stream shows of a lumi section."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from monitor.stats.compare.distance import distance
from monitor.stats.count.reference import Reference
from monitor.terms import Level
from monitor.watch.drift import Drift
from monitor.watch.policy import Verdict
from monitor.watch.report import LsReport

Interval = tuple[float, float]


@dataclass(frozen=True)
class LsSummary:
    """One lumi section in numbers and words; rates are shares of the counted crossings, one for each cut."""

    run: int
    ls: int
    epoch: int
    generation: int
    n: int
    pileup: float | None
    level: Level
    text: str
    details: str
    drift: Drift | None
    pileup_only: bool
    kl: float
    kl_error: float
    psi: float
    kl_expected: float
    p_value: float
    rates: list[float]
    expected_rates: list[float]
    ratios: list[float]
    pulls: list[float]
    cuts: list[int]
    detectors: dict[str, float]
    t_ns: int


@dataclass(frozen=True)
class LastLs(LsSummary):
    """With all distances to the reference and their 95 % intervals, and the rates that are to be held."""

    wasserstein: float
    wasserstein_floor: float
    ks: float
    ks_p_value: float
    kl_interval: Interval
    kl_reverse: float
    psi_interval: Interval
    js: float
    js_interval: Interval
    targets: list[float]


def summary(report: LsReport, verdict: Verdict) -> LsSummary:
    """Sum a lumi section up."""
    return LsSummary(
        run=report.key.run,
        ls=report.key.ls,
        epoch=report.key.epoch,
        generation=report.key.generation,
        n=report.n,
        pileup=report.pileup,
        level=verdict.level,
        text=verdict.text,
        details=verdict.details,
        drift=verdict.drift,
        pileup_only=verdict.pileup_only,
        kl=report.to_reference.kl_corrected,
        kl_error=report.to_reference.kl_error,
        psi=report.to_reference.psi_corrected,
        kl_expected=report.divergence.kl_corrected,
        p_value=report.divergence.p_value,
        rates=report.rates.tolist(),
        expected_rates=report.expected_rates.tolist(),
        ratios=list(verdict.ratios),
        pulls=list(verdict.pulls),
        cuts=list(report.cuts),
        detectors={alarm.detector: alarm.statistic for alarm in report.alarms},
        t_ns=report.t_ns,
    )


def last_ls(report: LsReport, verdict: Verdict, reference: Reference, targets: list[float]) -> LastLs:
    """Sum the last lumi section up, with ``targets`` (n_cuts,) for its rates."""
    found, base = report.to_reference, report.window.expected(reference)
    moved = distance(report.window.counts, base.cells, reference.cells.edges, base.m, reference.lsb)
    return LastLs(
        **vars(summary(report, verdict)),
        **asdict(moved),
        kl_interval=found.kl_interval(),
        kl_reverse=found.kl_reverse,
        psi_interval=found.psi_interval(),
        js=found.js_corrected,
        js_interval=found.js_interval(),
        targets=targets,
    )
