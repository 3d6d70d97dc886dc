"""Whether a checkpoint's processors normalise as its config says that it was trained, and by sound numbers. No torch.

LeRobot passes on what its processors do not normalise, or do not undo, as it is: a robot would be sent the model's own
numbers. And it takes statistics of any shape, type and sign, and stretches them over what they are for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import Incomplete, Place

from . import order
from .features import CONFIG, POSTPROCESSOR, PREPROCESSOR
from .files import Files
from .plugins import is_third_party
from .statistics import Tensor, tensors
from .versions import releases

Json = Mapping[str, Any]

#: File → the steps that normalise there, and what comes of it where they do not.
_PIPELINES: Mapping[str, tuple[Sequence[str], str]] = {
    PREPROCESSOR: (
        order.NORMALIZERS,
        "the model would see other numbers than in training",
    ),
    POSTPROCESSOR: (
        order.UNNORMALIZERS,
        "a robot would be sent other numbers than the model means",
    ),
}
#: How LeRobot normalises → the statistics that it takes for that.
_TAKES = {
    "IDENTITY": (),
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
#: Policy types that pad their vectors before they are normalised, so that the step's own widths count.
_PADDED = ("evo1",)
#: The most that may be added so that nothing is divided by 0; LeRobot's own is 1e-8.
_MOST_EPS = 1e-3


def check(files: Files, place: Place) -> None:
    """Raises LoadFailed for what is normalised otherwise than in training. ``place``: where ``files`` were read."""
    # What the config does not list LeRobot does not normalise.
    shown = {name: of for name, of in files.seen.items() if name in files.config["input_features"]}
    played = {name: of for name, of in files.config["output_features"].items() if name in files.outputs}
    for file, (names, harm) in _PIPELINES.items():
        steps = [step for step in files.steps[file] if step["registry_name"] in names]
        described: Mapping[str, Json] = shown if file == PREPROCESSOR else played
        try:
            wrong = (
                next(_modes(files, file, steps, described), None)
                or next(order.wrong(files, file), None)
                or next((why for step in steps for why in _numbers(files, place, file, step, described)), None)
            )
        except (Incomplete, OSError) as error:
            wrong = f"has statistics that cannot be read ({error})"
        if wrong:
            raise LoadFailed(
                f"{files.location} {wrong}; {harm}. Save both processors anew, with the data set's statistics",
                permanent=True,
            )


def _modes(files: Files, file: str, steps: Sequence[Json], described: Mapping[str, Json]) -> Iterator[str]:
    """What is not normalised by the mode that the config says."""
    if is_third_party(files.type):
        return  # theirs may do it in steps of their own
    if len(steps) > 1:
        yield f"normalises {len(steps)} times in {file}"
    trained = _map(files.config.get("normalization_mapping", _default(files.type)))
    for name, feature in described.items():
        meant = trained.get(feature["type"], "IDENTITY")
        done = _mode(steps[0], name, feature) if steps else "IDENTITY"
        if done != meant:
            yield f"was trained with {name} in {meant} (normalization_mapping in {CONFIG}), {file} has it in {done}"


def _default(kind: str) -> Any:
    return next(release.types[kind] for release in releases() if kind in release.types)["normalization_mapping"]


def _mode(step: Json, name: str, feature: Json) -> str:
    """How a step normalises a feature. Actions it normalises whether it lists them or not."""
    options = _map(step.get("config"))
    listed, only = _map(options.get("features")), options.get("normalize_observation_keys")
    if feature["type"] != "ACTION" and (name not in listed or (only is not None and name not in only)):
        return "IDENTITY"
    return str(_map(options.get("norm_map")).get(feature["type"], "IDENTITY"))


def _numbers(files: Files, place: Place, file: str, step: Json, described: Mapping[str, Json]) -> Iterator[str]:
    """What is wrong with the numbers that a step normalises by."""
    options, state = _map(step.get("config")), step.get("state_file")
    eps = options.get("eps", 0.0)
    if type(eps) not in (int, float) or not 0 <= eps <= _MOST_EPS:
        yield f"has eps {eps!r:.40} in {file}, and what keeps it from dividing by 0 is from 0 to {_MOST_EPS}"
    found = {} if state is None else tensors(place, state)
    widths = {**described, **(_map(options.get("features")) if files.type in _PADDED else {})}
    for name, feature in described.items():
        mode = _mode(step, name, feature)
        wanted = _TAKES[mode]
        if lacking := [statistic for statistic in wanted if f"{name}.{statistic}" not in found]:
            yield f"has no statistics ({' and '.join(lacking)}) of {name}, which it normalises by {mode} in {file}"
            return
        values = [found[f"{name}.{statistic}"] for statistic in wanted]
        for statistic, tensor in zip(wanted, values, strict=True):
            if why := _unlike(tensor, widths[name]):
                yield f"has a {statistic} of {name} in {state} that {why}"
                return
        if mode == "MEAN_STD":
            if (values[1].values < 0).any():
                yield f"has a std of {name} in {state} that is below 0"
            if feature["type"] == "VISUAL" and (values[1].values == 0).any():
                yield f"has a std of {name} in {state} that is 0, by which its pixels are divided"
        elif wanted and (values[0].values > values[1].values).any():
            yield f"has a {wanted[0]} of {name} in {state} that is above its {wanted[1]}"


def _unlike(tensor: Tensor, feature: Json) -> str | None:
    """What is wrong with a statistic of that feature, by itself."""
    if not tensor.is_float:
        return f"is {tensor.dtype}, and no floating point"
    shape = tuple(feature["shape"])
    expected = [shape]
    if feature["type"] == "VISUAL" and len(shape) == 3:  # a number for each channel
        expected = [(shape[0], 1, 1), shape[:1]]
    if not any(tensor.shape == (1,) * (len(tensor.shape) - len(each)) + each for each in expected):
        return f"has the shape {list(tensor.shape)}, expected {list(expected[0])}"
    return None if np.isfinite(tensor.values).all() else "is not finite"


def _map(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, Mapping) else {}
