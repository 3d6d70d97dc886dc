"""What records a run: an observer that writes one file for each episode."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from ..errors import RecordingFailed, told
from ..play import Answer, EpisodeInfo, Frame, Loss, Outcome, Sample, ShadowAnswer, Tick
from ..wire import encode, encode_text
from .file import EPISODE, OUTCOME, SHADOW, VERSION, RecordingFile
from .schemas import own
from .topics import Topics, is_picture, plain_observation, plain_rows

log = logging.getLogger(__name__)
_Event = TypeVar("_Event")

#: So many names are tried for a file, where runs record into one folder within the same second.
_NAMES = 1000


@dataclass
class Recorded:
    """What has become of the recordings of a run so far."""

    files: list[Path] = field(default_factory=list[Path])
    #: Of each episode that was begun, by its number, where it is or was to be.
    begun: dict[int, Path] = field(default_factory=dict[int, Path])
    size: int = 0
    #: Why the first that failed did.
    failure: str | None = None
    failed: int = 0


def _alone(method: Callable[[Recorder, _Event], None]) -> Callable[[Recorder, _Event], None]:
    """A camera that takes its pictures by itself tells of them on another thread than the arm's."""

    @functools.wraps(method)
    def alone(self: Recorder, event: _Event, /) -> None:
        with self.lock:
            method(self, event)

    return alone


