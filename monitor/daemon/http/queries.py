"""What the HTTP interface shows of streams, payloads, proposals and the audit."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Security
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from monitor.daemon.http import access, models, views
from monitor.daemon.http.admission import AdmittingRoute, answers_with, needs
from monitor.daemon.http.context import Context, context
from monitor.daemon.http.sse import Broadcast, Client, TooManyClients
from monitor.daemon.http.tokens import Role
from monitor.daemon.run.runner import Runner
from monitor.store.errors import LedgerError
from recalib.proposal import Proposal

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
    """Who asks, as the route has found when it let the request in."""
    found: access.Caller = request.state.caller
    return found


async def runner(request: Request, stream: Annotated[str, Path(description="The name of a stream.")]) -> Runner:
    """The runner of the stream that the path names."""
    streams = context(request).streams
    if stream not in streams:
        raise HTTPException(404, f"no stream {stream[:64]!r}; there is {', '.join(streams)}")
    return streams[stream].runner


Reached = Annotated[Context, Depends(context)]
Of = Annotated[Runner, Depends(runner)]
Caller = Annotated[access.Caller, Depends(caller)]


@router.get("/status", openapi_extra=VIEWER)
async def status(reached: Reached) -> models.Status:
    """All streams and boards."""
    return reached.overview.status()


@router.get("/whoami", openapi_extra=VIEWER)
async def whoami(caller: Caller) -> models.Caller:
    """The caller's role and name, which is that of the token or `anonymous`."""
    return models.Caller(name=caller.name, role=caller.role)


@router.get("/streams", openapi_extra=VIEWER)
async def streams(reached: Reached) -> list[models.Brief]:
    """Every stream in a line: its phase, its mode and its last verdict."""
    return [views.brief(work.runner) for work in reached.streams.values()]


@router.get("/streams/{stream}", openapi_extra=VIEWER, responses=UNKNOWN)
async def stream(reached: Reached, runner: Of) -> models.Stream:
    """Where one stream's loop stands, its last lumi section, and what its board runs."""
    return reached.overview.stream(runner.name)


@router.get("/streams/{stream}/windows", openapi_extra=VIEWER, responses=INVALID)
async def windows(runner: Of, newest: Limit) -> list[models.Window]:
    """The last lumi sections with their counts, oldest first."""
    return views.windows(runner, newest.limit)


@router.get("/streams/{stream}/divergences", openapi_extra=VIEWER, responses=INVALID)
async def divergences(runner: Of, newest: Limit) -> list[models.Divergences]:
    """The same without counts."""
    return views.divergences(runner, newest.limit)


@router.get("/streams/{stream}/proposals", openapi_extra=VIEWER, responses=INVALID, response_model_exclude_unset=True)
async def proposals(reached: Reached, runner: Of, newest: Limit) -> list[models.Proposal]:
    """Newest first."""
    return [models.Proposal(**data) for data in views.proposals(reached.ledger, runner.name, newest.limit)]


@router.get(
    "/streams/{stream}/proposals/{id}", openapi_extra=VIEWER, responses=UNKNOWN, response_model_exclude_unset=True
)
async def proposal(reached: Reached, runner: Of, id: str) -> models.Proposal:
    """By its name or any unique beginning of it."""
    return models.Proposal(**_proposal(reached, runner, id))


@router.get("/proposals/{id}", openapi_extra=VIEWER, responses=UNKNOWN, response_model_exclude_unset=True)
async def proposal_of_any_stream(reached: Reached, id: str) -> models.Proposal:
    """By its name or any unique beginning of it, of whichever stream."""
    try:
        return models.Proposal(**reached.ledger.proposal(id).data)
    except LedgerError:
        raise HTTPException(404, f"no proposal, or more than one, has a name that begins with {id[:64]!r}") from None


@router.get("/streams/{stream}/proposals/{id}/changes", openapi_extra=VIEWER, responses=answers_with(404, 409))
async def proposal_changes(reached: Reached, runner: Of, id: str) -> models.Changes:
    """What approving it would write."""
    return views.changes(runner, runner.parts.payloads[Proposal.from_dict(_proposal(reached, runner, id)).payload_id])


@router.get("/streams/{stream}/payloads", openapi_extra=VIEWER, responses=INVALID)
async def payloads(reached: Reached, runner: Of, newest: Limit) -> list[models.Payload]:
    """Those of the ledger, newest first."""
    return views.payloads(runner, reached.ledger, newest.limit)


@router.get("/streams/{stream}/payloads/{id}", openapi_extra=VIEWER, responses=answers_with(404, 409))
async def payload(reached: Reached, runner: Of, id: str) -> models.PayloadChanges:
    """By its name or any unique beginning of it, or `nominal`: what a rollback to it would write."""
    found = views.payload(runner, reached.ledger, id)
    if found is None:
        raise HTTPException(404, f"no payload {id[:64]!r} of stream {runner.name!r} in the ledger")
    return found


@router.get("/streams/{stream}/history", openapi_extra=VIEWER, responses=INVALID)
async def history(reached: Reached, runner: Of, newest: Limit) -> models.History:
    """Which payload decided since when, and what happened."""
    return views.history(reached.ledger, runner.name, newest.limit)


@router.get("/streams/{stream}/commands", openapi_extra=VIEWER, responses=UNKNOWN)
async def commands(runner: Of, caller: Caller) -> list[models.Command]:
    """Which commands the caller may give now."""
    return views.commands(runner, caller.role)


@router.get("/audit", openapi_extra=EXPERT, responses=answers_with(422, 503))
async def audit(reached: Reached, newest: Limit) -> models.Audit:
    """Newest first."""
    found = reached.audit
    entries = [models.AuditEntry(**entry) for entry in found.entries(newest.limit)]
    return models.Audit(head=found.head, count=found.count, entries=entries)


class EventStream(StreamingResponse):
    """Forgets its client at the end, whether anything was sent or not."""

    media_type = "text/event-stream"

    def __init__(self, broadcast: Broadcast, client: Client, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forget: Callable[[], None] = lambda: broadcast.clients.discard(client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes or the stream ends, then forget the client."""
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
    reached = context(request)
    if wanted.stream:
        await runner(request, wanted.stream)
    broadcast = reached.broadcast
    try:
        client = broadcast.listen(wanted.stream, request.state.drop)
    except TooManyClients as error:
        raise HTTPException(503, str(error)) from None
    missed = broadcast.missed(last_event_id) if last_event_id else []
    lines = broadcast.lines(client, [*missed, *reached.now()])
    return EventStream(broadcast, client, lines)


def _proposal(reached: Context, runner: Runner, id: str) -> dict[str, Any]:
    found = views.proposal(reached.ledger, runner.name, id)
    if found is None:
        raise HTTPException(404, f"no proposal {id[:64]!r} of stream {runner.name!r}")
    return found
