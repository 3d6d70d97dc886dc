"""The HTTP routes (section 1 of the protocol)."""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from offboard_client.errors import OffboardError, Unauthorized
from offboard_client.messages import error_frame

from .._version import __version__
from ..runtime.service import PolicyService
from .auth import Gate
from .metrics import exposition, make_registry

#: Routes that anybody may ask, token or not; they tell nothing but yes or no.
OPEN = frozenset({"/livez", "/readyz", "/healthz"})


def make_http(service: PolicyService, gate: Gate) -> FastAPI:
    """The HTTP half of the server."""
    app = FastAPI(title="offboard", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    registry = make_registry(service)

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:  # pyright: ignore[reportUnusedFunction]
        # Not request.url: that is put together from the Host header, which is the client's to choose.
        if request.scope["path"] not in OPEN:
            try:
                gate.check(request.headers.raw)
            except Unauthorized as error:
                return JSONResponse(error_frame(error), 401, {"WWW-Authenticate": "Bearer"})
        return await call_next(request)

    @app.get("/livez")
    async def livez() -> Response:  # pyright: ignore[reportUnusedFunction]
        return PlainTextResponse("OK\n")

    @app.get("/readyz")
    @app.get("/healthz")
    async def readyz() -> Response:  # pyright: ignore[reportUnusedFunction]
        return PlainTextResponse("OK\n") if service.slot.ready() else PlainTextResponse("not ready\n", 503)

    @app.get("/api/v1/models")
    async def models() -> Response:  # pyright: ignore[reportUnusedFunction]
        try:
            return JSONResponse({"models": await service.models()})
        except OffboardError as error:
            return JSONResponse(error_frame(error), 503)

    @app.get("/api/v1/status")
    async def status() -> Response:  # pyright: ignore[reportUnusedFunction]
        stats = service.stats
        answered = {"answered": sum(stats.outcomes.values()), "outcomes": dict(stats.outcomes)}
        mean_ms = {stage: round(h.sum_ms / total, 3) for stage, h in stats.stages.items() if (total := sum(h.counts))}
        return JSONResponse({**service.status(), **answered, "mean_ms": mean_ms, "memory_bytes": resident_bytes()})

    @app.get("/metrics")
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]
        return Response(exposition(registry), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def resident_bytes() -> int:
    """Memory this process holds."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        # Where there is no /proc: the peak, which getrusage counts in bytes on macOS and in KiB elsewhere.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
