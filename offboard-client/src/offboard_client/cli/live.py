"""``offboard check --live``: what the robot's cameras see, before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

from ..play import Picture, pictures
from ..terminal import console, emit_table, tell
from .contract import text

#: Columns of a terminal that an image is drawn in; a character holds two of its rows.
_WIDTH = 48


def show_pictures(observation: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Print each image beside what the policy declares of it, and draw it where the terminal has colours."""
    declared: Mapping[str, Mapping[str, Any]] = meta.get("observation") or {}
    sizes: Any = meta.get("image_sizes") or {}
    if isinstance(sizes, (list, tuple)):
        sizes = dict.fromkeys(observation, cast("Any", sizes))
    found = pictures(observation)
    if not found:
        tell("the robot has no images")
        return
    emit_table(
        ("live", "w x h", "mean R G B", "range", "the policy reads"),
        [
            (
                each.name,
                f"{each.size[0]} x {each.size[1]}",
                " ".join(map(str, each.mean)),
                f"{each.low} to {each.high}",
                _read(each, declared, sizes.get(each.name)),
            )
            for each in found
        ],
    )
    out = console()
    if out.is_terminal and out.color_system is not None:
        for each in found:
            tell(each.name)
            out.print(drawn(observation[each.name]))


def _read(picture: Picture, declared: Mapping[str, Mapping[str, Any]], size: Any) -> str:
    if picture.name not in declared:
        return "not this" if declared else "does not say"
    said = [text(declared[picture.name].get("shape"))] + ([f"shrunk to {text(size)} (w, h)"] if size else [])
    return ", ".join(each for each in said if each) or "this"


def drawn(image: NDArray[np.uint8]) -> Text:
    """An image (height, width, 3) as half blocks."""
    height, width = image.shape[:2]
    columns = min(_WIDTH, width)
    rows = max(2 * round(height * columns / width / 2), 2)
    y = [(2 * i + 1) * height // (2 * rows) for i in range(rows)]
    x = [(2 * i + 1) * width // (2 * columns) for i in range(columns)]
    small = image[y][:, x]
    lines = Text()
    for above, below in zip(small[::2], small[1::2], strict=True):
        for high, low in zip(above, below, strict=True):
            lines.append("▀", Style(color=_hex(high), bgcolor=_hex(low)))
        lines.append("\n")
    return lines


def _hex(color: NDArray[np.uint8]) -> str:
    red, green, blue = (int(value) for value in color)
    return f"#{red:02x}{green:02x}{blue:02x}"
