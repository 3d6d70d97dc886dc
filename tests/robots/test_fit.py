"""A robot's spec against a policy's handshake: what differs is named, what cannot be told is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from offboard_client.play import Fit, compare
from offboard_client.robots import Channel, RobotSpec

POSE = Channel(shape=(7,), unit="m, unit quaternion wxyz", frame="the arm's base; of the finger tips")
JOINTS = Channel(shape=(6,), unit="rad", order=("a", "b", "c", "d", "e", "f"))
GRIP = Channel(shape=(1,), unit="0 open to 1 closed")
IMAGE = Channel(shape=(480, 640, 3), dtype="uint8", unit="RGB")
ROBOT = RobotSpec(
    measures={"robot_state.q": JOINTS, "robot_state.ee_pose": POSE, "grip": GRIP, "image.wrist": IMAGE},
    plays={"target_joints": JOINTS, "target_pose": POSE, "target_grip": GRIP},
    control_period=0.02,
)
META: dict[str, Any] = {
    "observation": {
        "robot_state.q": {"shape": [6], "dtype": "float32", "unit": "rad", "required": True},
        "robot_state.ee_pose": {
            "shape": [7],
            "dtype": "float32",
            "unit": "m and unit quaternion w x y z, in the arm's base frame",
        },
        "grip": {"shape": [], "dtype": "float32", "unit": None, "required": True},
        "image.wrist": {"shape": [-1, -1, 3], "dtype": "uint8", "unit": "RGB", "required": True},
        "task": {"shape": [], "dtype": "str", "unit": None, "required": True},
    },
    "action": {
        "target_joints": {"shape": [6], "unit": "rad", "kind": "absolute_joints"},
        "target_grip": {"shape": [1], "unit": "0 open to 1 closed", "kind": "grip"},
    },
    "action_fps": 10.0,
    "conventions": {"quaternion": "w x y z", "frame": "arm base", "grip": "0 open, 1 closed"},
}


def measuring(**channels: Channel) -> RobotSpec:
    return replace(ROBOT, measures={**ROBOT.measures, **{n.replace("__", "."): c for n, c in channels.items()}})


def playing(**channels: Channel) -> RobotSpec:
    return replace(ROBOT, plays={**ROBOT.plays, **channels})


def asking(name: str, **field: Any) -> dict[str, Any]:
    return {**META, "observation": {**META["observation"], name: {**META["observation"].get(name, {}), **field}}}


def answering(name: str, **field: Any) -> dict[str, Any]:
    return {**META, "action": {**META["action"], name: {**META["action"].get(name, {}), **field}}}


def found(
    spec: RobotSpec = ROBOT, meta: dict[str, Any] = META, instruction: str | None = "go"
) -> list[tuple[str, str]]:
    """Each mismatch: its name, and the robot's and the policy's words."""
    fit = compare(spec, meta, instruction)
    assert fit.fits is (fit.mismatches == ())
    return [(each.name, f"{each.robot} | {each.policy}") for each in fit.mismatches]


def test_what_fits_is_found_to_fit_and_nothing_is_in_doubt() -> None:
    assert compare(ROBOT, META, "go") == Fit((), ())


MOTORS = Channel(shape=(6,), unit="-100 to 100 of each motor's range; the gripper 0 to 100", order=tuple("abcdef"))
ADVICE: dict[str, tuple[RobotSpec, dict[str, Any], str]] = {
    "what is measured in another shape": (
        measuring(block=Channel(shape=(2,))),
        asking("block", shape=[3]),
        "measure it in this shape, or serve with a codec that reads what the robot measures",
    ),
    "what is played in another shape": (
        playing(push=Channel(shape=(2,), low=(0, 0), high=(1, 1))),
        answering("push", shape=[3]),
        "serve with a codec that makes what the robot plays (`offboard codecs` lists them)",
    ),
    "motors in another unit": (
        measuring(motors=MOTORS),
        asking("motors", shape=[6], unit="degrees; the gripper 0 to 100"),
        "have the arm count as the policy does (LeRobot's: --robot.use_degrees true or false); --codec.units of the "
        "server says what the policy was trained in, and converts nothing",
    ),
}


@pytest.mark.parametrize(("spec", "meta", "advice"), ADVICE.values(), ids=ADVICE)
def test_what_to_do_is_about_the_end_that_it_is_about(spec: RobotSpec, meta: dict[str, Any], advice: str) -> None:
    (mismatch,) = compare(spec, meta, "go").mismatches
    assert mismatch.advice == advice


WITHOUT_WRIST = replace(ROBOT, measures={name: c for name, c in ROBOT.measures.items() if name != "image.wrist"})
MISMATCHES: dict[str, tuple[RobotSpec, dict[str, Any], str, str]] = {
    "a measurement that is lacking": (
        ROBOT,
        asking("robot_state.force", shape=[3]),
        "robot_state.force",
        "not this | (3)",
    ),
    "a camera that is lacking": (WITHOUT_WRIST, META, "image.wrist", "has no camera"),
    "a camera of another name": (ROBOT, asking("image.front", shape=[-1, -1, 3]), "image.front", "image.wrist"),
    "an image of another size": (
        ROBOT,
        asking("image.wrist", shape=[224, 224, 3]),
        "image.wrist",
        "(480, 640, 3) | (224",
    ),
    "other joints": (ROBOT, asking("robot_state.q", shape=[7]), "robot_state.q", "(6) | (7)"),
    "joints of an action": (ROBOT, answering("target_joints", shape=[7]), "target_joints", "(6) | (7)"),
    "a dtype": (measuring(image__wrist=replace(IMAGE, dtype="float32")), META, "image.wrist", "float32 | uint8"),
    "degrees": (measuring(robot_state__q=replace(JOINTS, unit="deg")), META, "robot_state.q", "degrees | angle in rad"),
    "degrees under a silent policy": (
        measuring(robot_state__q=replace(JOINTS, unit="degrees")),
        asking("robot_state.q", unit=None),
        "robot_state.q",
        "degrees | angle in rad",
    ),
    "degrees played": (
        playing(target_joints=replace(JOINTS, unit="°")),
        META,
        "target_joints",
        "degrees | angle in rad",
    ),
    "a velocity": (
        measuring(robot_state__q=replace(JOINTS, unit="rad/s")),
        META,
        "robot_state.q",
        "rad/s | angle in rad",
    ),
    "millimetres": (
        measuring(robot_state__ee_pose=replace(POSE, unit="mm, quaternion wxyz")),
        META,
        "robot_state.ee_pose",
        "mm | length in m",
    ),
    "the order of a quaternion": (
        measuring(robot_state__ee_pose=replace(POSE, unit="m, quaternion xyzw")),
        META,
        "robot_state.ee_pose",
        "x y z w | quaternion w",
    ),
    "the order of a quaternion by convention": (
        ROBOT,
        {**asking("robot_state.ee_pose", unit=None), "conventions": {"quaternion": "x y z w"}},
        "robot_state.ee_pose",
        "w x y z | quaternion x y z w",
    ),
    "a frame": (
        measuring(robot_state__ee_pose=replace(POSE, frame="the world; of the finger tips")),
        META,
        "robot_state.ee_pose",
        "world | frame base",
    ),
    "a frame by convention": (
        ROBOT,
        {**answering("target_pose", shape=[7]), "conventions": {"frame": "LIBERO's world (robosuite)"}},
        "target_pose",
        "base | frame world",
    ),
    "the sense of the grip": (
        measuring(grip=replace(GRIP, unit="0 closed to 1 open")),
        META,
        "grip",
        "0 closed | grip 0 open",
    ),
    "colours": (measuring(image__wrist=replace(IMAGE, unit="BGR")), META, "image.wrist", "BGR | colours RGB"),
    "joints in another order": (
        ROBOT,
        {**META, "joint_names": ["b", "a", "c", "d", "e", "f"]},
        "target_joints",
        "a, b, c",
    ),
    "joints of other names": (
        ROBOT,
        {**META, "joint_names": ["1", "2", "3", "4", "5", "6"]},
        "robot_state.q",
        "| 1, 2, 3",
    ),
    "a few joints in another order": (ROBOT, {**META, "joint_names": ["c", "x", "b"]}, "robot_state.q", "| c, x, b"),
    "joints that count down": (
        measuring(robot_state__q=replace(JOINTS, order=("j1", "j2", "j3", "j4", "j5", "j6"))),
        {**META, "joint_names": ["5.pos", "4.pos", "3.pos", "2.pos", "1.pos", "0.pos"]},
        "robot_state.q",
        "| 5.pos, 4",
    ),
    "an action that it cannot play": (
        ROBOT,
        answering("joint_delta", shape=[6]),
        "joint_delta",
        "plays target_joints, t",
    ),
    "an action that nothing checks": (
        playing(pose_delta=POSE),
        answering("pose_delta", shape=[7]),
        "pose_delta",
        "plays it",
    ),
    "another kind of action": (
        ROBOT,
        answering("target_joints", kind="joint_delta"),
        "target_joints",
        "means joint_delta",
    ),
    "no rate": (ROBOT, {**META, "action_fps": None}, "action_fps", "takes 50 set-points per second | does not say"),
    "a rate that it cannot take": (ROBOT, {**META, "action_fps": 100.0}, "action_fps", "makes 100 actions"),
}


@pytest.mark.parametrize("what", MISMATCHES)
def test_each_difference_is_named(what: str) -> None:
    spec, meta, name, says = MISMATCHES[what]
    named = dict(found(spec, meta))
    assert says in named.pop(name), what
    assert set(named) <= ({"robot_state.q", "target_joints"} if "joints" in what else set()), "nothing else is blamed"
    assert all(each.advice for each in compare(spec, meta, "go").mismatches)


@pytest.mark.parametrize(
    ("what", "advice"),
    [
        ("an image of another size", "have the camera deliver this size"),
        ("other joints", "this policy was made for another robot"),
    ],
)
def test_what_has_another_shape_is_to_be_changed_where_it_can_be(what: str, advice: str) -> None:
    spec, meta, _, _ = MISMATCHES[what]
    assert [each.advice for each in compare(spec, meta, "go").mismatches] == [advice]


def test_a_rate_that_is_not_told_is_null_as_in_the_handshake() -> None:
    (mismatch,) = compare(ROBOT, {**META, "action_fps": None}, "go").mismatches
    assert "(action_fps is null, and can be 0.01 to 10000); serve with --fps" in mismatch.advice


def test_another_width_of_the_grip_is_the_codecs_affair() -> None:
    (mismatch,) = compare(ROBOT, answering("target_grip", shape=[2]), "go").mismatches
    assert "codec" in mismatch.advice


def test_a_policy_that_needs_an_instruction_is_given_one_or_does_not_fit() -> None:
    assert found(instruction=None) == [("task", "is given no instruction | needs one")]


def test_what_is_not_required_may_be_lacking_but_not_be_something_else() -> None:
    optional = asking("robot_state.dq", shape=[6], unit="rad/s", required=False)
    assert found(meta=optional) == []
    assert [name for name, _ in found(measuring(robot_state__dq=JOINTS), optional)] == ["robot_state.dq"]


def test_older_names_are_understood() -> None:
    older = {("ee_pose" if name == "robot_state.ee_pose" else name): c for name, c in ROBOT.measures.items()}
    assert found(replace(ROBOT, measures=older)) == []


@pytest.mark.parametrize("names", ["a b c d e f", "A B C D E F", "_a -b c. d e f"])
def test_joints_are_the_same_however_they_are_spelled(names: str) -> None:
    assert compare(ROBOT, {**META, "joint_names": names.split()}, "go") == Fit((), ())


COUNTED = replace(JOINTS, order=("joint1", "joint2", "joint3", "joint4", "joint5", "joint6"))
DOUBTS: dict[str, tuple[RobotSpec, dict[str, Any], str, str]] = {
    "no observation": (ROBOT, {**META, "observation": {}}, "observation", "declares nothing"),
    "no action": (ROBOT, {**META, "action": None}, "action", "declares nothing"),
    "a unit that is not known": (
        measuring(robot_state__q=replace(JOINTS, unit="turns")),
        META,
        "robot_state.q",
        "turns",
    ),
    "a frame that is not known": (
        measuring(robot_state__ee_pose=replace(POSE, frame="the torso")),
        META,
        "robot_state.ee_pose",
        "the torso, the policy base",
    ),
    "a unit of one of them": (
        measuring(force=Channel(shape=(3,), unit="m")),
        asking("force", shape=[3]),
        "force",
        "says m, the policy nothing",
    ),
    "a free axis": (measuring(robot_state__q=Channel(shape=(-1,))), META, "robot_state.q", "leaves (any) open"),
    "joints of an arm that may be another": (
        ROBOT,
        {**META, "joint_names": ["left_a", "left_b", "left_c", "left_d", "left_e", "left_f"]},
        "target_joints",
        "the same if a, b, c, d, e, f are what the policy calls left_a, left_b",
    ),
    "joints that are counted from another number": (
        replace(measuring(robot_state__q=COUNTED), plays={"target_joints": COUNTED, "target_grip": GRIP}),
        {**META, "joint_names": ["q0", "q1", "q2", "q3", "q4", "q5"]},
        "robot_state.q",
        "the same if joint1,",
    ),
    "motors whose order the policy does not say": (
        measuring(motors=Channel(shape=(2,), order=("pan", "lift"))),
        asking("motors", shape=[2]),
        "motors",
        "order: the robot says pan, lift, the policy nothing",
    ),
    "motors whose order the robot does not say": (
        measuring(motors=Channel(shape=(2,))),
        {**asking("motors", shape=[2]), "conventions": {"motors": "pan, lift"}},
        "motors",
        "order: the robot says nothing, the policy pan, lift",
    ),
    "other numbers of names": (
        ROBOT,
        {**META, "joint_names": ["a", "b"]},
        "robot_state.q",
        "names 6 joints, the policy 2",
    ),
}


@pytest.mark.parametrize(
    ("spec", "meta", "name", "says"),
    [
        (
            playing(target_joints=replace(JOINTS, unit="deg")),
            answering("target_joints", unit="degrees"),
            "target_joints",
            "the protocol has target_joints as rad, and limits are held in that",
        ),
        (
            measuring(robot_state__ee_pose=replace(POSE, unit="m, quaternion xyzw")),
            {**asking("robot_state.ee_pose", unit=None), "conventions": {"quaternion": "x y z w"}},
            "robot_state.ee_pose",
            "as w x y z",
        ),
    ],
)
def test_what_both_mean_otherwise_than_the_protocol_does_not_fit(
    spec: RobotSpec, meta: dict[str, Any], name: str, says: str
) -> None:
    """The limits of the robot's side are the protocol's: in them neither would be held as it is meant."""
    (mismatch,) = compare(spec, meta, "go").mismatches
    assert mismatch.name == name
    assert mismatch.robot == mismatch.policy
    assert says in mismatch.advice


@pytest.mark.parametrize("what", DOUBTS)
def test_what_cannot_be_told_is_said_and_not_guessed(what: str) -> None:
    spec, meta, name, says = DOUBTS[what]
    fit = compare(spec, meta, "go")
    assert fit.fits, fit.mismatches
    assert says in {doubt.name: doubt.why for doubt in fit.doubts}[name]


def test_several_differences_are_all_named() -> None:
    spec = measuring(robot_state__q=replace(JOINTS, unit="deg"), grip=replace(GRIP, unit="0 closed, 1 open"))
    meta = {**answering("joint_delta", shape=[6]), "action_fps": None}
    assert [name for name, _ in found(spec, meta)] == ["robot_state.q", "grip", "joint_delta", "action_fps"]
