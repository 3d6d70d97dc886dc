"""PathOn-AI's messages: ``{"type": …}`` in msgpack, arrays as openpi's, tensors as ``__tensor__``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadMessage, BadObservation, OffboardError, brief
from offboard_client.wire import decode, encode, read_forms
from offboard_core.frontends import Frame, read_control
from offboard_core.types import Array

SELECT, RESET, PING, STATS, CONFIGURE = "select_action", "reset", "ping", "get_stats", "configure"
#: What a client may send.
SENT = (SELECT, RESET, PING, STATS, CONFIGURE)
#: What a message may hold beside its type: a clock that nobody reads.
TIMESTAMP = "timestamp"
_TASK = "task"
#: A map of up to 15 entries whose first is ``type``, as every client packs it: what follows is the length of its text.
_HEADS = {bytes([0x80 + entries]) + b"\xa4type" for entries in range(1, 16)}


def look(frame: Frame) -> str | None:
    """The type of a message at a glance, for the event loop; None for what is none, or has it elsewhere than first."""
    if isinstance(frame, str):
        return None
    if frame[:6] in _HEADS and 0xA0 <= (length := frame[6] if len(frame) > 6 else 0) <= 0xBF:
        return frame[7 : 7 + length - 0xA0].decode("latin-1")
    kind = (read_control(frame) or {}).get("type")
    return kind if isinstance(kind, str) else None


def control(frame: Frame) -> dict[str, Any]:
    """What a message that is no observation says. Raises BadMessage."""
    found = read_control(frame)
    if found is None:
        raise BadMessage(f"a message that is no {SELECT} is a map of fewer than 512 bytes, in msgpack")
    if any(not isinstance(name, str) for name in cast("dict[Any, Any]", found)):
        raise BadMessage("the names in a message are strings")
    return {name: value for name, value in found.items() if name not in ("type", TIMESTAMP)}


def unknown_type(kind: Any) -> str:
    """What to say of a message of no known type."""
    return f"the type of a message is {brief(kind)}; a client sends {', '.join(SENT)}"


def read_observation(frame: Frame) -> dict[str, Any]:
    """The observation of a message. Raises BadMessage and BadObservation for everything else."""
    if isinstance(frame, str):
        raise BadMessage("a text frame; PathOn-AI's messages are msgpack in binary frames")
    found = read_forms(decode(frame))
    if not isinstance(found, dict):
        raise BadMessage(f"a message is a map of type and observation; this is a {type(found).__name__}")
    whole = cast("dict[Any, Any]", found)
    if whole.get("type") != SELECT:
        raise BadMessage(unknown_type(whole.get("type")))
    if others := [key for key in whole if key not in ("type", TIMESTAMP, "observation")]:
        raise BadMessage(f"a {SELECT} holds an observation, and nothing is done with {', '.join(map(brief, others))}")
    observation = whole.get("observation")
    if not isinstance(observation, dict):
        raise BadMessage(f"the observation is a map of names to values; this is {brief(observation)}")
    named = cast("dict[Any, Any]", observation)
    if any(not isinstance(name, str) for name in named):
        raise BadMessage("the names in an observation are strings")
    return {name: _value(name, value) for name, value in named.items()}


def _value(name: str, value: Any) -> Any:
    if name == _TASK:  # as LeRobot's policies take it: a batch of one
        texts = cast("list[Any]", value) if isinstance(value, list) else [value]
        if len(texts) != 1 or not isinstance(texts[0], str):
            raise BadObservation(f"task is a text, or a list with one text; this is {brief(value)}")
        return texts[0]
    if not isinstance(value, list):
        return value
    parts = cast("list[Any]", value)
    if not all(type(part) in (int, float) for part in parts):
        return parts
    array = np.asarray(parts, np.float64)
    array.flags.writeable = False  # as those of markers are
    return array


def error_message(error: OffboardError) -> bytes:
    """An error: the client raises it with this message."""
    return encode({"type": "error", "message": error.text, "code": error.code})


def action_message(step: Array, timing: Mapping[str, float]) -> bytes:
    """One step (D,), as the batch of one that LeRobot's policies answer: (1, D)."""
    return encode({"type": "action_response", "action": step[None], "timing": timing})


def answer(kind: str, status: str = "success", **more: Any) -> bytes:
    """What is said to a message that is no observation."""
    return encode({"type": kind, "status": status, **more})
