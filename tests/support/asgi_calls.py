"""Requests to an ASGI application without a server: what it answers, as bytes and as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asked:
    """``Asked(app)("GET", "/path", name=value)``, as of a browser on this machine."""

    def __init__(self, app: Any, **headers: str) -> None:
        self.app, self.headers = app, {"host": "127.0.0.1:5001", **headers}
        self._leaves = False

    def left(self, path: str, **query: Any) -> Answered:
        """Asked by somebody who goes at once."""
        self._leaves = True
        try:
            return self("GET", path, **query)
        finally:
            self._leaves = False

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Answered:
        said = {**self.headers, **(headers or {})}
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None and "content-type" not in said:
            said["content-type"] = "application/json"
        messages: list[dict[str, Any]] = []
        told = iter([{"type": "http.request", "body": data}] if method == "POST" else [])

        async def receive() -> dict[str, Any]:
            if (message := next(told, None)) is not None:
                return message
            if not self._leaves:
                await asyncio.Event().wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "root_path": "", "query_string": urlencode(query).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        }  # fmt: skip
        asyncio.run(self.app(scope, receive, send))
        found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return Answered(messages[0]["status"], found, b"".join(each.get("body", b"") for each in messages[1:]))
