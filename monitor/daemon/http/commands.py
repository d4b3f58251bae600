"""The operator's commands over HTTP: who may give them, what they hold, and the way through the audit to the orders."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from monitor.daemon.http import models
from monitor.daemon.http.admission import CommandRoute, Given, answers_with, needs
from monitor.daemon.http.context import context
from monitor.daemon.http.queries import BEARER, Of
from monitor.daemon.http.views import ROLES
from monitor.daemon.run.runner import Runner
from monitor.loop import orders

EDGE = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
CONTROL = r"\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
"""Besides the control characters those that hide, or turn what stands after them."""
REASON_CHARACTERS = (3, 1000)
"""Least and most of a reason."""
INNER = "{{{},{}}}".format(*(n - 2 for n in REASON_CHARACTERS))
REASON = rf"^[{EDGE}]*[^{EDGE}{CONTROL}][^{CONTROL}]{INNER}[^{EDGE}{CONTROL}][{EDGE}]*$"
NAME = r"^[0-9a-f]{4,64}$"


def _trimmed(text: str) -> str:
    if not re.fullmatch(REASON.strip("^$"), text):
        raise ValueError(
            "expected {} to {} characters that say why, none of them a control character".format(*REASON_CHARACTERS)
        )
    return re.sub(rf"^[{EDGE}]+|[{EDGE}]+$", "", text)


Reason = Annotated[str, AfterValidator(_trimmed), Field(json_schema_extra={"pattern": REASON})]
Name = Annotated[str, Field(pattern=NAME)]


class Order(BaseModel):
    """The body of a command; ``reason`` goes to the ledger and to the audit."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Reason


class RecalibrateOrder(Order):
    """``dry_run``: collect events and fit, but write nothing to a board."""

    dry_run: bool = False


class ProposalOrder(Order):
    """``proposal``: its name, or the first 4 characters or more."""

    proposal: Name


class RollbackOrder(Order):
    """``to``: a payload's name, or the first 4 characters or more, or `nominal`."""

    to: Annotated[str, Field(pattern=r"^(nominal|[0-9a-f]{4,64})$")] = "nominal"


class Desk:
    """Where one caller's command to one stream is taken."""

    def __init__(self, request: Request, runner: Runner) -> None:
        self.runner = runner
        self._overview = context(request).overview
        self._caller = request.state.caller
        self._given: Given = request.state.given

    def order(self, order: orders.Order, body: Order) -> models.Stream:
        """Write that the command came, and give it; the stream as it is then.

        Raises:
            HTTPException: 409 with the reason, if the loop refuses.
            AuditError: it cannot be written; nothing was done.
        """
        self._given.received(self._caller, body.reason, body.model_dump(exclude={"reason"}))
        refused = self.runner.order(order, body.reason, self._caller.name)
        if refused:
            raise HTTPException(409, refused)
        return self._overview.stream(self.runner.name)


async def desk(request: Request, runner: Of) -> Desk:
    """Where this request's command is taken."""
    return Desk(request, runner)


Here = Annotated[Desk, Depends(desk)]

router = APIRouter(
    prefix="/api/v1/streams/{stream}",
    route_class=CommandRoute,
    dependencies=[BEARER],
    responses=answers_with(400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 503),
)


@router.post("/recalibrate", status_code=202, openapi_extra=needs(ROLES[orders.Recalibrate]))
async def recalibrate(order: RecalibrateOrder, desk: Here) -> models.Stream:
    """Collect events and fit; write nothing with `dry_run`."""
    return desk.order(orders.Recalibrate(order.dry_run), order)


@router.post("/approve", status_code=202, openapi_extra=needs(ROLES[orders.Approve]))
async def approve(order: ProposalOrder, desk: Here) -> models.Stream:
    """Let the proposal that waits go to the board."""
    return desk.order(orders.Approve(_proposal(desk.runner, order)), order)


@router.post("/reject", status_code=202, openapi_extra=needs(ROLES[orders.Reject]))
async def reject(order: ProposalOrder, desk: Here) -> models.Stream:
    """Turn the proposal that waits down."""
    return desk.order(orders.Reject(_proposal(desk.runner, order)), order)


@router.post("/rollback", status_code=202, openapi_extra=needs(ROLES[orders.Rollback]))
async def rollback(order: RollbackOrder, desk: Here) -> models.Stream:
    """Put an earlier payload back, as a new generation."""
    found = desk.runner.parts.payloads.find(order.to)
    if found is None:
        raise HTTPException(404, f"no payload {order.to!r} of stream {desk.runner.name!r} in the ledger")
    return desk.order(orders.Rollback(found), order)


@router.post("/freeze", status_code=202, openapi_extra=needs(ROLES[orders.Freeze]))
async def freeze(order: Order, desk: Here) -> models.Stream:
    """Write nothing until it is unfrozen."""
    return desk.order(orders.Freeze(), order)


@router.post("/unfreeze", status_code=202, openapi_extra=needs(ROLES[orders.Unfreeze]))
async def unfreeze(order: Order, desk: Here) -> models.Stream:
    """Let the loop act again."""
    return desk.order(orders.Unfreeze(), order)


def _proposal(runner: Runner, order: ProposalOrder) -> str:
    """The waiting proposal's whole name for any beginning of it; else what was given, to be refused."""
    waiting = runner.state.proposal
    return waiting if waiting.startswith(order.proposal) else order.proposal
