"""Which values of an observation are compressed images, and how they become arrays (section 6 of the protocol)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadMessage
from offboard_client.wire import CONTEXT, ImageBudget, decode_image, is_image_name

from ..types import Array, Field


def is_image(name: str, field: Field | None) -> bool:
    """Whether bytes under this name are a JPEG or PNG; under any other they stay bytes."""
    return is_image_name(name) or (
        field is not None and field.dtype == "uint8" and field.shape is not None and len(field.shape) == 3
    )


def unpack_values(observation: dict[str, Any], declared: Mapping[str, Field], text: bool, budget: ImageBudget) -> None:
    """Images and number lists as arrays, in place. ``text``: the frame was JSON, so images are base64 strings.

    ``budget``: what is left of the message's images.

    Raises BadMessage.
    """
    for name, value in observation.items():
        field = declared.get(name)
        if isinstance(value, np.ndarray):
            continue
        if isinstance(value, bytes) and is_image(name, field):
            observation[name] = _image(name, value, budget)
        elif text and isinstance(value, str) and (field is None or field.dtype != "str") and is_image(name, field):
            observation[name] = _image(name, _unbase64(name, value), budget)
        elif isinstance(value, list):
            if name == CONTEXT["history"]:
                for moment in cast("list[Any]", value):
                    if isinstance(moment, dict):
                        unpack_values(cast("dict[str, Any]", moment), declared, text, budget)
                continue
            observation[name] = _array(name, cast("list[Any]", value), is_image(name, field))
        elif isinstance(value, dict) and name == CONTEXT["prefix"]:
            unpack_values(cast("dict[str, Any]", value), {}, text, budget)


def _image(name: str, data: bytes, budget: ImageBudget) -> Array:
    try:
        return decode_image(data, budget)
    except BadMessage as error:
        raise BadMessage(f"{name}: {error.text}") from None


def _numeric(values: list[Any]) -> bool:
    return all(
        _numeric(cast("list[Any]", value)) if isinstance(value, list) else isinstance(value, (int, float))
        for value in values
    )


def _unbase64(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage(f"{name} is not base64 of a JPEG or PNG file") from None


def _array(name: str, values: list[Any], image: bool) -> Array | list[Any]:
    """A nested list of numbers as an array; other lists stay what they are."""
    # Looked at first: numpy would give every string of a list the room of its longest.
    if not _numeric(values):
        return values
    try:
        array: Array = np.asarray(values)
    except ValueError:
        raise BadMessage(f"{name} is a ragged list; its rows need one common length") from None
    if array.dtype.kind not in "iuf":
        return values
    bytewise = image and array.dtype.kind in "iu" and array.size and int(array.min()) >= 0 and int(array.max()) <= 255
    array = array.astype(np.uint8 if bytewise else np.float64)
    array.flags.writeable = False  # as those of binary markers are
    return array
