"""An episode as frames at a steady rate: at each time what was known last then, and never what came later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..errors import RecordingFailed, told
from ..recording import Episode, VideoDecoder, decode_image, starts
from ..wire import Array
from .attempts import Attempt
from .clock import by_robots_clock
from .layout import Layout, Numbers

#: Seconds by which clocks that count in steps of their own differ.
_SAME_TIME = 1e-6
#: Seconds, and frames, for which what was known last counts as known; the longer one.
_HELD, _FRAMES = 0.5, 3
_NOTHING = np.empty(0)
#: Observations that the rate of a recording is read of.
_LOOKED_AT = 300
_ACTIONS = "/action/"
#: Why an arm was played something that a policy can learn: it was commanded, by a policy or by a person.
_LEARNT, LED = ("playing", "rest", "led"), "led"


class SteadyFrame(NamedTuple):
    """``seconds``: of the episode, on the robot's clock. ``at``: nanoseconds since 1970 of what was observed last.

    ``state``, ``action``: float64, in the layout's order. ``cameras``: name → (H, W, 3) uint8 RGB. ``led``: a
    person led the arm.
    """

    seconds: float
    at: int
    state: Array
    action: Array
    cameras: dict[str, Array]
    task: str
    led: bool


def recorded_rate(episode: Episode, layout: Layout) -> int:
    """How often a second all of a frame was recorded anew: the slowest of its parts. Raises RecordingFailed."""
    times: dict[str, list[float]] = {"/observed": [], **{topic: [] for topic in layout.pictures.values()}}
    for seconds, said in by_robots_clock(episode, layout.pictures.values()):
        seen = times.get(said.topic)
        if seen is not None and (not seen or seconds > seen[-1] + _SAME_TIME):
            seen.append(seconds)
        if len(times["/observed"]) > _LOOKED_AT:
            break
    steps = [_step(seen) for seen in times.values() if len(seen) > 1]
    if not steps:
        raise RecordingFailed(f"{episode.path.name} has one observation: nobody can tell how often there is one")
    return max(1, round(1 / max(steps)))


def _step(times: list[float]) -> float:
    """Seconds from one to the next, without the pauses: commands last a whole number of an arm's control periods."""
    steps = np.diff(times)
    return float(steps[steps <= 2 * np.median(steps)].mean())


