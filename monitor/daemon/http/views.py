"""What a stream shows of itself over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from firmware.model.payload import Change, Payload
from monitor.daemon.errors import DaemonError
from monitor.daemon.http import models
from monitor.daemon.http.tokens import Role
from monitor.daemon.run.building import StreamAtWork
from monitor.daemon.run.runner import Runner
from monitor.daemon.run.summary import summary
from monitor.loop.orders import Approve, Freeze, Order, Recalibrate, Reject, Rollback, Unfreeze
from monitor.loop.states import Phase
from monitor.store.errors import LedgerError
from monitor.store.ledger import Ledger
from monitor.store.rows import EventRow, StoredPayload

MAX_REGISTERS = 200
NOT_IN_HISTORY = ("step", "decision")
ROLES: dict[type[Order], Role] = {
    Recalibrate: Role.SHIFTER,
    Freeze: Role.SHIFTER,
    Unfreeze: Role.SHIFTER,
    Approve: Role.EXPERT,
    Reject: Role.EXPERT,
    Rollback: Role.EXPERT,
}
"""Whom an operator's command needs."""


class NotRead(DaemonError):
    """The board has not been read yet."""


def divergences(runner: Runner, limit: int) -> list[models.Divergences]:
    """The last lumi sections, oldest first."""
    reports = runner.parts.collected.reports
    return [models.Divergences(**vars(summary(*judged))) for judged in list(reports)[-limit:]]


def windows(runner: Runner, limit: int) -> list[models.Window]:
    """The last lumi sections, oldest first, with their counts per bin."""
    edges = runner.loaded.reference.binning.edges.tolist()
    return [
        models.Window(
            **vars(summary(report, verdict)),
            counts=report.counts.tolist(),
            expected=report.expected.p.tolist(),
            edges=edges,
        )
        for report, verdict in list(runner.parts.collected.reports)[-limit:]
    ]


def named_window(runner: Runner) -> str:
    """The last of `windows` with the stream's name, as JSON."""
    (last,) = windows(runner, 1)
    return models.NamedWindow(stream=runner.name, **dict(last)).model_dump_json()


def event(event: EventRow) -> str:
    """An event of the ledger, as JSON."""
    told = asdict(event)
    if event.kind in NOT_IN_HISTORY:
        told["id"] = f"{event.kind} {event.id}"
    return models.LedgerEvent(**told).model_dump_json()


def stream(work: StreamAtWork, silent_s: float | None, silent_after_s: float) -> models.Stream:
    """Where the loop stands, the last lumi section, and the registers that differ from the nominal ones."""
    runner = work.runner
    state, detect, nominal = runner.state, runner.settings.detect, runner.loaded.package.nominal
    active = runner.parts.payloads.seen(state.payload)
    changes = nominal.diff(active) if active is not None else []
    return models.Stream(
        name=runner.name,
        phase=state.phase,
        mode=state.mode,
        hold=runner.settings.hold,
        reason=state.reason,
        generation=state.generation,
        epoch=state.epoch,
        payload=state.payload,
        previous=state.previous,
        proposal=_waiting(runner),
        target_ls=state.target_ls,
        ls_closed=runner.activity.ls_closed,
        last=models.Nothing() if runner.last is None else models.Last(**vars(runner.last)),
        registers=changes[:MAX_REGISTERS],
        cuts=(active or nominal).raw("cuts").tolist(),
        target_rates=runner.loaded.reference.target_rates.tolist(),
        tolerances=models.Tolerances(kl=detect.tolerated_kl, psi=2 * detect.tolerated_kl, rate=detect.rate_tolerance),
        lsb=runner.loaded.reference.lsb,
        datapath=runner.parts.fitter.datapath,
        board=work.boards.name,
        outcomes={f"{operation} {outcome}": n for (operation, outcome), n in runner.activity.outcomes.items()},
        silent_s=silent_s,
        silent_after_s=silent_after_s,
    )


