"""The pages of recordings: a folder as a list, an episode as pictures and curves, and what people say of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import BadParameter, NotFound, brief
from ..evaluation import Clip, Review, edit_review
from ..recording import Episode
from .clips import write_clip
from .film import Film, cameras_of
from .http import KEPT, Request, Response, Route, as_json, plain
from .library import Entry, Library
from .series import orders_of, plots, series
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
            ("GET", re.compile(one + r"/clip\.mp4"), self._clip),
            ("POST", re.compile(one + "/review"), self._review),
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
            described = _described(shown)
            if row.get("blind"):
                _hide(described, row["failure"])
            return {**row, **described}

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
            found = shown.film.reel(camera, shown.timeline.duration * _WHEN, _THUMBNAIL).pictures
            if not found:
                raise NotFound(f"the camera {camera} has no picture there that can be decoded")
            return found[-1]

        kept = KEPT if request.query.get("stamp") else {}
        return Response(await self._with(name, picture), "image/jpeg", headers=kept)

    async def _review(self, request: Request, name: str) -> Response:
        """What is said of it: ``words``, ``seen``, ``tags``, ``dropped`` as of ``edit_review``; ``clip``: from, to,
        label. Where another has said something else since, the status is 409, and ``lost`` names it.
        """
        said = request.json()

        def say() -> tuple[Review, list[str]]:
            entry = self.library.find(name)
            clips: list[Clip] = []
            if "clip" in said:
                with self._shown(entry) as shown:
                    clips.append(_clip(_map(said, "clip"), shown))
            tags = {tag: bool(has) for tag, has in _map(said, "tags").items()}
            return edit_review(
                entry.path, _map(said, "words"), _map(said, "seen"), tags=tags,
                clips=clips, dropped=_names(said, "dropped"),
            )  # fmt: skip

        review, lost = await asyncio.to_thread(say)
        return as_json({"review": review.as_dict(), "lost": lost}, 409 if lost else 200)

    async def _clip(self, request: Request, name: str) -> Response:
        """A film of a range, made for whoever asks; no more of it once they are gone."""
        start, end = request.number("from"), request.number("to")
        cameras = [camera for camera in request.query.get("cameras", "").split(",") if camera]
        stopped = threading.Event()

        def made(entry: Entry, shown: Shown) -> tuple[str, Path]:
            handle, path = tempfile.mkstemp(suffix=".mp4", prefix="offboard-clip-")
            os.close(handle)
            try:
                write_clip(shown.film, cameras, start, min(end, shown.timeline.duration), Path(path), stopped.is_set)
                if stopped.is_set():
                    raise ConnectionError("nobody wants it any more")
            except BaseException:
                os.unlink(path)
                raise
            return entry.path.stem, Path(path)

        gone = asyncio.ensure_future(request.gone())
        gone.add_done_callback(lambda _: stopped.set())
        try:
            stem, path = await self._with(name, made)
        finally:
            gone.cancel()
        title = re.sub(r"[^\w.-]", "_", f"{stem}_{start:.1f}-{end:.1f}s", flags=re.ASCII)
        return Response(
            path, "video/mp4", headers={"content-disposition": f'attachment; filename="{title}.mp4"'}, done=path.unlink
        )

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


def _map(said: dict[str, Any], name: str) -> dict[str, Any]:
    """One of them that is an object. Raises BadParameter."""
    value = said.get(name, {})
    if not isinstance(value, dict):
        raise BadParameter(f"{name} is {brief(value)}; expected an object")
    return cast("dict[str, Any]", value)


def _names(said: dict[str, Any], name: str) -> list[str]:
    """One of them that is a list of texts. Raises BadParameter."""
    value = said.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast("list[Any]", value)):
        raise BadParameter(f"{name} is {brief(value)}; expected a list of texts")
    return cast("list[str]", value)


def _clip(said: dict[str, Any], shown: Shown) -> Clip:
    start, end, label = said.get("from"), said.get("to"), said.get("label", "")
    if not isinstance(start, int | float) or not isinstance(end, int | float) or not isinstance(label, str):
        raise BadParameter(f"a clip has from, to and a label, not {brief(said)}")
    start, end = max(0.0, start), min(end, shown.timeline.duration)  # of any length: whole numbers may be no float
    if not start < end:
        raise BadParameter(f"a clip ends after it begins, not from {brief(start)} s to {brief(end)} s")
    start, end = float(start), float(end)
    at = shown.timeline.wall(start), shown.timeline.wall(end, end=True)
    return Clip(secrets.token_hex(4), (start, end), (at[0], max(at[1], at[0] + 1)), label)


def _robot(episode: Episode) -> object:
    run = episode.about.get("run")
    return run.get("robot") if isinstance(run, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _hide(described: dict[str, Any], failure: list[str] | None) -> None:
    """Take away what tells which model it is: its handshake, and the command line, which names all of them."""
    if isinstance(described["run"], dict):
        run = cast("dict[str, Any]", described["run"])
        described["run"] = {name: value for name, value in run.items() if name not in ("command", "model")}
    described |= {"meta": None, "shadow": None, "outcome": {**described["outcome"], "failure": failure}}


def _described(shown: Shown) -> dict[str, Any]:
    episode = shown.episode
    return plain({
        "duration": shown.timeline.duration, "wall": (episode.end - episode.start) / 1e9,
        "cameras": list(cameras_of(episode.topics)), "plots": plots(episode.topics, orders_of(_robot(episode))),
        "shadow": episode.shadow or None, "outcome": episode.outcome,
        "run": episode.about.get("run"), "meta": episode.about.get("meta"),
        "control_period": episode.about.get("control_period"), "action_period": episode.about.get("action_period"),
    })  # fmt: skip
