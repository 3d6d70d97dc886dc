"""How large a network a checkpoint's config asks for, beside how large its weights are.

LeRobot makes the network first. Sizes that are each possible multiply, and those in lists and maps are sizes, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from .features import CONFIG
from .files import Files
from .sizes import ANY
from .words import word_of

#: Numbers of a layer on one side of it: a network has a weight with such an axis, and mostly one with two of them.
_WIDTH = re.compile(r"(^|_)(dims?|d_model|hidden_size|intermediate_size|width|channels?|n_embd)(_|$)")
_FEED_FORWARD = re.compile(r"(^|_)(ffn?|feedforward|intermediate|mlp)(_|$)")
_LAYERS = re.compile(r"(^|_)(layers?|depths?|blocks?)$")
_WORDS = re.compile(r"(^|_)(vocab_size|position_embeddings)$")
#: A width that any network may have, numbers that any may have (a quarter of a GB), and how many times its weights.
_WIDE, _FEW, _TIMES = 1024, 2**26, 2
#: How long texts may be that a network without weights for it reads.
_TEXT = 2**20
#: More layers than anybody trained, where the weights do not tell.
_DEEP = 512
_DO = "Take the config that was saved with these weights"


def refused(files: Files) -> Iterator[str]:
    """What is said, and is another model's. An adapter's own weights do not tell how large its base is."""
    shapes = [cast("list[int]", of["shape"]) for name, of in files.tensors.items() if name != "__metadata__"]
    axis = max((length for shape in shapes for length in shape), default=0)
    numbers = sum(math.prod(shape) for shape in shapes)
    of_kind: Mapping[str, Any] = {
        name: value for name, value in files.config.items() if word_of(files.type, name) not in (None, "training")
    }
    wide, deep = ("", 1), ("", 1)
    for name, value, nested in _whole(of_kind):
        last = name.rpartition(".")[2]
        if _WIDTH.search(last):
            most = max(_WIDE, 2 * axis) if shapes else ANY
            if not _FEED_FORWARD.search(last):
                wide = max(wide, (name, value), key=lambda each: each[1])
        elif _LAYERS.search(last):
            if value > max(_DEEP, len(shapes)):
                yield f"{name} ({value!r:.40}) in {CONFIG}, and it has {len(shapes)} weights in all. {_DO}"
                return
            most = value
            deep = max(deep, (name, value), key=lambda each: each[1])
        elif nested and _WORDS.search(last):
            most = max(_TEXT if last.endswith("embeddings") or not shapes else ANY, axis)
        else:
            continue
        if value > most:
            yield f"{name} ({value!r:.40}) in {CONFIG}, and no axis of its weights is longer than {axis}. {_DO}"
            return
    if shapes and (asked := wide[1] ** 2 * deep[1]) > max(_FEW, _TIMES * numbers):
        said = " and ".join(f"{name} ({value})" for name, value in (wide, deep) if name)
        yield f"{said} in {CONFIG}, which make {asked:,} numbers, and its weights have {numbers:,}. {_DO}"


def _whole(value: Any, name: str = "", nested: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Each whole number, how it is called, and whether it stands in a list or map."""
    if type(value) is int:
        yield name, value, nested
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _whole(each, name, True)
    elif isinstance(value, Mapping):
        for key, each in cast("Mapping[str, Any]", value).items():
            yield from _whole(each, f"{name}.{key}" if name else str(key), bool(name))