class Recorder:
    """Records a run into a folder, for a thread of its own.

    A :class:`~offboard_client.play.SamplingObserver`, a :class:`~offboard_client.play.FilmingObserver`, and a
    :class:`~offboard_client.play.ShadowObserver`.

    What it raises is about one event; a file that cannot be written ends the recording of its episode.
    """

    def __init__(
        self,
        directory: Path,
        facts: Mapping[str, Any],
        *,
        sample_hz: float = 30.0,
        video: bool = True,
        sent: bool = True,
        failing: Callable[[RecordingFailed], None] | None = None,
    ) -> None:
        """``facts``: of the run, as JSON has forms for; they stand in each file.

        ``sample_hz``: so often the robot is observed for it. ``video``: whether every camera frame is written, as
        video; ``sent``: whether those that the policy is asked about are, without loss. ``failing``: told once an
        episode.

        Raises RecordingFailed for a folder that cannot be made.
        """
        self._directory, self._facts = directory, facts
        self._video, self._sent, self._failing = video, sent, failing
        self.sample_hz = sample_hz
        self.recorded = Recorded()
        #: What was missed before it came here, where whoever runs it says so.
        self.loss: Loss | None = None
        self._missed = 0  # by the end of the episode before
        self._file: RecordingFile | None = None
        #: Held while it writes.
        self.lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingFailed(
                f"no folder for recordings can be made at {directory}: {error.strerror or told(error)}"
            ) from error

    # -- the observer ----------------------------------------------------------------------------------
    @_alone
    def started(self, episode: EpisodeInfo, /) -> None:
        """A file begins."""
        self._episode = episode
        self._counts: Counter[str] = Counter()
        self._rungs: dict[str, float] = {}
        self._seconds = 0.0
        self._trips: list[float] = []
        self._shadow: str | None = None
        self._file = None
        self._writing(lambda: self._begin(episode))

    @_alone
    def sampled(self, sample: Sample, /) -> None:
        """What the robot measured, and its cameras."""
        if (file := self._file) is not None:
            self._writing(lambda: self._sample(file, sample))

    @_alone
    def filmed(self, frame: Frame, /) -> None:
        """A picture of a camera that takes them by itself."""
        if self._file is not None and self._video and frame.at >= self._episode.at:
            self._writing(lambda: self._film(frame.name, frame.picture, self._at(frame.at)))

    @_alone
    def answered(self, answer: Answer, /) -> None:
        """What the policy was asked, and said."""
        if (file := self._file) is not None:
            self._writing(lambda: self._answer(file, answer))

    @_alone
    def shadow_answered(self, answer: ShadowAnswer, /) -> None:
        """What another model would have done. Nothing, where the episode that it was asked about has ended."""
        if (file := self._file) is not None and answer.beside.at >= self._episode.at:
            self._writing(lambda: self._beside(file, answer))

    @_alone
    def ticked(self, tick: Tick, /) -> None:
        """What was played."""
        self._rungs[tick.rung] = self._rungs.get(tick.rung, 0.0) + tick.command.seconds
        self._seconds = tick.seconds + tick.command.seconds
        self._counts["steps"] += bool(tick.command.action)
        if (file := self._file) is not None:
            self._writing(lambda: self._tick(file, tick))

    @_alone
    def ended(self, outcome: Outcome, /) -> None:
        """The file ends, or goes, if nothing of the episode shall be kept."""
        file = self._file
        if file is None:
            return
        if not outcome.kept:
            self._file = None
            file.discard()
            return
        self._writing(lambda: self._end(file, outcome))
        if self._file is not None:
            self.recorded.files.append(file.path)
            self.recorded.size += file.size
        self._file = None

    # -- inside ----------------------------------------------------------------------------------------
    def _writing(self, write: Callable[[], None]) -> None:
        """A file that cannot be written is left as it is: what it has can be read."""
        try:
            write()
        except RecordingFailed as error:
            if self._file is not None:
                self._file.abandon(error)
                self.recorded.files.append(self._file.path)
                self.recorded.size += self._file.size
                self._file = None
            self.recorded.failed += 1
            if self.recorded.failure is None:
                self.recorded.failure = error.text
            log.error("episode %d is not recorded any further: %s", self._episode.number, error.text)
            if self._failing is not None:
                self._failing(error)

    def _begin(self, episode: EpisodeInfo) -> None:
        file = self._new_file(episode)
        self._topics = Topics(file)
        said: dict[str, Any] = {
            "version": VERSION, "number": episode.number, "seed": episode.seed, "seconds": episode.seconds,
            "control_period": episode.control_period, "action_period": episode.action_period,
            "wall_time": episode.wall_time, "images": episode.images, "run": self._facts,
            "fit": None if episode.fit is None else episode.fit.as_dict(), "meta": as_json(episode.meta),
        }  # fmt: skip
        try:
            file.describe(EPISODE, said)
        except RecordingFailed:  # it has no room to say what it is of: nobody can read it
            file.discard()
            raise
        self._file = file
        self.recorded.begun[episode.number] = file.path

    def _new_file(self, episode: EpisodeInfo) -> RecordingFile:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(episode.wall_time))
        for more in range(_NAMES):
            name = f"{stamp}-{episode.number:04d}{f'-{more}' if more else ''}.mcap"
            path = self._directory / name
            with suppress(FileExistsError):
                return RecordingFile(path)
        raise RecordingFailed(f"{self._directory} has {_NAMES} recordings of {stamp} already")

    def _sample(self, file: RecordingFile, sample: Sample) -> None:
        now = self._at(sample.at)
        for name, value in sample.observation.items():
            at = self._at(min(sample.taken.get(name, sample.at), sample.at))
            if not is_picture(value):
                self._topics.values("observation", name, value, at)
                continue
            if self._video and name not in self._episode.filmed:  # else it is in the film already
                self._film(name, value, at)
            if sample.asked and self._sent:
                self._topics.still(name, value, now)
        file.write(
            "/observed", own("Observed"), now, seconds=sample.seconds, observe_ms=sample.observe_ms, sent=sample.asked
        )

    def _film(self, name: str, picture: Any, at: int) -> None:
        self._counts["frames"] += self._topics.video(name, picture, at)

    def _answer(self, file: RecordingFile, answer: Answer) -> None:
        self._counts["exchanges"] += answer.failure is None
        self._counts["failures"] += answer.failure is not None
        at = self._over(answer)
        self._trips += [answer.round_trip_ms] if answer.failure is None else []
        file.write(
            "/answer", own("Answer"), at, stamp=self._at(answer.at), **_answered(answer),
            observe_ms=answer.observe_ms, dropped=answer.dropped or "", images=answer.images or "",
            configured=encode_text(as_json(answer.configured)),
            observation=encode(plain_observation(answer.observation)),
        )  # fmt: skip
        for name, value in answer.observation.items():
            if isinstance(value, str):  # the instruction, which the robot does not measure
                self._topics.values("observation", name, value, at)
        self._topics.chunk(answer.rows or (), self._episode.action_period, at)

    def _beside(self, file: RecordingFile, answer: ShadowAnswer) -> None:
        if self._shadow != answer.server:
            self._shadow = answer.server
            file.describe(SHADOW, {"server": answer.server, "meta": as_json(answer.meta)})
        at = self._over(answer)
        file.write("/shadow/answer", own("Answer"), at, stamp=self._at(answer.beside.at), **_answered(answer))
        # Where the policy's own rows lie: as if it had been the one to drive.
        period, kind = self._episode.action_period, "shadow/chunk"
        self._topics.chunk(answer.rows or (), period, at, kind, self._over(answer.beside))

    def _tick(self, file: RecordingFile, tick: Tick) -> None:
        at, command = self._at(tick.at), tick.command
        for name, value in command.action.items():
            self._topics.values("action", name, value, at)
        file.write(
            "/played", own("Played"), at, seconds=tick.seconds, duration=command.seconds, rung=tick.rung,
            apply_ms=tick.apply_ms, row=-1 if command.row is None else command.row,
        )  # fmt: skip

    def _end(self, file: RecordingFile, outcome: Outcome) -> None:
        before, self._missed = self._missed, 0 if self.loss is None else self.loss.dropped
        file.describe(OUTCOME, {
            "success": outcome.success, "failure": outcome.failure, "stopped": outcome.stopped,
            "scores": dict(outcome.scores), "seconds": self._seconds, "rungs": self._rungs,
            "missed": self._missed - before, "round_trips_ms": _percentiles(self._trips),
            **{name: self._counts[name] for name in ("steps", "exchanges", "failures", "frames")},
        })  # fmt: skip
        file.finish()

    def _over(self, answer: Answer | ShadowAnswer) -> int:
        return self._at(answer.at + answer.round_trip_ms / 1000)

    def _at(self, clock: float) -> int:
        """Nanoseconds since 1970, of seconds on the events' clock."""
        return round(self._episode.wall_time * 1e9) + round((clock - self._episode.at) * 1e9)


def _answered(answer: Answer | ShadowAnswer) -> dict[str, Any]:
    """What the messages of both have."""
    code, text = answer.failure or ("", "")
    return {
        "round_trip_ms": answer.round_trip_ms, "failure": code, "failure_text": text, "anew": answer.anew,
        "timing": encode_text(dict(answer.timing)), "rows": encode(plain_rows(answer.rows or ())),
        "end": answer.rows is not None and not answer.rows,
    }  # fmt: skip


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{share}": float(np.percentile(values, share)) for share in (50, 95, 99)} if values else {}


def as_json(value: Any) -> Any:
    """As JSON has a form for, arrays as lists; of anything else its text."""
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in cast("Sequence[Any]", value)]
    if hasattr(value, "tolist"):
        return as_json(value.tolist())
    return value if value is None or isinstance(value, (str, bool, int, float)) else str(value)
