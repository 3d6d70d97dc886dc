"""The pages of recordings: a folder as a list, an episode as pictures and curves, and what people say of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

from ..recording import Episode
from .film import Film
from .http import KEPT, Request, Response, Route, as_json
from .library import Entry, Library, cameras_of
from .series import plots, series
from .timeline import Timeline

T = TypeVar("T")

#: Episodes that are open at once, with what of their pictures is kept.
_OPEN = 6
#: How wide a picture in the list is, in pixels; and when it was taken: near the end, which shows what came of it.
_THUMBNAIL, _WHEN = 160, 0.9


class Shown:
    """An episode that is open."""

    def __init__(self, path: Path) -> None:
        """Raises RecordingFailed."""
        self.episode = Episode(path)
        try:
            self.timeline = Timeline(self.episode)
            self.film = Film(self.episode, self.timeline)
        except BaseException:
            self.episode.close()
            raise
        self.users = 0


class Replay:
    """A :class:`~.app.PageSource` of the recordings in one folder. Raises ConfigurationError where there are none."""

    page = "replay.html"

    def __init__(self, folder: Path) -> None:
        self.library = Library(folder)
        self._open: OrderedDict[tuple[str, str], Shown] = OrderedDict()
        self._opening: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()
        one = r"/api/episodes/([0-9a-f]{16})"
        self.routes: list[Route] = [
            ("GET", re.compile(r"/api/episodes"), self._list),
            ("GET", re.compile(one), self._about),
            ("GET", re.compile(one + "/series"), self._series),
            ("GET", re.compile(one + "/film"), self._film),
            ("GET", re.compile(one + "/thumbnail"), self._thumbnail),
        ]

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            for shown in self._open.values():
                shown.episode.close()
            self._open.clear()

    # -- what is answered ------------------------------------------------------------------------------
    async def _list(self, request: Request) -> Response:
        rows = await asyncio.to_thread(self.library.rows)
        return as_json({"folder": str(self.library.folder), "episodes": rows})

    async def _about(self, request: Request, name: str) -> Response:
        def about(entry: Entry, shown: Shown) -> dict[str, Any]:
            row = next(row for row in self.library.rows() if row["id"] == entry.id)
            return {**row, **_described(shown)}

        return as_json(await self._with(name, about))

    async def _series(self, request: Request, name: str) -> Response:
        def read(_: Entry, shown: Shown) -> dict[str, Any]:
            start = max(0.0, request.number("from", 0.0))
            end = request.number("to", shown.timeline.duration)
            return series(shown.episode, shown.timeline, start, max(start, end))

        return as_json(await self._with(name, read))

    async def _film(self, request: Request, name: str) -> Response:
        seconds, camera = request.number("t"), request.query.get("camera", "")
        width = int(request.number("width", 0.0)) or None
        width = None if width is None else max(16, min(width, 4096)) // 16 * 16
        data = await self._with(name, lambda _, shown: shown.film.reel(camera, seconds, width).pack())
        return Response(data, "application/octet-stream")

    async def _thumbnail(self, request: Request, name: str) -> Response:
        def picture(_: Entry, shown: Shown) -> bytes:
            camera = next(iter(shown.film.topics), "")
            return shown.film.reel(camera, shown.timeline.duration * _WHEN, _THUMBNAIL).pictures[-1]

        kept = KEPT if request.query.get("stamp") else {}
        return Response(await self._with(name, picture), "image/jpeg", headers=kept)

    # -- inside ----------------------------------------------------------------------------------------
    async def _with(self, name: str, use: Callable[[Entry, Shown], T]) -> T:
        """On a thread, with the episode of this id. Raises NotFound, RecordingFailed."""

        def used() -> T:
            entry = self.library.find(name)
            with self._shown(entry) as shown:
                return use(entry, shown)

        return await asyncio.to_thread(used)

    @contextlib.contextmanager
    def _shown(self, entry: Entry) -> Generator[Shown, None, None]:
        key = (entry.id, entry.stamp)
        with self._lock:
            opening = self._opening.setdefault(key, threading.Lock())
        with opening:  # the first opens it, and may have to finish it, which takes a while
            with self._lock:
                shown = self._open.get(key)
            if shown is None:
                shown = Shown(entry.path)
            with self._lock:
                self._open[key] = shown
                self._open.move_to_end(key)
                self._opening.pop(key, None)
                shown.users += 1
        try:
            yield shown
        finally:
            with self._lock:
                shown.users -= 1
                idle = [key for key, each in self._open.items() if not each.users]
                for key in idle[: max(0, len(self._open) - _OPEN)]:
                    self._open.pop(key).episode.close()


def _described(shown: Shown) -> dict[str, Any]:
    episode = shown.episode
    return {
        "duration": shown.timeline.duration, "wall": (episode.end - episode.start) / 1e9,
        "cameras": cameras_of(episode.topics), "plots": plots(episode.topics),
        "outcome": episode.outcome, "run": episode.about.get("run"), "meta": episode.about.get("meta"),
        "control_period": episode.about.get("control_period"), "action_period": episode.about.get("action_period"),
    }  # fmt: skip
