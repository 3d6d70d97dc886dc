"""What a frame of an episode holds: its numbers by name and order, and its cameras."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from ..errors import RecordingFailed, told, unknown
from ..recording import Episode, decode_image
from ..wire import Array
from .options import SteadyOptions

_OBSERVED, _PLAYED, _VIDEO, _SENT = "/observation/", "/action/", "/video/", "/sent/"
#: What only a simulation can know; a policy that has learnt from it is blind on a robot.
_PRIVILEGED = "sim."
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
_POSES = ("ee_pose", "target_pose")


@dataclass(frozen=True)
class Numbers:
    """One name of an observation or a command. ``labels``: what each of its numbers is; one if it has one.

    ``unit``, ``frame``: as the robot states them, None where it does not.
    """

    name: str
    topic: str
    labels: tuple[str, ...]
    unit: str | None = None
    frame: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """``NAME.LABEL`` of each number; ``NAME`` where there is one."""
        return (self.name,) if len(self.labels) == 1 else tuple(f"{self.name}.{label}" for label in self.labels)


@dataclass(frozen=True)
class Layout:
    """``state``, ``action``: in the order of a frame's numbers. ``cameras``: name → height and width in pixels.

    ``pictures``: name → the topic that its frames are taken of.
    """

    state: tuple[Numbers, ...]
    action: tuple[Numbers, ...]
    cameras: Mapping[str, tuple[int, int]]
    pictures: Mapping[str, str] = field(default_factory=dict[str, str], compare=False)


def layout_of(episode: Episode, options: SteadyOptions) -> Layout:
    """What its frames hold. Raises RecordingFailed for an episode that no frames can be made of."""
    name = episode.path.name
    measured, commanded, pictures = _recorded(episode)
    own = [found for found in measured if not found.startswith(_PRIVILEGED)]
    state = _chosen(name, "measures", "--state", options.state, measured, own)
    action = _chosen(name, "was commanded", "--action", options.action, commanded, [*commanded])
    if not action:
        raise RecordingFailed(f"{name} has no command with numbers: nothing was played in it")
    if not state:
        raise RecordingFailed(f"{name} has no numbers that a state can be made of; --state names some")
    wanted = [] if options.no_cameras else [*(options.cameras or sorted(pictures))]
    for camera in wanted:
        if camera not in pictures:
            raise RecordingFailed(f"{name}: {unknown('camera', camera, pictures)}")
    kept = {camera: pictures[camera] for camera in wanted}
    return Layout(state, action, {camera: _size(episode, topic) for camera, topic in kept.items()}, kept)


def names_of(episode: Episode) -> frozenset[str]:
    """The names that its frames can have: what was measured, commanded and seen. Raises RecordingFailed."""
    return frozenset(name for found in _recorded(episode) for name in found)


def layout_for(episode: Episode, wanted: Collection[str]) -> Layout:
    """Frames of just these names, all of which it has: see :func:`names_of`. Raises RecordingFailed."""
    measured, commanded, pictures = _recorded(episode)
    kept = {camera: topic for camera, topic in pictures.items() if camera in wanted}
    return Layout(
        tuple(each for name, each in measured.items() if name in wanted),
        tuple(each for name, each in commanded.items() if name in wanted and name not in measured),
        {camera: _size(episode, topic) for camera, topic in kept.items()},
        kept,
    )


def _recorded(episode: Episode) -> tuple[dict[str, Numbers], dict[str, Numbers], dict[str, str]]:
    """What was measured, what was commanded, and the cameras, each with the topic of its pictures."""
    name, topics = episode.path.name, episode.topics
    if "/played" not in topics:
        what = "is a server's recording of a session, which" if "session" in episode.about else "has no command: it"
        raise RecordingFailed(
            f"{name} {what} says nothing of what the robot played; a data set takes a run's recording"
        )
    measures, plays = (_channels(episode.about, key) for key in ("measures", "plays"))
    pictures = {topics[topic]: topic for kind in (_SENT, _VIDEO) for topic in topics if topic.startswith(kind)}
    return _numbers(episode, _OBSERVED, measures), _numbers(episode, _PLAYED, plays), pictures


def difference(layout: Layout, other: Layout) -> str | None:
    """How ``other``, of one more attempt, differs from the data set's own; None if it fits."""
    for what, ours, theirs in (("state", layout.state, other.state), ("action", layout.action, other.action)):
        if ours == theirs:
            continue
        mine, its = ({each.name: each for each in found} for found in (ours, theirs))
        if [*mine] != [*its]:
            return f"its {what} is {', '.join(its)}, and the data set's {', '.join(mine)}; --{what} chooses"
        changed = next(each for name, each in its.items() if mine[name] != each)
        return f"its {changed.name} is {_said(changed)}, and the data set's {_said(mine[changed.name])}"
    if layout.cameras != other.cameras:
        return f"its cameras are {_sizes(other)}, and the data set's {_sizes(layout)}"
    return None


