"""A robot's limits in a file: what it says, what it cannot say, and the arm that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offboard_client.cli import main
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_client.play import Patience, RobotLimits, SafetyLimits, load_limits
from offboard_client.robots import Channel, RobotSpec
from offboard_client.robots.sim import SimRobot

Write = Callable[[str], Path]

ARM = """
linear_velocity = 0.25
joint_velocity = [1.0, 1.0, 2.0]
joint_low = [-1.5, -2.0, -1.0]
joint_high = 1.5
grip_high = 0.9
workspace_low = "none"
workspace_high = "none"

[ladder]
safe_after = 1
fault_after = 30.0

[safe_action]
target_joints = [0.0, -1.0, 0.5]

[home]
target_joints = [0, 0, 0]
target_grip = [0.0]
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "arm.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_what_a_file_says(write: Write) -> None:
    path = write(ARM)
    found = load_limits(path)
    assert load_limits(str(path)).limits == found.limits
    assert found.limits == SafetyLimits(
        linear_velocity=0.25, joint_velocity=(1.0, 1.0, 2.0), joint_low=(-1.5, -2.0, -1.0), joint_high=1.5,
        grip_high=0.9, workspace_low=None, workspace_high=None,
    )  # fmt: skip
    assert found.patience == Patience(1.0, 30.0)
    assert found.safe_action is not None
    assert found.home is not None
    np.testing.assert_array_equal(found.safe_action["target_joints"], [0.0, -1.0, 0.5])
    np.testing.assert_array_equal(found.home["target_joints"], np.zeros(3))
    np.testing.assert_array_equal(found.home["target_grip"], [0.0])
    data = found.as_dict()
    assert data["joint_high"] == 1.5
    assert data["home"] == {"target_joints": [0.0, 0.0, 0.0], "target_grip": [0.0]}
    assert data["ladder"] == {"safe_after": 1.0, "fault_after": 30.0}
    assert data["file"].endswith("arm.toml")


def test_an_empty_file_says_nothing_beside_the_defaults(write: Write) -> None:
    found = load_limits(write(""))
    assert (found.limits, found.patience, found.home, found.safe_action) == (SafetyLimits(), None, None, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("joint_velocty = 1.0", r"no limit or table 'joint_velocty'; did you mean joint_velocity"),
        ("[hmoe]\ntarget_joints = [0.0]", r"no limit or table 'hmoe'; did you mean home"),
        (
            "joint_velocity = 'fast'",
            r"'joint_velocity' of the limits expects a number or a list, each a number, not \"f",
        ),
        ("joint_velocity = true", r"'joint_velocity' of the limits expects"),
        ("joint_velocity = -1.0", r"the limit joint_velocity is -1\.0; expected a number above 0"),
        ("joint_velocity = nan", r"'joint_velocity' of the limits expects"),
        ("linear_velocity = 'none'", r"linear_velocity cannot be none; these can: grip_velocity, .* joint_high$"),
        ("workspace_low = [0, 0]", r"'workspace_low' of the limits expects a list of 3"),
        ("joint_low = [0.0]", "needs both joint_low and joint_high"),
        ("ladder = 3", r"ladder is 3; expected a table, \[ladder\]"),
        ("[ladder]\nsafe_afetr = 1", r"no option 'safe_afetr' of \[ladder\]; did you mean safe_after"),
        ("[ladder]\nsafe_after = 20", r"fault_after \(10 s\) comes before safe_after \(20 s\)"),
        ("[home]\njoint_delta = [0.1]", r"\[home\] holds joint_delta, which is no place"),
        ("[safe_action]\ntarget_pose = [1, 2, 3]", r"target_pose of \[safe_action\] must have shape \(7,\)"),
        ("[home]\ntarget_joints = ['a']", r"target_joints of \[home\] must be a vector of numbers"),
        ("[kinematics]\ntip = 'tool'", r"\[kinematics\] needs the option file"),
        ("[kinematics]\nfile = 'a.urdf'\ntp = 'tool'", r"no option 'tp' of \[kinematics\]; did you mean tip"),
        ("[kinematics]\nfile = 3\ntip = 'tool'", r"'file' of \[kinematics\] expects text, not 3"),
        (
            "[kinematics]\nfile = 'no.urdf'\ntip = 'tool'",
            r"there is no file .*no\.urdf; .* relative to the limits file",
        ),
        ("joint_low = -180\njoint_high = 180", r"joint_low is -180\.0 rad, and that is 10313 degrees: were degr"),
        ("joint_low = [-170, -20]\njoint_high = [170, 120]", r"State it in rad \(95 degrees are 1\.66 rad\); none"),
        ("joint_velocity = [120, 90, 2]", r"joint_velocity is .* were degrees meant\? State it in rad/s"),
        ("angular_velocity = 143", r"angular_velocity is 143\.0 rad/s"),
        ("rotation_offset = 45", r"rotation_offset is 45\.0 rad"),
        ("velocity = ", r"the limits file .* is not TOML: "),
    ],
)
def test_what_a_file_cannot_say_is_named_with_the_file(write: Write, text: str, says: str) -> None:
    path = write(text)
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_limits(path)
    assert str(path) in caught.value.text


