"""What is seen of a run on its page: the newest pictures, and the last minute as curves; an observer of the run."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..play import Answer, EpisodeInfo, Outcome, Sample, Tick, percentiles
from ..recording import camera_of, encode_jpeg, is_picture, topic_of
from ..wire import Array
from .series import plots

#: So often a second the robot is observed for the page, and in which seconds a curve has a point at most.
LOOKS, _APART = 10.0, 0.06
#: Points that are kept, of all curves together, and numbers of one vector.
_POINTS, _WIDTH = 8000, 32
#: Larger arrays are no curves.
_PLOTTED = 1024
#: Of so many answers the round trips are told.
_TRIPS = 100
#: JPEG files that are kept: of each camera a few, for browsers that ask for different sizes.
_KEPT = 32


@dataclass(frozen=True)
class Picture:
    """The newest of a camera. ``number``: it counts, whatever the episode. ``at``: on the observers' clock."""

    number: int
    image: Array
    at: float


class Seen:
    """Watches a run (:class:`~offboard_client.play.SamplingObserver`, and while a person is waited for), for a thread
    of its own; read from others.

    ``blind``: nothing is told by which a model could be recognised but what the arm does: no handshake, no latencies.
    """

    sample_hz = idle_hz = LOOKS

    def __init__(self, blind: bool = False, clock: Callable[[], float] = time.perf_counter) -> None:
        self.blind, self.clock = blind, clock
        self.seconds = self.limit = 0.0
        self.number = 0
        self.rung: str | None = None
        self.instruction: str | None = None
        self.failure: tuple[str, str] | None = None
        self.latencies: dict[str, Any] | None = None
        self.stages: dict[str, float | None] = {}
        #: Changes by one where a name is seen for the first time, so that plots are laid out anew.
        self.names = 0
        #: What the numbers of a vector are called, by its name.
        self.orders: dict[str, list[str]] = {}
        self._pictures: dict[str, Picture] = {}
        self._topics: dict[str, str] = {}
        self._events: deque[tuple[int, str]] = deque(maxlen=_POINTS)
        self._count = 0
        self._last: dict[str, float] = {}
        self._trips: deque[float] = deque(maxlen=_TRIPS)
        self._lock = threading.Lock()
        self._encoding = threading.Lock()
        self._files: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()

    # -- what is read ----------------------------------------------------------------------------------
    def pictures(self) -> dict[str, Picture]:
        """Camera → its newest."""
        with self._lock:
            return dict(self._pictures)

    def jpeg(self, camera: str, picture: Picture, width: int) -> bytes:
        """One of them as a file, ``width`` pixels wide at most; one at a time is made, for however many ask."""
        key = (camera, picture.number, width)
        with self._encoding:
            if (found := self._files.get(key)) is None:
                found = self._files[key] = encode_jpeg(picture.image, width)
                while len(self._files) > _KEPT:
                    self._files.popitem(last=False)
            return found

    def plots(self) -> list[dict[str, Any]]:
        """What is drawn with what, as of a recording."""
        with self._lock:
            return plots(dict(self._topics), self.orders)

    def events(self, since: int, most: int = 400) -> tuple[int, str]:
        """What came after ``since``: up to where, and a JSON list. The rest is for the next time."""
        with self._lock:
            if since > self._count:  # it is of a run before
                since = 0
            behind = self._count - since
            found = list(self._events)[-behind:][:most] if behind else []
        return (found[-1][0] if found else since), "[" + ",".join(text for _, text in found) + "]"

    # -- the observer ----------------------------------------------------------------------------------
    def started(self, episode: EpisodeInfo, /) -> None:
        """The curves begin anew."""
        with self._lock:
            self._events.clear()
        self._last.clear()
        self.number, self.limit, self.seconds = episode.number, episode.seconds, 0.0
        self.failure = self.rung = None
        self._add({"begin": episode.number})

    def sampled(self, sample: Sample, /) -> None:
        """Pictures, and what was measured."""
        self._see(sample)
        for name, value in sample.observation.items():
            self._point("observation", name, value, sample.seconds)

    def idled(self, sample: Sample, /) -> None:
        """Pictures; the robot stands."""
        self._see(sample)

    def answered(self, answer: Answer, /) -> None:
        """How long it took, and whether it can be played."""
        self.failure = answer.failure
        if isinstance(said := answer.observation.get("task"), str):
            self.instruction = said
        if self.blind:
            return
        if answer.failure is None:
            self._trips.append(answer.round_trip_ms)
            self.latencies = {**percentiles(list(self._trips)), "last": _finite(answer.round_trip_ms)}
            self.stages = {
                name[7:-3].removeprefix("prev_"): _finite(value)
                for name, value in answer.timing.items()
                if name.startswith("server.") and name.endswith("_ms")
            }
        self._add({
            "t": round(self.seconds, 3), "ms": _finite(answer.round_trip_ms), "dropped": answer.dropped is not None,
            "failure": None if answer.failure is None else answer.failure[0],
        })  # fmt: skip

    def ticked(self, tick: Tick, /) -> None:
        """What was commanded, and why."""
        self.seconds = tick.seconds + tick.command.seconds
        for name, value in tick.command.action.items():
            self._point("action", name, value, tick.seconds)
        if tick.rung != self.rung or tick.seconds - self._last.get("rung", -1.0) > 0.5:
            self._last["rung"] = tick.seconds
            self._add({"t": round(tick.seconds, 3), "rung": tick.rung, "for": round(tick.command.seconds, 3)})
        self.rung = tick.rung

    def ended(self, outcome: Outcome, /) -> None:
        """It is over."""
        self.rung = None
        self.failure = outcome.failure

    # -- inside ----------------------------------------------------------------------------------------
    def _see(self, sample: Sample) -> None:
        for name, value in sample.observation.items():
            if is_picture(value):
                camera = camera_of(name)
                before = self._pictures.get(camera)
                if before is not None and before.image is value:
                    continue  # the camera is slower than the looks
                at = min(sample.taken.get(name, sample.at), sample.at)
                with self._lock:
                    self._pictures[camera] = Picture(0 if before is None else before.number + 1, value, at)

    def _point(self, kind: str, name: str, value: Any, seconds: float) -> None:
        topic = topic_of(kind, name)
        last = self._last.get(topic)
        if last is not None and 0 <= seconds - last < _APART:
            return
        if (numbers := _numbers(value)) is None:
            return
        self._last[topic] = seconds
        if topic not in self._topics:
            with self._lock:
                self._topics[topic] = name
            self.names += 1
        self._add({"t": round(seconds, 3), "at": topic, "v": numbers})

    def _add(self, event: Mapping[str, Any]) -> None:
        text = json.dumps(event, allow_nan=False, separators=(",", ":"))
        with self._lock:
            self._count += 1
            self._events.append((self._count, text))


def _numbers(value: Any) -> list[float | None] | None:
    """A number or a vector as JSON has them; None for anything else."""
    if isinstance(value, (bool, str, bytes)) or getattr(value, "size", 0) > _PLOTTED:
        return None
    try:
        array = np.asarray(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return [_finite(number) for number in array[:_WIDTH].tolist()] if 0 < array.size <= _PLOTTED else None


def _finite(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
