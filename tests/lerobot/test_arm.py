"""LeRobot's arms as robots: one that is registered as LeRobot's plugins are, and its SO-101 on a simulated bus."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feetech_bus import LOW, READ, SYNC_READ, TORQUE, WRITE, FeetechBus
from offboard_client.errors import ConfigurationError, InvalidAction, RobotFailed
from offboard_client.play import Guard, SafetyLimits
from offboard_client.plugins import Chosen
from offboard_client.recording import Episode
from offboard_client.robots import Robot, RobotEntry, choose_robot, connected, make_robot
from offboard_client.testing import RobotConformance
from offboard_core import InferenceServer
from offboard_process import in_process
from stand_in_arm import MOTORS, RANGES, install, write_calibration
from waits import PATIENCE, reached, until


@pytest.fixture(scope="module")
def plugin(lerobot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Installed as LeRobot finds it: a distribution whose name begins so."""
    with pytest.MonkeyPatch.context() as patch:
        yield install(tmp_path_factory.mktemp("site"), patch)


@pytest.fixture
def make(plugin: Path, tmp_path: Path) -> Callable[..., Robot]:
    """An arm whose calibration lies in ``tmp_path``, by LeRobot's flags."""
    write_calibration(tmp_path)
    (tmp_path / "torn.json").write_text('{"shoulder_pan": ')

    def make(kind: str = "stand_in", rate: float = 50.0, gripper_open: Any = 100, **flags: Any) -> Robot:
        chosen = choose_robot(f"lerobot:{kind}")
        given = {"id": "mine", "calibration_dir": str(tmp_path), **flags}
        return make_robot(chosen, chosen.options()(robot_options=given, rate=rate, gripper_open=gripper_open))

    return make


class TestStandIn(RobotConformance):
    name = "lerobot:stand_in"
    misread = 1000.0

    @pytest.fixture
    def options(self, chosen: Chosen[RobotEntry], plugin: Path, tmp_path: Path) -> Any:
        write_calibration(tmp_path)
        return chosen.options()(robot_options={"id": "mine", "calibration_dir": str(tmp_path)})

    def commands(self, robot: Robot, measured: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "target_joints": measured["robot_state.q"],
            "target_grip": measured["grip"],
            "target_motors": measured["motors"],
        }


@pytest.mark.parametrize("use_degrees", [True, False], ids=["degrees", "range"])
def test_its_motors_are_radians_by_its_calibration(make: Callable[..., Robot], use_degrees: bool) -> None:
    robot = make(use_degrees=use_degrees)
    turns = np.array([(high - low) / 4095 * 2 * math.pi for low, high in RANGES.values()])[:5]
    with connected(robot):
        seen = robot.observe()
    np.testing.assert_array_equal(seen["motors"], [10.0] * 5 + [60.0])
    expected = [math.radians(10)] * 5 if use_degrees else turns / 200 * 10
    np.testing.assert_allclose(seen["robot_state.q"], expected)
    np.testing.assert_allclose(seen["grip"], [0.4])
    joints, motors = robot.spec.plays["target_joints"], robot.spec.plays["target_motors"]
    np.testing.assert_allclose(joints.high, turns / 2)
    np.testing.assert_allclose(joints.low, -turns / 2)
    assert motors.order == MOTORS
    own = np.degrees(turns / 2) if use_degrees else [100] * 5
    np.testing.assert_allclose(motors.high, [*own, 100])
    said = "degrees" if use_degrees else "-100 to 100 of each motor's range"
    assert motors.unit == f"{said}; the gripper 0 to 100"
    with connected(make(gripper_open=0)) as robot:
        np.testing.assert_allclose(robot.observe()["grip"], [0.6])


