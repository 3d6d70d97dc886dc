"""The text encoding: JSON (RFC 8259), arrays as nested lists. For people and browsers; binary frames are faster."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import BadMessage
from .limits import DEFAULT_LIMITS, WireLimits, twice


def encode_text(value: Any) -> str:
    """``value`` as one text frame: numpy arrays become nested lists, numpy scalars numbers.

    Raises BadMessage for what JSON cannot say: NaN and infinity, bytes, and objects of other types.
    """
    try:
        return json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:
        raise BadMessage("cannot write this as JSON: it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise BadMessage(f"cannot write this as JSON: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return cast("NDArray[Any]", value).tolist()
    if isinstance(value, np.generic):
        return cast("np.generic[Any]", value).item()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("JSON has no bytes; send images as base64 of a JPEG or PNG, or use binary frames")
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no form in JSON")


def decode_text(text: str, limits: WireLimits = DEFAULT_LIMITS) -> Any:
    """The value of one text frame: dicts, lists, str, numbers, bool and None.

    Raises BadMessage, and nothing else, for what is not JSON, for a key named twice, for numbers that are
    not finite (``NaN`` is not JSON; ``1e999`` is, and is refused), and for what exceeds ``limits``.
    """
    limits.check_size(len(text))
    # Every entry follows a comma or an opening bracket. Counting those (more, if strings hold some) bounds
    # what the parser can build, before it builds it.
    containers = text.count("[") + text.count("{")
    if containers + text.count(",") > limits.elements:
        raise limits.too_many()

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > limits.map_keys:
            raise BadMessage(f"a map has more than {limits.map_keys:,} entries")
        found = dict(pairs)
        if len(found) != len(pairs):
            raise twice(pairs)
        return found

    try:
        value = json.loads(
            text, object_pairs_hook=build, parse_constant=_not_finite, parse_float=_float, parse_int=_int
        )
    except RecursionError:
        raise limits.too_deep() from None
    except ValueError as error:
        raise BadMessage(f"the text is not JSON: {error}") from None
    if containers > limits.depth:
        limits.check_depth(value)
    if "\\u" in text:
        _check_unicode(value)
    return value


def _not_finite(name: str) -> Any:
    raise BadMessage(f"{name} is not JSON, and no number for a robot: send finite numbers")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadMessage(f"{text[:40]} does not fit a float: send finite numbers")
    return value


def _int(text: str) -> int:
    # Parsing takes quadratic time, and 64 bits are all that an array or a binary frame could hold.
    if len(text) > 20:
        raise BadMessage(f"the whole number {text[:20]}… has more than 64 bits")
    return int(text)


def _check_unicode(value: Any) -> None:
    """An escape can name half a surrogate pair: a string that no frame, file or log could hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadMessage("a string holds half a surrogate pair (\\ud800 to \\udfff): send whole characters") from None
