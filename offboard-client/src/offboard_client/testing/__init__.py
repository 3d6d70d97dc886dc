"""What every robot, and every policy without a server, must do, as tests to inherit (extra ``testing``).

In the tests of a package that offers one::

    from offboard_client.testing import RobotConformance

    class TestArm(RobotConformance):
        name = "planar"

On a simulation, or on a real arm that has room: the laws move it by :meth:`~RobotLaws.nudge`. What a test proves is its
docstring; what it needs to know about the robot is an attribute, a fixture or a method of these classes.
"""

from __future__ import annotations

import pytest

# The asserts of these modules are rewritten like those of a test file, so that a failure shows its values.
pytest.register_assert_rewrite(*(f"{__name__}._{part}" for part in ("entry", "robot", "run", "session", "task")))

from ..play import POLICIES  # noqa: E402
from ._entry import EntryLaws  # noqa: E402
from ._robot import RobotLaws  # noqa: E402
from ._run import RunObserverLaws  # noqa: E402
from ._session import SessionLaws  # noqa: E402
from ._task import TaskLaws  # noqa: E402


class RobotConformance(EntryLaws, RobotLaws, TaskLaws):
    """Everything that holds for a robot and the task of its entry."""


class PolicyConformance(SessionLaws, EntryLaws):
    """Everything that holds for a policy without a server and its entry."""

    group = POLICIES


__all__ = [
    "EntryLaws",
    "PolicyConformance",
    "RobotConformance",
    "RobotLaws",
    "RunObserverLaws",
    "SessionLaws",
    "TaskLaws",
]
