"""vla-eval's messages: ``{"type", "payload", "seq", "timestamp"}`` in msgpack, arrays as maps with string keys."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from math import prod
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadMessage, OffboardError, brief
from offboard_client.wire import ImageBudget, decode, decode_image, encode
from offboard_core.frontends import NO_MESSAGE, Frame, Walk, read_control
from offboard_core.types import Array

#: The version of the protocol that a hello names.
VERSION = 1
HELLO, OBSERVATION, ACTION, ERROR = "hello", "observation", "action", "error"
EPISODE_START, EPISODE_END = "episode_start", "episode_end"
#: What a client may send.
SENT = (HELLO, EPISODE_START, OBSERVATION, EPISODE_END, ERROR)

# vla-eval's client packs a message in this order, so its two ends say what it is: the payload holds images.
_HEADS = {b"\x84\xa4type" + encode(kind) + b"\xa7payload": kind for kind in SENT}
_NUMBER = rb"\xa3seq([\x00-\x7f]|\xcc.|\xcd.{2}|\xce.{4}|\xcf.{8})"
_TAIL = re.compile(_NUMBER + rb"\xa9timestamp(?:\xcb.{8}|\xca.{4})\Z", re.DOTALL)
#: Longer than a tail, shorter than what is kept of a frame for the error about it.
_TAIL_BYTES = 40
# In whichever order: all but the payload is short, and stands at either end.
_TYPE = {b"\xa4type" + encode(kind): kind for kind in SENT}
_SEQ = re.compile(_NUMBER, re.DOTALL)
_ENDS = 64
_PAYLOAD, _MODE, _LIVE = encode("payload"), encode("mode"), encode("live")


def look(frame: Frame) -> tuple[str | None, int]:
    """The type and the number of a message, at a glance: for the event loop.

    None for what is no message. 0: no number was found.
    """
    if isinstance(frame, str):
        return None, 0
    kind = next((kind for head, kind in _HEADS.items() if frame.startswith(head)), None)
    tail = _TAIL.search(frame[-_TAIL_BYTES:])
    if kind is not None and tail is not None:
        return kind, _integer(tail[1])
    if (found := read_control(frame)) is not None:
        kind, seq = found.get("type"), found.get("seq")
        return kind if isinstance(kind, str) else None, seq if type(seq) is int else 0
    ends = (frame[:_ENDS], frame[-_ENDS:])
    kind = next((kind for packed, kind in _TYPE.items() if any(packed in end for end in ends)), None)
    number = next((number for end in ends if (number := _SEQ.search(end)) is not None), None)
    return kind, 0 if number is None else _integer(number[1])


def is_live(frame: Frame) -> bool:
    """Whether the beginning of an episode says of its mode that physics does not wait: for the event loop.

    Also where that cannot be seen at a glance: then no step is played that may be old.
    """
    if isinstance(frame, str):
        return False
    walk = Walk(frame)
    try:
        for _ in range(walk.enter()):
            if not walk.skip_text(_PAYLOAD):
                walk.skip()
                continue
            for _ in range(walk.enter()):
                if walk.skip_text(_MODE):
                    return walk.skip_text(_LIVE)
                walk.skip()
    except NO_MESSAGE:
        return True
    return False


def _integer(packed: bytes) -> int:
    return packed[0] if len(packed) == 1 else int.from_bytes(packed[1:], "big")


def message(kind: str, payload: Mapping[str, Any], seq: int) -> bytes:
    """A message to a client."""
    return encode({"type": kind, "payload": payload, "seq": seq, "timestamp": time.time()})


def error_message(error: OffboardError, seq: int) -> bytes:
    """An error: vla-eval's client raises it with the whole payload as its text."""
    return message(ERROR, {"error": f"{error.code}: {error.text}", "code": error.code}, seq)


def action_message(step: Array, seq: int) -> bytes:
    """One step, (D,)."""
    array = {"__ndarray__": True, "data": step.tobytes(), "dtype": step.dtype.str, "shape": list(step.shape)}
    return message(ACTION, {"actions": array}, seq)


def read_observation(frame: Frame) -> dict[str, Any]:
    """The payload of an observation under flat names: ``images/agentview`` for what stands in a map ``images``.

    Raises BadMessage for everything else.
    """
    if isinstance(frame, str):
        raise BadMessage("a text frame; vla-eval's messages are msgpack in binary frames")
    budget = ImageBudget()
    found = decode(frame, budget=budget)
    if not isinstance(found, dict):
        raise BadMessage(f"a message is a map of type, payload, seq and timestamp; this is a {type(found).__name__}")
    whole = cast("dict[Any, Any]", found)
    kind, payload, seq = (whole.get(name) for name in ("type", "payload", "seq"))
    if kind != OBSERVATION:
        raise BadMessage(unknown_type(kind))
    if not isinstance(payload, dict):
        raise BadMessage(f"the payload of an observation is a map of names to values; this is {brief(payload)}")
    if type(seq) is not int or seq < 0:
        raise BadMessage(f"seq is {brief(seq)}, expected a whole number from 0")
    observation: dict[str, Any] = {}
    _flatten(cast("dict[Any, Any]", payload), "", budget, observation)
    return observation


def unknown_type(kind: Any) -> str:
    """What to say of a message of no known type."""
    return f"the type of a message is {brief(kind)}; a client sends {', '.join(SENT)}"


def _flatten(part: dict[Any, Any], where: str, budget: ImageBudget, found: dict[str, Any]) -> None:
    for key, value in part.items():
        if not isinstance(key, str):
            raise BadMessage(f"names are strings, and one in {where or 'the payload'} is {brief(key)}")
        name = f"{where}/{key}" if where else key
        if isinstance(value, dict) and "__image__" not in value:
            _flatten(cast("dict[Any, Any]", value), name, budget, found)
            continue
        if name in found:
            raise BadMessage(f"{name} is sent twice, within a map and beside it")
        found[name] = _value(name, value, budget)


def _value(name: str, value: Any, budget: ImageBudget) -> Any:
    if isinstance(value, dict):
        try:
            return _picture(cast("dict[Any, Any]", value), budget)
        except BadMessage as error:
            raise BadMessage(f"{name}: {error.text}") from None
    if not isinstance(value, list) or not all(type(part) in (int, float) for part in cast("list[Any]", value)):
        return cast("Any", value)
    array = np.asarray(value, np.float64)
    array.flags.writeable = False  # as those of markers are
    return array


def _picture(marker: dict[Any, Any], budget: ImageBudget) -> Array:
    """What vla-eval makes of an image on its way: PNG, or JPEG where it was told to."""
    form, data, shape = (marker.get(name) for name in ("format", "data", "shape"))
    if not isinstance(data, bytes):
        raise BadMessage("an __image__ has its bytes as data")
    axes = cast("list[Any]", shape) if isinstance(shape, list) else []
    if len(axes) != 3 or not all(type(axis) is int and 0 < axis <= 2**15 for axis in axes):
        raise BadMessage(f"an __image__ has its shape as three numbers, and this is {brief(shape)}")
    if form == "raw":
        if marker.get("dtype") != "|u1" or len(data) != prod(axes):
            raise BadMessage(f"an __image__ of the shape {axes} is uint8, and {len(data):,} bytes came")
        return np.frombuffer(data, np.uint8).reshape(axes)
    if form not in ("png", "jpeg"):
        raise BadMessage(f"an __image__ of the format {brief(form)} is not read; there are png, jpeg and raw")
    image = decode_image(data, budget)
    if list(image.shape) != axes:
        raise BadMessage(f"the image is {image.shape}, and its message says {axes}")
    return image
