"""GR00T's own errors, which are bare, as what somebody can do something about."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from offboard_client.errors import brief
from offboard_core.types import is_array

#: How much an error repeats of what was asked, and of GR00T's own words.
_SHOWN, _WORDS = 600, 2000


def failure(error: Any, endpoint: str, data: Any) -> str:
    """GR00T's own words, which are often bare, with what it was asked."""
    text = error.strip() if isinstance(error, str) else brief(error, 200)
    if text.startswith("Unauthorized"):
        return f"GR00T refused the token ({text}), which is read from the variable GR00T_API_TOKEN"
    if not text:
        text = "(it says nothing more, as where it could not read the question)"
    elif re.fullmatch(r"'[^']*'", text):
        text = f"{text} (it says nothing more, as where it misses a key of that name)"
    given = cast("dict[str, Any]", data if isinstance(data, Mapping) else {})
    what = "; ".join(_shown(given.get("observation", given)))
    return f"GR00T failed: {text[:_WORDS]}; it was asked {endpoint}{f' with {what[:_SHOWN]}' if what else ''}"


def _shown(values: Mapping[str, Any], under: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _shown(cast("Mapping[str, Any]", value), f"{under}{name}.")
        elif is_array(value):
            yield f"{under}{name} {value.shape} {value.dtype}"
        elif value is not None:
            yield f"{under}{name} {brief(value, 60)}"
