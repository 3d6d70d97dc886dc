"""An environment of Gymnasium as a robot: its spaces by the names of a file, and one clear error for what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import little_environments
import numpy as np
import pytest
from little_environments import ID
from offboard_client.errors import ConfigurationError, InvalidAction, RobotFailed
from offboard_client.play import Guard, SafetyLimits
from offboard_client.robots import connected
from offboard_client.robots.gym import GymOptions, GymRobot, GymTask, make_gym
from offboard_client.testing import RobotConformance

FILE = """
module = "little_environments"
simulated = true
fps = 10
task = "both to zero"
success = { info = "is_success" }

[make]
renders = true

[observation]
"robot_state.q" = { key = "arm.q", unit = "rad", order = ["shoulder", "elbow"] }
"image.wrist" = { key = "pixels" }
"image.exterior" = { render = true }

[action]
"target_joints" = { kind = "absolute", unit = "rad", order = ["shoulder", "elbow"] }
"""
#: Of an environment that observes one row of five numbers.
ROW = """
module = "little_environments"
simulated = true
fps = 10

[make]
fault = "row"

[observation]
"agent" = { slice = [0, 2] }
"block" = { slice = [2, 5] }

[action]
"angles" = { kind = "absolute" }
"""
#: The same under a name of its own.
OWN = FILE.replace("target_joints", "angles")


@pytest.fixture
def spaces(tmp_path: Path) -> Callable[[str], GymOptions]:
    def write(text: str) -> GymOptions:
        (tmp_path / "reach.toml").write_text(text, "utf-8")
        return GymOptions(spaces=tmp_path / "reach.toml")

    return write


@pytest.fixture
def robot(spaces: Callable[[str], GymOptions]) -> Iterator[GymRobot]:
    with connected(make_gym(spaces(FILE), ID)) as robot:
        yield robot


class TestReach(RobotConformance):
    name = f"gymnasium:{ID}"

    @pytest.fixture
    def options(self, spaces: Callable[[str], GymOptions]) -> GymOptions:
        return spaces(FILE)


def test_it_measures_and_plays_what_the_file_names(robot: GymRobot) -> None:
    seen = robot.observe()
    assert {name: (value.shape, str(value.dtype)) for name, value in seen.items()} == {
        "robot_state.q": ((2,), "float32"),
        "image.wrist": ((8, 6, 3), "uint8"),
        "image.exterior": ((4, 5, 3), "uint8"),
    }
    assert (seen["image.exterior"] == 200).all()
    assert robot.spec.measures["robot_state.q"].order == ("shoulder", "elbow")
    joints = robot.spec.plays["target_joints"]
    assert (joints.low, joints.high, joints.unit) == ((-2, -2), (2, 2), "rad")
    assert robot.spec.simulated
    assert robot.control_period == 0.1


def test_a_step_is_a_control_period_and_a_longer_way_is_even(robot: GymRobot) -> None:
    env = little_environments.made[-1]
    robot.observe()
    robot.apply({"target_joints": [0.9, -0.9]}, 0.1)
    robot.apply({"target_joints": [0.3, 0.3]}, 0.3)
    robot.apply({}, 0.2)
    expected = [[0.9, -0.9], [0.7, -0.5], [0.5, -0.1], [0.3, 0.3], [0.3, 0.3], [0.3, 0.3]]
    np.testing.assert_allclose(env.played, expected, rtol=1e-6)


def test_nothing_is_played_for_want_of_a_command(robot: GymRobot) -> None:
    """An arm whose actions say where to: before the first nobody knows one that holds it, and none is made up."""
    robot.observe()
    robot.apply({}, 0.5)
    assert little_environments.made[-1].played == []


def test_of_a_velocity_and_a_delta_zero_holds_still(spaces: Callable[[str], GymOptions]) -> None:
    text = OWN.replace("[make]", "[make]\nvelocity = true")
    for kind, shares in (("velocity", 1), ("delta", 2)):
        with connected(make_gym(spaces(text.replace("absolute", kind)), ID)) as robot:
            robot.observe()
            robot.apply({"angles": [0.4, -0.4]}, 0.2)
            robot.apply({}, 0.1)
            expected = [[0.4 / shares, -0.4 / shares]] * 2 + [[0, 0]]
            np.testing.assert_allclose(little_environments.made[-1].played, expected, rtol=1e-6)


#: An end that sums of others go beyond by rounding.
FAR = 0.7


@pytest.fixture
def seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments whose action is seven numbers from -1 to 1, which they look at themselves."""
    real: Any = little_environments.Reach.__init__

    def made(self: Any, **said: Any) -> None:
        real(self, **said)
        self.action_space = gymnasium.spaces.Box(-1, 1, (7,), np.float64)

    def step(self: Any, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.played.append(action)
        return self._seen(), 0.0, False, False, {"is_success": False}

    monkeypatch.setattr(little_environments.Reach, "__init__", made)
    monkeypatch.setattr(little_environments.Reach, "step", step)


SEVEN = FILE.split("[action]")[0] + '[action]\n"target_joints" = { kind = "absolute" }'


@pytest.mark.usefixtures("seven")
def test_a_longer_way_of_a_pose_turns_and_ends_where_it_was_sent(spaces: Callable[[str], GymOptions]) -> None:
    """Its quaternion has length 1 all the way."""
    first, last = np.array([0, 0, 0.1, 1, 0, 0, 0.0]), np.array([0, 0, 1, 0, 0, 0, 1.0])
    with connected(make_gym(spaces(SEVEN.replace("target_joints", "target_pose")), ID)) as robot:
        robot.observe()
        robot.apply({"target_pose": first}, 0.1)
        robot.apply({"target_pose": last}, 0.4)
        played = np.array(little_environments.made[-1].played)
    np.testing.assert_array_equal(played[-1], last)
    np.testing.assert_allclose(np.linalg.norm(played[:, 3:], axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(played[2, 3:], [np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)], atol=1e-9)


@pytest.mark.usefixtures("seven")
def test_no_rounding_leads_beyond_an_end(spaces: Callable[[str], GymOptions]) -> None:
    """Of the way, which may be the end of the space, too."""
    random = np.random.default_rng(0)
    with connected(
        make_gym(spaces(SEVEN.replace('"absolute"', f'"absolute", low = -{FAR}, high = {FAR}')), ID)
    ) as robot:
        robot.observe()
        for goal in [each for _ in range(20) for each in (random.uniform(-FAR, FAR, 7), np.full(7, FAR))]:
            robot.apply({"target_joints": goal}, 0.2)
    assert np.abs(np.array(little_environments.made[-1].played[:-1])).max() == FAR


def test_parts_of_an_action_have_names_of_their_own(spaces: Callable[[str], GymOptions]) -> None:
    """By slices of one array, and by the keys of a Dict; what a row does not say stays as it was."""
    sliced = """
        "target_joints" = { kind = "absolute", slice = [0, 1] }
        "elbow" = { kind = "absolute", slice = [1, 2], low = -1 }"""
    keyed = sliced.replace("slice = [0, 1]", 'key = "arm.one"').replace("slice = [1, 2]", 'key = "two"')
    for text, make in ((sliced, ""), (keyed, 'fault = "dict"')):
        whole = FILE.split("[action]")[0].replace("[make]", f"[make]\n{make}") + "[action]" + text
        with connected(make_gym(spaces(whole), ID)) as robot:
            env = little_environments.made[-1]
            assert robot.spec.plays["elbow"].low == (-1,)
            robot.observe()
            with pytest.raises(InvalidAction, match="target_joints without elbow"):
                robot.apply({"target_joints": [0.5]}, 0.1)
            robot.apply({"target_joints": [0.5], "elbow": [0.25]}, 0.1)
            robot.apply({"elbow": [-0.5]}, 0.1)
            np.testing.assert_allclose(env.q, [0.5, -0.5], rtol=1e-6)


@pytest.mark.parametrize("text", [FILE, OWN], ids=["a name of the protocol", "a name of its own"])
def test_what_is_beyond_the_bounds_is_refused_and_not_clipped(spaces: Callable[[str], GymOptions], text: str) -> None:
    """By the guard for the whole chunk, before any of it is played, and by the robot itself."""
    with connected(make_gym(spaces(text), ID)) as robot:
        name = next(iter(robot.spec.plays))
        limits = SafetyLimits(workspace_low=None, workspace_high=None, joint_velocity=1e4, joint_offset=10.0)
        guard = Guard(robot, limits, {"action": {name: {"shape": [2]}}, "action_fps": 10.0})
        seen = robot.observe()
        rows = [{"action": {name: np.array([q, q])}, "timestamp": at / 10} for at, q in enumerate((0.5, 2.0, 2.01))]
        allowed = [command.action[name] for command in guard.plan(rows[:2], seen)]
        np.testing.assert_array_equal(allowed, [[0.5, 0.5], [2, 2]])
        with pytest.raises(InvalidAction, match=rf"shoulder of {name} of row 2 is 2.01; -2 … 2 are allowed \(rad\)"):
            list(guard.plan(rows, seen))
        with pytest.raises(InvalidAction, match="shoulder"):
            robot.apply(rows[2]["action"], 0.1)
        assert little_environments.made[-1].played == []


def test_no_step_follows_the_one_that_ends_the_episode(robot: GymRobot) -> None:
    task = GymTask(robot, None)
    task.reset(3)
    assert (task.succeeded(), task.over(), task.scores()) == (None, False, {})
    robot.observe()
    robot.apply({"target_joints": [0.5, 0.5]}, 0.1)
    assert (task.succeeded(), task.over()) == (False, False)
    robot.apply({"target_joints": [0.0, 0.0]}, 1.0)
    assert (task.succeeded(), task.over()) == (True, True)
    env = little_environments.made[-1]
    before = len(env.played)
    robot.apply({"target_joints": [1.0, 1.0]}, 0.5)
    assert len(env.played) == before <= 11
    assert task.scores() == pytest.approx(
        {"sum_reward": -sum(np.abs(q[0]) for q in env.played), "max_reward": 0}, abs=0.06
    )
    task.reset(3)
    assert (task.succeeded(), task.over(), task.scores()) == (None, False, {})


@pytest.mark.parametrize(
    ("success", "judged"),
    [
        ("", [None, None, None]),
        ("success = { terminated = true }", [False, False, True]),
        ("success = { reward = -0.5 }", [False, True, True]),
    ],
)
def test_success_is_what_the_file_says(
    spaces: Callable[[str], GymOptions], success: str, judged: list[bool | None]
) -> None:
    with connected(make_gym(spaces(FILE.replace('success = { info = "is_success" }', success)), ID)) as robot:
        task = GymTask(robot, None)
        task.reset(0)
        found = [task.succeeded()]
        robot.observe()
        for q in (0.5, 0.0):
            robot.apply({"target_joints": [q, q]}, 0.1)
            found.append(task.succeeded())
        assert found == judged


WRONG: dict[str, tuple[str, str]] = {
    "it renders nothing": (FILE.replace("renders = true", "renders = false"), "renders nothing"),
    "it has no way to render": (
        FILE.replace("[make]", '[make]\nfault = "no render"'),
        "renders nothing, and .* names what it renders; it can render rgb_array: take an image of its observation, or",
    ),
    "a window is no picture": (
        FILE.replace("[make]", '[make]\nrender_mode = "human"'),
        r'\[make\] says render_mode = "human".*: leave render_mode out, which makes it with "rgb_array"',
    ),
    "it renders nothing in that mode": (
        FILE.replace("renders = true", 'renders = false\nrender_mode = "ansi"'),
        r'nothing with \[make\] render_mode = "ansi", .*: leave render_mode out of \[make\], or take an image',
    ),
    "numbers without a name": (
        ROW.replace('"block" = { slice = [2, 5] }', ""),
        r'\[2:5\] of the observation, numbers, has no name in \[observation\]; name it, or say ignore = \["\[2:5\]"\]',
    ),
    "a number without a name": (ROW.replace("[2, 5]", "[3, 5]"), r'say ignore = \["\[2:3\]"\]'),
    "numbers of a key without a name": (
        FILE.replace('"arm.q", unit = "rad", order = ["shoulder", "elbow"]', '"arm.q", slice = [0, 1]'),
        r'say ignore = \["arm\.q\[1:2\]"\]',
    ),
    "a number with two names": (ROW.replace("[2, 5]", "[1, 5]"), "number 1 of the observation has more than one name"),
    "a number with a name that is ignored": (
        'ignore = ["[1:2]"]' + ROW,
        "number 1 of the observation has more than one name",
    ),
    "ignored numbers that there are not": (
        'ignore = ["[2:6]"]' + ROW.replace('"block" = { slice = [2, 5] }', ""),
        r"ignore names \[2:6\] of an array of the shape \(5,\)",
    ),
    "ignored numbers of no key": ('ignore = ["arm.p[0:1]"]' + FILE, r"ignore: .*arm\.p.*arm\.q"),
    "an observation without a name": (FILE.replace('"image.wrist" = { key = "pixels" }', ""), "observes pixels, which"),
    "an action without a name": (
        FILE.split("[action]")[0] + '[action]\n"elbow" = { kind = "absolute", slice = [0, 1] }',
        "number 1 of the action has no",
    ),
    "an action with two": (FILE + '"again" = { kind = "absolute" }', "number 0 of the action has more than one name"),
    "no such key": (FILE.replace("arm.q", "arm.p"), r"robot_state.q of \[observation\]: .*arm\.q"),
    "no key where there are some": (
        FILE.replace('key = "pixels"', ""),
        "says no key; the environment has arm.q, pixels",
    ),
    "a key where there is none": (FILE.replace('"absolute"', '"absolute", key = "arm"'), "no key"),
    "no such slice": (FILE.replace('"absolute"', '"absolute", slice = [0, 3]'), r"slice = \[0, 3\] of an array"),
    "an order of other numbers": (FILE.replace('"elbow"] }', '"elbow", "wrist"] }'), "order of 3 names"),
    "no image": (FILE.replace('"robot_state.q"', '"image.arm"'), r"image.arm of .* is \(2,\) float32; an image is"),
    "an action space of another kind": (FILE.replace("[make]", '[make]\nfault = "discrete"'), "only Box spaces"),
    "an action without bounds": (FILE.replace("[make]", '[make]\nfault = "unbounded"'), "say by low and high"),
    "bounds beyond the space's": (FILE.replace('"absolute"', '"absolute", high = 3'), "beyond the space's own"),
    "a velocity that cannot be 0": (OWN.replace('"absolute"', '"velocity", low = 0.5'), "0, which holds still"),
    "joints that are velocities": (
        FILE.replace('"absolute"', '"velocity"'),
        r'kind = "velocity" of target_joints .* as absolute_joints, rad \(R-4\): say kind = "absolute"',
    ),
    "a delta that is absolute": (
        FILE.replace("target_joints", "joint_delta"),
        r'kind = "absolute" of joint_delta .* added once to the joints .*\(R-5\): say kind = "delta"',
    ),
    "velocities that are a delta": (
        FILE.replace('"target_joints" = { kind = "absolute"', '"joint_velocity.left" = { kind = "delta"'),
        r'R-6\): say kind = "velocity"',
    ),
    "a pose that is turned": (FILE.replace("target_joints", "pose_delta"), r"pose_delta .* R-7.*ActionWrapper"),
    "a pose of two numbers": (
        FILE.replace("target_joints", "target_pose"),
        r"target_pose is \(2,\) float64; .*\(7,\): x y z in m and a unit quaternion w x y z \(R-3\)",
    ),
    "a measured pose of two": (FILE.replace("robot_state.q", "robot_state.ee_pose"), r"ee_pose is \(2,\).*O-2"),
    "a grip of two": (FILE.replace("target_joints", "target_grip"), r"target_grip is \(2,\) .*\(1,\).*R-8"),
    "a measured grip of two": (FILE.replace("robot_state.q", "grip.left"), r"grip.left is \(2,\) .*O-4"),
    "joints that are a picture": (
        FILE.replace("image.exterior", "robot_state.left.q"),
        r"left.q is \(4, 5, 3\) uint8; .*\(n,\): one number for each joint, in rad \(O-3\)",
    ),
    "an instruction of numbers": (FILE.replace("robot_state.q", "task"), r"task is measured as .* a text \(O-6\)"),
    "an order that names one twice": (
        FILE.replace('"shoulder", "elbow"', '"elbow", "elbow"'),
        r"of \[action\]: a channel's order names elbow twice",
    ),
    "no name": (FILE.replace("target_joints", " "), "a channel is called ' '; expected a name that can be printed"),
    "a name that is no text to print": (FILE.replace("target_joints", r"a\u001b[2J"), "can be printed"),
    "a name of the protocol's own": (FILE.replace("robot_state.q", "offboard.seed"), "is the protocol's own"),
    "an observation of another shape": (FILE.replace("[make]", '[make]\nfault = "shape"'), r"came as \(3,\) float32"),
    "an observation that is not finite": (FILE.replace("[make]", '[make]\nfault = "nan"'), "not finite"),
    "a module that is not there": (FILE.replace("little_env", "no_env"), "no_environments cannot be imported"),
    "an option that it does not take": (FILE.replace("renders =", "draws ="), "cannot be made: .*draws"),
    "what is real": (FILE.replace("simulated = true", "simulated = false"), "reset, where nobody's limits hold"),
    "nothing of what is simulated": (FILE.replace("simulated = true", ""), "simulated"),
    "a rate that is none": (FILE.replace("fps = 10", "fps = 0.0"), "steps per second"),
    "two kinds of success": (FILE.replace("{ info", "{ reward = 1, info"), "success is one of"),
    "a kind that there is not": (FILE.replace("absolute", "relative"), '"absolute", "velocity", "delta"'),
    "an entry that there is not": (FILE.replace("task =", "tusk ="), "tusk.*task"),
    "no table": (FILE.replace("{ render = true }", '"render"'), "expected a table"),
    "no TOML": ("fps = ten", "no TOML"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_error_before_anything_is_played(
    spaces: Callable[[str], GymOptions], text: str, says: str
) -> None:
    before = len(little_environments.made)
    options = spaces(text)
    with pytest.raises(ConfigurationError, match=says) as error:
        make_gym(options, ID)
    assert error.value.text.startswith(str(options.spaces))
    for env in little_environments.made[before:]:
        assert env.played == ["closed"]


def test_numbers_that_are_not_read_are_said_to_be(spaces: Callable[[str], GymOptions]) -> None:
    """And all of an array may have a name beside those of its parts."""
    text = 'ignore = ["[2:4]"]' + ROW.replace("[2, 5]", "[4, 5]")
    with connected(make_gym(spaces(text), ID)) as robot:
        assert {name: value.tolist() for name, value in robot.observe().items()} == {"agent": [0, 0.5], "block": [2]}
    whole = ROW.replace('"block" = { slice = [2, 5] }', '"state" = {}')
    with connected(make_gym(spaces(whole), ID)) as robot:
        assert robot.observe()["state"].tolist() == [0, 0.5, 1, 1.5, 2]


def test_no_window_is_opened_for_what_is_refused(spaces: Callable[[str], GymOptions]) -> None:
    before = len(little_environments.made)
    with pytest.raises(ConfigurationError, match="human"):
        make_gym(spaces(FILE.replace("[make]", '[make]\nrender_mode = "human"')), ID)
    assert len(little_environments.made) == before


def test_without_a_file_it_says_what_the_spaces_are() -> None:
    with pytest.raises(ConfigurationError, match=r"arm\.q: Box\(.*pixels: Box\(.*; it plays Box\(-2"):
        make_gym(GymOptions(), ID)
    with pytest.raises(ConfigurationError, match="gymnasium:ID"):
        make_gym(GymOptions(), None)
    with pytest.raises(ConfigurationError, match=r"does not know no/Such-v0.*module = "):
        make_gym(GymOptions(), "no/Such-v0")


def test_an_environment_that_fails_is_a_robot_that_fails(spaces: Callable[[str], GymOptions]) -> None:
    """In a step, and in what it says of success."""
    robot = make_gym(spaces(FILE.replace('info = "is_success"', 'info = "done"')), ID)
    with connected(robot):
        robot.observe()
        with pytest.raises(RobotFailed, match=r"success is done of .*, and that has is_success"):
            robot.apply({"target_joints": [0.5, 0.5]}, 0.1)
    with pytest.raises(RobotFailed, match="closed"):
        robot.observe()


def stepped(robot: GymRobot, changed: dict[str, Any]) -> None:
    """One step of an environment whose own values are replaced by these; of its info what is given under ``info``."""
    env: Any = little_environments.made[-1]
    real = env.step
    names = ("observation", "reward", "terminated", "truncated", "info")

    def step(action: Any) -> tuple[Any, ...]:
        return tuple((dict(zip(names, real(action), strict=True)) | changed).values())

    env.step = step
    robot.observe()
    robot.apply({"target_joints": [0.5, 0.5]}, 0.1)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        *(("reward", value, "the reward of .*; expected a finite number") for value in (np.nan, np.inf, "1.5", None)),
        ("reward", np.array([1.0]), r"the reward of .* is ndarray of shape \(1,\)"),
        *(
            ("terminated", value, "terminated of .*expected true or false")
            for value in ("False", np.nan, None, [False])
        ),
        ("truncated", 0.5, "truncated of .* is 0.5"),
        *(("info", {"is_success": value}, "success, is_success of") for value in ("False", np.nan, 0.5, None, [True])),
        ("info", None, "the info of the environment's step is None; expected a map"),
    ],
)
def test_what_a_step_says_is_taken_as_nothing_else(robot: GymRobot, name: str, value: Any, says: str) -> None:
    """A text is no number and NaN no success: Python takes both for one."""
    with pytest.raises(RobotFailed, match=says):
        stepped(robot, {name: value})


@pytest.mark.parametrize("done", [True, np.True_, 1, 1.0, np.float32(1), np.array(1.0)])
def test_a_number_and_a_bool_may_be_numpys(robot: GymRobot, done: Any) -> None:
    """Many environments say success as 0.0 or 1.0."""
    stepped(
        robot, {"reward": np.float32(0.5), "terminated": done, "truncated": np.False_, "info": {"is_success": done}}
    )
    task = GymTask(robot, None)
    assert (task.succeeded(), task.over(), task.scores()) == (True, True, {"sum_reward": 0.5, "max_reward": 0.5})
    assert type(task.succeeded()) is type(task.over()) is bool


def test_a_reset_is_what_gymnasium_says(robot: GymRobot) -> None:
    env: Any = little_environments.made[-1]
    for given, says in (
        (np.zeros(2), r"reset returned ndarray.*expected \(observation, info\)"),
        (({}, None), "info of"),
    ):
        env.reset = lambda given=given, **said: given
        with pytest.raises(RobotFailed, match=says):
            robot.reset(0)


def test_a_close_that_fails_does_not_hide_what_was_wrong_before(
    spaces: Callable[[str], GymOptions], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def close(self: Any) -> None:
        raise OSError("no window to close")

    monkeypatch.setattr(little_environments.Reach, "close", close)
    with pytest.raises(ConfigurationError, match="renders nothing"):
        make_gym(spaces(FILE.replace("renders = true", "renders = false")), ID)
    assert "no window to close" in caplog.text


def test_what_an_environment_raises_has_its_name(
    spaces: Callable[[str], GymOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Any, **said: Any) -> None:
        raise OSError("no context")

    for method in ("reset", "render"):
        with monkeypatch.context() as patch:
            patch.setattr(little_environments.Reach, method, fails)
            with pytest.raises(
                ConfigurationError, match=rf"reach.toml: the robot failed in .*{method}: OSError: no con"
            ):
                make_gym(spaces(FILE), ID)
