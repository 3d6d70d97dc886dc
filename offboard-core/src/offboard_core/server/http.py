"""The HTTP routes (section 1 of the protocol)."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from typing import Any

from offboard_client.errors import Forbidden, Internal, NotFound, OffboardError, Unauthorized
from offboard_client.wire import MODELS_PATH, SESSION_PATH, error_frame
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .._version import __version__
from ..engine import SPAN_S, Failure, PolicyService, without_paths, without_paths_in
from ..frontends import Edge
from ..process import resident_bytes
from .auth import Access
from .front import FILES, front, is_front
from .last import last_json
from .listeners import Listeners
from .metrics import exposition, make_registry

log = logging.getLogger(__name__)

#: Routes that anybody may ask, token or not; they tell nothing but yes or no to who may ask nothing else.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})


#: What may be asked, and what it answers.
ROUTES = {
    MODELS_PATH: "which models a session may name",
    "/api/v1/status": "what the server is doing",
    "/api/v1/latencies": "what each stage took in the last minutes",
    "/api/v1/sessions/NAME/last": "what the model of a session saw last, and answered",
    "/metrics": "the same for Prometheus",
    "/livez": "whether the process lives",
    "/readyz": "whether a model is ready",
    "/healthz": "the same, as openpi's clients ask",
}
_GUIDE = f"""offboard {__version__}: a server for robot policies

{chr(10).join(f"  GET {path:<26} {what}" for path, what in ROUTES.items())}
  POST /act[/MODEL_ID]: one observation as JSON, and its answer
  WebSocket {SESSION_PATH}[/MODEL_ID]: a session

A robot connects in Python with offboard_client.InferenceClient("HOST:PORT").new_session(),
from a shell with `offboard probe HOST:PORT`, and in any language as the reference says:
docs/reference/protocol.md of the project.
"""


def make_http(service: PolicyService, access: Access, edge: Edge, listeners: Listeners) -> Starlette:
    """The HTTP half of the server."""
    registry = make_registry(service, listeners)
    told: Failure | None = None
    showing = asyncio.Lock()

    async def let_in(request: Request) -> None:
        await access.check_page(request.headers.raw, upgrade=False)
        if not is_front(request):  # a browser that opens a page cannot bring a token; what the page asks for has it
            access.check(request.headers.raw)

    async def guard(request: Request, call_next: Any) -> Response:
        # Not request.url: that is put together from the Host header, which is the client's to choose.
        if request.scope["path"] not in OPEN:
            try:
                await let_in(request)
            except Forbidden as error:
                return JSONResponse(error_frame(error), 403)
            except Unauthorized as error:
                return JSONResponse(error_frame(error), 401, {"WWW-Authenticate": "Bearer"})
        return await call_next(request)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        asked = f"{request.method} {request.scope['path'][:200]!r}"
        why = NotFound(
            f"there is no {asked}; there are GET of {', '.join(ROUTES)}, POST /act and the WebSocket {SESSION_PATH}"
        )
        return JSONResponse(error_frame(why), error.status_code, error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        return JSONResponse(error_frame(Internal("the request failed; the server's log says why")), 500)

    async def guide(request: Request) -> Response:
        return front(request) if is_front(request) else PlainTextResponse(_GUIDE, headers={"Vary": "Accept"})

    async def session(request: Request) -> Response:
        why = NotFound("a session is a WebSocket, and this request asked for no upgrade: see / for what connects")
        return JSONResponse(error_frame(why), 426, {"Upgrade": "websocket", "Connection": "Upgrade"})

    async def livez(request: Request) -> Response:
        return PlainTextResponse("OK\n")

    async def readyz(request: Request) -> Response:
        nonlocal told
        why, failure = service.slot.unready(), service.slot.failure
        if why is None:
            return PlainTextResponse("OK\n")
        if failure is not None and failure is not told:
            log.warning("not ready: %s", failure.text)
            told = failure
        try:
            await let_in(request)
        except OffboardError:
            why = None if failure is None else "a model failed, /api/v1/status and the log say why"
        return PlainTextResponse(f"not ready: {without_paths(why)}\n" if why else "not ready\n", 503)

    async def models(request: Request) -> Response:
        try:
            found = await service.catalog.models()
        except OffboardError as error:
            return JSONResponse(edge.frame(error), 503)
        problems = {name: edge.frame(error) for name, error in found.problems.items()}
        return JSONResponse({"models": found.ids, **({"problems": problems} if problems else {})})

    async def status(request: Request) -> Response:
        stats = service.stats
        answered = {"answered": sum(stats.outcomes.values()), "outcomes": dict(stats.outcomes)}
        mean_ms = {stage: round(h.sum_ms / total, 3) for stage, h in stats.stages.items() if (total := sum(h.counts))}
        # The progress of a load may be a child's last line.
        served = without_paths_in({**service.status(), "listeners": listeners.status()})
        return JSONResponse({**served, **answered, "mean_ms": mean_ms, "memory_bytes": _memory()})

    async def latencies(request: Request) -> Response:
        recent = {
            stage.removesuffix("_ms"): [None if ms is None else round(ms, 3) for ms in means]
            for stage, means in service.stats.recent().items()
        }
        return JSONResponse({"span_s": SPAN_S, "mean_ms": recent}, headers={"Cache-Control": "no-store"})

    async def last(request: Request) -> Response:
        name = request.path_params["name"]
        found = next((one for one in service.sessions.values() if one.name == name), None)
        if found is None:
            there = ", ".join(sorted(one.name for one in service.sessions.values())) or "none"
            return JSONResponse(error_frame(NotFound(f"no session is called {name[:40]!r}; there are: {there}")), 404)
        if (record := found.look()) is None:
            return JSONResponse({"session": name, "last": None})
        async with showing:  # one at a time: it is work for a processor
            body = await asyncio.to_thread(last_json, name, record)
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    async def metrics(request: Request) -> Response:
        return Response(exposition(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    answers = {
        "/": guide,
        "/docs": guide,
        **dict.fromkeys(FILES, guide),
        SESSION_PATH: session,
        SESSION_PATH + "/{model_id:path}": session,
        "/livez": livez,
        "/readyz": readyz,
        "/healthz": readyz,
        MODELS_PATH: models,
        "/api/v1/status": status,
        "/api/v1/latencies": latencies,
        "/api/v1/sessions/{name}/last": last,
        "/metrics": metrics,
    }
    app = Starlette(
        routes=[Route(path, answer) for path, answer in answers.items()],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
        exception_handlers={HTTPException: unknown, Exception: broken},
    )
    app.router.redirect_slashes = False
    return app


def _memory() -> int:
    """What this process holds; where there is no /proc the most that it has held."""
    if (resident := resident_bytes()) is not None:
        return resident
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # in bytes there, and in KiB elsewhere
