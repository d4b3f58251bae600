"""The HTTP interface: health and metrics, the page, and under ``/api/v1`` the streams and the operator's commands.

Who may do what is decided in `access`, a request is taken in by `requests`; what there is stands in the document at
``/openapi.json``, which is made of the code. Every error is ``{"error": text}``.
"""

import hashlib
from http import HTTPStatus
from importlib.metadata import version
from importlib.resources import files

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from monitor.daemon.http import commands, models, queries, words
from monitor.daemon.http.admission import AdmittingRoute, answers_with, told
from monitor.daemon.http.audit import AuditError
from monitor.daemon.http.context import Context, context
from monitor.daemon.http.middleware import Frame
from monitor.daemon.http.views import NotRead

MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""Of the page's files; no other is served."""
WORDS = words.module().encode()

router = APIRouter(route_class=AdmittingRoute, responses=answers_with(421))


@router.get("/live")
async def live() -> models.Live:
    """Says that the daemon answers, whatever its streams and boards do."""
    return models.Live()


@router.get("/ready", responses={503: {"model": models.Ready, "description": "A stream is silent."}})
async def ready(request: Request, response: Response) -> models.Ready:
    """Whether every stream is being counted."""
    found = models.Ready(ready=context(request).overview.ready)
    response.status_code = 200 if found.ready else 503
    return found


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(generate_latest(context(request).registry), media_type=CONTENT_TYPE_LATEST)


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The operator's page."""
    return await asset(request, "index.html")


@router.get("/web/{file}", include_in_schema=False)
async def asset(request: Request, file: str) -> Response:
    """A file of the page, or the module made for it; nothing outside its folder, and nothing in a folder of it."""
    media_type = MEDIA_TYPES.get(f".{file.rpartition('.')[2]}")
    body = WORDS if file == words.FILE else _file(file)
    if body is None or media_type is None:
        raise HTTPException(404, f"no file {file[:64]!r}")
    headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def _file(name: str) -> bytes | None:
    """A file of the page's folder."""
    folder = files("monitor.daemon.http") / "web"
    found = next((each for each in folder.iterdir() if each.name == name and each.is_file()), None)
    return None if found is None else found.read_bytes()


def application(reached: Context) -> FastAPI:
    """The ASGI application over what a request may reach."""
    app = FastAPI(
        title="driftd",
        version=version("driftd"),
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            HTTPException: _refused,
            RequestValidationError: _invalid,
            AuditError: _not_written,
            NotRead: _not_read,
        },
    )
    app.state.context = reached
    app.include_router(router)
    app.include_router(queries.router)
    app.include_router(commands.router)
    app.add_middleware(Frame, requests=reached.requests)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = str(error.detail)
    if text == HTTPStatus(error.status_code).phrase:
        allowed = f"; it takes {error.headers['Allow']}" if error.headers else ": /openapi.json says what there is"
        text = f"{text}: {request.method} {request.url.path[:200]}{allowed}"
    return JSONResponse({"error": text}, error.status_code, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"error": told(error)}, 422)


async def _not_read(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409)


async def _not_written(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the audit cannot be written or read: {error}"}, 503)
