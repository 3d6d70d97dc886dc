"""A robot measures what it says, plays what it says, and can always be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np
import pytest

from ..errors import InvalidAction, RobotFailed
from ..robots import Cameras, Channel, Robot, Vector, apply
from ._tried import Tried

#: Seconds for what ends at once: a bound for a test that has failed, not a measure of speed.
_PATIENCE = 30.0
#: Seconds for an action that nobody lets come to its end.
_LONG = 1000.0


class RobotLaws(Tried):
    """What a driver relies on.

    ``still``: how much of any measured number may change while the robot holds still (rad, m, share of the grip).
    ``misread``: by how much a wrong reading is off, of any number. None: 1000 on a simulation; what moves is not tried
    with one, for an arm that plays it goes there. Say it of a stand-in for what moves.
    """

    still = 1e-3
    misread: float | None = None

    def nudge(self, robot: Robot, measured: Mapping[str, Any]) -> dict[str, Any]:
        """A row that moves the robot by a little, and that it can play wherever it starts."""
        if "target_joints" in robot.spec.plays:
            return {"target_joints": measured["robot_state.q"] + 0.03}
        if "target_pose" in robot.spec.plays:
            return {"target_pose": measured["robot_state.ee_pose"] + np.array([0, 0, 0.01, 0, 0, 0, 0])}
        raise NotImplementedError("say by nudge() what moves this robot a little")

    def commands(self, robot: Robot, measured: Mapping[str, Any]) -> dict[str, Any]:
        """For each name that the robot plays, what leaves it where it is."""
        known = {"target_joints": "robot_state.q", "target_pose": "robot_state.ee_pose", "target_grip": "grip"}
        found = {name: measured[known[name]] for name in robot.spec.plays if known.get(name) in measured}
        if "joint_delta" in robot.spec.plays:
            found["joint_delta"] = np.zeros(robot.spec.plays["joint_delta"].shape)
        if lacking := robot.spec.plays.keys() - found.keys():
            raise NotImplementedError(f"say by commands() what leaves this robot where it is, for {', '.join(lacking)}")
        return found

    def test_what_it_is_is_known_before_it_is_connected(self, make: Callable[[], Robot]) -> None:
        """Its contract is the same for all of its life, and making a second one is nothing to the first."""
        one, two = make(), make()
        before = one.spec
        assert two.spec == before
        assert one.actions == before.plays.keys()
        assert before.measures
        assert before.plays
        assert one.control_period == before.control_period
        one.close()  # as where connect has failed
        two.connect()
        two.stop()  # before it was ever commanded
        two.close()
        assert one.spec == two.spec == before

    def test_it_measures_what_it_says(self, robot: Robot) -> None:
        """Exactly the names of ``spec.measures``, each of its shape and dtype; numbers that a robot can have."""
        measured = robot.observe()
        assert measured.keys() == robot.spec.measures.keys()
        for name, channel in robot.spec.measures.items():
            _check(name, measured[name], channel)

    def test_what_was_measured_stays_as_it_was(self, robot: Robot) -> None:
        """A map anew each time, whose arrays do not change when the robot moves on."""
        measured = robot.observe()
        kept = {name: np.array(value) for name, value in measured.items()}
        robot.apply(self.nudge(robot, measured), _seconds(robot))
        again = robot.observe()
        assert again is not measured
        assert _moved(kept, again) > self.still, "the nudge does not move it"
        for name, value in kept.items():
            np.testing.assert_array_equal(measured[name], value, err_msg=name)

    def test_an_empty_action_holds_still(self, robot: Robot) -> None:
        """For as long as it is asked to."""
        before = robot.observe()
        robot.apply({}, _seconds(robot))
        assert _moved(before, robot.observe()) <= self.still

    def test_where_time_passes_by_itself_a_command_takes_its_time(self, robot: Robot) -> None:
        """Most of it at least: a robot that returns at once says ``realtime = False``, or lets commands overtake it."""
        robot.observe()
        began = time.monotonic()
        for _ in range(4):
            robot.apply({}, _seconds(robot))
        assert not robot.realtime or time.monotonic() - began >= 0.75 * 4 * _seconds(robot)

    def test_its_state_is_what_it_observes_without_what_takes_long(self, robot: Robot) -> None:
        """Some of the names of ``spec.measures``, none of them a camera's, and what :meth:`observe` says of them."""
        observed, state = robot.observe(), robot.state()
        assert state.keys() <= robot.spec.measures.keys() - robot.spec.cameras.keys()
        assert _moved(state, {**state, **observed}) <= self.still

    def test_what_was_taken_was_taken_before_now(self, robot: Robot) -> None:
        """``taken`` is of names that it observes, in seconds of ``time.monotonic()``; none of them frozen."""
        observed = robot.observe()
        taken, now = robot.taken, time.monotonic()
        assert taken.keys() <= observed.keys()
        for name, at in taken.items():
            assert at <= now, name
            assert robot.spec.stale_after is None or now - at <= robot.spec.stale_after, name

    def test_its_cameras_can_be_looked_at_while_it_is_played(self, robot: Robot) -> None:
        """Where it says so by ``live_cameras``: every camera's pictures, as observed, and new ones while it plays."""
        cameras = robot.live_cameras
        if cameras is None:
            return
        robot.observe()
        wanted = robot.spec.cameras
        playing = threading.Thread(target=robot.apply, args=({}, _LONG), daemon=True)
        playing.start()
        try:
            first = _looked(cameras, wanted.keys(), dict.fromkeys(wanted, -np.inf))
            kept = {name: picture.copy() for name, (picture, _) in first.items()}
            for name, (picture, at) in first.items():
                _check(name, picture, wanted[name])
                assert at <= time.monotonic(), name
            _looked(cameras, wanted.keys(), {name: at for name, (_, at) in first.items()})
            for name, (picture, _) in first.items():
                np.testing.assert_array_equal(picture, kept[name], err_msg=name)
        finally:
            robot.stop()
            playing.join(_PATIENCE)

    def test_it_plays_what_it_says(self, robot: Robot) -> None:
        """Each name of ``spec.plays`` alone; told to be where it is, it stays there."""
        before = robot.observe()
        for name, value in self.commands(robot, before).items():
            robot.apply({name: value}, _seconds(robot))
            assert _moved(before, robot.observe()) <= self.still, name

    def test_what_it_cannot_play_is_refused_before_anything_moves(self, robot: Robot) -> None:
        """InvalidAction for another name, another shape, and a number that is not finite, beside what is good."""
        before = robot.observe()
        nudge = self.nudge(robot, before)
        wrong: list[dict[str, Any]] = [{**nudge, "no_such_name": np.zeros(3)}]
        for name, value in nudge.items():
            bad = np.array(value, np.float64)
            bad[-1] = np.nan
            wrong += [{**nudge, name: bad}, {**nudge, name: np.append(value, 0.0)}, {**nudge, name: np.zeros((2, 2))}]
        for action in wrong:
            with pytest.raises(InvalidAction):
                robot.apply(action, _seconds(robot))
            assert _moved(before, robot.observe()) <= self.still, action

    def test_a_wrong_reading_after_the_check_moves_nothing(self, robot: Robot) -> None:
        """What begins its set-points where the arm is, begins where the command was checked, or has failed."""
        off = self.misread or (1000.0 if robot.spec.simulated else None)
        names = self.commands(robot, robot.observe()) if off is not None else ()
        for name in names:
            robot.stop()  # it goes on from where it is, and not from what it was sent last
            before = robot.observe()
            action, start, state, asked = self.commands(robot, before)[name], robot.state(), robot.state, list[str]()

            def misread(state: Any = state, asked: list[str] = asked, name: str = name) -> dict[str, Any]:
                asked.append(name)
                return {key: value + off if _is_vector(value) else value for key, value in state().items()}

            robot.state = misread
            try:
                apply(robot, {name: action}, _seconds(robot), start)
            except RobotFailed:
                asked.clear()
            finally:
                delattr(robot, "state")
            assert not asked, f"apply of {name} reads where the arm is, and nobody checks that: take start=None"
            assert _moved(before, robot.observe()) <= self.still, name

    def test_a_stop_ends_what_is_under_way(self, robot: Robot) -> None:
        """From another thread, and more than once; what was commanded by an older observation moves nothing."""
        measured = robot.observe()
        begins, ended = threading.Event(), threading.Event()

        def hold() -> None:
            begins.set()
            robot.apply({}, _LONG)
            ended.set()

        threading.Thread(target=hold, daemon=True).start()
        assert begins.wait(_LONG)
        robot.stop()
        robot.stop()
        assert ended.wait(_PATIENCE), "apply goes on, though it was told to stop"
        robot.apply(self.nudge(robot, measured), _seconds(robot))
        after = robot.observe()
        assert _moved(measured, after) <= self.still, "it moved, though nothing was observed since it was told to stop"
        robot.apply(self.nudge(robot, after), _seconds(robot))
        assert _moved(after, robot.observe()) > self.still, "it does not move any more, though it was observed anew"

    def test_its_kinematics_are_its_own(self, robot: Robot) -> None:
        """Where joints put the end effector is what it measures; a pose that can be solved for leads back to it."""
        measured = robot.observe()
        if robot.kinematics is None or not {"robot_state.q", "robot_state.ee_pose"} <= measured.keys():
            return
        q = cast("Vector", measured["robot_state.q"])
        there = robot.kinematics.forward(q)
        assert _apart(there, measured["robot_state.ee_pose"]) <= self.still
        if (solve := getattr(robot.kinematics, "solve", None)) is not None:
            assert _apart(robot.kinematics.forward(solve(there, q)), there) <= self.still


