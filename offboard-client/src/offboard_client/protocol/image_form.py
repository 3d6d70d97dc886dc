"""How a session's images are sent: as they are, or as JPEG where the link is slow.

JPEG loses what a model may have been trained on, so ``auto`` has to know first that it is worth it. No JPEG is sent to
find out. What a raw exchange takes on the way is measured, how much of that is its answer's, and how long the way is
without a load; what the same images weigh as JPEG, and what making and reading them takes, is tried here. What JPEG
came to is measured too: where it has gained nothing the next episode is raw again. Each change is said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

from ..errors import ConfigurationError
from ..wire import CONTEXT, QUALITIES, QUALITY, from_jpeg, is_compressible, is_duration, jpeg_library, to_jpeg
from .meta import is_offboard
from .timing import Step

#: Raw exchanges that are measured before anything is decided. The first may wait for a connection that is still cold.
_MEASURED = 3
#: What JPEG has to save of an exchange, in seconds and as a share of what that takes on the way.
_WORTH_S, _WORTH_SHARE = 0.005, 0.2
_KEPT = 16
_TRIES = 3
#: What the handshake says of each name.
Declared = Mapping[str, Mapping[str, Any]]
_ASKED = "it was asked for"
_WRITE = "write raw, jpeg, jpeg:QUALITY (1 to 100) or auto"


@dataclass(frozen=True)
class Images:
    """What was asked for. ``quality``: of a JPEG, 1 to 100."""

    how: Literal["raw", "jpeg", "auto"] = "raw"
    quality: int = QUALITY

    def __str__(self) -> str:
        return f"jpeg:{self.quality}" if self.how == "jpeg" else self.how


def parse_images(text: Any) -> Images:
    """``raw``, ``jpeg``, ``jpeg:QUALITY`` or ``auto``. Raises ConfigurationError, also where simplejpeg is missing."""
    how, colon, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    quality = int(rest) if rest.isascii() and rest.isdecimal() and len(rest) <= 3 else QUALITY if not colon else 0
    if how not in ("raw", "jpeg", "auto") or (colon and how != "jpeg") or quality not in QUALITIES:
        raise ConfigurationError(f"images is {text!r:.60}; {_WRITE}")
    if how != "raw":
        jpeg_library()
    return Images(how, quality)


class ImageForm:
    """How the images of one session are sent, over its reconnects. ``say``: told what ``auto`` came to."""

    def __init__(self, images: Images, say: Callable[[str], object]) -> None:
        self._images, self._say = images, say
        self._jpeg = images.how == "jpeg"
        self._decided = images.how != "auto"
        self._judged = False
        self._begun = False
        #: Seconds on the way of each exchange with images, and without what its answer took to arrive, since the
        #: decision before.
        self._ways: deque[float] = deque(maxlen=_KEPT)
        self._there: deque[float] = deque(maxlen=_KEPT)
        #: What an exchange took raw when it was changed over; as JPEG, once that was measured; and JPEG on this side.
        self._raw_s = self._tried_s = 0.0
        self._came_to: float | None = None
        self._shown = False
        #: Raw exchanges with images of which the server did not say how long it had them.
        self._untold = 0
        #: Seconds of a way without a load, there and back.
        self._trip: float | None = None
        self._server: object = ""
        #: Why they are sent as they are (:attr:`used`).
        self.why = f"auto decides when {_MEASURED} raw answers to images are measured" if not self._decided else _ASKED

    @property
    def used(self) -> str:
        """How the last observation's images were sent, or the first one's will be: ``raw``, or ``jpeg:QUALITY``."""
        return f"jpeg:{self._images.quality}" if self._jpeg else "raw"

    @property
    def wants_trip(self) -> bool:
        """Whether the server should be pinged before the first observation."""
        return not self._decided and self._trip is None

    def opened(self, meta: Mapping[str, Any], server: object) -> None:
        """A connection is ready. Raises ConfigurationError where JPEG was asked for of a server that takes none."""
        self._server = server
        if self._images.how == "raw":
            return
        forms = meta.get("image_formats")
        if is_offboard(meta) if forms is None else "jpeg" in forms:
            return
        if self._images.how == "jpeg":
            why = (
                "does not say that it reads JPEG files"
                if forms is None
                else f"takes images as {', '.join(forms) or 'no file'} only"
            )
            raise ConfigurationError(f"send images raw: {server} {why}")
        if self._jpeg or not self._decided:  # another server may answer after a reconnect
            self._stays_raw(f"{server} takes no others")

    def controlled(self, kind: str, seconds: float, answer: Mapping[str, Any]) -> None:
        """A control frame was answered: after so long; which is a way without a load. A reset begins an episode."""
        if kind == "ping":
            model_ms = answer.get("model_ms", 0.0)
            # What cannot be is as if it were not said: a way that seems shorter than it is speaks for JPEG.
            there = is_duration(model_ms) and model_ms / 1e3 <= seconds
            self._trip_took(seconds - model_ms / 1e3 if there else seconds)
        elif kind == "reset":
            self._trip_took(seconds)
            self._begun = True

    def made(self, observation: Mapping[str, Any], meta: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is sent; the robot's own is not changed."""
        if self._images.how == "raw":
            return observation
        declared: Declared = meta.get("observation") or {}
        if not self._decided and len(self._ways) >= _MEASURED and (self._begun or not self._judged):
            if self._jpeg:
                self._see_what_it_came_to()
            else:
                self._decide([image for _, image in _images(observation, declared)])
        self._begun = False
        self._shown = not self._decided and any(True for _ in _images(observation, declared))
        if not self._jpeg:
            return observation
        made = self._compressed(observation, declared)
        if (history := made.get(CONTEXT["history"])) is not None:
            made[CONTEXT["history"]] = [self._compressed(frame, declared) for frame in history]
        return made

    def answered(self, step: Step) -> None:
        """The observation was answered."""
        if not self._shown:
            return
        if "total_ms" in step.server:
            self._ways.append(step.network_s)
            self._there.append(max(0.0, step.network_s - step.arriving_s))
            return
        # With the model's own time the way would seem longer than it is.
        self._untold += 1
        if self._untold == _MEASURED and not self._jpeg:
            self._stays_raw(f"{self._server} does not say how long it had them (total_ms)")

    def _stays_raw(self, why: str) -> None:
        self._decided, self._jpeg = True, False
        self._tell(f"images stay raw: {why}")

    def _tell(self, text: str) -> None:
        self.why = text
        self._say(text)

    def _trip_took(self, seconds: float) -> None:
        # A reset may have waited for the policy: until something is decided, the shortest counts.
        known = self._trip if not self._judged else None
        self._trip = max(0.0, seconds if known is None else min(seconds, known))

    def _compressed(self, observation: Mapping[str, Any], declared: Declared) -> dict[str, Any]:
        images = {name: to_jpeg(image, self._images.quality) for name, image in _own(observation, declared)}
        return {**observation, **images}

    def _tried(self, images: list[Any]) -> tuple[list[bytes], float]:
        """They as JPEG, and how many seconds it takes to make and to read them."""
        started = time.perf_counter()
        files = [to_jpeg(image, self._images.quality) for image in images]
        for file in files:
            from_jpeg(file)
        return files, time.perf_counter() - started

    def _decide(self, images: list[Any]) -> None:
        if not images:
            return
        # The quickest try: the first is cold, and others may have had the processor.
        files, tried_s = min((self._tried(images) for _ in range(_TRIES)), key=lambda tried: tried[1])
        # The quickest of the first ones, of which the very first is slower; later what they mostly took.
        mostly: Callable[[deque[float]], float] = median if self._judged else min
        raw_s, there_s = mostly(self._ways), mostly(self._there)
        trip_s = there_s if self._trip is None else min(there_s, self._trip)
        share = sum(map(len, files)) / sum(image.nbytes for image in images)
        jpeg_s = tried_s + trip_s + share * (there_s - trip_s) + (raw_s - there_s)
        if self._came_to is not None:  # nothing that is foretold is worth more
            jpeg_s = self._came_to
        worth = raw_s - jpeg_s >= max(_WORTH_S, _WORTH_SHARE * raw_s)
        times = f"about {1000 * jpeg_s:.3g} ms as JPEG, {1000 * raw_s:.3g} ms raw"
        if worth:
            self._jpeg, self._raw_s, self._tried_s = True, median(self._ways), tried_s
            self._tell(
                f"images are sent as {self.used} from here on, which loses detail: an exchange takes {times}. "
                "With images raw they stay as they are"
            )
        elif not self._judged:
            self._tell(f"images stay raw: an exchange takes {times}")
        self._judged = True
        self._forget()

    def _see_what_it_came_to(self) -> None:
        jpeg_s = median(self._ways) + self._tried_s
        gained_s, much_s = self._raw_s - jpeg_s, max(_WORTH_S, _WORTH_SHARE * self._raw_s)
        # What takes longer than raw ever did goes over a slower link: there raw would take longer still.
        if -much_s < gained_s < _WORTH_S:
            self._jpeg, self._came_to = False, jpeg_s
            self._tell(
                f"images are sent raw again: as JPEG an exchange took about {1000 * jpeg_s:.3g} ms, "
                f"and {1000 * self._raw_s:.3g} ms before, raw"
            )
        self._forget()

    def _forget(self) -> None:
        self._ways.clear()
        self._there.clear()


def _images(observation: Mapping[str, Any], declared: Declared) -> Iterator[tuple[str, Any]]:
    """Its images and those of its history."""
    yield from _own(observation, declared)
    for frame in observation.get(CONTEXT["history"]) or ():
        yield from _own(frame, declared)


def _own(observation: Mapping[str, Any], declared: Declared) -> Iterator[tuple[str, Any]]:
    for name, value in observation.items():
        if isinstance(value, np.ndarray) and is_compressible(name, value, declared.get(name) or {}):
            yield name, value