def brief(runner: Runner) -> models.Brief:
    """A stream in a line."""
    level = None if runner.last is None else runner.last.level
    return models.Brief(name=runner.name, phase=runner.state.phase, mode=runner.state.mode, level=level)


def proposals(ledger: Ledger, stream: str, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    return [stored.data for stored in ledger.proposals(stream, limit)]


def proposal(ledger: Ledger, stream: str, name: str) -> dict[str, Any] | None:
    """The proposal whose id begins with ``name``."""
    try:
        stored = ledger.proposal(name)
    except LedgerError:
        return None
    return stored.data if stored.stream == stream else None


def history(ledger: Ledger, stream: str, limit: int) -> models.History:
    """Which payload decided since when, oldest first, and what happened, newest first; of each the newest."""
    return models.History(iovs=ledger.history(stream, limit=limit), events=ledger.events(stream=stream, limit=limit))


def payloads(runner: Runner, ledger: Ledger, limit: int) -> list[models.Payload]:
    """The newest of the ledger, newest first."""
    generations = _generations(ledger, runner.name)
    return [_payload(runner, stored, generations) for stored in ledger.newest_payloads(runner.name, limit)]


def payload(runner: Runner, ledger: Ledger, name: str) -> models.PayloadChanges | None:
    """The payload whose id begins with ``name``, or ``nominal``, and what writing it would change."""
    found = runner.parts.payloads.find(name)
    if found is None:
        return None
    told = _payload(runner, ledger.payload(found, runner.name), _generations(ledger, runner.name))
    given = runner.parts.payloads[found]
    against_nominal = runner.loaded.package.nominal.diff(given)
    return models.PayloadChanges(
        **dict(told),
        **dict(changes(runner, given)),
        against_nominal=against_nominal[:MAX_REGISTERS],
        n_against_nominal=len(against_nominal),
    )


def changes(runner: Runner, given: Payload) -> models.Changes:
    """What writing a payload would change of the active one.

    Raises:
        NotRead: what is active is not known.
    """
    active = runner.parts.payloads.seen(runner.state.payload)
    if active is None:
        raise NotRead("what the board runs is not known: it has not been read yet")
    found = active.diff(given)
    return models.Changes(changes=found[:MAX_REGISTERS], n_changes=len(found), fields=_fields(found))


def commands(runner: Runner, role: Role) -> list[models.Command]:
    """Every command, and whether the loop would take it now from a caller of this role."""
    waiting = _waiting(runner)
    orders = (Recalibrate(), Approve(waiting), Reject(waiting), Rollback("another"), Freeze(), Unfreeze())
    return [_command(runner, order, role) for order in orders]


def _command(runner: Runner, order: Order, role: Role) -> models.Command:
    needed = ROLES[type(order)]
    refused = runner.why_not(order)
    if not role.includes(needed):
        refused = f"needs the role {needed}, not {role}"
    return models.Command(name=order.word(), role=needed, allowed=not refused, why_not=refused)


def _waiting(runner: Runner) -> str:
    """The proposal that waits for approval."""
    return runner.state.proposal if runner.state.phase is Phase.AWAITING_APPROVAL else ""


def _generations(ledger: Ledger, stream: str) -> dict[str, int]:
    """The last generation of each payload that was ever active."""
    return {iov.payload_id: iov.generation for iov in ledger.history(stream)}


def _payload(runner: Runner, stored: StoredPayload, generations: dict[str, int]) -> models.Payload:
    return models.Payload(
        id=stored.id,
        how=stored.origin,
        created_ns=stored.created,
        generation=generations.get(stored.id),
        active=stored.id == runner.state.payload,
        previous=stored.id == runner.state.previous,
        nominal=stored.id == runner.loaded.package.nominal.id,
    )


def _fields(found: list[Change]) -> list[models.Summary]:
    values: dict[str, list[float]] = {}
    for change in found:
        values.setdefault(change.field, []).append(change.new_value)
    return [
        models.Summary(field=name, changed=len(given), min=min(given), max=max(given)) for name, given in values.items()
    ]
