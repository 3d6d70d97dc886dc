"""The example for ROS 2: its contract, its conversions, and the node on topics within this process."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ros2_standin
from offboard_client.errors import ConfigurationError, InvalidAction, RobotFailed
from offboard_client.play import Guard, SafetyLimits
from offboard_client.plugins import Chosen
from offboard_client.robots import Robot, RobotEntry, connected
from offboard_client.testing import RobotConformance
from offboard_process import in_process
from ros2_standin import Message, Node, picture
from waits import reached, until

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "examples" / "offboard-ros2"
PAGE = (ROOT / "docs" / "how-to" / "ros2.md").read_text("utf-8")
(CONTRACT,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what ``pip install`` leaves behind, but for the code; in it the page's contract."""
    info = tmp_path / "offboard_ros2-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offboard-ros2\nVersion: 0.1.0\n")
    (point,) = re.findall(r'^ros2 = "(.*)"$', (SOURCE / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    (info / "entry_points.txt").write_text(f"[offboard.robots]\nros2 = {point}\n")
    monkeypatch.syspath_prepend(str(SOURCE / "src"))
    monkeypatch.syspath_prepend(str(tmp_path))
    ros2_standin.install(monkeypatch)
    (tmp_path / "arm.toml").write_text(CONTRACT, "utf-8")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "offboard_ros2"]:
        del sys.modules[name]


@pytest.fixture
def make(installed: Path) -> Callable[..., Robot]:
    def make(text: str = CONTRACT, wait: float = 10.0) -> Robot:
        from offboard_ros2.arm import Arm, Options

        (installed / "arm.toml").write_text(text, "utf-8")
        return Arm(Options(contract=installed / "arm.toml", topic_wait=wait))

    return make


class TestArm(RobotConformance):
    name = "ros2"
    misread = 1000.0

    @pytest.fixture
    def options(self, chosen: Chosen[RobotEntry], installed: Path) -> Any:
        return chosen.options()(contract=installed / "arm.toml")


def test_it_measures_what_the_messages_say(make: Callable[..., Robot]) -> None:
    with connected(make()) as robot:
        ros2_standin.nodes[-1].at = {"shoulder": 0.25, "elbow": -0.5, "finger": 0.2}
        ros2_standin.nodes[-1].say()
        seen = robot.observe()
    np.testing.assert_array_equal(seen["robot_state.q"], [0.25, -0.5])
    np.testing.assert_allclose(seen["grip"], [0.75])
    np.testing.assert_allclose(seen["robot_state.ee_pose"], [0.4, 0, 0.3, 0.8, 0, 0, 0.6])
    np.testing.assert_array_equal(seen["image.wrist"], np.full((4, 6, 3), (10, 20, 30)))
    assert robot.spec.measures["robot_state.ee_pose"].frame == "base"
    assert (robot.spec.stale_after, robot.spec.max_skew, robot.spec.simulated) == (0.5, 0.1, False)
    assert ros2_standin.nodes[-1].destroyed


def test_it_publishes_a_set_point_each_period(make: Callable[..., Robot]) -> None:
    with connected(make()) as robot:
        node = ros2_standin.nodes[-1]
        robot.observe()
        robot.apply({"target_joints": [0.2, 0.3]}, 0.04)
        robot.apply({}, 0.02)
        robot.apply({"target_grip": [1.0]}, 0.02)
        first, second, grip = (message for _, message in node.told)
        assert [topic for topic, _ in node.told] == ["/arm", "/arm", "/gripper"]
        assert first.joint_names == ["shoulder", "elbow"]
        np.testing.assert_allclose(first.points[0].positions, [0.15, 0.2])
        np.testing.assert_allclose(second.points[0].positions, [0.2, 0.3])
        assert (first.points[0].time_from_start.sec, first.points[0].time_from_start.nanosec) == (0, 20_000_000)
        np.testing.assert_allclose(grip.data, [0.0])
        with pytest.raises(InvalidAction):
            robot.apply({"target_joints": [0.2, 0.3, 0.4]}, 0.02)
        robot.stop()
        robot.apply({"target_joints": [0.2, 0.4]}, 0.02)
        assert len(node.told) == 3


FAULTS: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "a silent topic": (
        {"missing": ("/camera", "/tool")},
        {},
        r"within 0\.1 s on /camera \(0 publish it\), /tool",
    ),
    "nobody who listens": ({"deaf": True}, {}, "nobody listens to /arm, /gripper"),
    "a joint that is not there": ({}, {'"elbow"': '"wrist"'}, "has no position of wrist; it has finger, elbow"),
    "another size": ({}, {"[6, 4]": "[640, 480]"}, "/camera delivers 6 × 4; the contract says 640 × 480"),
    "another encoding": ({"encoding": "mono8"}, {}, "/camera is encoded as 'mono8'; known are rgb8"),
    "another frame": ({}, {'"base"': '"world"'}, "in the frame 'base'; the contract says 'world'"),
    "a gripper beyond its ends": ({}, {"closed = 0.0": "closed = 0.45"}, r"finger 2\.00 closed: are open"),
}


