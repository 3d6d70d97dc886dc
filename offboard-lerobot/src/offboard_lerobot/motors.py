"""The codec for arms whose policies speak of motors: a vector in LeRobot's unit in, one out."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from offboard_client.errors import BadObservation, BadParameter, LoadFailed
from offboard_core.codecs import ActionSplit, LetterboxImage, StateVector, TaskText, rate, timed
from offboard_core.types import Array, Checkpoint, Codec, CodecMeta, Field, Observation, is_image

from .codecs import image_map
from .statistics import read_statistics

Units = Literal["degrees", "range"]
STATE, ACTION, TASK = "observation.state", "action", "task"
#: What the robot measures and plays of its motors; and the number of one motor, as LeRobot's robots have it.
MOTORS, TARGETS, POSITION = "motors", "target_motors", ".pos"
#: The end of a gripper's name (gripper, left_gripper, arm_gripper); of what is no motor, but how fast a base goes.
GRIPPER, VELOCITY = "gripper", ".vel"
_SAID: Mapping[Units, str] = {"degrees": "degrees", "range": "-100 to 100 of each motor's range"}
#: A motor at the end of its range, and how far beyond one a number of a range may be: it was rounded.
_END, _BEYOND = 100.0, 0.5
#: So many joints that reach exactly the end of a range were not measured in degrees.
_TELLING = 2


@dataclass(frozen=True, kw_only=True)
class MotorsOptions:
    """The options of ``lerobot.motors``."""

    fps: float | None = None
    """Steps per second; null: nothing says it, and rows carry no timestamps."""
    units: Units | None = None
    """What the joints' numbers are: degrees, or a range from -100 to 100. Required, for no checkpoint says it."""
    info: Path | None = None
    """The data set that it was trained on (its folder, or its meta/info.json), which has the motors' names."""
    names: tuple[str, ...] = ()
    """The motors' names in the order of the data set, where that is not here."""
    scalars: bool = False
    """The robot sends and plays one number for each motor (shoulder_pan.pos …), not a vector of them."""
    map: dict[str, str] = field(default_factory=dict[str, str])
    """A robot's image → the checkpoint's camera (image.exterior=front), instead of image.front for it."""

    def __post_init__(self) -> None:
        if self.fps is not None:
            rate(self.fps)
        if self.units is not None and self.units not in _SAID:
            raise BadParameter(f"units is {self.units!r:.40}; expected degrees or range, or null")


