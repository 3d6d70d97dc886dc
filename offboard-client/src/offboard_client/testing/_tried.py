"""What the kit has to know about a robot, and what it makes of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ..plugins import Chosen
from ..robots import Robot, RobotEntry, choose_robot, connected, make_robot


class Tried:
    """``name``: as for ``offboard run NAME``. A fixture ``options`` makes others than the entry's defaults."""

    name: str

    @pytest.fixture
    def chosen(self) -> Chosen[RobotEntry]:
        """The installed entry."""
        return choose_robot(self.name)

    @pytest.fixture
    def options(self, chosen: Chosen[RobotEntry]) -> Any:
        """What the robot is made with."""
        return chosen.options()()

    @pytest.fixture
    def make(self, chosen: Chosen[RobotEntry], options: Any) -> Callable[[], Robot]:
        """Makes one that is not connected."""
        return lambda: make_robot(chosen, options)

    @pytest.fixture
    def robot(self, make: Callable[[], Robot]) -> Iterator[Robot]:
        """One that is connected."""
        with connected(make()) as robot:
            yield robot
