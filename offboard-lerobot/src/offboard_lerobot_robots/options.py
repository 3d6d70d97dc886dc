"""What an arm of LeRobot takes on a command line; told without LeRobot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro
from offboard_client.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class ArmOptions:
    """Options of ``offboard run lerobot:TYPE``."""

    rate: float = 50.0
    """Set-points per second that the motors are sent."""
    gripper_open: Literal[100, 0] = 100
    """At which end of its range the gripper is open."""
    robot_options: Annotated[Mapping[str, Any], tyro.conf.Fixed, tyro.conf.Suppress] = field(
        default_factory=dict[str, Any]
    )
    """The config of LeRobot's robot by its fields' names; on a command line `--robot.NAME VALUE`."""

    def __post_init__(self) -> None:
        rate: Any = self.rate
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 1 <= rate <= 1000:
            raise ConfigurationError(f"the rate is {rate!r:.40}; expected set-points per second, from 1 to 1000")