@dataclass(frozen=True, kw_only=True)
class MotorState(StateVector):
    """Makes the state of the motors' numbers, and says what they are. ``motors``: their names."""

    unit: str
    units: Units
    motors: tuple[str, ...]

    @property
    def meta(self) -> CodecMeta:
        """Reads each part, in the motors' unit."""
        fields = {name: Field(shape=(width,), dtype="float32", unit=self.unit) for name, width in self.parts.items()}
        return CodecMeta(observation=fields, conventions=_conventions(self.motors))

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`. Raises BadObservation for numbers that are none of the unit."""
        made = super().encode(observation)
        check_units(made[self.name], self.motors, self.units)
        return made


@dataclass(frozen=True, kw_only=True)
class MotorTargets(ActionSplit):
    """Hands the model's vector to the robot, and says what its numbers are."""

    unit: str
    motors: tuple[str, ...]

    @property
    def meta(self) -> CodecMeta:
        """Makes each part, in the motors' unit."""
        fields = {name: Field(shape=(width,), unit=self.unit, kind="vector") for name, width in self.parts.items()}
        return CodecMeta(action=fields, conventions=_conventions(self.motors))


def motors(options: MotorsOptions, checkpoint: Checkpoint) -> Codec:
    """The codec for one checkpoint. Raises BadParameter and LoadFailed where it does not fit, or where units do not."""
    width = _width(checkpoint)
    names = _names(options, width, checkpoint.id)
    units = _units(options.units, read_statistics(checkpoint), names, checkpoint.id)
    unit = _SAID[units] + ("; the gripper 0 to 100" if any(map(_is_gripper, names)) else "")
    if bases := [name for name in names if _is_velocity(name)]:
        unit += f"; {', '.join(bases)} as LeRobot's base has them, m/s and degrees/s"
    read, played = {MOTORS: width}, {TARGETS: width}
    if options.scalars:
        read = played = {name if _is_velocity(name) else f"{name}{POSITION}": 1 for name in names}
    state = MotorState(name=STATE, parts=read, unit=unit, units=units, motors=names)
    targets = MotorTargets(parts=played, unit=unit, motors=names)
    parts: list[Codec] = [*_images(options.map, checkpoint, {*read, TASK}), TaskText(), targets]
    return timed(functools.reduce(lambda left, right: left & right, parts, cast("Codec", state)), options.fps)


def check_units(values: Array, names: tuple[str, ...], units: Units) -> None:
    """Raises BadObservation for numbers (n,) that a motor cannot have in this unit."""
    for name, value in zip(names, values.tolist(), strict=True):
        if _is_velocity(name):
            continue
        low, high = (0, _END) if _is_gripper(name) else (-_END, _END) if units == "range" else (-360.0, 360.0)
        if not low - _BEYOND <= value <= high + _BEYOND:
            raise BadObservation(f"the motor {name} is at {value:.4g}; {low:g} … {high:g} are what this policy takes")


def _conventions(names: tuple[str, ...]) -> dict[str, str]:
    return {MOTORS: ", ".join(names)}


def _is_gripper(name: str) -> bool:
    return name.rpartition("_")[2] == GRIPPER


def _is_velocity(name: str) -> bool:
    return name.endswith(VELOCITY)


def _width(checkpoint: Checkpoint) -> int:
    vectors = {name: declared.shape for name, declared in checkpoint.inputs.items() if not is_image(declared)}
    shape = vectors.pop(STATE, None)
    answered = {name: declared.shape for name, declared in checkpoint.outputs.items()}
    if vectors or shape is None or len(shape) != 1 or answered != {ACTION: shape}:
        raise LoadFailed(
            f"the checkpoint {checkpoint.id} is none about motors: it takes {STATE} {shape}"
            f"{''.join(f', {name} {each}' for name, each in vectors.items())} and answers "
            f"{', '.join(f'{name} {each}' for name, each in answered.items())}; one number for each motor was expected "
            "in both. Serve it with --codec native"
        )
    return shape[0]


def _names(options: MotorsOptions, width: int, checkpoint: str) -> tuple[str, ...]:
    found = [_bare(options.names)] if options.names else []
    if options.info is not None:
        found.append(_named_in(options.info))
    if not found:
        raise BadParameter(
            f"which of the {width} numbers of the checkpoint {checkpoint} is which motor's, it does not say: give "
            "--codec.info FOLDER, whose meta/info.json has their names, or --codec.names '[\"shoulder_pan\", …]' in "
            "the order of the data set"
        )
    if len(found) == 2 and found[0] != found[1]:
        raise BadParameter(f"--codec.names are {', '.join(found[0])}; the data set has {', '.join(found[1])}")
    names = found[0]
    for name in names:
        # In the handshake they stand behind one another, with commas.
        if not name or not name.isprintable() or "," in name or name != name.strip():
            raise BadParameter(f"a motor is called {name!r:.60}; expected a name that can be printed, without a comma")
        if names.count(name) > 1:
            raise BadParameter(f"the motors are {', '.join(names)}: {name} is one motor, and named twice")
    if len(names) != width:
        raise BadParameter(f"the motors are {', '.join(names)}; the checkpoint {checkpoint} has {width}")
    return names


def _named_in(dataset: Path) -> tuple[str, ...]:
    path = dataset / "meta" / "info.json" if dataset.is_dir() else dataset
    try:
        features: Any = json.loads(path.read_text("utf-8"))["features"]
        found = [_listed(features[name]["names"]) for name in (STATE, ACTION)]
    except OSError as error:
        raise BadParameter(f"the data set's {path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, RecursionError):
        raise BadParameter(
            f"{path} does not name the numbers of {STATE} and {ACTION}: it is no LeRobot data set"
        ) from None
    if found[0] != found[1]:
        raise BadParameter(
            f"{path} has {STATE} of {', '.join(found[0])}, and {ACTION} of {', '.join(found[1])}: a robot's motors "
            "are the same in both"
        )
    return found[0]


def _listed(names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):  # {"motors": […]}, as older data sets have it
        (names,) = cast("dict[str, Any]", names).values()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in cast("list[Any]", names)):
        raise TypeError
    return _bare(tuple(cast("list[str]", names)))


def _bare(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.removesuffix(POSITION) for name in names)


def _units(asked: Units | None, statistics: Mapping[str, Array], names: tuple[str, ...], checkpoint: str) -> Units:
    """``asked``, unless the statistics contradict it. Raises BadParameter."""
    closing = np.array([_is_gripper(name) for name in names])
    joints = ~closing & ~np.array([_is_velocity(name) for name in names])
    seen = {
        key: statistics[key]
        for key in (f"{f}.{s}" for f in (STATE, ACTION) for s in ("min", "max"))
        if key in statistics
    }
    _check_statistics(seen, names, checkpoint)
    said = _spans(seen, names)
    outside = any((np.abs(values[joints]) > _END + _BEYOND).any() for values in seen.values())
    ends = sum(int((np.abs(np.abs(values[joints]) - _END) < 1e-3).sum()) for values in seen.values())
    grippers = np.concatenate([values[closing] for values in seen.values()]) if seen else np.zeros(0)
    if ((grippers < -_BEYOND) | (grippers > _END + _BEYOND)).any():
        raise BadParameter(
            f"the checkpoint {checkpoint} was trained on a gripper that is not from 0 to 100 ({said}); the names are "
            "in another order, or it is none of LeRobot's arms"
        )
    if seen and all((np.abs(values[joints]) <= np.pi).all() for values in seen.values()):
        raise BadParameter(
            f"the checkpoint {checkpoint} was trained on joints that go no farther than 3.14, which are radians and "
            f"not LeRobot's motors ({said}). Serve it with --codec native, or with a codec that reads robot_state.q"
        )
    if asked is None:
        fits = "can only be degrees" if outside else "are a range" if ends >= _TELLING else "may be either"
        raise BadParameter(
            f"whether the checkpoint {checkpoint} counts in degrees or in a range from -100 to 100 it does not say: "
            f"give --codec.units degrees or range, as the arm was recorded with (use_degrees). Its statistics {fits}: "
            f"{said}"
        )
    if asked == "range" and outside:
        raise BadParameter(
            f"--codec.units is range, and the checkpoint {checkpoint} was trained on more than 100: {said}"
        )
    if asked == "degrees" and not outside and ends >= _TELLING:
        raise BadParameter(
            f"--codec.units is degrees, and the checkpoint {checkpoint} was trained on joints that end at 100, as a "
            f"range does: {said}"
        )
    return asked


def _check_statistics(seen: Mapping[str, Array], names: tuple[str, ...], checkpoint: str) -> None:
    """Raises BadParameter for what no data set has."""
    for key, values in seen.items():
        if values.shape != (len(names),):
            raise BadParameter(f"the checkpoint {checkpoint} has {key} of {len(values)} numbers, not {len(names)}")
        if not np.isfinite(values).all():
            raise BadParameter(f"the checkpoint {checkpoint} has {key} that is not finite: {values.tolist()}")
    for feature in (STATE, ACTION):
        low, high = seen.get(f"{feature}.min"), seen.get(f"{feature}.max")
        if low is not None and high is not None and (crossed := low > high).any():
            worst = int(crossed.argmax())
            raise BadParameter(
                f"the checkpoint {checkpoint} has {feature} of {names[worst]} from {low[worst]:.4g} to "
                f"{high[worst]:.4g}, a min above its max: its statistics are damaged, or of something else"
            )


def _spans(seen: Mapping[str, Array], names: tuple[str, ...]) -> str:
    """How far each motor went where the checkpoint was trained."""
    if not seen:
        return "it has no min and max"
    low, high = (np.array(list(seen.values())).min(0), np.array(list(seen.values())).max(0))
    return ", ".join(f"{name} {a:.4g} … {b:.4g}" for name, a, b in zip(names, low, high, strict=True))


def _images(given: Mapping[str, str], checkpoint: Checkpoint, taken: set[str]) -> list[Codec]:
    """``taken``: names that are no images. Raises BadParameter where a camera would get none of its own."""
    declared = {name: each for name, each in checkpoint.inputs.items() if is_image(each)}
    asked = image_map(given, declared)
    if wrong := taken & asked.keys():
        raise BadParameter(f"--codec.map names {', '.join(sorted(wrong))}, which is no image; it gives cameras images")
    sources = {feature: source for source, feature in asked.items()}
    made: list[Codec] = []
    used: dict[str, str] = {}
    for name, each in declared.items():
        assert each.shape is not None
        source = sources.get(name, f"image.{name.rpartition('.')[2]}")
        if (other := used.setdefault(source, name)) != name:
            raise BadParameter(
                f"{other} and {name} of the checkpoint {checkpoint.id} would both get {source}: say which other image "
                f"one of them gets, --codec.map image.NAME={name}"
            )
        made.append(LetterboxImage(name=name, source=source, size=(each.shape[1], each.shape[0])))
    return made