class SteadyFrames:
    """The frames of an attempt, in order; to be gone through once.

    Frames are 1 / ``fps`` s apart, on the robot's clock, and the first is half as long after all is known that one
    holds: in the middle between two observations, so that none is taken twice, nor with another's command, where
    clocks are not quite even. Left out are frames at which nothing was commanded, for the arm held, or what its own
    safety made it do: ``left_out`` counts them, and ``early`` those before all is known. A layout without an action has
    no command in its frames, and leaves out the same. Raises RecordingFailed for a recording with a hole, for numbers
    that are none, and for what changes its size.
    """

    def __init__(self, episode: Episode, attempt: Attempt, layout: Layout, fps: float, task: str | None = None) -> None:
        self._episode, self._attempt, self._layout, self._fps, self._task = episode, attempt, layout, fps, task
        self._name = episode.path.name
        self._held = max(_HELD, _FRAMES / fps)
        self._values: dict[str, tuple[int, Array]] = {}
        self._cameras = {name: _Camera(self._name, name, layout.cameras[name]) for name in layout.pictures}
        self._observed = (0, 0.0)
        self._command: tuple[int, float, float, str] | None = None
        self._texts = ""
        #: What is looked at where no command is in a frame: when something was commanded last.
        self._actions = [] if layout.action else [each for each in episode.topics if each.startswith(_ACTIONS)]
        self._acted = 0
        self.left_out = self.early = 0

    def __iter__(self) -> Iterator[SteadyFrame]:
        clip = self._attempt.clip
        begin, end = (0.0, float("inf")) if clip is None else clip.seconds
        cameras = {topic: self._cameras[name] for name, topic in self._layout.pictures.items()}
        numbers = {each.topic: each for each in (*self._layout.state, *self._layout.action)}
        texts = [topic for topic, name in self._episode.topics.items() if name == "task"]
        first, count = float("nan"), 0
        wanted = [*cameras, *numbers, *texts, *self._actions]
        for seconds, said in by_robots_clock(self._episode, wanted, None if clip is None else clip.at[1]):
            while first + (count + 0.5) / self._fps + _SAME_TIME < min(seconds, end):
                yield from self._frame(first + (count + 0.5) / self._fps)
                count += 1
            message = said.message
            if said.topic in cameras:
                cameras[said.topic].saw(said.topic, seconds, message.data)
            elif said.topic in self._actions:
                self._acted = said.at
            elif said.topic in numbers:
                self._values[said.topic] = (said.at, self._vector(numbers[said.topic], message.values))
            elif said.topic == "/observed":
                self._observed = (said.at, seconds)
            elif said.topic == "/played":
                self._command = (said.at, seconds, seconds + message.duration, message.rung)
            elif hasattr(message, "text"):
                self._texts = message.text
            if first != first and self._complete():
                first = max(seconds, begin)
                self.early = int((first - begin) * self._fps + _SAME_TIME)
        if first != first:
            raise RecordingFailed(f"{self._name} ends before all is known that a frame holds: {self._absent()}")
        last = min(end, self._command[2] if self._command else 0.0)
        while first + (count + 0.5) / self._fps + _SAME_TIME < last:
            yield from self._frame(first + (count + 0.5) / self._fps)
            count += 1

    # -- inside ----------------------------------------------------------------------------------------
    def _frame(self, seconds: float) -> Iterator[SteadyFrame]:
        """One, or none where nothing was commanded that could be learnt."""
        assert self._command is not None
        at, begun, until, rung = self._command
        given = [self._values.get(each.topic, (0, None)) for each in self._layout.action]
        now = [when == at for when, _ in given]
        if rung not in _LEARNT or not (any(now) or self._acted == at):
            self.left_out += 1
            return
        if not all(now):
            there, absent = (
                [e.name for e, n in zip(self._layout.action, now, strict=True) if n is w] for w in (True, False)
            )
            raise RecordingFailed(
                f"{self._name} was commanded {', '.join(there)} at {begun:.3f} s, and not {', '.join(absent)}; "
                "--action names what every command has"
            )
        self._no_hole("nothing was observed", self._observed[1], seconds)
        self._no_hole("nothing was commanded", until, seconds)
        for name, camera in self._cameras.items():
            self._no_hole(f"{name} has no picture", camera.seconds, seconds)
        state = np.concatenate([_NOTHING, *(self._values[each.topic][1] for each in self._layout.state)])
        action = np.concatenate([_NOTHING, *(values for _, values in given if values is not None)])
        for found, numbers in ((state, self._layout.state), (action, self._layout.action)):
            if not np.isfinite(found).all():
                columns = [column for each in numbers for column in each.columns]
                wrong = int((~np.isfinite(found)).argmax())
                raise RecordingFailed(f"{columns[wrong]} of {self._name} is {found[wrong]} at {seconds:.3f} s")
        pictures = {name: camera.picture() for name, camera in self._cameras.items()}
        task = self._task if self._task is not None else self._texts or self._given_task()
        yield SteadyFrame(seconds, self._observed[0], state, action, pictures, task, rung == LED)

    def _no_hole(self, what: str, since: float, now: float) -> None:
        if now - since > self._held:
            missed = self._episode.outcome.get("missed")
            why = f" ({missed} events were not recorded: the disk was too slow)" if missed else ""
            raise RecordingFailed(
                f"{self._name} has a hole: {what} from {since:.2f} s to {now:.2f} s of it{why}; at {self._fps:g} "
                f"frames a second what is older than {self._held:g} s is not known. Cut out what is whole (--clips), "
                "or say a lower --fps"
            )

    def _vector(self, numbers: Numbers, values: Any) -> Array:
        if len(values) != len(numbers.labels):
            raise RecordingFailed(
                f"{self._name}: {numbers.name} has {len(numbers.labels)} numbers, and later {len(values)}"
            )
        return np.array(values, np.float64)

    def _complete(self) -> bool:
        return self._command is not None and not self._absent()

    def _absent(self) -> str:
        absent = [each.name for each in self._layout.state if each.topic not in self._values]
        absent += [name for name, camera in self._cameras.items() if camera.seconds < 0]
        return ", ".join(absent) or ("" if self._command else "a command")

    def _given_task(self) -> str:
        run: Any = self._episode.about.get("run") or {}
        return str(run.get("task") or "")


class _Camera:
    """What one camera showed last; a frame is decoded when it is asked for."""

    def __init__(self, episode: str, name: str, size: tuple[int, int]) -> None:
        self._what, self._size = f"{episode}: {name}", size
        self._decoder = VideoDecoder()
        #: Packets since one from which a player can start, that are not decoded yet.
        self._packets = list[bytes]()
        self._begun, self._still = False, True
        self._picture: Array | None = None
        self._shown: Any = None
        #: When it saw last; below 0 before it did.
        self.seconds = -1.0

    def saw(self, topic: str, seconds: float, data: bytes) -> None:
        self._still = not topic.startswith("/video/")
        if self._still or starts(data):
            self._packets, self._begun = [], True
        if self._begun:
            self._packets.append(data)
            self.seconds = seconds

    def picture(self) -> Array:
        """(H, W, 3) uint8 RGB. Raises RecordingFailed."""
        if self._packets:
            try:
                self._picture = self._decoded()
            except (OSError, EOFError, ValueError, IndexError) as error:  # FFmpeg's errors are among them
                raise RecordingFailed(f"{self._what} cannot be decoded: {told(error)}") from error
            self._packets = []
        assert self._picture is not None
        return self._picture

    def _decoded(self) -> Array:
        if self._still:
            found = decode_image(self._packets[-1])
        else:
            for data in self._packets:
                for frame in self._decoder.frames(data):
                    self._shown = frame
            if self._shown is None:
                raise ValueError("no frame came of it")
            found: Array = self._shown.to_ndarray(format="rgb24")
        height, width = self._size
        even = tuple(side + (not self._still and side % 2) for side in self._size)  # as video fills them up
        if found.shape[:2] != even:
            raise RecordingFailed(f"{self._what} changes its size from {height} x {width} to {found.shape[:2]}")
        return found[:height, :width]