@pytest.mark.parametrize("use_degrees", [True, False], ids=["degrees", "range"])
def test_the_limits_hold_for_motors_as_for_joints(make: Callable[..., Robot], use_degrees: bool) -> None:
    """What a policy says in LeRobot's unit is checked, and played, as what it means."""
    robot = make(use_degrees=use_degrees)
    limits = SafetyLimits(joint_velocity=1.0, workspace_low=None, workspace_high=None)
    guard = Guard(robot, limits, {"action": {"target_motors": {"shape": [6]}}, "action_fps": 10.0})
    with connected(robot):
        seen = robot.observe()

        def commanded(step: float) -> Mapping[str, Any]:
            motors = seen["motors"] + np.array([step, 0, 0, 0, 0, 10.0])
            (command,) = guard.plan([{"action": {"target_motors": motors}, "timestamp": 0.0}], seen)
            return command.action

        slow, fast = 0.09, 0.11  # rad in a tenth of a second
        scale = seen["robot_state.q"][0] / seen["motors"][0]
        action = commanded(slow / scale)
        assert action.keys() == {"target_joints", "target_grip"}
        np.testing.assert_allclose(action["target_joints"] - seen["robot_state.q"], [0.09, 0, 0, 0, 0], atol=1e-9)
        np.testing.assert_allclose(action["target_grip"], [0.3])
        robot.apply(action, 0.1)
        np.testing.assert_allclose(robot.observe()["motors"], seen["motors"] + [slow / scale, 0, 0, 0, 0, 10])
        guard.reset()
        with pytest.raises(InvalidAction, match=r"moves joint 1 at 1\.1 rad/s"):
            commanded(fast / scale)
        with pytest.raises(InvalidAction, match="shoulder_pan of target_motors of row 0"):
            commanded(robot.spec.plays["target_motors"].high[0])
    with pytest.raises(ConfigurationError, match="workspace cannot be held"):
        Guard(robot, SafetyLimits(), {"action": {"target_motors": {"shape": [6]}}, "action_fps": 10.0})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a type that there is not": ({"kind": "stand_up"}, "robot .*'stand_up'.*stand_in"),
    "half of its name": ({"kind": "so101"}, r"did you mean so101_follower\?"),
    "a flag that it needs": ({"kind": "so101_follower"}, r"^lerobot:so101_follower needs --robot\.port$"),
    "a flag that it does not take": (
        {"use_degree": "x"},
        r"does not take these --robot.NAME: there is no field 'use_degree'; did you mean use_degrees\? there are: ",
    ),
    "a flag of another one": ({"kind": "lekiwi", "port": "x", "remote_ip": "y"}, "'remote_ip'; .*there are: .*cameras"),
    "a value of another type": ({"use_degrees": "maybe"}, "use_degrees"),
    "the type twice": ({"type": "stand_in"}, "follows after the colon"),
    "a calibration that is no JSON": ({"id": "torn"}, r"its calibration, of --robot\.id torn, is no JSON"),
    "no id": ({"id": None}, r"no --robot\.id says which .* has those of --robot\.id mine, torn\. Give one of them, or"),
    "one that was not calibrated": (
        {"id": "yours"},
        r"no calibration at .*yours\.json.*id mine, torn\. .*lerobot-calibrate",
    ),
    "another unit": ({"fault": "mode"}, "called gripper"),
    "no bus": ({"fault": "no bus"}, "no bus of its own"),
    "wheels": ({"fault": "wheels"}, "has x.vel, and only"),
    "what clips silently": ({"max_relative_target": 5.0}, "clips what is sent"),
}


