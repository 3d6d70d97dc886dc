"""What GR00T's clients ask, and how they are answered: one request in the shape of each generation.

The shapes (NVIDIA's ``robot.py`` and ``gr00t_policy.py``): N1.5 sends a flat map, ``video.CAM`` (T, H, W, C) and
``state.GROUP`` (T, D), or with one more axis before, and hears a flat map. N1.6 and N1.7 send ``{"observation": …,
"options": …}`` with the cameras, groups and instructions in a map each, always with the axis of the batch before, and
hear a list of two: the actions, and what else there is to say. Their simulators' wrapper sends and hears N1.5's names
in that shape.

Inside offboard the names are N1.5's, and nothing has a batch's axis or that of a single frame.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadMessage, BadObservation, brief
from offboard_core.types import Array, is_array

from .wire import Form

_GROUPS = ("video", "state", "language")
#: Of one frame.
_OWN_AXES = {"video": 3, "state": 1}
_LONGEST_NAME = 200


class Shape(enum.Enum):
    """How a request is laid out."""

    FLAT = "n1.5"
    NESTED = "n1.6"
    WRAPPED = "n1.6, flat"


@dataclass(frozen=True)
class Question:
    """An observation, and what its answer has to look like.

    ``batched``: whether there is an axis for the batch. ``instructions``: language key → text.
    """

    values: Mapping[str, Any]
    instructions: Mapping[str, str]
    shape: Shape
    batched: bool
    form: Form


def read_question(request: Mapping[str, Any], form: Form | None) -> Question:
    """The observation of a ``get_action``. Raises BadMessage or BadObservation, which say what was expected."""
    data = request.get("data")
    if not isinstance(data, Mapping):
        raise BadMessage(f"get_action came with {brief(data, 60)} as its data, expected the map of an observation")
    found = cast("Mapping[Any, Any]", data)
    if "observation" not in found:
        return _question(found, Shape.FLAT, form)
    if unknown := sorted(found.keys() - {"observation", "options"}, key=str):
        raise BadMessage(f"get_action takes observation and options, not {brief(', '.join(map(str, unknown)), 100)}")
    if found.get("options"):
        raise BadMessage(f"get_action came with options {brief(found['options'], 60)}; no policy here takes any")
    observation = found["observation"]
    if not isinstance(observation, Mapping):
        raise BadMessage(f"the observation is {brief(observation, 60)}, expected a map")
    inner = cast("Mapping[str, Any]", observation)
    if not inner.keys() & set(_GROUPS):
        return _question(inner, Shape.WRAPPED, form)
    flat: dict[str, Any] = {}
    for group in _GROUPS:
        parts = inner.get(group, {})
        if not isinstance(parts, Mapping):
            raise BadObservation(f"{group} is {brief(parts, 60)}, expected a map")
        for name, value in cast("Mapping[Any, Any]", parts).items():
            flat[str(name) if group == "language" else f"{group}.{name}"] = value
    return _question(flat, Shape.NESTED, form)


def _question(flat: Mapping[Any, Any], shape: Shape, form: Form | None) -> Question:
    if any(not isinstance(name, str) or len(name) > _LONGEST_NAME for name in flat):
        raise BadMessage(f"names are texts of at most {_LONGEST_NAME} characters")
    arrays = {name: value for name, value in flat.items() if name.startswith(("video.", "state."))}
    # A step of a data set has actions and times, too, which GR00T's servers leave unread as well.
    texts = {name: _text(name, value) for name, value in flat.items() if name not in arrays and not is_array(value)}
    if not arrays:
        raise BadObservation(
            f"the observation holds {', '.join(sorted(flat)[:8]) or 'nothing'}; expected video.CAMERA and state.GROUP"
        )
    if wrong := sorted(name for name, value in arrays.items() if not is_array(value)):
        raise BadObservation(f"{wrong[0]} is {brief(arrays[wrong[0]], 60)}, expected an array")
    batched = shape is not Shape.FLAT or _is_batched(arrays)
    values = {name: _bare(name, value, batched) for name, value in arrays.items()}
    return Question(values, texts, shape, batched, form or Form.NPY)


def _is_batched(arrays: Mapping[str, Array]) -> bool:
    """As N1.5 tells it: by whether a state has three axes; without a state, a camera five."""
    axes = {name.partition(".")[0]: value.ndim for name, value in arrays.items()}
    return axes.get("state", axes.get("video", 0) - 2) >= 3


def moments(
    values: Mapping[str, Array], frames: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Array], list[dict[str, Array]]]:
    """What is there now, and what was there in each earlier moment, oldest first; none where each has one frame.

    ``values``: of a question. ``frames``: which the model wants of each kind, in steps, the present one last. A name
    of which it wants no earlier frame is in each moment what it is now. Raises BadObservation for another number.
    """
    many = {name: value.ndim > _OWN_AXES[_kind(name)] for name, value in values.items()}
    if not any(many.values()):
        return dict(values), []
    for name, value in values.items():
        has, wanted = len(value) if many[name] else 1, frames[_kind(name)]
        if has != len(wanted):
            steps = f"{len(wanted)}, those of the steps {', '.join(map(str, wanted))} (0 is now)"
            raise BadObservation(
                f"{name} has {has} frame{'s' * (has != 1)}; of its {_kind(name)} the model wants "
                f"{steps if len(wanted) > 1 else 'one, that of now'}; or one frame of everything"
            )
    now = {name: value[-1] if many[name] else value for name, value in values.items()}
    earlier = sorted({step for steps in frames.values() for step in steps if step < 0})
    return now, [{name: _at(step, name, values[name], now[name], frames) for name in values} for step in earlier]


def _at(step: int, name: str, value: Array, now: Array, frames: Mapping[str, Sequence[int]]) -> Array:
    steps = frames[_kind(name)]
    return value[steps.index(step)] if step in steps else now


def _kind(name: str) -> str:
    return name.partition(".")[0]


def _bare(name: str, value: Array, batched: bool) -> Array:
    """Without the batch's axis, and without that of the frames where there is one frame."""
    own = _OWN_AXES[_kind(name)]
    wanted = "(1, T, " if batched else "(T, "
    axes = f"{wanted}{'H, W, 3' if own == 3 else 'D'})"
    if value.ndim != own + 1 + batched:
        raise BadObservation(f"{name} has the shape {value.shape}, expected {axes}")
    if batched:
        if value.shape[0] != 1:
            raise BadObservation(f"{name} has the shape {value.shape}, expected {axes}: one robot a connection")
        value = value[0]
    if not value.shape[0]:
        raise BadObservation(f"{name} has the shape {value.shape}, expected {axes}: it holds no frame")
    return value[0] if value.shape[0] == 1 else value


def _text(name: str, value: Any) -> str:
    """An instruction: ``"…"``, ``["…"]`` or ``[["…"]]``; an array of one text is none of GR00T's forms."""
    for _ in range(2):
        if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
            value = cast("list[Any]", value)[0]
    if not isinstance(value, str):
        raise BadObservation(f"{name} is {brief(value, 60)}, expected an instruction, as [['…']] or ['…']")
    return value


def answer(question: Question, columns: Mapping[str, Array]) -> Any:
    """The reply to a ``get_action``. ``columns``: ``action.GROUP`` or whatever the robot calls it, each (T, D)."""
    actions = {
        name.removeprefix("action.") if question.shape is Shape.NESTED else name: _dressed(steps, question)
        for name, steps in columns.items()
    }
    return actions if question.shape is Shape.FLAT else [actions, {}]


def _dressed(steps: Array, question: Question) -> Array:
    wide = steps.reshape(len(steps), -1).astype(np.float32)
    if question.batched:
        return wide[None]
    # N1.5's server squeezes what it answers, so that a lone number a step has no axis of its own.
    return wide[:, 0] if wide.shape[1] == 1 else wide
