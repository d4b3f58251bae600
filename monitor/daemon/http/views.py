"""What a stream shows of itself over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from firmware.model.payload import Change, Payload
from monitor.daemon.http import models
from monitor.daemon.http.tokens import Role
from monitor.loop.loop import Approve, Freeze, Operator, Phase, Recalibrate, Reject, Rollback, Unfreeze
from monitor.stats.compare.distance import distance
from monitor.stats.count.reference import Reference
from monitor.store.errors import LedgerError
from monitor.store.rows import EventRow, StoredPayload
from monitor.watch.policy import Verdict
from monitor.watch.stream import LsReport

if TYPE_CHECKING:
    from monitor.daemon.run.control import StreamControl

MAX_REGISTERS = 200
NOT_IN_HISTORY = ("step", "decision")
ROLES = {
    Recalibrate: Role.SHIFTER,
    Freeze: Role.SHIFTER,
    Unfreeze: Role.SHIFTER,
    Approve: Role.EXPERT,
    Reject: Role.EXPERT,
    Rollback: Role.EXPERT,
}
"""Whom an operator's command needs."""


class NotRead(Exception):
    """The board has not been read yet."""


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
        "drift": verdict.drift,
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


def divergences(control: StreamControl, limit: int) -> list[models.Divergences]:
    """The last lumi sections, oldest first."""
    return [models.Divergences(**summary(*judged)) for judged in list(control.reports)[-limit:]]


def windows(control: StreamControl, limit: int) -> list[models.Window]:
    """The last lumi sections, oldest first, with their counts per bin."""
    edges = control.reference.binning.edges.tolist()
    return [
        models.Window(
            **summary(report, verdict),
            counts=report.counts.tolist(),
            expected=report.expected.p.tolist(),
            edges=edges,
        )
        for report, verdict in list(control.reports)[-limit:]
    ]


def named_window(control: StreamControl) -> str:
    """The last of `windows` with the stream's name, as JSON."""
    (last,) = windows(control, 1)
    return models.NamedWindow(stream=control.name, **dict(last)).model_dump_json()


def event(event: EventRow) -> str:
    """An event of the ledger, as JSON."""
    told = asdict(event)
    if event.kind in NOT_IN_HISTORY:
        told["id"] = f"{event.kind} {event.id}"
    return models.LedgerEvent(**told).model_dump_json()


def stream(control: StreamControl, silent_s: float | None, silent_after_s: float) -> models.Stream:
    """Where the loop stands, the last lumi section, and the registers that differ from the nominal ones."""
    state, detect, nominal = control.state, control.settings.detect, control.package.nominal
    active = control.payloads.get(state.payload)
    changes = nominal.diff(active) if active is not None else []
    return models.Stream(
        name=control.name,
        phase=state.phase,
        mode=state.mode,
        hold=control.settings.hold,
        reason=state.reason,
        generation=state.generation,
        epoch=state.epoch,
        payload=state.payload,
        previous=state.previous,
        proposal=_waiting(control),
        target_ls=state.target_ls,
        ls_closed=control.ls_closed,
        last=models.Last(**control.last) if control.last else models.Nothing(),
        registers=changes[:MAX_REGISTERS],
        cuts=(active or nominal).raw("cuts").tolist(),
        target_rates=control.reference.target_rates.tolist(),
        tolerances=models.Tolerances(kl=detect.tolerated_kl, psi=2 * detect.tolerated_kl, rate=detect.rate_tolerance),
        lsb=control.reference.lsb,
        datapath=control.datapath,
        board=control.boards.name,
        outcomes={f"{operation} {outcome}": n for (operation, outcome), n in control.outcomes.items()},
        silent_s=silent_s,
        silent_after_s=silent_after_s,
    )


def brief(control: StreamControl) -> models.Brief:
    state = control.state
    return models.Brief(name=control.name, phase=state.phase, mode=state.mode, level=control.last.get("level"))


def proposals(control: StreamControl, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    return [stored.data for stored in control.ledger.proposals(control.name, limit)]


def proposal(control: StreamControl, name: str) -> dict[str, Any] | None:
    """The proposal whose id begins with ``name``."""
    try:
        stored = control.ledger.proposal(name)
    except LedgerError:
        return None
    return stored.data if stored.stream == control.name else None


def history(control: StreamControl, limit: int) -> models.History:
    """Which payload decided since when, oldest first, and what happened, newest first; of each the newest."""
    ledger, name = control.ledger, control.name
    return models.History(iovs=ledger.history(name, limit=limit), events=ledger.events(stream=name, limit=limit))


def payloads(control: StreamControl, limit: int) -> list[models.Payload]:
    """The newest of the ledger, newest first."""
    generations = _generations(control)
    return [_payload(control, stored, generations) for stored in control.ledger.newest_payloads(control.name, limit)]


def payload(control: StreamControl, name: str) -> models.PayloadChanges | None:
    """The payload whose id begins with ``name``, or ``nominal``, and what writing it would change."""
    found = control.find_payload(name)
    if found is None:
        return None
    told = _payload(control, control.ledger.payload(found, control.name), _generations(control))
    given = control.payload(found)
    against_nominal = control.package.nominal.diff(given)
    return models.PayloadChanges(
        **dict(told),
        **dict(changes(control, given)),
        against_nominal=against_nominal[:MAX_REGISTERS],
        n_against_nominal=len(against_nominal),
    )


def changes(control: StreamControl, given: Payload) -> models.Changes:
    """What writing a payload would change of the active one.

    Raises:
        NotRead: what is active is not known.
    """
    active = control.payloads.get(control.state.payload)
    if active is None:
        raise NotRead("what the board runs is not known: it has not been read yet")
    found = active.diff(given)
    return models.Changes(changes=found[:MAX_REGISTERS], n_changes=len(found), fields=_fields(found))


def commands(control: StreamControl, role: Role) -> list[models.Command]:
    """Every command, and whether the loop would take it now from a caller of this role."""
    waiting = _waiting(control)
    events = (Recalibrate(), Approve(waiting), Reject(waiting), Rollback("another"), Freeze(), Unfreeze())
    return [_command(control, event, role) for event in events]


def word(event: Operator) -> str:
    """The name of a command."""
    return type(event).__name__.lower()


def _command(control: StreamControl, event: Operator, role: Role) -> models.Command:
    needed = ROLES[type(event)]
    refused = control.why_not(event)
    if not role.includes(needed):
        refused = f"needs the role {needed}, not {role}"
    return models.Command(name=word(event), role=needed, allowed=not refused, why_not=refused)


def _waiting(control: StreamControl) -> str:
    """The proposal that waits for approval."""
    return control.state.proposal if control.state.phase is Phase.AWAITING_APPROVAL else ""


def _generations(control: StreamControl) -> dict[str, int]:
    """The last generation of each payload that was ever active."""
    return {iov.payload_id: iov.generation for iov in control.ledger.history(control.name)}


def _payload(control: StreamControl, stored: StoredPayload, generations: dict[str, int]) -> models.Payload:
    return models.Payload(
        id=stored.id,
        how=stored.origin,
        created_ns=stored.created,
        generation=generations.get(stored.id),
        active=stored.id == control.state.payload,
        previous=stored.id == control.state.previous,
        nominal=stored.id == control.package.nominal.id,
    )


def _fields(found: list[Change]) -> list[models.Summary]:
    values: dict[str, list[float]] = {}
    for change in found:
        values.setdefault(change.field, []).append(change.new_value)
    return [
        models.Summary(field=name, changed=len(given), min=min(given), max=max(given)) for name, given in values.items()
    ]
