"""The checkpoint's own features: its names, its image sizes, its action vector."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from offboard_client.errors import BadParameter, LoadFailed
from offboard_core.codecs import (
    ActionVector,
    LetterboxImage,
    NativeOptions,
    StateVector,
    TaskText,
    is_grip,
    resolve_names,
    timed,
)
from offboard_core.types import Checkpoint, Codec, Field, is_image


def native(options: NativeOptions, checkpoint: Checkpoint) -> Codec:
    """Checks and letterboxes what ``config.json`` declares; the action stays the model's own vector.

    ``options.map`` may give several names for one vector (``robot_state.q=state``, ``grip=state``; or one for each
    number, as LeRobot's robots have them: ``shoulder_pan.pos=state`` …), which are joined in the order given.
    Raises BadParameter for a map that does not fit, LoadFailed for a feature of an unknown kind.
    """
    names = resolve_names(options.map, checkpoint.inputs)
    parts: list[Codec] = []
    for feature, declared in checkpoint.inputs.items():
        sources = [robot for robot, model in names.items() if model == feature] or [feature]
        parts.append(_input(feature, declared, sources, checkpoint))
    parts.append(TaskText())
    for name, declared in checkpoint.outputs.items():
        if declared.shape is None or len(declared.shape) != 1:
            raise LoadFailed(f"the checkpoint {checkpoint.id} answers {name} {declared.shape}, expected one vector")
        parts.append(ActionVector(name=name, width=declared.shape[0]))
    return timed(functools.reduce(lambda left, right: left & right, parts), options.fps)


def _input(feature: str, declared: Field, sources: Sequence[str], checkpoint: Checkpoint) -> Codec:
    shape = declared.shape
    if shape is not None and is_image(declared):
        if len(sources) > 1:
            raise BadParameter(f"the option map gives {feature} several images: {', '.join(sources)}; it takes one")
        return LetterboxImage(name=feature, source=sources[0], size=(shape[1], shape[0]))
    if shape is None or len(shape) != 1:
        raise LoadFailed(f"the checkpoint {checkpoint.id} wants {feature} {shape}: neither a vector nor an RGB image")
    return StateVector(name=feature, parts=_widths(feature, sources, shape[0]))


def _widths(feature: str, sources: Sequence[str], total: int) -> dict[str, int]:
    """Who brings how many numbers: canonical names their own width; the rest one other name, or several one each."""
    widths = {source: width for source in sources if (width := _canonical_width(source))}
    others = [source for source in sources if source not in widths]
    if len(sources) == 1:
        return {sources[0]: total}
    rest = total - sum(widths.values())
    each = rest // max(1, len(others))
    if rest != each * len(others) or (others and each < 1) or (len(others) > 1 and each > 1):
        raise BadParameter(
            f"the option map cannot make {feature} ({total} numbers) of {', '.join(sources)}: "
            f"{', '.join(f'{name} has {width}' for name, width in widths.items()) or 'no width is known'}, "
            "and the rest must come from one other name, or a number each from as many names as there are numbers"
        )
    return {source: widths.get(source, each) for source in sources}


def _canonical_width(name: str) -> int | None:
    if is_grip(name):
        return 1
    return 7 if name.startswith("robot_state.") and name.endswith(".ee_pose") else None