@pytest.mark.parametrize(("node", "text", "says"), FAULTS.values(), ids=FAULTS)
def test_what_is_otherwise_than_the_contract_says_is_a_failure(
    make: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch, node: dict[str, Any], text: dict[str, str], says: str
) -> None:
    for name, value in node.items():
        monkeypatch.setattr(Node, name, value)
    contract = CONTRACT
    for old, new in text.items():
        contract = contract.replace(old, new)
    robot = make(contract, 0.1 if node.keys() & {"missing", "deaf"} else 10.0)
    with pytest.raises(RobotFailed, match=says), connected(robot):
        robot.observe()
    assert ros2_standin.nodes[-1].destroyed
    assert ros2_standin.nodes[-1].told == []


GRIP = CONTRACT[CONTRACT.index("[observation.grip]") : CONTRACT.index('[observation."robot_state.ee_pose"]')]
ORDER = '["shoulder", "elbow"]'
LAST = CONTRACT[CONTRACT.index("[action.target_joints]") : CONTRACT.rindex(ORDER)]
WRONG: dict[str, tuple[str, str, str]] = {
    "an entry that there is not": ("stale_after", "stale_atfer", "no entry 'stale_atfer' of the contract.*stale_after"),
    "none of what has to be said": ("rate = 50", "", "the contract lacks rate"),
    "a rate that is none": ("rate = 50", "rate = 0.5", "rate is 0.5; expected set-points per second"),
    "a rate that is text": ("rate = 50", 'rate = "50"', "rate is '50'; expected a number"),
    "another type": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage", "expected sensor_msgs/msg/Image"),
    "an image without a size": ("size = [6, 4]", "", r"image\.wrist of \[observation\] needs size"),
    "a size of one number": ("[6, 4]", "[6]", r"expected \[width, height\]"),
    "a gripper without ends": ("open = 0.8", "", "needs open"),
    "two joints of a gripper": ('["finger"]', '["finger", "thumb"]', "a gripper has one"),
    "ends at one place": ("closed = 0.0", "closed = 0.8", "open and closed at 0.8"),
    "joints that are no list": ('["finger"]', '"finger"', "expected a list of str"),
    "a joint twice": ('["shoulder", "elbow"]', '["elbow", "elbow"]', "names a joint twice"),
    "an observation that nobody knows": ('"robot_state.q"', '"robot_state.qq"', r"no observation 'robot_state\.qq'"),
    "an action that nobody knows": ("action.target_grip", "action.target_pose", "no action 'target_pose'"),
    "what it does not take": ('frame = "base"', 'frame = "base"\nsize = [1, 1]', "takes no size"),
    "a rate of no camera": ('frame = "base"', 'frame = "base"\nrate = 30', "takes no rate"),
    "a camera's rate": ("size = [6, 4]", "size = [6, 4]\nrate = 0", r"rate of image\.wrist of \[observation\] is 0"),
    "an action of what is not measured": (GRIP, "", r"\[observation\] lacks grip, from where it goes on"),
    "another order": (f"{LAST}{ORDER}", f'{LAST}["elbow", "shoulder"]', "target_joints is of elbow, shoulder, and"),
    "no TOML": ("rate = 50", "rate = fifty", "no TOML"),
}