def test_joints_may_go_anywhere_and_turn_some_times() -> None:
    SafetyLimits(joint_low=-1e4, joint_high=1e4, joint_velocity=20.0)
    SafetyLimits(joint_low=(-2.0, -2.0, -1e3), joint_high=(2.0, 2.0, 1e3))


@pytest.mark.parametrize("place", ["home", "safe_action"])
def test_a_place_beyond_the_arms_own_joints_is_found_before_anything_moves(
    write: Write, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    path = write(f"[{place}]\ntarget_joints = [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0]")
    says = f"{path}: target_joints of [{place}] sends joint 4 to 0.5 rad; this arm's goes from "
    assert main(["robots", "sim", "--limits", str(path)]) == 1
    assert says in capsys.readouterr().err
    with pytest.raises(ConfigurationError) as caught:
        load_limits(path).guard(SimRobot(), {"action_fps": 15.0, "action": {"target_pose": {}}})
    assert caught.value.text.startswith(says)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the limits file .*no\.toml cannot be read: No such file"):
        load_limits(tmp_path / "no.toml")
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory"):
        load_limits(tmp_path)


def test_the_file_of_the_page_is_one(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "limits.md"
    (tmp_path / "arm.toml").write_text(page.read_text("utf-8").partition("```toml\n")[2].partition("```")[0], "utf-8")
    (tmp_path / "arm.urdf").write_text(urdf(*["revolute"] * 6), "utf-8")
    found = load_limits(tmp_path / "arm.toml")
    assert found.limits.joint_acceleration == 4.0
    assert found.patience == Patience(1.5, 20.0)
    assert found.kinematics is not None
    assert hasattr(found.kinematics, "solve")
    assert found.home is not None
    found.limits.check_joint_range(found.home["target_joints"], "home")


# -- what is given beside the file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stricter",
    [
        {"linear_velocity": 0.1}, {"joint_velocity": 1.0}, {"joint_velocity": (0.5, 1.0, 2.0)}, {"grip_velocity": 1.0},
        {"joint_low": -0.5}, {"joint_high": (1.5, 1.0, 1.5)}, {"grip_low": 0.1}, {"joint_acceleration": 5.0},
        {"workspace_low": (0.0, 0.0, 0.0), "workspace_high": (1.0, 1.0, 1.0)},
    ],
)  # fmt: skip
def test_what_is_given_beside_the_file_may_be_narrower(write: Write, stricter: Any) -> None:
    found = load_limits(write(ARM))
    limits = SafetyLimits(**{**vars(found.limits), **stricter})
    assert found.narrowed(limits).limits == limits
    assert found.narrowed(limits).home is found.home


@pytest.mark.parametrize(
    ("wider", "says"),
    [
        ({"linear_velocity": 0.3}, r"linear_velocity is 0\.25 in .*arm\.toml, and 0\.3 is wider; .* Edit the file"),
        ({"joint_velocity": 1.5}, "joint_velocity is"),
        ({"joint_velocity": (1.0, 1.0)}, "joint_velocity is"),
        ({"joint_low": -1.6}, "joint_low is"),
        ({"joint_low": None, "joint_high": None}, r"joint_low is .*, and none is wider"),
        ({"joint_high": 2.0}, "joint_high is"),
        ({"grip_high": 1.0}, "grip_high is"),
        ({"position_offset": 0.2}, "position_offset is"),
    ],
)
def test_what_is_given_beside_the_file_may_not_be_wider(write: Write, wider: Any, says: str) -> None:
    found = load_limits(write(ARM))
    with pytest.raises(ConfigurationError, match=says):
        found.narrowed(SafetyLimits(**{**vars(found.limits), **wider}))


# -- the arm that it names -------------------------------------------------------------------------------------------

LINK = """<link name="{name}"><visual><geometry><mesh filename="package://not/there.dae"/></geometry></visual>
<collision><geometry><mesh filename="nor/this.stl"/></geometry></collision></link>"""
JOINT = """<joint name="{name}" type="{type}"><parent link="{parent}"/><child link="{child}"/>
<origin xyz="{x} 0 0"/><axis xyz="0 0 1"/>{limit}</joint>"""
RANGE = '<limit lower="-3" upper="3" effort="1" velocity="1"/>'


def urdf(*types: str) -> str:
    """An arm in the plane: links of 0.3, 0.25 … m, and a tool of 0.1 m that is fixed to the last one."""
    names = ["base", *(f"link{i + 1}" for i in range(len(types))), "tool"]
    joints = [
        JOINT.format(
            name=f"joint{i + 1}", type=kind, parent=names[i], child=names[i + 1], x=0 if i == 0 else 0.3,
            limit=RANGE if kind == "revolute" else "",
        )
        for i, kind in enumerate([*types, "fixed"])
    ]  # fmt: skip
    return f"<robot name='r'>{''.join(LINK.format(name=name) for name in names)}{''.join(joints)}</robot>"


def named(folder: Path, text: str, more: str = "", tip: str = "tool", name: str = "arm.urdf") -> RobotLimits:
    (folder / name).write_text(text, "utf-8")
    (folder / "arm.toml").write_text(f"[kinematics]\nfile = {name!r}\ntip = {tip!r}\n{more}", "utf-8")
    return load_limits(folder / "arm.toml")


def test_a_urdf_is_read_without_its_meshes_and_with_its_fixed_tool(tmp_path: Path) -> None:
    model: Any = named(tmp_path, urdf("revolute", "continuous")).kinematics
    assert model.joints == ("joint1", "joint2")
    for q in (np.zeros(2), np.array([0.3, 2.0]), np.array([-1.0, -7.0])):
        a, b = q[0], q.sum()
        where = [0.3 * np.cos(a) + 0.3 * np.cos(b), 0.3 * np.sin(a) + 0.3 * np.sin(b), 0.0]
        np.testing.assert_allclose(model.forward(q)[:3], where, atol=1e-12)
        assert abs(model.forward(q)[3:] @ [np.cos(b / 2), 0, 0, np.sin(b / 2)]) == pytest.approx(1)
    assert not hasattr(model, "solve"), "two joints cannot reach a pose"


def test_an_mjcf_is_read_and_its_site_is_where_the_simulation_sees_it(tmp_path: Path) -> None:
    from offboard_client.robots.sim import HOME, SimRobot, mjcf

    model: Any = named(tmp_path, mjcf(), tip="tcp", name="arm.xml").kinematics
    assert len(model.joints) == 7
    sim = SimRobot()
    for by in (0.0, 0.2, -0.3):
        q = np.array(HOME) + by
        np.testing.assert_allclose(model.forward(q), sim.kinematics.forward(q), atol=1e-12)
    assert not hasattr(model, "solve"), "of seven joints the arm's own driver chooses"


def test_an_arm_of_six_joints_is_solved_for(tmp_path: Path) -> None:
    axes = "001", "010", "010", "100", "010", "100"
    body = "<site name='tip' pos='0.1 0 0'/>"
    for i, axis in reversed(list(enumerate(axes))):
        body = f"<body name='b{i}' pos='{0.25 if i else 0} 0 0.05'><joint axis='{' '.join(axis)}'/>{body}</body>"
    model: Any = named(
        tmp_path, f"<mujoco><worldbody>{body}</worldbody></mujoco>", tip="tip", name="six.xml"
    ).kinematics
    q = np.array([0.2, -0.5, 0.9, 0.3, 0.6, -0.4])
    target = model.forward(q + 0.05)
    solved = model.solve(target, q)
    np.testing.assert_allclose(solved, q + 0.05, atol=2e-3)
    np.testing.assert_allclose(model.forward(solved)[:3], target[:3], atol=2e-4)


def test_the_joints_may_be_named_in_the_robots_order(tmp_path: Path) -> None:
    plain: Any = named(tmp_path, urdf("revolute", "revolute")).kinematics
    turned: Any = named(tmp_path, urdf("revolute", "revolute"), "joints = ['joint2', 'joint1']").kinematics
    np.testing.assert_allclose(turned.forward(np.array([0.5, 0.1])), plain.forward(np.array([0.1, 0.5])))


@pytest.mark.parametrize(
    ("text", "more", "tip", "says"),
    [
        (urdf("revolute"), "", "tol", r"no body or site 'tol'; did you mean tool\? there are: base, link1, tool"),
        (urdf("revolute"), "", "base", "no joint between its world and base"),
        (urdf("revolute", "spherical"), "", "tool", "joint2 neither turns about one axis nor slides"),
        (urdf("revolute"), "joints = ['jiont1']", "tool", r"no joint 'jiont1' between .*; did you mean joint1"),
        (urdf("revolute", "revolute"), "joints = ['joint1']", "tool", r"are joint1, joint2; name each of them once"),
        ("<robot", "", "tool", "is neither a URDF nor an MJCF that MuJoCo can read"),
        ("", "", "tool", "is neither a URDF nor an MJCF that MuJoCo can read"),
    ],
)
def test_an_arm_that_cannot_be_read_is_named(tmp_path: Path, text: str, more: str, tip: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        named(tmp_path, text, more, tip)
    assert "arm.urdf" in caught.value.text
    assert str(tmp_path / "arm.toml") in caught.value.text
    assert "\n" not in caught.value.text


def robot(*order: str, count: int = 2) -> Any:
    joints = Channel(shape=(count,), order=order)

    class Arm:
        spec = RobotSpec(measures={"robot_state.q": joints}, plays={"target_joints": joints}, control_period=0.01)
        actions = frozenset({"target_joints"})
        control_period = 0.01
        kinematics = None

    return Arm()


META = {"action": {"target_joints": {}}, "action_fps": 10}


def test_the_arm_is_held_against_the_robot(tmp_path: Path) -> None:
    limits = named(tmp_path, urdf("revolute", "revolute"))
    for order in ((), ("joint1", "joint2"), ("shoulder", "elbow")):
        limits.guard(robot(*order), META)
    with pytest.raises(ConfigurationError, match=r"say \[kinematics\] joints = \['joint2', 'joint1'\]"):
        limits.guard(robot("joint2", "joint1"), META)
    with pytest.raises(ConfigurationError, match=r"2 joints between its world and tool .*; robot_state\.q has 3"):
        limits.guard(robot(count=3), META)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("joint_velocity = [1.0, 2.0]", "joint_velocity states 2 joints, the robot has 3"),
        ("joint_acceleration = [1.0]", "joint_acceleration states 1 joints, the robot has 3"),
        ("joint_low = -1.0\njoint_high = [1.0, 1.0]", "joint_high states 2 joints, the robot has 3"),
        ("[home]\ntarget_joints = [0.0]", r"target_joints of \[home\] are 1 joints; this robot has 3"),
        ("[safe_action]\ntarget_joints = [0.0]", r"target_joints of \[safe_action\] are 1 joints; this robot has 3"),
    ],
)
def test_limits_of_another_arm_are_named_with_their_file_before_a_policy_is_there(
    write: Write, text: str, says: str
) -> None:
    path = write(f"workspace_low = 'none'\nworkspace_high = 'none'\n{text}")
    limits = load_limits(path)
    with pytest.raises(ConfigurationError, match=says) as caught:
        limits.check_joints(robot(count=3).spec)
    assert str(path) in caught.value.text
    with pytest.raises(ConfigurationError, match=says):
        limits.guard(robot(count=3), META)
    limits.check_joints(robot(count=-1).spec)


def test_the_workspace_is_held_by_the_arm_of_the_file(tmp_path: Path) -> None:
    limits = named(tmp_path, urdf("revolute", "revolute"))
    guard = limits.guard(robot(), META)
    row = {"action": {"target_joints": np.array([0.05, 0.05])}, "timestamp": 0.0}
    assert list(guard.plan([row], {"robot_state.q": np.zeros(2)}))
    box = limits.narrowed(SafetyLimits(workspace_high=(0.85, 0.01, 1.2)))
    with pytest.raises(InvalidAction, match="outside the workspace"):
        box.guard(robot(), META).plan([row], {"robot_state.q": np.zeros(2)})
    with pytest.raises(ConfigurationError, match="workspace cannot be held for target_joints"):
        RobotLimits().guard(robot(), META)