def _said(numbers: Numbers) -> str:
    about = [", ".join(numbers.labels), *filter(None, (numbers.unit, numbers.frame))]
    return f"{len(numbers.labels)} ({'; '.join(about)})"


def _sizes(layout: Layout) -> str:
    return ", ".join(f"{name} ({high} x {wide})" for name, (high, wide) in layout.cameras.items()) or "none"


def _chosen(
    episode: str, verb: str, flag: str, names: Sequence[str], found: Mapping[str, Numbers], usual: Sequence[str]
) -> tuple[Numbers, ...]:
    for name in names:
        if name not in found:
            raise RecordingFailed(f"{episode}: {flag}: {unknown(f'name that it {verb}', name, found)}")
    return tuple(found[name] for name in (names or usual))


def _numbers(episode: Episode, kind: str, spec: Mapping[str, Any]) -> dict[str, Numbers]:
    """Those in the order of the robot's spec come first."""
    said: dict[str, tuple[str, Mapping[str, str]]] = {}
    for topic, metadata in episode.channels.items():
        if topic.startswith(kind) and "shape" in metadata:
            said[metadata["name"]] = (topic, metadata)
    order = {name: place for place, name in enumerate(spec)}
    return {
        name: _one(name, *said[name], spec.get(name) or {})
        for name in sorted(said, key=lambda name: (order.get(name, len(order)), name))
    }


def _one(name: str, topic: str, metadata: Mapping[str, str], channel: Mapping[str, Any]) -> Numbers:
    count = 1
    for side in filter(None, metadata["shape"].split(",")):
        count *= int(side)
    order = channel.get("order")
    labels = tuple(map(str, cast("list[Any]", order))) if isinstance(order, list) else ()
    if len(labels) != count:
        labels = _POSE if name.endswith(_POSES) and count == len(_POSE) else tuple(map(str, range(count)))
    return Numbers(name, topic, labels, channel.get("unit"), channel.get("frame"))


def channels_of(about: Mapping[str, Any]) -> dict[str, str]:
    """What a recording says that each name's numbers are: their unit, their frame, their order."""
    found = dict[str, str]()
    for name, channel in {**_channels(about, "measures"), **_channels(about, "plays")}.items():
        if text := "; ".join(filter(None, (_text(channel.get(key)) for key in ("unit", "frame", "order")))):
            found[name] = text
    return found


def _text(said: Any) -> str:
    return ", ".join(map(str, cast("list[Any]", said))) if isinstance(said, list) else str(said or "")


def _channels(about: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    run: Any = about.get("run")
    robot: Any = cast("dict[str, Any]", run).get("robot") if isinstance(run, dict) else None
    channels: Any = cast("dict[str, Any]", robot).get(key) if isinstance(robot, dict) else None
    found = cast("dict[str, Any]", channels) if isinstance(channels, dict) else {}
    return {name: cast("dict[str, Any]", channel) for name, channel in found.items() if isinstance(channel, dict)}


def _size(episode: Episode, topic: str) -> tuple[int, int]:
    metadata = episode.channels[topic]
    if "height" in metadata:
        return int(metadata["height"]), int(metadata["width"])
    for said in islice(episode.messages([topic]), 1):
        height, width = still(said.message.data, f"{episode.path.name}: {topic}").shape[:2]
        return height, width
    raise RecordingFailed(f"{episode.path.name} has no picture of {episode.topics[topic]}")


def still(data: bytes, what: str) -> Array:
    """(H, W, 3) uint8 RGB of a recorded frame. Raises RecordingFailed."""
    try:
        return decode_image(data)
    except (OSError, EOFError, ValueError, IndexError) as error:  # FFmpeg's errors are among them
        raise RecordingFailed(f"{what} cannot be decoded: {told(error)}") from error
