"""Between the names of one of LeRobot's robots, as its client lists them, and those of the served model's codec.

A robot sends a number for each motor (``shoulder_pan.pos``) and a picture for each camera, and plays a vector: the
numbers of its motors, in its own order. What the model reads is made of these where their names say what they are;
nothing is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_core.frontends import ResolvedCodec, field_width, spell_widths
from offboard_core.types import Array, Field, is_array

from .payloads import Instructions

STATE, ACTION, TASK = "observation.state", "action", "task"
MOTORS, TARGETS, POSITION, VELOCITY = "motors", "target_motors", ".pos", ".vel"
IMAGE = "image."
_LARGEST = float(np.finfo(np.float32).max)
#: How a model's unit begins → what ``--lerobot.units`` calls it.
_UNITS = {"degrees": "degrees", "-100 to 100": "range"}
Values = Mapping[str, Any]
Read = Callable[[Values], Any]


@dataclass(frozen=True)
class Translation:
    """One robot's names, and one model's.

    ``reads``: what the model reads → how it is made of what the robot sent. ``columns``: what the model answers; empty
    where it does not say. ``order``: the numbers of these, side by side, as the robot has its motors; None: as they
    are. ``width``: how many the robot plays, where that is known. ``translated``: whether the names differ.
    """

    reads: Mapping[str, Read]
    columns: tuple[str, ...]
    order: tuple[int, ...] | None
    width: int | None
    translated: bool

    def observation(self, values: Values) -> dict[str, Any]:
        """What the robot sent, under the model's names. Raises BadObservation for what it listed and did not send."""
        made = {name: read(values) for name, read in self.reads.items()}
        return {name: value for name, value in made.items() if value is not None}

    def actions(self, columns: Mapping[str, Array]) -> Array:
        """The model's answer as the robot plays it: (T, D) float32. Raises InvalidAction."""
        names = self.columns or (*columns,)
        if len(names) != len(columns) or (not self.columns and len(names) != 1):
            raise InvalidAction(f"the model answers {', '.join(columns)}; a robot of LeRobot's plays one vector")
        parts = [columns[name].reshape(len(columns[name]), -1) for name in names]
        rows = np.concatenate(parts, axis=1)
        if self.order is not None:
            rows = rows[:, self.order]
        if self.width is not None and rows.shape[1] != self.width:
            raise InvalidAction(f"the model answers {rows.shape[1]} numbers, and the robot plays {self.width}")
        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(rows, np.float32)
        if not np.isfinite(rows).all():
            raise InvalidAction("the model answers numbers that float32, in which the robot gets them, does not have")
        return rows


def translate(
    asked: Instructions, codec: ResolvedCodec, units: str | None, actions: tuple[str, ...] = ()
) -> Translation:
    """Raises DialectUnsupported where the model reads what the robot does not send, or answers what it does not play.

    ``units``: what the robot's joints count in. ``actions``: the names of its ``action_features``, in order, which its
    client does not tell; none: those are the numbers of its ``observation.state``.
    """
    meta = codec.meta
    made: dict[str, Read] = {}
    missing: list[str] = []
    for name, field in meta.observation.items() or _own(asked).items():
        read = _read(name, field, asked, meta.conventions)
        if read is not None:
            made[name] = read
        elif field.required:
            missing.append(name)
    if missing:
        raise DialectUnsupported(
            f"the model reads {', '.join(missing[:8])}, which the robot does not send: it sends "
            f"{', '.join([*_numbers(asked), *asked.cameras.values()][:20])}; try another --codec than {codec.name}"
        )
    _check_units({**meta.observation, **meta.action}, units)
    columns, order, width = _played(actions or asked.vectors.get(STATE, ()), codec)
    own = {*_own(asked)}
    return Translation(made, columns, order, width, bool(meta.observation) and not made.keys() <= own)


def _own(asked: Instructions) -> dict[str, Field]:
    """LeRobot's own names of what the robot sends, for a model that does not say what it reads."""
    return {name: Field(required=name != TASK) for name in (*asked.vectors, *asked.cameras, TASK)}


def _numbers(asked: Instructions) -> list[str]:
    return [name for names in asked.vectors.values() for name in names]


