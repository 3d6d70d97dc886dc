"""Chunks for the planar arm, and a guard between them and it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from offboard_client.errors import InvalidAction
from offboard_client.play import Guard, SafetyLimits
from planar_arm import HOME, Planar, PlanarArm, Solvable

POSE = Planar().forward(HOME)
ANYWHERE = SafetyLimits(workspace_low=None, workspace_high=None)
#: Where the joints alone are looked at.
BY_JOINTS = SafetyLimits(linear_velocity=5.0, angular_velocity=9.0, position_offset=0.4)


def meta(*names: str, fps: float = 10.0) -> dict[str, Any]:
    return {"action": {name: {} for name in names}, "action_fps": fps}


def rows(*actions: dict[str, Any], step: float = 0.1) -> list[dict[str, Any]]:
    return [{"action": action, "timestamp": i * step} for i, action in enumerate(actions)]


def guard_of(arm: PlanarArm, limits: SafetyLimits | None = None, names: Sequence[str] = (), **options: Any) -> Guard:
    return Guard(arm, limits or BY_JOINTS, meta(*names, **options))


def play(arm: PlanarArm, guard: Guard, chunk: Any, observation: Any = None) -> None:
    for command in guard.plan(chunk, observation or arm.observe()):
        arm.apply(command.action, command.seconds)


def refusal(chunk: Any, arm: PlanarArm | None = None, limits: SafetyLimits | None = None, **options: Any) -> str:
    arm = arm or PlanarArm(Solvable())
    with pytest.raises(InvalidAction) as caught:
        play(arm, guard_of(arm, limits, **options), chunk)
    assert arm.played == [], "a chunk is refused before its first row"
    return caught.value.text


def joints(*by: float) -> np.ndarray:
    return HOME + np.array(by)


def moved(*by: float) -> dict[str, Any]:
    return {"target_joints": joints(*by)}


def shifted(x: float, z: float = 0.0) -> dict[str, Any]:
    return {"target_pose": POSE + np.array([x, 0, z, 0, 0, 0, 0])}
