"""Sizes that a checkpoint's config says and its weights do not have: LeRobot makes room for them first.

A network is built before its weights are read, so a wrong number takes the machine's memory, and all that runs there.
What the files tell without torch is held against them here; the rest is seen when the weights are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from .features import CONFIG
from .files import Files
from .versions import releases
from .words import word_of

#: What any field may say, whatever the weights: horizons, pixels along a side, lengths of texts, steps of a schedule.
ANY = 2**14
#: Tensors of the smallest network that anybody trained.
_FEW = 64
_LAYERS = re.compile(r"(^|_)(layers?|depth|blocks?)$")
#: In lists and maps, where much else is said: sizes of a network, and no bounds of what it is not (max_window_layers).
_NETWORK = re.compile(r"^(?!max_)(.*_)?(channels|dims?|heads|layers?|model|size|width)$")
#: Numbers that are no size, or the area of a picture.
_NONE = ("eval_seed", "image_max_pixels", "image_min_pixels", "inference_seed")
#: Numbers of a picture: 8192 by 2730 pixels.
PIXELS = 2**26


#: Word → from where to where its fields go, and what they say: a load does as much, and so may every inference.
_RANGES: Mapping[str, tuple[int, int, str]] = {
    "default": (1, 1000, "a number of steps in which noise becomes an action"),
    "filled": (0, 16, "a number of cameras"),
}
#: Fields that say how many times as wide one layer is as another, and the most that can be meant.
_TIMES, _MOST_TIMES = re.compile(r"(^|_)(mlp_ratio|width_multiplier)$"), 64
#: Fields with the sides of a picture.
_SIDES = re.compile(r"(^|_)(crop|images?|imgs|resize|resolution)(_|$)")


def refused(files: Files) -> Iterator[str]:
    """What is said, and cannot be."""
    shapes = [cast("list[int]", of["shape"]) for name, of in files.tensors.items() if name != "__metadata__"]
    axis = max((length for shape in shapes for length in shape), default=0)
    for name, value in files.config.items():
        word = word_of(files.type, name)
        if word in (None, "training") or name in _NONE:
            continue
        if why := _no_picture(name, value):
            yield f"{name} ({value!r:.80}) in {CONFIG}: {why}"
        if _TIMES.search(name) and type(value) in (int, float) and not 0 < value <= _MOST_TIMES:
            yield f"{name} ({value!r:.40}) in {CONFIG}, where a number above 0, of at most {_MOST_TIMES}, is expected"
        for inner, number in _within(name, value) if shapes and word != "described" else ():
            most = max(_FEW, len(shapes)) if _LAYERS.search(inner) else max(ANY, axis)
            if _NETWORK.search(inner) and number > most:
                yield f"{inner} ({number}) in {name} in {CONFIG}, and its weights have at most {most}. {_DO}"
        if type(value) is not int or _is_real(files.type, name):
            continue
        least, most, what = _RANGES.get(word, (value, value, ""))
        if not least <= value <= most:
            yield f"{name} ({value!r:.40}) in {CONFIG}, where {what} is expected, from {least} to {most:,}"
            continue
        if value > max(ANY, axis):
            yield f"{name} ({value!r:.40}) in {CONFIG}, and no axis of its weights is longer than {axis}. {_DO}"
        elif _LAYERS.search(name) and shapes and value > max(_FEW, len(shapes)):
            yield f"{name} ({value}) in {CONFIG}, and it has {len(shapes)} weights in all. {_DO}"
    for key in ("input_features", "output_features"):
        for name, feature in cast("Mapping[str, Any]", files.config[key]).items():
            numbers = math.prod(feature["shape"])
            if numbers > (PIXELS if feature["type"] == "VISUAL" else max(ANY, axis)):
                yield f"that {name} has {feature['shape']} numbers in {CONFIG}: nothing observes or plays so many"


def _is_real(kind: str, name: str) -> bool:
    """LeRobot takes a number with a fraction there, so a whole one is no size either (``"rope_base": 100000``)."""
    return any(type(release.types.get(kind, {}).get(name)) is float for release in releases())


def _within(name: str, value: Any) -> Iterator[tuple[str, int]]:
    """The whole numbers in a list or a map, each with the name that is nearest to it."""
    items: Iterable[tuple[str, Any]] = ()
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        items = ((name, each) for each in cast("list[Any]", value))
    for inner, each in items:
        if type(each) is int:
            yield inner, each
        else:
            yield from _within(inner, each)


def _no_picture(name: str, value: Any) -> str | None:
    if not _SIDES.search(name) or not isinstance(value, list) or not value:
        return None
    sides = cast("list[Any]", value)
    if all(isinstance(side, str) for side in sides):  # names of cameras
        return None
    if not all(type(side) is int and side > 0 for side in sides):
        return "the sides of a picture are whole numbers from 1 on"
    return "no picture has so many pixels" if 3 * math.prod(sides) > PIXELS else None


_DO = "Take the config that was saved with these weights"
