"""The HTTP interface: health, metrics, what the streams do, and the operator's commands."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.daemon import views
from monitor.daemon.loop import Approve, Freeze, Operator, Recalibrate, Reject, Rollback, Unfreeze

if TYPE_CHECKING:
    from monitor.daemon.control import StreamControl
    from monitor.daemon.service import Service

MAX_BODY_BYTES = 16_384
MAX_WINDOWS = 2000


class Order(BaseModel):
    """The body of a command; ``reason`` goes to the ledger."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=1000)


class RecalibrateOrder(Order):
    dry_run: bool = False


class ProposalOrder(Order):
    proposal: str = Field(min_length=4, max_length=64)


class RollbackOrder(Order):
    to: str = Field(default="nominal", min_length=4, max_length=64)


def application(service: Service, registry: CollectorRegistry) -> Starlette:
    """The ASGI application over a running service."""

    def control(request: Request) -> StreamControl:
        name = request.path_params["stream"]
        if name not in service.controls:
            known = ", ".join(service.controls)
            raise HTTPException(404, f"no stream {name!r}; there is {known}")
        return service.controls[name]

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def status(request: Request) -> Response:
        return JSONResponse(service.status())

    async def stream(request: Request) -> Response:
        return JSONResponse(views.status(control(request)))

    async def windows(request: Request) -> Response:
        limit = request.query_params.get("limit", "100")
        if not limit.isdigit() or not 0 < int(limit) <= MAX_WINDOWS:
            raise HTTPException(422, f"limit is {limit!r}; expected a number from 1 to {MAX_WINDOWS}")
        return JSONResponse(views.windows(control(request), int(limit)))

    async def proposals(request: Request) -> Response:
        return JSONResponse(views.proposals(control(request)))

    async def proposal(request: Request) -> Response:
        found = views.proposal(control(request), request.path_params["id"])
        if found is None:
            raise HTTPException(404, f"no proposal {request.path_params['id']!r}")
        return JSONResponse(found)

    async def history(request: Request) -> Response:
        return JSONResponse(views.history(control(request)))

    def command(
        order: type[Order], event: Callable[[StreamControl, Any], Operator]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            target = control(request)
            body = await _body(request, order)
            refused = target.order(event(target, body), body.reason)
            if refused:
                raise HTTPException(409, refused)
            return JSONResponse(views.status(target), 202)

        return endpoint

    orders = {
        "recalibrate": command(RecalibrateOrder, lambda _, body: Recalibrate(body.dry_run)),
        "approve": command(ProposalOrder, lambda target, body: Approve(_proposal(target, body))),
        "reject": command(ProposalOrder, lambda target, body: Reject(_proposal(target, body))),
        "rollback": command(RollbackOrder, lambda target, body: Rollback(_payload(target, body))),
        "freeze": command(Order, lambda *_: Freeze()),
        "unfreeze": command(Order, lambda *_: Unfreeze()),
    }
    base = "/api/v1/streams/{stream}"
    routes = [
        Route("/live", live),
        Route("/ready", ready),
        Route("/metrics", metrics),
        Route("/api/v1/status", status),
        Route(base, stream),
        Route(f"{base}/windows", windows),
        Route(f"{base}/proposals", proposals),
        Route(f"{base}/proposals/{{id}}", proposal),
        Route(f"{base}/history", history),
        *(Route(f"{base}/{name}", endpoint, methods=["POST"]) for name, endpoint in orders.items()),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refusal})


async def _body(request: Request, order: type[Order]) -> Order:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise HTTPException(413, f"a body of more than {MAX_BODY_BYTES} bytes")
    try:
        return order.model_validate(json.loads(raw or b"{}"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise HTTPException(422, "; ".join(faults)) from None


def _proposal(target: StreamControl, body: ProposalOrder) -> str:
    """The waiting proposal's whole name for any beginning of it; else what was given, to be refused."""
    waiting = target.state.proposal
    return waiting if waiting.startswith(body.proposal) else body.proposal


def _payload(target: StreamControl, body: RollbackOrder) -> str:
    found = target.find_payload(body.to)
    if found is None:
        raise HTTPException(404, f"no payload {body.to!r} of stream {target.name!r} in the ledger")
    return found


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)