@pytest.mark.parametrize(("old", "new", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_contract_is_one_error_that_names_it(make: Callable[..., Robot], old: str, new: str, says: str) -> None:
    assert old in CONTRACT
    with pytest.raises(ConfigurationError, match=rf"arm\.toml.*{says}"):
        make(CONTRACT.replace(old, new))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8"])
def test_pictures_of_any_order_become_rgb(encoding: str) -> None:
    from offboard_ros2 import messages
    from offboard_ros2.contract import IMAGE, Topic

    topic = Topic(topic="/camera", type=IMAGE, size=(6, 4))
    np.testing.assert_array_equal(messages.picture(picture(encoding), topic), np.full((4, 6, 3), (10, 20, 30)))
    short = picture(encoding)
    short.data = short.data[:-1]
    with pytest.raises(RobotFailed, match="too few for its size"):
        messages.picture(short, topic)


def test_it_begins_where_the_command_was_checked(make: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch) -> None:
    """One message in between that is wrong, as of an encoder that wraps, is nothing to go on from."""
    limits = SafetyLimits(workspace_low=None, workspace_high=None)
    with connected(make()) as robot:
        node = ros2_standin.nodes[-1]
        seen = robot.observe()
        guard = Guard(robot, limits, {"action_fps": 10.0})
        (command,) = guard.plan([{"action": {"target_joints": seen["robot_state.q"]}, "timestamp": 0.0}], seen)
        monkeypatch.setattr(node, "say", lambda: None)  # until then
        node.heard["/joint_states"](Message(name=list(ros2_standin.JOINTS), position=[2.8, 0.1, 0.1]))
        robot.state()  # whoever watches the run has asked for it, too
        command.play_on(robot)
        for topic, message in node.told:
            assert topic == "/arm"
            np.testing.assert_allclose(message.points[0].positions, [0.1, 0.1])
        assert len(node.told) == 5


SAYS: dict[str, tuple[dict[str, Any], str]] = {
    "a joint twice": (
        {"name": ["shoulder", "elbow", "finger", "shoulder"], "position": [0.1, 0.1, 0.1, 2.9]}, "names shoulder twice",
    ),
    "text": ({"position": ["0.3"] * 3}, r"says \['0.3', '0.3'\], which are no numbers"),
    "nothing": ({"position": [None] * 3}, "which are no numbers"),
    "no positions": ({"position": None}, "/joint_states says what no sensor_msgs/msg/JointState says: TypeError"),
    "no names": ({"name": None}, "/joint_states says what no sensor_msgs/msg/JointState says: TypeError"),
    "no number": ({"position": [float("nan")] * 3}, "which is not finite"),
}  # fmt: skip


@pytest.mark.parametrize(("said", "says"), SAYS.values(), ids=SAYS)
def test_a_message_that_nobody_can_read_is_one_error_and_nothing_is_sent(
    make: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], says: str
) -> None:
    with connected(make()) as robot:
        node = ros2_standin.nodes[-1]
        robot.observe()
        monkeypatch.setattr(node, "say", lambda: None)
        node.heard["/joint_states"](Message(**{"name": list(ros2_standin.JOINTS), "position": [0.1] * 3, **said}))
        for ask in (robot.observe, robot.state):
            with pytest.raises(RobotFailed, match=says):
                ask()
        assert node.told == []


@pytest.mark.parametrize("again", [False, True], ids=["silent", "the same again and again"])
def test_what_is_too_old_is_a_failure(make: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    with connected(make(CONTRACT.replace("stale_after = 0.5", "stale_after = 0.2"))) as robot:
        node = ros2_standin.nodes[-1]
        robot.observe()
        header = Message(stamp=Message(sec=7, nanosec=9))
        same = Message(header=header, name=list(ros2_standin.JOINTS), position=[0.1] * 3)
        monkeypatch.setattr(node, "say", lambda: node.heard["/joint_states"](same) if again else None)
        told: list[str] = []

        def failed() -> bool:
            try:
                robot.state()
            except RobotFailed as error:
                told.append(error.text)
            return bool(told)

        until(failed, "it is too old")
        assert re.search(
            r"^/(joint_states|tool) has said nothing new for 0\.\d+ s, and stale_after allows 0\.2", told[0]
        )
        assert node.told == []


def test_every_picture_is_seen_while_the_arm_is_played(make: Callable[..., Robot]) -> None:
    robot = make(CONTRACT.replace("size = [6, 4]", "size = [6, 4]\nrate = 60"))
    assert robot.spec.cameras["image.wrist"].rate == 60
    with connected(robot):
        node, silent = ros2_standin.nodes[-1], threading.Event()
        hear, cameras = node.heard["/camera"], robot.live_cameras
        assert cameras is not None
        node.heard["/camera"] = lambda message: silent.set()  # from now on only what is said here
        reached(silent)

        def seen(encoding: str, stamp: int) -> tuple[int, float]:
            header = Message(stamp=Message(sec=stamp, nanosec=0))
            hear(Message(**{**vars(picture(encoding)), "header": header}))
            shown, at = cameras.frames()["image.wrist"]
            assert (shown.shape, shown.dtype) == ((4, 6, 3), np.uint8)
            return int(shown[0, 0, 0]), at

        red, first = seen("rgb8", 7)
        assert red == 10
        assert seen("rgb8", 7) == (10, first), "what is sent again says nothing new"
        assert seen("bgr8", 8)[1] > first
        hear(Message(**{**vars(picture("mono8")), "header": Message(stamp=Message(sec=9, nanosec=0))}))
        with pytest.raises(RobotFailed, match="/camera is encoded as 'mono8'"):
            cameras.frames()


def test_without_cameras_there_is_nothing_to_look_at(make: Callable[..., Robot]) -> None:
    blind = re.sub(r'\[observation."image.wrist"\].*?\n\n', "", CONTRACT, flags=re.DOTALL)
    assert make(blind).live_cameras is None


def test_numbers_that_are_none_are_a_failure() -> None:
    from offboard_ros2 import messages
    from offboard_ros2.contract import JOINT_STATE, POSE, Topic

    joints = Topic(topic="/joint_states", type=JOINT_STATE, joints=("elbow",))
    with pytest.raises(RobotFailed, match="not finite"):
        messages.joints(Message(name=["elbow"], position=[float("nan")]), joints)
    with pytest.raises(RobotFailed, match="no position of elbow"):
        messages.joints(Message(name=["elbow"], position=[]), joints)
    turned = Message(
        header=Message(frame_id="base"),
        pose=Message(position=Message(x=0.0, y=0.0, z=0.0), orientation=Message(x=0.0, y=0.0, z=0.0, w=0.0)),
    )
    with pytest.raises(RobotFailed, match=r"length 0\.000"):
        messages.pose(turned, Topic(topic="/tool", type=POSE, frame="base"))


def test_without_ros_it_is_told_how_to_set_it_up(make: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    robot = make()
    with pytest.raises(ConfigurationError, match=r"rclpy cannot be imported.*source /opt/ros"), connected(robot):
        pass


def test_its_options_are_none_of_those_of_a_run() -> None:
    assert "--topic-wait" in in_process("run", "ros2", "--help").stdout


def test_it_is_listed_and_shown_without_ros(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert "ROS 2 is set up" in in_process("robots").stdout
    assert "offboard_ros2.arm" not in sys.modules
    shown = in_process("robots", "ros2", "--contract", installed / "arm.toml")
    assert "shoulder elbow" in shown.stdout or "shoulder, elbow" in shown.stdout, shown
    assert "--contract FILE" in in_process("robots", "ros2").stderr
