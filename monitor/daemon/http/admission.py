"""How a request is taken in: who it is from, its body within bounds, and commands into the audit."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from monitor.daemon.http.access import ANONYMOUS, Caller
from monitor.daemon.http.audit import Attempt, Audit, AuditError
from monitor.daemon.http.context import context
from monitor.daemon.http.models import Error
from monitor.daemon.http.tokens import Role

MAX_BODY_BYTES = 16_384
BODY_S = 10.0
"""Within which a body must have come."""
ROLE = "x-role"
"""Where the document says whom an operation needs."""
AGENT_CHARACTERS = 120
STREAM_CHARACTERS = 64
TEXT_CHARACTERS = 1000
OUTCOMES = {401: "denied", 403: "denied", 421: "denied", 409: "refused"}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

TEXTS = {
    400: "The body is no JSON.",
    401: "The token is missing, wrong or expired.",
    403: "The caller's role is too low, or a page of another site asks.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "Not in this state.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    421: "Another host's name was asked for.",
    422: "A value is not what is expected.",
    503: "Not now.",
}


def answers_with(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of an operation, for the document."""
    return {status: {"model": Error, "description": TEXTS[status]} for status in statuses}


def needs(role: Role) -> dict[str, Any]:
    """What the document says of an operation that needs a role; `AdmittingRoute` holds the caller to it."""
    return {ROLE: str(role)}


class AdmittingRoute(APIRoute):
    """Lets in who may, before anything of the body is read."""

    def get_route_handler(self) -> Handler:
        """FastAPI's handler behind a check of the host's name and, where one is needed, of the caller's role."""
        answer = super().get_route_handler()
        role = (self.openapi_extra or {}).get(ROLE)

        async def admitted(request: Request) -> Response:
            access = context(request).access
            access.check_host(request)
            if role:
                request.state.caller = caller = await access.caller(request)
                access.check_role(caller, Role(role))
            return await answer(request)

        return admitted


class CommandRoute(AdmittingRoute):
    """Writes what became of each attempt to the audit, also of one that was not let in."""

    def get_route_handler(self) -> Handler:
        """The admitting handler behind a check of the site that asks, its outcome written to the audit."""
        answer = super().get_route_handler()

        async def audited(request: Request) -> Response:
            reached = context(request)
            given = request.state.given = Given(
                reached.audit,
                Attempt(
                    peer=reached.access.peer(request),
                    agent=request.headers.get("user-agent", "")[:AGENT_CHARACTERS],
                    stream=request.path_params["stream"][:STREAM_CHARACTERS],
                    command=self.name,
                ),
            )
            try:
                reached.access.check_site(request)
                response = await answer(_JsonRequest(request.scope, request.receive))
            except HTTPException as error:
                outcome = OUTCOMES.get(error.status_code, "invalid")
                given.ended(_caller(request), outcome, error.status_code, str(error.detail))
                raise
            except RequestValidationError as error:
                given.ended(_caller(request), "invalid", 422, told(error))
                raise
            except AuditError:
                raise
            except Exception as error:
                given.ended(_caller(request), "failed", 500, repr(error))
                raise
            given.ended(_caller(request), "accepted", response.status_code)
            return response

        return audited


class Given:
    """A command on its way through the audit."""

    def __init__(self, audit: Audit, attempt: Attempt) -> None:
        self._audit = audit
        self._attempt = attempt
        self._received = 0

    def received(self, caller: Caller, reason: str, arguments: dict[str, Any]) -> None:
        """Write what was ordered, before it is carried out."""
        self._attempt = replace(_by(self._attempt, caller), reason=reason, arguments=arguments)
        self._received = self._audit.received(self._attempt)

    def ended(self, caller: Caller | None, outcome: str, status: int, text: str = "") -> None:
        """Write what became of it."""
        attempt = self._attempt if caller is None else _by(self._attempt, caller)
        if self._received or (caller is not None and caller.name != ANONYMOUS):
            self._audit.ended(attempt, outcome, status, text[:TEXT_CHARACTERS], self._received)
        else:
            self._audit.came_to_nothing(attempt, outcome, status, text[:TEXT_CHARACTERS])


class _JsonRequest(Request):
    """A request whose body is JSON, as strict as JSON is, of a bounded size, and there in time."""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise HTTPException(415, "expected Content-Type: application/json")
            try:
                async with asyncio.timeout(BODY_S):
                    self._body = await self._bounded()
            except TimeoutError:
                raise HTTPException(408, f"the body did not come within {BODY_S:g} s") from None
        return self._body

    async def json(self) -> Any:
        try:
            text = (await self.body()).decode("utf-8")
            found = json.loads(text, object_pairs_hook=_different, parse_constant=_no_number)
            json.dumps(found, ensure_ascii=False).encode()  # no half of a surrogate pair goes any further
            return found
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"the body is no JSON: {error}") from None

    async def _bounded(self) -> bytes:
        """Not read at all if it says that it is too large."""
        length = self.headers.get("content-length", "0")
        raw = b""
        if int(length) <= MAX_BODY_BYTES:
            async for chunk in self.stream():
                raw += chunk
                if len(raw) > MAX_BODY_BYTES:
                    break
            else:
                return raw
        raise HTTPException(413, f"a body of more than {MAX_BODY_BYTES} bytes")


def told(error: RequestValidationError) -> str:
    """What a request has wrong."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'][1:])) or 'body'}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    )


def _caller(request: Request) -> Caller | None:
    return getattr(request.state, "caller", None)


def _by(attempt: Attempt, caller: Caller) -> Attempt:
    return replace(attempt, who=caller.name, role=str(caller.role))


def _different(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a key comes twice among {', '.join(key for key, _ in pairs)[:200]}")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