@pytest.mark.parametrize(("flags", "says"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_had_is_told_before_anything_is_opened(
    make: Callable[..., Robot], flags: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make(**flags)


OPENCV = {"type": "opencv", "index_or_path": 0, "width": 64, "height": 48, "fps": 30}
CAMERAS: dict[str, tuple[Any, str]] = {
    "one that says no size": ({"type": "opencv", "index_or_path": 0}, "'width' is required .*width: 640, .*fps: 30"),
    "a type that there is not": ({**OPENCV, "type": "opncv"}, r"^.* cameras\.front: .*did you mean opencv\?.*opencv, "),
    "a field that there is not": (
        {**OPENCV, "hight": 48},
        r"cameras\.front: .*'hight'; did you mean height\? there are: ",
    ),
    "no type": ({"index_or_path": 0}, "'type' key .*; --robot.cameras is {NAME: {type: opencv,"),
    "no map": (3, "Expected a dict"),
}


@pytest.mark.parametrize(("front", "says"), CAMERAS.values(), ids=CAMERAS)
def test_a_camera_that_cannot_be_had_is_told(make: Callable[..., Robot], front: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make("so101_follower", port="/dev/no-such", cameras={"front": front})


def test_a_third_partys_camera_is_one_of_lerobots_own_arms(make: Callable[..., Robot], bus: FeetechBus) -> None:
    """LeRobot's own type is known without any plugin."""
    robot = make(
        "so101_follower", port=bus.port, cameras={"front": {"type": "stand_in", "width": 64, "height": 48, "fps": 30}}
    )
    with connected(robot):
        assert (robot.observe()["image.front"] == 7).all()


def test_a_driver_that_is_not_installed_is_told(make: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dynamixel_sdk", None)
    # LeRobot 0.6 says itself what to install, 0.4 leaves it to Python to miss it.
    says = r"koch_follower cannot be made: \w+: .*dynamixel.sdk.*[iI]nstall .*'lerobot\[dynamixel\]'"
    with pytest.raises(ConfigurationError, match=says):
        make("koch_follower", port="/dev/no-such")


def test_without_a_type_those_that_there_are_are_told(lerobot) -> None:
    chosen = choose_robot("lerobot")
    with pytest.raises(
        ConfigurationError, match=r"say which .*: lerobot:TYPE.*; there are: .*koch_follower.*so101_follower"
    ):
        make_robot(chosen, chosen.options()())


def test_a_calibration_of_other_motors_is_told(make: Callable[..., Robot], tmp_path: Path) -> None:
    for ranges, says in (
        ({name: RANGES[name] for name in MOTORS[:5]}, "this arm has shoulder_pan"),
        ({**RANGES, "wrist_roll": (5, 5)}, "wrist_roll go from 5 to 5"),
        ({**RANGES, "wrist_roll": (0, 10**7)}, "wrist_roll go from 0 to 10000000, and a turn of it has 4096"),
        ({**RANGES, "gripper": (-(10**7), 5)}, "gripper go from -10000000 to 5, and a turn of it has 4096"),
        (dict(sorted(RANGES.items())), r"shoulder_pan with the id 4; this arm's has 1"),
    ):
        write_calibration(tmp_path, ranges)
        with pytest.raises(ConfigurationError, match=says):
            make()


def test_what_the_arm_does_otherwise_than_it_says_is_a_failure(make: Callable[..., Robot]) -> None:
    with connected(make(camera=[8, 6, 3])) as robot, pytest.raises(RobotFailed, match=r"front delivers \(8, 6, 3\)"):
        robot.observe()
    with connected(make(fault="clips")) as robot:
        seen = robot.observe()
        with pytest.raises(RobotFailed, match=r"gripper\.pos was to be sent 60, and LeRobot's robot has sent 11"):
            robot.apply({"target_motors": seen["motors"]}, 0.02)


@pytest.mark.parametrize("wrong", [175.0, 80.0], ids=["beyond its range", "within it"])
@pytest.mark.parametrize("resumed", [False, True])
def test_no_set_point_begins_at_a_reading_that_a_second_one_contradicts(
    make: Callable[..., Robot], wrong: float, resumed: bool
) -> None:
    """A gripper's command says nothing of the joints: what they are sent is where they are read to be."""
    robot: Any = make()
    with connected(robot):
        robot.observe()
        if resumed:
            robot.apply({"target_grip": np.array([0.4])}, robot.control_period)
            robot.stop()
        before, read = dict(robot._bus.at), robot._bus.sync_read
        robot._bus.sync_read = lambda what: {**read(what), "elbow_flex": wrong}

        def go_on() -> None:
            robot.observe()
            robot.apply({"target_grip": np.array([0.5])}, robot.control_period)

        with pytest.raises(RobotFailed, match=f"elbow_flex is said to be at 10 and then at {wrong:g}"):
            go_on()
        assert robot._bus.at == before


def test_it_begins_where_the_command_was_checked(make: Callable[..., Robot]) -> None:
    """What whoever watches the run was told in between is nothing to go on from."""
    robot: Any = make()
    limits = SafetyLimits(workspace_low=None, workspace_high=None)
    guard = Guard(robot, limits, {"action_fps": 10.0})
    with connected(robot):
        seen, sent = robot.observe(), list[float]()
        (command,) = guard.plan([{"action": {"target_grip": np.array([0.5])}, "timestamp": 0.0}], seen)
        robot._bus.at["elbow_flex"] = 80.0
        robot.state()
        robot._bus.at["elbow_flex"] = 10.0
        send = robot._device.send_action
        robot._device.send_action = lambda action: (sent.append(action["elbow_flex.pos"]), send(action))[1]
        command.play_on(robot)
        np.testing.assert_allclose(sent, [10.0] * 5)


ODD: dict[str, tuple[Any, str]] = {
    "an array": (np.array([10.0]), r"has elbow_flex at array\(\[10\.\]\); expected a number"),
    "text": ("10", "has elbow_flex at '10'; expected a number"),
    "a boolean": (True, "has elbow_flex at True; expected a number"),
    "a complex number": (1 + 2j, "has elbow_flex at .*; expected a number"),
}


@pytest.mark.parametrize(("value", "says"), ODD.values(), ids=ODD)
def test_a_position_that_is_no_number_is_told(make: Callable[..., Robot], value: Any, says: str) -> None:
    robot: Any = make()
    with connected(robot):
        robot._bus.at["elbow_flex"] = value
        for ask in (robot.observe, robot.state):
            with pytest.raises(RobotFailed, match=says):
                ask()


@pytest.mark.parametrize("at", [400.0, -50.0])
def test_a_gripper_beyond_its_range_is_neither_open_nor_closed(make: Callable[..., Robot], at: float) -> None:
    robot: Any = make()
    with connected(robot):
        robot._bus.at["gripper"] = at
        with pytest.raises(RobotFailed, match=f"the gripper is said to be at {at:g} of a range from 0 to 100"):
            robot.observe()
        robot._bus.at["gripper"] = 102.0  # pressed
        np.testing.assert_array_equal(robot.observe()["grip"], [0.02])


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (None, "has sent a NoneType; expected a map"),
        ([1.0], "has sent a list; expected a map"),
        ({"shoulder_pan.pos": "10"}, r"shoulder_pan\.pos was to be sent 10, and LeRobot's robot has sent '10'"),
        ({"shoulder_pan.pos": np.array([10.0])}, r"and LeRobot's robot has sent array\(\[10\.\]\)"),
    ],
)
def test_what_it_says_that_it_has_sent_is_read(make: Callable[..., Robot], sent: Any, says: str) -> None:
    robot: Any = make()
    with connected(robot):
        seen = robot.observe()
        robot._device.send_action = lambda action: sent
        with pytest.raises(RobotFailed, match=says):
            robot.apply({"target_motors": seen["motors"]}, robot.control_period)


def test_an_observation_that_is_no_map_is_told(make: Callable[..., Robot]) -> None:
    robot: Any = make()
    with connected(robot):
        robot._device.get_observation = lambda: None
        with pytest.raises(RobotFailed, match="observation is a NoneType; expected a map"):
            robot.observe()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rate": "50"}, "the rate is '50'; expected"),
        ({"rate": True}, "the rate is True; expected"),
        ({"gripper_open": 50}, "the option 'gripper_open' of lerobot:stand_in of .* expects one of 100, 0, not 50"),
    ],
)
def test_options_of_the_wrong_type_are_told(make: Callable[..., Robot], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make(**options)


def test_an_arm_that_is_read_beyond_its_range_is_sent_nothing(make: Callable[..., Robot]) -> None:
    robot: Any = make()
    with connected(robot):
        robot._bus.at["elbow_flex"] = 175.0
        robot.observe()
        with pytest.raises(RobotFailed, match="elbow_flex is said to be at 175 and then at 175, of a range"):
            robot.apply({"target_grip": np.array([0.5])}, robot.control_period)
        assert robot._bus.at["gripper"] == 60.0


def test_after_a_stop_it_goes_on_from_where_the_command_was_checked(make: Callable[..., Robot]) -> None:
    """And not from where it was observed: a stopped arm may go on, sag or be pushed until the answer is there."""
    robot: Any = make()
    with connected(robot):
        seen = robot.observe()
        robot.apply({"target_motors": seen["motors"] + np.array([0, 0, 0, 0, 0, 5.0])}, robot.control_period)
        robot.stop()
        robot.observe()
        robot._bus.at |= {"shoulder_pan": 35.0, "gripper": 60.0}  # something is between its jaws
        start, sent = robot.state(), []
        send = robot._device.send_action
        robot._device.send_action = lambda action: (sent.append(dict(action)), send(action))[1]
        robot.apply({"target_joints": start["robot_state.q"]}, 3 * robot.control_period, start)
        assert [each["shoulder_pan.pos"] for each in sent] == pytest.approx([35.0] * 3)
        assert [each["gripper.pos"] for each in sent] == pytest.approx([65.0] * 3), "it goes on to press it"


def test_its_flags_are_lerobots(plugin: Path, tmp_path: Path) -> None:
    write_calibration(tmp_path)
    shown = in_process(
        "robots", "lerobot:stand_in", "--robot.id=mine", "--robot.calibration_dir", tmp_path, "--robot.use-degrees",
        "false", "--rate", "25",
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert "-100 to 100 of each motor's range" in shown.stdout
    assert "(25 Hz)" in shown.stdout


def test_an_so101_plays_what_it_is_told_in_ticks(make: Callable[..., Robot], bus: FeetechBus) -> None:
    """LeRobot's own class and LeRobot's own driver, down to the bytes on the line."""
    robot = make("so101_follower", port=bus.port)
    with connected(robot):
        seen = robot.observe()
        middles = np.array([sum(RANGES[name]) / 2 for name in MOTORS[:5]])
        np.testing.assert_allclose(seen["robot_state.q"], (2048 - middles) * 2 * math.pi / 4095)
        np.testing.assert_allclose(seen["grip"], [1 - 48 / 1500])
        robot.apply({"target_joints": seen["robot_state.q"] + 0.1, "target_grip": [0.5]}, 0.1)
        # Nobody answers a set-point: the last one may be on the line yet.
        until(lambda: [len(goals) for goals in bus.goals.values()] == [5] * 6, "five set-points")
        ticks = [goals[-1] for goals in bus.goals.values()]
        expected = [*(2048 + 0.1 * 4095 / (2 * math.pi) * np.ones(5)), 2750]
        np.testing.assert_allclose(ticks, expected, atol=1)
        assert [len(goals) for goals in bus.goals.values()] == [5] * 6
        np.testing.assert_allclose(robot.observe()["robot_state.q"], seen["robot_state.q"] + 0.1, atol=0.002)
        robot.apply({}, 0.04)
        assert [len(goals) for goals in bus.goals.values()] == [5] * 6
        before = robot.observe()
        robot.apply({"target_motors": before["motors"]}, 0.02)
        np.testing.assert_allclose([goals[-1] for goals in bus.goals.values()], ticks, atol=1)


def test_an_so101_that_is_another_one_or_gone_is_told(make: Callable[..., Robot], bus: FeetechBus) -> None:
    robot = make("so101_follower", port=bus.port)
    with connected(robot):
        seen = robot.observe()
        bus.silent = True
        with pytest.raises(RobotFailed, match=r"cannot be observed: .*no status packet!; look at the arm's cable"):
            robot.observe()
        bus.silent = False
        robot.apply({"target_motors": seen["motors"]}, 0.02)
    bus.put(3, 9, 1234)  # another arm was calibrated with this one's motors
    with (
        pytest.raises(ConfigurationError, match="hold another calibration"),
        connected(make("so101_follower", port=bus.port)),
    ):
        pass
    bus.silent = True
    with (
        pytest.raises(RobotFailed, match="Missing motor IDs") as missing,
        connected(make("so101_follower", port=bus.port)),
    ):
        pass
    assert missing.value.text.startswith("the arm cannot be connected: ")
    assert "is this the arm's port (lerobot-find-port), and is its power on?" in missing.value.text
    with pytest.raises(RobotFailed, match="lerobot-find-port"), connected(make("so101_follower", port="/dev/no-such")):
        pass


def test_a_lost_answer_ends_no_episode(make: Callable[..., Robot], bus: FeetechBus) -> None:
    with connected(make("so101_follower", port=bus.port)) as robot:
        for read in (robot.observe, robot.state):
            bus.lost = 2
            read()
            assert bus.lost == 0


#: What LeRobot says to a servo while it connects; of the answers to these some get lost.
CONNECTING = {
    "a ping": b"\x01",
    "the calibration": bytes([READ, LOW]),
    "a gain": bytes([WRITE, 21]),
    "the torque off": bytes([WRITE, TORQUE, 0]),
    "the torque on": bytes([WRITE, TORQUE, 1]),
    "whether it holds": bytes([SYNC_READ, TORQUE]),
}


@pytest.mark.parametrize("lose", CONNECTING.values(), ids=CONNECTING)
def test_an_answer_that_is_lost_while_connecting_is_asked_for_again(
    make: Callable[..., Robot], bus: FeetechBus, lose: bytes
) -> None:
    bus.lose, bus.lost = lose, 2
    with connected(make("so101_follower", port=bus.port)) as robot:
        assert bus.lost == 0
        robot.observe()
        assert torque(bus) == [1] * 6
    assert torque(bus) == [0] * 6


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "not closed"])
def test_a_connecting_that_fails_leaves_no_torque_on(make: Callable[..., Robot], bus: FeetechBus, closed: bool) -> None:
    """Whoever does not close what could not be connected, too: LeRobot has switched it on by then."""
    bus.lose, bus.lost = CONNECTING["a gain"], 1000
    robot = make("so101_follower", port=bus.port)
    says = (
        r"the arm cannot be connected: .*P_Coefficient.*status packet!; look at the arm's cable, its port .* try again"
    )
    with pytest.raises(RobotFailed, match=says), connected(robot) if closed else contextlib.nullcontext():
        robot.connect()
    assert torque(bus) == [0] * 6
    bus.lost = 0
    robot.close()
    with connected(robot):
        robot.observe()


def test_the_torque_stays_where_a_connecting_fails_if_it_is_to(make: Callable[..., Robot], bus: FeetechBus) -> None:
    bus.lose, bus.lost = CONNECTING["a gain"], 1000
    robot = make("so101_follower", port=bus.port, disable_torque_on_disconnect=False)
    with pytest.raises(RobotFailed, match="P_Coefficient"), connected(robot):
        pass
    assert torque(bus) == [1] * 6


def test_a_torque_that_cannot_be_switched_off_is_told(
    make: Callable[..., Robot], bus: FeetechBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot: Any = make("so101_follower", port=bus.port)

    def configure() -> None:
        bus.silent = True  # unplugged
        raise ConnectionError("Failed to write 'P_Coefficient'")

    monkeypatch.setattr(robot._device, "configure", configure)
    says = "^the arm may hold still, for .*Torque_Enable.*: switch the arm's power off .*; before that: .*P_Coeff"
    with pytest.raises(RobotFailed, match=says), connected(robot):
        pass


@pytest.mark.parametrize("gone", [1, 4, 6])
def test_a_motor_that_falls_silent_keeps_no_other_one_under_torque(
    make: Callable[..., Robot], bus: FeetechBus, gone: int
) -> None:
    """LeRobot's own driver ends at the first motor that does not answer."""
    robot = make("so101_follower", port=bus.port)
    robot.connect()
    robot.observe()
    bus.deaf = {gone}
    with pytest.raises(RobotFailed, match="cannot be observed"):
        robot.observe()
    robot.stop()
    says = f"^{MOTORS[gone - 1]} may hold still, for .*Torque_Enable.* on id_={gone} .*: switch the arm's power off"
    with pytest.raises(RobotFailed, match=says):
        robot.close()
    assert torque(bus) == [int(number == gone) for number in bus.memory]
    bus.deaf = set()
    with connected(robot):
        robot.observe()
    assert torque(bus) == [0] * 6


def test_a_motor_that_falls_silent_while_connecting_keeps_no_other_one_under_torque(
    make: Callable[..., Robot], bus: FeetechBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot: Any = make("so101_follower", port=bus.port)
    configure = robot._device.configure

    def fall_silent() -> None:
        configure()
        assert torque(bus) == [1] * 6
        bus.deaf = {2, 3}

    monkeypatch.setattr(robot._device, "configure", fall_silent)
    says = "^shoulder_lift, elbow_flex may hold still, .*; before that: the arm cannot be connected"
    with pytest.raises(RobotFailed, match=says):
        robot.connect()
    assert torque(bus) == [0, 1, 1, 0, 0, 0]


def test_a_torque_that_is_off_after_all_is_no_failure(make: Callable[..., Robot], bus: FeetechBus) -> None:
    robot = make("so101_follower", port=bus.port)
    robot.connect()
    bus.lose, bus.lost = CONNECTING["the torque off"], 6  # as often as LeRobot asks
    robot.close()
    assert bus.lost == 0
    assert torque(bus) == [0] * 6


@pytest.mark.parametrize("off", [range(1, 7), [4]], ids=["all", "one"])
@pytest.mark.parametrize("stopped", [False, True])
def test_an_arm_that_lies_limp_is_not_driven(
    make: Callable[..., Robot], bus: FeetechBus, off: Sequence[int], stopped: bool
) -> None:
    """Its power was gone for a moment: the port stays, and all motors answer as before."""
    with connected(make("so101_follower", port=bus.port)) as robot:
        robot.apply({"target_motors": robot.observe()["motors"]}, 0.02)
        robot.observe()
        if stopped:
            robot.stop()
        robot.state()  # what it was sent is there
        before = {number: list(goals) for number, goals in bus.goals.items()}
        for number in off:
            bus.memory[number][TORQUE] = 0
        names = ", ".join(MOTORS[number - 1] for number in off)
        with pytest.raises(RobotFailed, match=f"^{names}: no longer under torque, and nobody .* power"):
            robot.observe()
        assert bus.goals == before


def torque(bus: FeetechBus) -> list[int]:
    return [servo[TORQUE] for servo in bus.memory.values()]


def test_nothing_is_written_to_another_device(make: Callable[..., Robot], lerobot) -> None:
    """It says what no servo says; the arm's torque is not switched off there."""
    device, driver = pty.openpty()
    tty.setraw(driver)
    said: list[bytes] = []

    def chatter() -> None:
        with contextlib.suppress(OSError):
            while True:
                said.append(os.read(device, 4096))
                os.write(device, b"\xff\xff\x00ok\r\n")

    thread = threading.Thread(target=chatter, daemon=True)
    thread.start()
    with (
        pytest.raises(RobotFailed, match="is this the arm's port"),
        connected(make("so101_follower", port=os.ttyname(driver))),
    ):
        pass
    # Of Feetech's instructions, the fifth byte: a ping, and no write.
    assert {packet[4] for packet in said} == {1}
    os.close(driver)
    os.close(device)
    thread.join(PATIENCE)


class Camera:
    """What LeRobot's camera asks of OpenCV: one that has its own size and rate, whatever is set."""

    size, rate, plugged = (640, 480), 30, True

    def __init__(self, *arguments: Any) -> None:
        import cv2

        self._held = {cv2.CAP_PROP_FPS: self.rate} | dict(
            zip((cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), self.size, strict=True)
        )

    def isOpened(self) -> bool:
        return True

    def get(self, what: int) -> float:
        return self._held.get(what, 0)

    def set(self, what: int, value: float) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        return self.plugged, np.zeros((*self.size[::-1], 3), np.uint8)

    def release(self) -> None:
        pass


CAMERA = {"front": {"type": "opencv", "index_or_path": 0, "width": 640, "height": 480, "fps": 30}}


@pytest.mark.parametrize(
    ("has", "says"),
    [
        ({"size": (320, 240)}, r"capture_width=640 \(actual_width=320"),
        ({"rate": 10}, r"fps=30 \(actual_fps=10"),
    ],
    ids=["size", "rate"],
)
def test_a_camera_of_another_size_or_rate_is_told(
    make: Callable[..., Robot], bus: FeetechBus, monkeypatch: pytest.MonkeyPatch, has: dict[str, Any], says: str
) -> None:
    monkeypatch.setattr("cv2.VideoCapture", type("Other", (Camera,), has))
    with (
        pytest.raises(RobotFailed, match=rf"{says}.*; say in --robot\.cameras what the camera has"),
        connected(make("so101_follower", port=bus.port, cameras=CAMERA)),
    ):
        pass


def test_a_camera_that_is_unplugged_is_told_and_the_arm_let_go(
    make: Callable[..., Robot], bus: FeetechBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = type("Other", (Camera,), {})
    monkeypatch.setattr("cv2.VideoCapture", other)
    monkeypatch.setattr("threading.excepthook", lambda args: None)  # the camera's own thread ends by an exception
    with connected(make("so101_follower", port=bus.port, cameras=CAMERA)) as robot:
        robot.observe()
        other.plugged = False
        with pytest.raises(RobotFailed, match=r"cannot be observed: .*Camera.*; look at the camera's cable"):
            until(lambda: robot.observe() is None, "the camera is missed")
    assert bus.get(1, 40) % 256 == 0, "the torque is off"


def test_the_pictures_of_its_cameras_can_be_had_by_others_and_are_taken_from_nobody(
    make: Callable[..., Robot], bus: FeetechBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counting(Camera):
        count, held, waits, more = 0, False, threading.Event(), threading.Semaphore(0)

        def read(self) -> tuple[bool, Any]:
            if self.held:
                self.waits.set()
                assert self.more.acquire(timeout=PATIENCE)
            else:
                time.sleep(0.01)
            type(self).count += 1
            return True, np.full((480, 640, 3), self.count % 256, np.uint8)

    monkeypatch.setattr("cv2.VideoCapture", Counting)
    monkeypatch.setattr("threading.excepthook", lambda args: None)
    with connected(make("so101_follower", port=bus.port, cameras=CAMERA)) as robot:
        robot.observe()
        cameras: Any = robot.live_cameras

        def newest() -> tuple[int, float]:
            picture, at = cameras.frames()["image.front"]
            assert picture.shape == (480, 640, 3)
            return int(picture[0, 0, 0]), at

        Counting.held = True
        reached(Counting.waits)
        robot.observe()
        before = newest()
        assert before[0] == Counting.count % 256
        assert 0 <= time.monotonic() - before[1] < PATIENCE
        Counting.more.release()
        until(lambda: newest()[0] == Counting.count % 256 != before[0], "the next one is there")
        after = newest()
        assert after[1] > before[1]
        # The arm waits for a new picture. Others have looked at this one, and to the arm it is new still.
        assert robot.observe()["image.front"][0, 0, 0] == after[0]
        Counting.held = False
        Counting.more.release()
    assert make(camera=[8, 6, 3]).live_cameras is None  # one that reads only when it is asked


def test_an_so101_that_is_unplugged_in_mid_episode_ends_the_run_and_what_it_left_is_kept(
    bus: FeetechBus, tmp_path: Path
) -> None:
    write_calibration(tmp_path)
    (tmp_path / "so101.toml").write_text('joint_velocity = 1.0\nworkspace_low = "none"\nworkspace_high = "none"\n')

    def stay(seen: dict[str, Any]) -> list[dict[str, Any]]:
        bus.silent = bool(bus.goals[1])  # it is driven by then, however late a busy machine has it
        return [{"target_motors": seen["motors"]}] * 10

    with InferenceServer({"stay": lambda: stay}, port=0, fps=10) as server:
        done = in_process(
            "run", "lerobot:so101_follower", f"127.0.0.1:{server.port}", "--limits", tmp_path / "so101.toml", "--json",
            "--robot.port", bus.port, "--robot.id", "mine", "--robot.calibration_dir", tmp_path, "--episodes", "2",
            "--output-dir", tmp_path / "recordings",
        )  # fmt: skip
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["failures"] == {"robot_failed": 1}
    assert report["steps"] > 0
    assert "There is no status packet" in done.stderr
    (file,) = (tmp_path / "recordings").iterdir()
    with Episode(file) as episode:
        assert episode.outcome["failure"][0] == "robot_failed"
        assert list(episode.messages(["/answer"]))
        assert len(list(episode.messages(["/played"]))) >= report["steps"]
