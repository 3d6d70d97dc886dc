"""What a LeRobot policy reads and answers, as its config and processors describe it, and what is wrong with a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from offboard_core.checkpoints import Incomplete, Unfit
from offboard_core.types import Field

CONFIG = "config.json"
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"
_CHANNELS = (1, 3, 4)
#: Cameras that a policy has room for and no robot has: LeRobot lists them among its inputs and fills them itself.
EMPTY = ".empty_camera_"
STATE = "observation.state"
ACTION = "action"
#: The step that gives what a data set has the names that a policy reads.
_RENAMES = "rename_observations_processor"
#: What is raised at files that will not do another time either; memory, a device or a disk may have lacked.
FOR_GOOD = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


def features(described: Mapping[str, Any]) -> dict[str, Field]:
    """The input_features or output_features of a config as fields. Raises Incomplete."""
    try:
        return {name: _field(name, feature["type"], feature["shape"]) for name, feature in described.items()}
    except (LookupError, TypeError):
        raise Incomplete(f"{CONFIG} describes a feature without type and shape (at most 8 axes, each from 1)") from None


def as_sent(inputs: Mapping[str, Field], steps: Sequence[Mapping[str, Any]]) -> dict[str, Field]:
    """The inputs under the names that the data set had for them, which a step makes the policy's. Raises Unfit."""
    return {sent_name(name, steps): field for name, field in inputs.items() if EMPTY not in name}


def sent_name(name: str, steps: Sequence[Mapping[str, Any]]) -> str:
    """What the data set calls what is called ``name`` after these steps of a preprocessor. Raises Unfit."""
    sent = name
    for renamed in reversed([step["config"]["rename_map"] for step in steps if _renames(step)]):
        names = [before for before, becomes in renamed.items() if becomes == sent]
        if len(names) > 1 or (not names and sent in renamed):
            found = f"{' and '.join(names)} are all renamed to it" if names else f"it is renamed to {renamed[sent]}"
            raise Unfit(
                f"{PREPROCESSOR} leaves nothing certain for the policy's input {name}: {found}",
                f"give each input one name in the rename_map of the step {_RENAMES!r}",
            )
        sent = names[0] if names else sent
    return sent


def _renames(step: Mapping[str, Any]) -> bool:
    options = step.get("config")
    renamed: Any = cast("Mapping[str, Any]", options).get("rename_map") if isinstance(options, Mapping) else None
    if step.get("registry_name") != _RENAMES or renamed is None:
        return False
    if not isinstance(renamed, Mapping) or not all(
        isinstance(name, str) for name in cast("Mapping[str, Any]", renamed).values()
    ):
        raise Incomplete(f"{PREPROCESSOR} has a step {_RENAMES!r} whose rename_map is no map of names")
    return True


def _field(name: str, kind: Any, described: Any) -> Field:
    """LeRobot writes images channels first; here they are as cameras deliver them."""
    if not isinstance(kind, str) or not isinstance(described, list) or len(cast("list[Any]", described)) > 8:
        raise TypeError
    if not all(type(length) is int and 0 < length < 2**31 for length in cast("list[Any]", described)):
        raise TypeError
    shape = tuple(cast("list[int]", described))
    if kind != "VISUAL" or len(shape) != 3:
        return Field(shape=shape, dtype="float32", kind="vector" if kind == "ACTION" else None)
    channels, height, width = shape
    if width in _CHANNELS and channels not in _CHANNELS:
        raise Unfit(
            f"{CONFIG} describes {name} as {list(shape)}, its channels last, where LeRobot has them first; the data "
            "set may name the axes otherwise than height, width, channels",
            f"write {[width, channels, height]} there; the weights are the same either way",
        )
    return Field(shape=(height, width, channels), dtype="uint8")
