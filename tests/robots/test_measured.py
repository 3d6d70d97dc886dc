"""What a robot measures is held against its contract while it drives: a camera may change, a sensor die."""

import numpy as np
import pytest
from offboard_client.errors import RobotFailed
from offboard_client.robots import Channel, RobotSpec, measured, observed

SPEC = RobotSpec(
    measures={
        "robot_state.q": Channel(shape=(2,), unit="rad"),
        "image.wrist": Channel(shape=(48, 64, 3), dtype="uint8"),
        "said": Channel(shape=(), dtype="str"),
    },
    plays={"target_joints": Channel(shape=(2,), unit="rad")},
    control_period=0.02,
)
SOUND = {"robot_state.q": np.zeros(2), "image.wrist": np.zeros((48, 64, 3), np.uint8), "said": "ready"}


class Arm:
    spec = SPEC

    def __init__(self, said):
        self.said = said

    def observe(self):
        return self.said

    state = observe


WRONG = {
    "nothing at all": (None, "{call} returned None; expected a map of what the robot measures"),
    "a camera of another size": (
        SOUND | {"image.wrist": np.zeros((24, 64, 3), np.uint8)},
        r"image\.wrist of {call} is \(24, 64, 3\) uint8; the robot says that it is \(48, 64, 3\) uint8$",
    ),
    "a camera that turns grey": (SOUND | {"image.wrist": np.zeros((48, 64), np.uint8)}, r"is \(48, 64\) uint8"),
    "a camera that is gone": (SOUND | {"image.wrist": None}, r"image\.wrist of {call} is None"),
    "an encoder that is gone": (SOUND | {"robot_state.q": np.array([0.0, np.nan])}, r"q of {call} is not finite"),
    "a joint too few": (SOUND | {"robot_state.q": np.zeros(1)}, r"is \(1,\) float64; the robot says .* \(2,\) float64"),
    "whole numbers": (SOUND | {"robot_state.q": np.zeros(2, int)}, r"is \(2,\) int64"),
    "a list": (SOUND | {"robot_state.q": [0.0, 0.0]}, "is a list"),
    "no text": (SOUND | {"said": 5}, "said of {call} is a int; the robot says that it is text"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_is_not_as_the_robot_says_is_the_robots_failure(which):
    said, text = WRONG[which]
    for read, call in ((observed, "observe"), (measured, "state")):
        with pytest.raises(RobotFailed, match=text.format(call=call)):
            read(Arm(said))


def test_a_state_may_leave_names_out_and_an_observation_may_not():
    less = {"robot_state.q": np.zeros(2)}
    assert measured(Arm(less)) == less
    with pytest.raises(RobotFailed, match=r"observe returned no image\.wrist, which the robot says that it measures"):
        observed(Arm(less))
    assert observed(Arm(SOUND)) == SOUND
