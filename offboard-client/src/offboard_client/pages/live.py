"""The page of a run while it goes on: what is seen of it, what may be done, and what is said of its episodes."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from ..errors import BadParameter, NotFound, brief
from ..robots import RobotSpec
from .desk import Desk, TooLate
from .http import KEPT, Request, Response, Route, as_json
from .keeping import Keeping
from .live_seen import Picture, Seen
from .series import orders_of
from .starts import Starts

#: Pixels that a picture is wide at most, and at least.
_WIDEST, _NARROWEST = 1280, 16
#: Cameras that are looked at in one request.
_CAMERAS = 16
#: Seconds without a word from any browser after which nobody looks.
_GONE = 3.0


class Live:
    """A :class:`~.app.PageSource` of a run.

    A browser asks for all that is new, and again when it has shown that: one that is slow is shown less, and nothing
    waits for it anywhere.
    """

    page = "live.html"

    def __init__(
        self,
        desk: Desk,
        seen: Seen,
        facts: Mapping[str, Any],
        keeping: Keeping | None = None,
        starts: Starts | None = None,
    ) -> None:
        """``facts``: of the run, plain JSON data that every page shows. ``keeping``: what writes what is said, if it is
        kept anywhere. ``starts``: the same as of ``desk``."""
        self._desk, self._seen, self._facts, self._keeping, self._starts = desk, seen, facts, keeping, starts
        self._asked = -float("inf")
        # Pictures are made one after the other, on one thread: more browsers take no more of the processor.
        self._encoder = ThreadPoolExecutor(1, "offboard-page-pictures")
        self.routes: list[Route] = [
            ("GET", re.compile("/api/now"), self._now),
            ("GET", re.compile(r"/api/starts/(\d{1,12})/(.{1,200})"), self._start_picture),
            ("POST", re.compile("/api/do"), self._do),
            ("POST", re.compile("/api/review"), self._review),
        ]

    @property
    def watched(self) -> bool:
        """Whether a browser has asked of late."""
        return time.monotonic() - self._asked < _GONE

    def drives(self, robot: RobotSpec, instruction: str | None) -> None:
        """What is driven, once that is known: the curves have its joints' names. ``instruction``: shown where the facts
        have none."""
        self._seen.orders = orders_of(robot.as_dict())
        if not self._facts.get("task"):
            self._facts = {**self._facts, "task": instruction}

    def close(self) -> None:
        """Make no more pictures."""
        self._encoder.shutdown(wait=True, cancel_futures=True)

    # -- what is answered ------------------------------------------------------------------------------
    async def _now(self, request: Request) -> Response:
        """``OBL1``, the size of a JSON object, that, and after it the JPEG files whose sizes it names.

        ``since``: the event up to which the browser has seen them; ``have``: its pictures, ``camera:number`` with
        commas between; ``width``: how wide it shows them; without it none are sent.
        """
        self._asked = time.monotonic()
        since, width = int(request.number("since", 0.0)), int(request.number("width", 0.0))
        have = _have(request.query.get("have", ""))
        pictures = list(self._seen.pictures().items())[:_CAMERAS]
        fresh = [(name, each) for name, each in pictures if width > 0 and have.get(name) != each.number]
        files: list[bytes] = []
        if fresh:
            wide = max(_NARROWEST, min(width, _WIDEST))
            loop = asyncio.get_running_loop()
            files = await loop.run_in_executor(self._encoder, self._files, fresh, wide)
        upto, events = self._seen.events(max(0, since))
        sent = [[name, each.number, len(file)] for (name, each), file in zip(fresh, files, strict=True)]
        state = {**self._state(pictures), "upto": upto, "sent": sent}
        head = json.dumps(state, allow_nan=False, separators=(",", ":"))[:-1] + ',"events":' + events + "}"
        data = head.encode()
        body = b"OBL1" + struct.pack("<I", len(data)) + data + b"".join(files)
        return Response(body, "application/octet-stream")

    async def _do(self, request: Request) -> Response:
        """A command (:meth:`.desk.Desk.do`): 409 where it comes too late, and nothing was done."""
        try:
            self._desk.do(request.json())
        except TooLate as late:
            return as_json({"error": str(late), "code": "too_late", **self._desk.as_dict()}, 409)
        return as_json(self._desk.as_dict())

    async def _review(self, request: Request) -> Response:
        """What is said of an episode (:meth:`.desk.Desk.say`); 409 where somebody else has said something else."""
        try:
            review, lost = self._desk.say(request.json())
        except TooLate as late:
            return as_json({"error": str(late), "code": "too_late"}, 409)
        return as_json({"review": review.as_dict(), "lost": lost}, 409 if lost else 200)

    async def _start_picture(self, request: Request, start: str, camera: str) -> Response:
        """How a scene looked; its address names its version."""
        if self._starts is None:
            raise NotFound("this run has no start pictures")
        data, kind = await asyncio.to_thread(self._starts.read, int(start), camera)
        return Response(data, kind, headers=KEPT if request.query.get("stamp") else {})

    # -- inside ----------------------------------------------------------------------------------------
    def _files(self, pictures: list[tuple[str, Picture]], width: int) -> list[bytes]:
        return [self._seen.jpeg(name, each, width) for name, each in pictures]

    def _state(self, pictures: list[tuple[str, Picture]]) -> dict[str, Any]:
        seen, now = self._seen, self._seen.clock()
        return {
            **self._facts, **self._desk.as_dict(),
            "seconds": round(seen.seconds, 2), "limit": seen.limit, "rung": seen.rung, "instruction": seen.instruction,
            "latencies": seen.latencies, "stages": seen.stages, "names": seen.names, "plots": seen.plots(),
            "cameras": [[name, each.number, round(max(0.0, now - each.at), 2)] for name, each in pictures],
            "unanswered": None if seen.failure is None else seen.failure[0],
            "saved": None if self._keeping is None else self._keeping.saved,
            "problem": next(filter(None, (each and each.problem for each in (self._keeping, self._starts))), None),
        }  # fmt: skip


def _have(text: str) -> dict[str, int]:
    """``front:12,wrist:7``, the names quoted as in an address. Raises BadParameter."""
    found: dict[str, int] = {}
    for each in text.split(",")[:_CAMERAS] if text else []:
        name, _, number = each.rpartition(":")
        if not number.isdecimal() or len(number) > 12:
            raise BadParameter(f"have is {brief(text)}; expected camera:number, with commas between")
        found[unquote(name)] = int(number)
    return found
