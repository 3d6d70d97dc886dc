"""The two things that LeRobot's client says, checked: which model it wants, and what the robot sees."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from offboard_client.errors import BadMessage, BadObservation, BadParameter, brief
from offboard_core.types import Array

from .pickled import Known, Made, plain, spoken
from .unpickling import unpickle

#: The versions of LeRobot whose clients are known, for errors.
VERSIONS = "LeRobot 0.4.4 to 0.6.1"
CAMERAS = "observation.images."
_LONGEST_NAME, _MOST_NAMES, _LARGEST = 200, 1000, 2**53


@dataclass(frozen=True)
class Instructions:
    """What a robot's client asks for before anything else.

    ``model``: what stands in ``pretrained_name_or_path``. ``vectors``: LeRobot's name of a vector → the robot's names
    of its numbers, in order. ``cameras``: LeRobot's name of an image → the robot's.
    """

    policy_type: str
    model: str
    vectors: Mapping[str, tuple[str, ...]]
    cameras: Mapping[str, str]
    actions_per_chunk: int
    device: str


@dataclass(frozen=True)
class Seen:
    """An observation. ``timestamp``: by the robot's clock, s. ``values``: number, text or array by the robot's name."""

    timestamp: float
    timestep: int
    values: Mapping[str, float | str | Array]


def read_instructions(data: bytes) -> Instructions:
    """Raises BadMessage for what is no RemotePolicyConfig, BadParameter for what one may not say."""
    fields = _fields(
        data, Known.CONFIG, {"policy_type", "pretrained_name_or_path", "lerobot_features", "actions_per_chunk"},
        {"device", "rename_map"},
    )  # fmt: skip
    texts = {name: fields.get(name, "cpu") for name in ("policy_type", "pretrained_name_or_path", "device")}
    for name, text in texts.items():
        if not isinstance(text, str) or not text or not text.isprintable():
            raise BadMessage(f"{name} is {spoken(text)}, expected a text that can be printed")
    steps = fields["actions_per_chunk"]
    if type(steps) is not int or steps < 1:
        raise BadParameter(f"actions_per_chunk is {spoken(steps)}, expected a whole number from 1 up")
    if fields.get("rename_map", {}) != {}:
        raise BadParameter(
            "rename_map renames the robot's cameras for one model: say it where that model is served, with --codec.map"
        )
    features = fields["lerobot_features"]
    if not isinstance(features, dict):
        raise BadMessage(f"lerobot_features is {spoken(features)}, expected a map")
    vectors: dict[str, tuple[str, ...]] = {}
    cameras: dict[str, str] = {}
    for name, feature in cast("dict[str, Any]", features).items():
        if not _is_name(name) or not isinstance(feature, dict):
            raise BadMessage(f"the feature {brief(name, 80)} is {spoken(feature)}, expected a map, and a name to print")
        said = cast("dict[str, Any]", feature)
        if said.get("dtype") in ("image", "video") and name.startswith(CAMERAS):
            cameras[name] = name.removeprefix(CAMERAS)
        elif said.get("dtype") == "float32":
            vectors[name] = _names(name, said.get("names"))
        else:
            raise BadParameter(
                f"the feature {name:.80} is of {spoken(said.get('dtype'))}, expected float32, or {CAMERAS}NAME of image"
            )
    return Instructions(
        texts["policy_type"], texts["pretrained_name_or_path"], vectors, cameras, steps, texts["device"]
    )


def read_seen(data: bytes) -> Seen:
    """Raises BadMessage for what is no TimedObservation, BadObservation for what one may not hold."""
    fields = _fields(data, Known.OBSERVATION, {"timestamp", "timestep", "observation"}, {"must_go"})
    timestamp, timestep, seen = fields["timestamp"], fields["timestep"], fields["observation"]
    if type(timestamp) not in (int, float) or not math.isfinite(timestamp):
        raise BadMessage(f"timestamp is {spoken(timestamp)}, expected seconds")
    if type(timestep) is not int or not 0 <= timestep < _LARGEST:
        raise BadMessage(f"timestep is {spoken(timestep)}, expected a whole number from 0 up")
    if not isinstance(seen, dict) or len(cast("dict[str, Any]", seen)) > _MOST_NAMES:
        raise BadMessage(f"the observation is {spoken(seen)}, expected a map of {_MOST_NAMES} names at most")
    values: dict[str, float | str | Array] = {}
    for name, value in cast("dict[str, Any]", seen).items():
        if value is None or not _is_name(name) or not isinstance(value, (float, int, str, Made)):
            raise BadObservation(f"{brief(name, 80)} is {spoken(value)}, expected a number, a text or an array")
        values[name] = plain(value)
    return Seen(float(timestamp), timestep, values)


def _fields(data: bytes, known: Known, needed: set[str], more: set[str]) -> dict[str, Any]:
    made = unpickle(data)
    if made.known is not known or made.fields is None:
        raise BadMessage(f"a {made.known.value} came, expected a {known.value} and what it holds")
    if unknown := sorted(made.fields.keys() - needed - more):
        raise BadMessage(
            f"the {known.value} has {brief(unknown[0], 80)}, of which nobody here knows what it asks: clients of "
            f"{VERSIONS} send {', '.join(sorted(needed | more))}"
        )
    if lacking := sorted(needed - made.fields.keys()):
        raise BadMessage(f"the {known.value} lacks {', '.join(lacking)}, which clients of {VERSIONS} send")
    return made.fields


def _is_name(name: Any) -> bool:
    """Whether it may stand in an error, and in the log."""
    return isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()


def _names(feature: str, names: Any) -> tuple[str, ...]:
    listed = cast("list[Any]", names) if isinstance(names, list) else []
    if not 0 < len(listed) <= _MOST_NAMES or not all(map(_is_name, listed)):
        raise BadMessage(f"the feature {feature:.80} does not list the names of its numbers")
    if len(set(listed)) != len(listed):
        raise BadMessage(f"the feature {feature:.80} names a number twice")
    return tuple(listed)
