"""What a stream shows of itself over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from firmware.ledger import LedgerError
from monitor.daemon.loop import Phase
from monitor.daemon.policy import Verdict
from monitor.daemon.stream import LsReport
from monitor.stats.distance import distance
from monitor.stats.reference import Reference

if TYPE_CHECKING:
    from monitor.daemon.control import StreamControl

MAX_REGISTERS = 200


def summary(report: LsReport, verdict: Verdict) -> dict[str, Any]:
    """One lumi section in numbers and words."""
    return {
        "run": report.key.run,
        "ls": report.key.ls,
        "epoch": report.key.epoch,
        "generation": report.key.generation,
        "n": report.n,
        "pileup": report.pileup,
        "level": verdict.level,
        "text": verdict.text,
        "details": verdict.details,
        "drift": None if verdict.drift is None else asdict(verdict.drift),
        "pileup_only": verdict.pileup_only,
        "kl": report.to_reference.kl_corrected,
        "kl_error": report.to_reference.kl_error,
        "psi": report.to_reference.psi_corrected,
        "kl_expected": report.divergence.kl_corrected,
        "p_value": report.divergence.p_value,
        "rates": report.rates.tolist(),
        "expected_rates": report.expected_rates.tolist(),
        "ratios": list(verdict.ratios),
        "pulls": list(verdict.pulls),
        "cuts": list(report.cuts),
        "detectors": {alarm.detector: alarm.statistic for alarm in report.alarms},
        "t_ns": report.t_ns,
    }


def distances(report: LsReport, reference: Reference) -> dict[str, Any]:
    """All distances of one lumi section to the reference, with their 95 % intervals."""
    found, base = report.to_reference, report.window.expected(reference)
    moved = distance(report.window.counts, base.cells, reference.cells.edges, base.m, reference.lsb)
    return asdict(moved) | {
        "kl_interval": found.kl_interval(),
        "kl_reverse": found.kl_reverse,
        "psi_interval": found.psi_interval(),
        "js": found.js_corrected,
        "js_interval": found.js_interval(),
    }


def windows(control: StreamControl, limit: int) -> list[dict[str, Any]]:
    """The last lumi sections, oldest first, with their counts per bin."""
    edges = control.reference.binning.edges.tolist()
    return [
        summary(report, verdict)
        | {"counts": report.counts.tolist(), "expected": report.expected.p.tolist(), "edges": edges}
        for report, verdict in list(control.reports)[-limit:]
    ]


def status(control: StreamControl) -> dict[str, Any]:
    """Where the loop stands, the last lumi section, and the registers that differ from the nominal ones."""
    state = control.state
    active = control.payloads.get(state.payload)
    changes = control.package.nominal.diff(active) if active is not None else []
    return {
        "phase": state.phase,
        "mode": state.mode,
        "hold": control.settings.hold,
        "reason": state.reason,
        "generation": state.generation,
        "epoch": state.epoch,
        "payload": state.payload,
        "previous": state.previous,
        "proposal": state.proposal if state.phase is Phase.AWAITING_APPROVAL else "",
        "target_ls": state.target_ls,
        "ls_closed": control.ls_closed,
        "last": control.last,
        "registers": [asdict(change) for change in changes[:MAX_REGISTERS]],
        "datapath": control.datapath,
        "board": control.boards.name,
        "outcomes": {f"{operation} {outcome}": n for (operation, outcome), n in control.outcomes.items()},
    }


def proposals(control: StreamControl) -> list[dict[str, Any]]:
    """Newest first."""
    return [stored.data for stored in control.ledger.proposals(control.name)]


def proposal(control: StreamControl, name: str) -> dict[str, Any] | None:
    """The proposal whose id begins with ``name``."""
    try:
        stored = control.ledger.proposal(name)
    except LedgerError:
        return None
    return stored.data if stored.stream == control.name else None


def history(control: StreamControl) -> dict[str, Any]:
    """Which payload decided since when, and what happened lately."""
    return {
        "iovs": [asdict(iov) for iov in control.ledger.history(control.name)],
        "events": [asdict(event) for event in control.ledger.events(stream=control.name)],
    }
