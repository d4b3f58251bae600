"""What the HTTP interface shows of streams, payloads, proposals and the audit."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Security
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from monitor.daemon.http import access, models, views
from monitor.daemon.http.admission import AdmittingRoute, answers_with, needs
from monitor.daemon.http.sse import Events, Listener, TooManyClients
from monitor.daemon.http.tokens import Role
from monitor.daemon.run.control import StreamControl
from monitor.store.errors import LedgerError
from recalib.proposal import Proposal

if TYPE_CHECKING:
    from monitor.daemon.service import Service

MAX_WINDOWS = 2000
BEARER = Security(HTTPBearer(auto_error=False, description="A token that `driftd token add` made."))
VIEWER, EXPERT = needs(Role.VIEWER), needs(Role.EXPERT)


class Newest(BaseModel):
    """How many of the newest."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_WINDOWS)] = 100


class Listening(BaseModel):
    """Of one stream only, if it is named."""

    model_config = ConfigDict(extra="forbid")

    stream: str = ""


Limit = Annotated[Newest, Query()]

router = APIRouter(
    prefix="/api/v1",
    route_class=AdmittingRoute,
    dependencies=[BEARER],
    responses=answers_with(401, 403, 421),
)
UNKNOWN, INVALID = answers_with(404), answers_with(404, 422)


async def caller(request: Request) -> access.Caller:
    found: access.Caller = request.state.caller
    return found


async def control(request: Request, stream: Annotated[str, Path(description="The name of a stream.")]) -> StreamControl:
    service = request.app.state.service
    if stream not in service.controls:
        raise HTTPException(404, f"no stream {stream[:64]!r}; there is {', '.join(service.controls)}")
    found: StreamControl = service.controls[stream]
    return found


Control = Annotated[StreamControl, Depends(control)]
Caller = Annotated[access.Caller, Depends(caller)]


@router.get("/status", openapi_extra=VIEWER)
async def status(request: Request) -> models.Status:
    """All streams and boards."""
    return _service(request).status()


@router.get("/whoami", openapi_extra=VIEWER)
async def whoami(caller: Caller) -> models.Caller:
    return models.Caller(name=caller.name, role=caller.role)


@router.get("/streams", openapi_extra=VIEWER)
async def streams(request: Request) -> list[models.Brief]:
    return [views.brief(control) for control in _service(request).controls.values()]


@router.get("/streams/{stream}", openapi_extra=VIEWER, responses=UNKNOWN)
async def stream(request: Request, control: Control) -> models.Stream:
    return _service(request).stream(control)


@router.get("/streams/{stream}/windows", openapi_extra=VIEWER, responses=INVALID)
async def windows(control: Control, newest: Limit) -> list[models.Window]:
    """The last lumi sections with their counts, oldest first."""
    return views.windows(control, newest.limit)


@router.get("/streams/{stream}/divergences", openapi_extra=VIEWER, responses=INVALID)
async def divergences(control: Control, newest: Limit) -> list[models.Divergences]:
    """The same without counts."""
    return views.divergences(control, newest.limit)


@router.get("/streams/{stream}/proposals", openapi_extra=VIEWER, responses=INVALID, response_model_exclude_unset=True)
async def proposals(control: Control, newest: Limit) -> list[models.Proposal]:
    """Newest first."""
    return [models.Proposal(**data) for data in views.proposals(control, newest.limit)]


@router.get(
    "/streams/{stream}/proposals/{id}", openapi_extra=VIEWER, responses=UNKNOWN, response_model_exclude_unset=True
)
async def proposal(control: Control, id: str) -> models.Proposal:
    """By its name or any unique beginning of it."""
    return models.Proposal(**_proposal(control, id))


@router.get("/proposals/{id}", openapi_extra=VIEWER, responses=UNKNOWN, response_model_exclude_unset=True)
async def proposal_of_any_stream(request: Request, id: str) -> models.Proposal:
    """By its name or any unique beginning of it, of whichever stream."""
    try:
        return models.Proposal(**_service(request).ledger.proposal(id).data)
    except LedgerError:
        raise HTTPException(404, f"no proposal, or more than one, has a name that begins with {id[:64]!r}") from None


@router.get("/streams/{stream}/proposals/{id}/changes", openapi_extra=VIEWER, responses=answers_with(404, 409))
async def proposal_changes(control: Control, id: str) -> models.Changes:
    """What approving it would write."""
    return views.changes(control, control.payload(Proposal.from_dict(_proposal(control, id)).payload_id))


@router.get("/streams/{stream}/payloads", openapi_extra=VIEWER, responses=INVALID)
async def payloads(control: Control, newest: Limit) -> list[models.Payload]:
    """Those of the ledger, newest first."""
    return views.payloads(control, newest.limit)


@router.get("/streams/{stream}/payloads/{id}", openapi_extra=VIEWER, responses=answers_with(404, 409))
async def payload(control: Control, id: str) -> models.PayloadChanges:
    """By its name or any unique beginning of it, or `nominal`: what a rollback to it would write."""
    found = views.payload(control, id)
    if found is None:
        raise HTTPException(404, f"no payload {id[:64]!r} of stream {control.name!r} in the ledger")
    return found


@router.get("/streams/{stream}/history", openapi_extra=VIEWER, responses=INVALID)
async def history(control: Control, newest: Limit) -> models.History:
    """Which payload decided since when, and what happened."""
    return views.history(control, newest.limit)


@router.get("/streams/{stream}/commands", openapi_extra=VIEWER, responses=UNKNOWN)
async def commands(control: Control, caller: Caller) -> list[models.Command]:
    """Which commands the caller may give now."""
    return views.commands(control, caller.role)


@router.get("/audit", openapi_extra=EXPERT, responses=answers_with(422, 503))
async def audit(request: Request, newest: Limit) -> models.Audit:
    """Newest first."""
    found = _service(request).audit
    entries = [models.AuditEntry(**entry) for entry in found.entries(newest.limit)]
    return models.Audit(head=found.head, count=found.count, entries=entries)


class EventStream(StreamingResponse):
    """Forgets its listener at the end, whether anything was sent or not."""

    media_type = "text/event-stream"

    def __init__(self, events: Events, listener: Listener, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forget: Callable[[], None] = lambda: events.listeners.discard(listener)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._forget()


@router.get(
    "/events",
    openapi_extra=VIEWER,
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`status`, `window`, `ledger`, `board`, and `reset`: what was missed is not known any more.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **answers_with(404, 422, 503),
    },
)
async def events(
    request: Request, wanted: Annotated[Listening, Query()], last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Server-sent events of all streams, or of one."""
    service = _service(request)
    if wanted.stream:
        await control(request, wanted.stream)
    try:
        listener = service.events.listen(wanted.stream, request.state.drop)
    except TooManyClients as error:
        raise HTTPException(503, str(error)) from None
    missed = service.events.missed(last_event_id) if last_event_id else []
    lines = service.events.lines(listener, [*missed, *service.now()])
    return EventStream(service.events, listener, lines)


def _service(request: Request) -> "Service":
    found: Service = request.app.state.service
    return found


def _proposal(control: StreamControl, id: str) -> dict[str, Any]:
    found = views.proposal(control, id)
    if found is None:
        raise HTTPException(404, f"no proposal {id[:64]!r} of stream {control.name!r}")
    return found
