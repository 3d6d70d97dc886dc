"""What a policy was shown in its training, where that is not what its config says.

LeRobot fine-tunes a base on any robot and keeps the base's ``input_features``: the state is as wide as that of the
robot before, and cameras are listed that the data set does not have. The statistics of the processors are the data
set's own, so they tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from offboard_core.checkpoints import Place, Unfit

from .features import EMPTY, PREPROCESSOR, STATE, sent_name
from .statistics import Tensor, tensors

Json = Mapping[str, Any]

#: Types that fill up a state of any width to that of their network, or put it into words. Not GR00T and MolmoAct2: of a
#: base of the one LeRobot keeps the statistics, and none that it has saved of the other does it train again.
_ANY_WIDTH = ("eo1", "evo1", "pi0", "pi05", "pi0_fast", "smolvla", "wall_x", "xvla")
#: Of these, those that look at a state that their config does not list.
_LOOK_ANYWAY = ("smolvla",)
#: Types that go without a camera that is not there, in training as afterwards. The others fail at it.
_GO_WITHOUT = ("pi0", "pi05", "pi0_fast", "smolvla", "wall_x", "xvla")
#: The statistics that have a number for each of a feature.
_OF_EACH = ("mean", "std", "min", "max", "q01", "q99")
#: What EVO1 fills up each statistic with, before it is saved. With the middle they are no joint's: one that swings from
#: -1 to 1 without a moment between, as a gripper does, has no middle.
_FILLED = {"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0}
_MIDDLE = "q50"


def seen(
    kind: str, described: Json, steps: Mapping[str, Sequence[Json]], shapes: Mapping[str, Any], place: Place
) -> Mapping[str, Json]:
    """The ``input_features`` as they were in training, less cameras that no robot has. Raises Incomplete.

    ``shapes``: FEATURE.STATISTIC → what the header of a file of the preprocessor says of it. ``place``: where they lie.
    """
    before = steps.get(PREPROCESSOR, ())
    known = {name: feature for name, feature in described.items() if EMPTY not in name}
    if kind in _LOOK_ANYWAY or (kind in _ANY_WIDTH and STATE in known):
        width = _width(kind, before, shapes, place)
        if width is not None:
            known[STATE] = {**known.get(STATE, {"type": "STATE"}), "shape": [width]}
    cameras = {name for name, feature in known.items() if feature["type"] == "VISUAL"}
    trained = {name for name in cameras if _has_statistics(name, before, shapes)}
    if not trained or kind not in _GO_WITHOUT:
        return known
    return {name: feature for name, feature in known.items() if name in trained or name not in cameras}


def _width(kind: str, before: Sequence[Json], shapes: Mapping[str, Any], place: Place) -> int | None:
    """How many numbers the state had; None where nothing tells, or not one thing."""
    # A data set may have a column of that name beside the one that was renamed to it.
    for name in (sent_name(STATE, before), STATE):
        widths = {_long(shapes[key]["shape"]) for key in (f"{name}.{each}" for each in _OF_EACH) if key in shapes}
        if widths:
            width = widths.pop()
            if widths or width is None:
                return None
            return _unfilled(name, before, place, width) if kind == "evo1" else width
    return None


def _long(shape: Sequence[int]) -> int | None:
    """The length of a vector, with or without the axis of a batch."""
    return shape[-1] if shape and math.prod(shape) == shape[-1] > 0 else None


def _unfilled(name: str, before: Sequence[Json], place: Place, width: int) -> int | None:
    """How many numbers the state had before its statistics were filled up; None where they do not tell."""
    files = (step["state_file"] for step in before if step.get("state_file"))
    found: Mapping[str, Tensor] = {key: tensor for file in files for key, tensor in tensors(place, file).items()}
    each = {key: found.get(f"{name}.{key}") for key in (*_FILLED, _MIDDLE)}
    values = {key: tensor.values for key, tensor in each.items() if tensor is not None and tensor.is_float}
    if not values.keys() >= _FILLED.keys():
        return None
    filled = {**_FILLED, _MIDDLE: 0.0}
    while width and all(each[width - 1] == filled[key] for key, each in values.items()):
        width -= 1
    return width or None


def _has_statistics(name: str, before: Sequence[Json], shapes: Mapping[str, Any]) -> bool:
    """By the policy's name or the data set's, of which LeRobot keeps whichever the statistics had."""
    try:
        names = {name, sent_name(name, before)}
    except Unfit:  # another has its name
        return False
    return any(f"{each}.{statistic}" in shapes for each in names for statistic in _OF_EACH)


__all__ = ["seen"]
