"""A chunk as the rows or columns that a client's dialect wants (sections 8 and 9 of the protocol)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from offboard_client.errors import DialectUnsupported

from ...codecs import convert
from ...types import Array, Chunk, rows

#: Why Positronic's clients cannot be answered.
NO_RATE = "Positronic's rows need a timestamp and nothing says the rate: serve with --fps"


def as_rows(chunk: Chunk) -> list[dict[str, Any]]:
    """``[{"action": …, "timestamp": s}, …]``."""
    return list(rows(chunk))


def as_columns(chunk: Chunk) -> Any:
    """``{"columns": {"action": …, "timestamp": (T,)}}``; an empty chunk stays ``[]``."""
    if not len(chunk):
        return []
    columns: dict[str, Any] = {"action": chunk.action}
    if chunk.timestamp is not None:
        columns["timestamp"] = chunk.timestamp
    return {"columns": columns}


def as_positronic(chunk: Chunk) -> list[dict[str, Any]]:
    """Flat rows ``{"robot_command": {…}, "target_grip": float, "timestamp": s}``, as Positronic's clients read them.

    Raises DialectUnsupported for an action that has no form there.
    """
    if not len(chunk):
        return []
    action = chunk.action if isinstance(chunk.action, dict) else {"action": chunk.action}
    commands = [name for name in action if name in _COMMANDS]
    others = sorted(set(action) - set(commands) - {"target_grip"})
    if len(commands) != 1 or others:
        raise DialectUnsupported(
            f"Positronic's rows hold one of {', '.join(_COMMANDS)} and target_grip, not {sorted(action)}. "
            "Choose a codec that makes these, or connect with offboard's client"
        )
    if chunk.timestamp is None:
        raise DialectUnsupported(NO_RATE)
    kind, field, convert = _COMMANDS[commands[0]]
    vectors = convert(action[commands[0]])
    found: list[dict[str, Any]] = []
    for i, time in enumerate(chunk.timestamp):
        row: dict[str, Any] = {"robot_command": {"type": kind, field: vectors[i]}, "timestamp": float(time)}
        if "target_grip" in action:
            row["target_grip"] = float(np.asarray(action["target_grip"][i]).reshape(-1)[0])
        found.append(row)
    return found


def _twelve(poses: Array) -> Array:
    """(T, 7) x y z w x y z → (T, 12): the translation, then the rotation matrix row by row."""
    poses = poses.astype(np.float64)
    return np.concatenate([poses[:, :3], convert(poses[:, 3:], "quat", "rotation_matrix")], axis=1)


_COMMANDS: dict[str, tuple[str, str, Callable[[Array], Array]]] = {
    "target_pose": ("cartesian_pos", "pose", _twelve),
    "target_joints": ("joint_pos", "positions", lambda q: q),
    "joint_delta": ("joint_delta", "velocities", lambda dq: dq),
}
