"""What a policy was asked in an episode, as it was sent, so that it can be asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import av.error
import numpy as np

from ..errors import BadMessage, InvalidAction, RecordingFailed
from ..wire import Row, rows
from .broken import BROKEN
from .pictures import decode_image
from .reader import Episode, Said, read_observation, read_rows

_SENT, _VALUES = "/sent/", "/observation/"


class Frame(NamedTuple):
    """What was observed when the episode was ``seconds`` old, whether the policy was asked about it or not."""

    seconds: float
    observation: dict[str, Any]


class Question(NamedTuple):
    """An exchange. ``number``: from 0. ``at``: nanoseconds since 1970, when it was sent.

    ``observation``: as it was handed to the session, with its pictures, (H, W, 3) uint8. ``missing``: pictures of it
    that were not recorded. ``rows``: as the session answered, and None after a ``failure``, an error's code and text.
    ``anew``: the policy began a new episode with it. ``configured``: what was set in the session by then. ``images``:
    how they were sent, "" where nobody knows. ``frames``: what was observed since the question before, this one's at
    the end, for models that look back.
    """

    number: int
    at: int
    observation: dict[str, Any]
    missing: tuple[str, ...]
    rows: Sequence[Row] | None
    failure: tuple[str, str] | None
    anew: bool
    configured: Mapping[str, Any]
    images: str
    frames: Sequence[Frame]


class Shadowed(NamedTuple):
    """What a model that drove nothing said to a :class:`Question`: that whose ``at`` is ``asked``.

    ``at``: nanoseconds since 1970, when it was there. ``round_trip_ms``: how long it took. ``rows``, ``failure``,
    ``anew``: as the question's.
    """

    asked: int
    at: int
    round_trip_ms: float
    rows: Sequence[Row] | None
    failure: tuple[str, str] | None
    anew: bool


def without_sent(episode: Episode) -> bool:
    """Whether the policy saw pictures, and none that it was sent was recorded."""
    meta: Mapping[str, Any] = episode.about.get("meta") or {}
    names: Mapping[str, Any] = meta.get("observation") or {}
    seen = any(topic.startswith("/video/") for topic in episode.topics) or any(n.startswith("image.") for n in names)
    return seen and not any(topic.startswith(_SENT) for topic in episode.topics)


def read_questions(episode: Episode, frames: bool = False) -> Iterator[Question]:
    """All of an episode, in order. ``frames``: with what was observed in between. Raises RecordingFailed."""
    cameras = {name for topic, name in episode.topics.items() if topic.startswith((_SENT, "/video/"))}
    wanted = [topic for topic in episode.topics if topic.startswith(_SENT)] + ["/answer"]
    if frames:
        wanted += ["/observed", *(topic for topic in episode.topics if topic.startswith(_VALUES))]
    collected, number = _Collected(episode.path.name), 0
    for said in episode.messages(wanted):
        if said.topic != "/answer":
            collected.add(said)
            continue
        yield collected.question(number, said, cameras)
        number += 1


def read_shadow(episode: Episode) -> Iterator[Shadowed]:
    """All that a shadow said in an episode, in order; nothing where there was none. Raises RecordingFailed."""
    for number, said in enumerate(episode.messages(["/shadow/answer"])):
        message = said.message
        try:
            found = None if message.failure else _rows(message)
        except (BadMessage, InvalidAction, *BROKEN) as error:
            raise RecordingFailed(f"{episode.path.name} is damaged: shadow's answer {number + 1}: {error}") from error
        failure = (message.failure, message.failure_text) if message.failure else None
        yield Shadowed(stamp(message), said.at, message.round_trip_ms, found, failure, message.anew)


class _Collected:
    """What came before an answer."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pictures: dict[int, dict[str, bytes]] = {}
        self._values: dict[str, Any] = {}
        #: Observations in between; their pictures are found when all messages of their time are there.
        self._observed: list[tuple[int, float, dict[str, Any]]] = []

    def add(self, said: Said) -> None:
        if said.topic.startswith(_SENT):
            self._pictures.setdefault(said.at, {})[said.name] = said.message.data
        elif said.topic.startswith(_VALUES):
            self._values[said.name] = said.message
        elif said.message.sent:
            self._observed.append((said.at, said.message.seconds, dict(self._values)))

    def question(self, number: int, said: Said, cameras: set[str]) -> Question:
        message = said.message
        at = stamp(message)
        try:
            observation = read_observation(message) | self._decoded(at)
            answered = None if message.failure else _rows(message)
            configured = json.loads(message.configured or "{}")
            frames = [
                Frame(seconds, _as_in(observation, values) | self._decoded(when))
                for when, seconds, values in self._observed
                if when <= at
            ]
        except (BadMessage, InvalidAction, av.error.FFmpegError, *BROKEN) as error:
            raise RecordingFailed(f"{self._name} is damaged: exchange {number + 1}: {error}") from error
        self._observed = [each for each in self._observed if each[0] > at]
        self._pictures = {when: each for when, each in self._pictures.items() if when > at}
        failure = (message.failure, message.failure_text) if message.failure else None
        missing = tuple(sorted(cameras - observation.keys()))
        return Question(
            number, at, observation, missing, answered, failure, message.anew, configured, message.images, frames
        )

    def _decoded(self, at: int) -> dict[str, Any]:
        return {name: decode_image(data) for name, data in self._pictures.get(at, {}).items()}


def _rows(message: Any) -> Sequence[Row] | None:
    found = read_rows(message)
    return rows(found) if found or message.end else None


def stamp(message: Any) -> int:
    """A message's ``timestamp``, in nanoseconds since 1970."""
    return message.timestamp.seconds * 1_000_000_000 + message.timestamp.nanos


def _as_in(observation: Mapping[str, Any], messages: Mapping[str, Any]) -> dict[str, Any]:
    """Values with the shapes and types that ``observation`` has of them: a recording's are flat, in float64."""
    found = dict[str, Any]()
    for name, message in messages.items():
        if hasattr(message, "text"):
            found[name] = message.text
        elif name in observation:
            like = np.asarray(observation[name])
            found[name] = np.asarray(message.values).astype(like.dtype).reshape(like.shape)
    return found