def _seconds(robot: Robot) -> float:
    """Half a second, in whole control periods."""
    return max(1, round(0.5 / robot.control_period)) * robot.control_period


def _is_vector(value: Any) -> bool:
    return isinstance(value, np.ndarray) and cast("Vector", value).dtype.kind == "f"


def _looked(cameras: Cameras, names: Collection[str], since: Mapping[str, float]) -> Mapping[str, Any]:
    """Pictures of all cameras, each taken after that time."""
    end = time.monotonic() + _PATIENCE
    while True:
        found = cameras.frames()
        assert found.keys() <= set(names), "a camera that spec.measures does not name"
        if len(found) == len(names) and all(at > since[name] for name, (_, at) in found.items()):
            return found
        assert time.monotonic() < end, f"no new picture of {sorted(names)} came within {_PATIENCE:g} s"
        time.sleep(0.005)


def _check(name: str, value: Any, channel: Channel) -> None:
    if channel.dtype == "str":
        assert isinstance(value, str), name
        return
    assert isinstance(value, np.ndarray), name
    array = cast("Vector", value)
    assert array.dtype == np.dtype(channel.dtype), name
    assert len(array.shape) == len(channel.shape), name
    assert all(expected in (-1, size) for size, expected in zip(array.shape, channel.shape, strict=True)), name
    assert np.isfinite(array).all(), name
    if name.endswith("ee_pose"):
        np.testing.assert_allclose(np.linalg.norm(array[3:]), 1, atol=1e-3, err_msg=f"the quaternion of {name}")
    if name.partition(".")[0] == "grip":
        assert ((array >= 0) & (array <= 1)).all(), name


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """The most that a number of the arm's posture differs by."""
    names = [name for name in before if name.endswith((".q", ".ee_pose")) or name.partition(".")[0] == "grip"]
    return max((_apart(before[name], after[name]) for name in names), default=0.0)


def _apart(one: Vector, other: Vector) -> float:
    """Their quaternions, where they are poses, of either sign."""
    flipped = np.concatenate([other[:3], -other[3:]]) if other.shape == (7,) else other
    return float(min(np.abs(one - other).max(), np.abs(one - flipped).max()))