def _read(name: str, field: Field, asked: Instructions, conventions: Mapping[str, str]) -> Read | None:
    """How ``name`` is made of what the robot sends; None where it does not send it."""
    if name == TASK or field.dtype == "str":
        return _task
    if name in asked.vectors:
        return _vector(name, asked.vectors[name], field)
    camera = asked.cameras.get(name, name.removeprefix(IMAGE))
    if camera in asked.cameras.values():
        return lambda values: _picture(camera, values)
    if name in (numbers := _numbers(asked)):
        return lambda values: np.array([_number(name, values)], np.float32)
    if name == MOTORS and MOTORS in conventions:
        names = [_spelled(motor) for motor in conventions[MOTORS].split(", ")]
        return _vector(name, tuple(names), field) if {*names} <= {*numbers} else None
    return None


def _vector(name: str, names: tuple[str, ...], field: Field) -> Read:
    width = field_width(field)
    if width is not None and width != len(names):
        raise DialectUnsupported(
            f"{name} is ({len(names)},) for the robot, ({width},) for the model: the robot's is {', '.join(names[:20])}"
        )
    return lambda values: np.array([_number(each, values) for each in names], np.float32)


def _spelled(motor: str) -> str:
    """A motor as LeRobot's robots call its number."""
    return motor if motor.endswith(VELOCITY) else f"{motor}{POSITION}"


def _task(values: Values) -> str | None:
    value = values.get(TASK)
    if value is not None and not isinstance(value, str):
        raise BadObservation(f"{TASK} is {_kind(value)}, expected the instruction as text")
    return value


def _number(name: str, values: Values) -> float:
    value = values.get(name)
    if is_array(value) and value.size == 1 and value.dtype.kind in "fiu":
        value = value.reshape(()).item()
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise BadObservation(f"the robot lists {name} among its motors, and sent {_kind(value)} for it")
    # What declares nothing is checked by nobody else. NaN is not within, either.
    if not abs(value) <= _LARGEST:
        raise BadObservation(
            f"{name} is {float(value)!r}, no finite number in float32; check the sensor or the estimator behind it"
        )
    return float(value)


def _picture(name: str, values: Values) -> Array:
    value = values.get(name)
    if not is_array(value):
        raise BadObservation(f"the robot lists the camera {name}, and sent {_kind(value)} for it")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise BadObservation(f"the picture of the camera {name} holds numbers that are not finite")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _check_units(fields: Mapping[str, Field], units: str | None) -> None:
    for name, field in fields.items():
        said = next((known for text, known in _UNITS.items() if field.unit and field.unit.startswith(text)), None)
        if said is None or said == units:
            continue
        if units is None:
            raise DialectUnsupported(
                f"the model's {name} is in {field.unit}, and LeRobot's protocol does not say what the robot's joints "
                f"count in: serve with --lerobot.units {said} if that is so (SO-100 and SO-101: --robot.use_degrees)"
            )
        raise DialectUnsupported(
            f"{name} is in {units} for the robot, in {field.unit} for the model: have the robot count as the model "
            "does (--robot.use_degrees), with --lerobot.units saying so"
        )


def _played(
    motors: tuple[str, ...], codec: ResolvedCodec
) -> tuple[tuple[str, ...], tuple[int, ...] | None, int | None]:
    """The columns, the order and the width of :class:`Translation`."""
    answered = codec.meta.action
    if not answered:
        return (), None, len(motors) or None
    names = (*answered,)
    if names == (ACTION,):
        # LeRobot's client plays as many numbers as its robot has actions, and says nothing of the others.
        width = field_width(answered[ACTION])
        if None not in (width, len(motors) or None) and width != len(motors):
            raise _other(answered, motors, codec)
        return names, None, len(motors) or width
    if names == (TARGETS,) and MOTORS in codec.meta.conventions:
        named = codec.meta.conventions[MOTORS].split(", ")
        theirs = [motor if motor in motors else _spelled(motor) for motor in named]
    else:
        theirs = [*names]
        if any(field_width(field) != 1 for field in answered.values()):
            raise _other(answered, motors, codec)
    if {*theirs} != {*motors}:
        raise _other(answered, motors, codec)
    return names, tuple(theirs.index(motor) for motor in motors), len(motors)


def _other(answered: Mapping[str, Field], motors: tuple[str, ...], codec: ResolvedCodec) -> DialectUnsupported:
    widths = {name: field_width(field) for name, field in answered.items()}
    of = f" of {codec.meta.conventions[MOTORS]}" if MOTORS in codec.meta.conventions else ""
    return DialectUnsupported(
        f"the robot plays {', '.join(motors) or 'nothing that it names'}, the model answers {spell_widths(widths)}{of};"
        f" try another --codec than {codec.name}, or serve with --lerobot.actions '[\"…\", …]', the names of "
        "the robot's action_features in order, if these are others than it measures"
    )
