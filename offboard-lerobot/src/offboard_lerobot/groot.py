"""What LeRobot lets pass in a GR00T checkpoint, though a robot would get, or be seen by, what nobody meant.

Its processors normalise by themselves, and go on without statistics, with other cameras than in training, or with the
first of the robots that the model was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from .features import POSTPROCESSOR, PREPROCESSOR
from .files import Files

_PACK, _DECODE = "groot_n1_7_pack_inputs_v1", "groot_n1_7_action_decode_v1"
#: LeRobot's class of a step → what it normalises, or undoes that of.
_NORMALISED = {"GrootN17PackInputsStep": "observation.state", "GrootActionUnpackUnnormalizeStep": "action"}
_CAMERA = "observation.images."
#: What LeRobot takes for a camera of this name, too.
_ALIAS = {"wrist_image": "image2"}


def refused(files: Files) -> Iterator[str]:
    """What is wrong with the steps, by their options alone."""
    for options in _options(files, PREPROCESSOR, _PACK):
        tag, known = options.get("embodiment_tag"), options.get("embodiment_mapping")
        if isinstance(known, Mapping) and tag not in known:
            names = ", ".join(map(str, cast("Mapping[str, Any]", known)))
            yield (
                f"embodiment_tag ({tag!r:.40}) in the step {_PACK!r} of {PREPROCESSOR}, whose embodiment_mapping does "
                f"not have it: the model would take it for the robot 0. Known are: {names}"
            )
        yield from _cameras(files, options)
    for options in _options(files, POSTPROCESSOR, _DECODE):
        if lacks := [name for name in ("raw_stats", "modality_config") if not options.get(name)]:
            yield (
                f"no {' and no '.join(lacks)} in the step {_DECODE!r} of {POSTPROCESSOR}: a robot would be sent "
                "normalised numbers. Save the processors with the checkpoint's statistics"
            )


def _cameras(files: Files, options: Mapping[str, Any]) -> Iterator[str]:
    trained: Any = options.get("video_modality_keys")
    if not trained:
        return
    described: Mapping[str, Any] = files.config["input_features"]
    there = {name.removeprefix(_CAMERA) for name, of in described.items() if of["type"] == "VISUAL"}
    found = {next((name for name in (key, _ALIAS.get(key)) if name in there), None) for key in trained}
    if found != there:
        yield (
            f"that it was trained on the cameras {', '.join(map(str, trained))} (video_modality_keys in the step "
            f"{_PACK!r} of {PREPROCESSOR}), and has {', '.join(sorted(there)) or 'none'}: LeRobot would leave some "
            "out, or take them in another order. Rename its cameras (rename_map), or write their names there"
        )


def _options(files: Files, file: str, name: str) -> Iterator[Mapping[str, Any]]:
    for step in files.steps.get(file, ()):
        options = step.get("config")
        if step.get("registry_name") == name and isinstance(options, Mapping):
            yield cast("Mapping[str, Any]", options)


def without_statistics(steps: Iterable[Any], widths: Mapping[str, int]) -> str | None:
    """The feature that a step which normalises has no statistics for, of that width; None: none is missing."""
    for step in steps:
        feature = _NORMALISED.get(type(step).__name__)
        if feature is None or feature not in widths or not step.normalize_min_max:
            continue
        every: Mapping[str, Mapping[str, Any]] = step.stats or {}
        stats = every.get(feature, {})
        if not all(name in stats and stats[name].numel() == widths[feature] for name in ("min", "max")):
            return feature
    return None
