"""Sizes that a checkpoint's config says and its weights do not have: LeRobot makes room for them first.

A network is built before its weights are read, so a wrong number takes the machine's memory, and all that runs there.
What the files tell without torch is held against them here; the rest is seen when the weights are read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .features import CONFIG
from .files import Files
from .words import word_of

#: What any field may say, whatever the weights: horizons, pixels along a side, lengths of texts, steps of a schedule.
_ANY = 2**14
#: Tensors of the smallest network that anybody trained.
_FEW = 64
_LAYERS = re.compile(r"(^|_)(layers?|depth|blocks?)$")
#: Numbers that are no size, or the area of a picture.
_NONE = ("eval_seed", "image_max_pixels", "image_min_pixels", "inference_seed")
#: Numbers of a picture: 8192 by 2730 pixels.
_PIXELS = 2**26


def refused(files: Files) -> Iterator[str]:
    """What is said, and cannot be."""
    shapes = [cast("list[int]", of["shape"]) for name, of in files.tensors.items() if name != "__metadata__"]
    axis = max((length for shape in shapes for length in shape), default=0)
    for name, value in files.config.items():
        if type(value) is not int or name in _NONE or word_of(files.type, name) in (None, "training"):
            continue
        if value > max(_ANY, axis):
            yield f"{name} ({value!r:.40}) in {CONFIG}, and no axis of its weights is longer than {axis}. {_DO}"
        elif _LAYERS.search(name) and shapes and value > max(_FEW, len(shapes)):
            yield f"{name} ({value}) in {CONFIG}, and it has {len(shapes)} weights in all. {_DO}"
    for key in ("input_features", "output_features"):
        for name, feature in cast("Mapping[str, Any]", files.config[key]).items():
            numbers = math.prod(feature["shape"])
            if numbers > (_PIXELS if feature["type"] == "VISUAL" else max(_ANY, axis)):
                yield f"that {name} has {feature['shape']} numbers in {CONFIG}: nothing observes or plays so many"


_DO = "Take the config that was saved with these weights"
