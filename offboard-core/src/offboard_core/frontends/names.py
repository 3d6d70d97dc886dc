"""What the names in an observation say beside its data (section 7 of the protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offboard_client.errors import BadMessage, brief
from offboard_client.wire import DEADLINE_MS, RESERVED_NAMES, SEQ

from ..types import Observation

#: Names any observation may carry, whoever reads them.
RESERVED = RESERVED_NAMES | frozenset(
    {
        # What Positronic's clients add to every observation, of all their generations.
        "__wall_time_ns__", "__inference_time_ns__", "obs_time_ns", "wall_time_ns", "inference_time_ns",
        "descriptor", "robot_state.status",
    }
)  # fmt: skip


def check_reserved(observation: Observation) -> None:
    """The reserved names hold what they must. Raises BadMessage."""
    seq = observation.get(SEQ)
    if seq is not None and (not isinstance(seq, int) or isinstance(seq, bool)):
        raise BadMessage(f"offboard.seq is {type(seq).__name__}; expected an int")
    limit = observation.get(DEADLINE_MS)
    if limit is not None and (not isinstance(limit, (int, float)) or isinstance(limit, bool) or not limit >= 0):
        raise BadMessage(f"offboard.deadline_ms is {brief(limit)}; expected milliseconds, 0 or more")


def is_positronic(raw: Mapping[str, Any]) -> bool:
    """Whether these are the marks that Positronic's clients leave on every observation."""
    return ("__wall_time_ns__" in raw and "__inference_time_ns__" in raw) or (
        "obs_time_ns" in raw and "wall_time_ns" in raw
    )


def warnings(raw: Mapping[str, Any], observation: Observation, declared: Mapping[str, Any]) -> list[str]:
    """What the operator should hear about the first observation."""
    found: list[str] = []
    if "ee_pose" in raw and "ee_pose" not in declared:
        found.append(
            "ee_pose does not state its quaternion order; it was read as x y z and a quaternion w x y z "
            "(robot_state.ee_pose says so)"
        )
    if declared:
        unread = sorted(
            name for name in observation if name not in declared and name not in RESERVED and name != "task"
        )
        if unread:
            found.append(f"this model does not read {', '.join(unread[:20])}; it reads {', '.join(declared)}")
        if "task" in declared and not observation.get("task"):
            found.append("no task was sent; this model was made to be told what to do")
    return found
