"""Each law of the client's kit is broken once, by a robot, a task or an entry that breaks nothing else."""

import re
import sys
import threading
import time
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from offboard_client import testing
from offboard_client.errors import InvalidAction
from offboard_client.plugins import Chosen
from offboard_client.robots import Channel, Robot, RobotEntry, RobotSpec, connected
from offboard_client.testing import EntryLaws, RobotLaws, TaskLaws
from planted import check
from puppets import reached

JOINTS = Channel(shape=(2,), unit="rad")
POSE = Channel(shape=(7,), unit="m, unit quaternion wxyz")


class Plane:
    def forward(self, q):
        angle = q.sum()
        return np.array([np.cos(q[0]), np.sin(q[0]), 0.0, np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])

    def solve(self, pose, near):
        first = np.arctan2(pose[1], pose[0])
        return np.array([first, 2 * np.arctan2(pose[6], pose[3]) - first])


class Arm(Robot):
    """Keeps every law."""

    spec = RobotSpec(
        measures={"robot_state.q": JOINTS, "robot_state.ee_pose": POSE, "grip": Channel(shape=(1,))},
        plays={"target_joints": JOINTS},
        control_period=0.1,
        simulated=True,
    )
    kinematics = Plane()
    realtime = False

    def __init__(self):
        self.q = np.array([0.2, 0.3])
        self.stopped = threading.Event()

    def observe(self):
        self.stopped.clear()
        return {"robot_state.q": self.q.copy(), "robot_state.ee_pose": Plane().forward(self.q), "grip": np.zeros(1)}

    def apply(self, action, seconds):
        goal = self.checked(action).get("target_joints", self.q)
        if not self.stopped.wait(seconds if seconds > 10 else 0):
            self.q = np.array(goal)

    def stop(self):
        self.stopped.set()


class IsKnownOnceConnected(Arm):
    def connect(self):
        self.spec = RobotSpec(measures=Arm.spec.measures, plays=Arm.spec.plays, control_period=0.01)


class ClosesWhatItNeverOpened(Arm):
    def connect(self):
        self.port = self.stopped

    def close(self):
        self.port.clear()


class CountsInMilliseconds(Arm):
    control_period = 100.0


class Seen(Arm):
    """Measures what ``change`` makes of it."""

    def observe(self):
        return {**super().observe(), **self.change(super().observe())}


class MeasuresMore(Seen):
    def change(self, measured):
        return {"robot_state.dq": np.zeros(2)}


class MeasuresInSinglePrecision(Seen):
    def change(self, measured):
        return {"robot_state.q": measured["robot_state.q"].astype(np.float32)}


class MeasuresANumber(Seen):
    def change(self, measured):
        return {"grip": 0.0}


class CannotMeasure(Seen):
    def change(self, measured):
        return {"grip": np.array([np.nan])}


class HasNoRotation(Seen):
    def change(self, measured):
        return {"robot_state.ee_pose": np.zeros(7)}


class CountsItsGripInPercent(Seen):
    def change(self, measured):
        return {"grip": np.array([100.0])}


class HandsOutItsOwnState(Arm):
    def observe(self):
        return {**super().observe(), "robot_state.q": self.q}

    def apply(self, action, seconds):
        before = self.q
        super().apply(action, seconds)
        before[:], self.q = self.q, before


class Drifts(Arm):
    def apply(self, action, seconds):
        super().apply(action or {"target_joints": self.q + 0.01}, seconds)


class PlaysDegrees(Arm):
    def apply(self, action, seconds):
        super().apply({name: np.radians(value) for name, value in action.items()}, seconds)


class MovesBeforeItLooks(Arm):
    def apply(self, action, seconds):
        self.q = np.array(action.get("target_joints", self.q))[:2]
        super().apply(action, seconds)


class LeavesOutWhatItDoesNotKnow(Arm):
    def apply(self, action, seconds):
        super().apply({name: value for name, value in action.items() if name in self.actions}, seconds)


class PlaysNaN(Arm):
    def apply(self, action, seconds):
        super().apply({name: np.nan_to_num(value) for name, value in action.items()}, seconds)


class ReadsAnewWhereItBegins(Arm):
    def apply(self, action, seconds):
        if action:
            begin = self.state()["robot_state.q"]
            self.q = begin + (self.checked(action)["target_joints"] - begin)


class CannotBeStopped(Arm):
    def stop(self):
        pass


class LooksOnlyWhenItBegins(Arm):
    told = False

    def __init__(self):
        super().__init__()
        self.begun = threading.Event()

    def observe(self):
        self.told = False
        return super().observe()

    def apply(self, action, seconds):
        told = self.told
        self.begun.set()
        if not told:
            super().apply(action, seconds)

    def stop(self):
        reached(self.begun)
        self.told = True


class ForgetsThatItWasStopped(Arm):
    def apply(self, action, seconds):
        super().apply(action, seconds)
        self.stopped.clear()


class StaysStopped(Arm):
    def observe(self):
        stopped = self.stopped.is_set()
        measured = super().observe()
        if stopped:
            self.stopped.set()
        return measured


class ReturnsAtOnceThoughTimePasses(Arm):
    realtime = True


class MeasuresItsStateElsewhere(Arm):
    def state(self):
        return {"robot_state.q": self.q + 0.1}


class NamesItsStateOtherwise(Arm):
    def state(self):
        return {"robot_state.joints": self.q.copy()}


class TookThePictureTomorrow(Arm):
    @property
    def taken(self):
        return {"grip": time.monotonic() + 86400}


class TookWhatItDoesNotMeasure(Arm):
    taken = {"image.wrist": 0.0}


class Films(Arm):
    spec = RobotSpec(
        measures={**Arm.spec.measures, "image.wrist": Channel(shape=(2, 2, 3), dtype="uint8")},
        plays=Arm.spec.plays,
        control_period=0.1,
    )
    took, shape, ahead, name = 0.0, (2, 2, 3), 0.0, "image.wrist"

    def observe(self):
        return {**super().observe(), "image.wrist": np.zeros((2, 2, 3), np.uint8)}

    @property
    def live_cameras(self):
        return self

    def frames(self):
        self.took = time.monotonic() + self.ahead
        return {self.name: (np.zeros(self.shape, np.uint8), self.took)}


class FilmedOnce(Films):
    def frames(self):
        return super().frames() if not self.took else {self.name: (np.zeros(self.shape, np.uint8), self.took)}


class FilmsSmaller(Films):
    shape = (1, 2, 3)


class FilmsTomorrow(Films):
    ahead = 86400.0


class FilmsElsewhere(Films):
    name = "image.roof"


class FilmsOverAgain(Films):
    picture = np.zeros((2, 2, 3), np.uint8)

    def frames(self):
        self.picture += 1
        return {self.name: (self.picture, time.monotonic())}


class AnotherTool(Plane):
    def forward(self, q):
        return super().forward(q) + np.array([0, 0, 0.1, 0, 0, 0, 0])


class SolvesForAnother(Plane):
    def solve(self, pose, near):
        return super().solve(pose, near) + 0.1


class HasAnotherTool(Arm):
    kinematics = AnotherTool()


class SolvesElsewhere(Arm):
    kinematics = SolvesForAnother()


ROBOTS = [
    (IsKnownOnceConnected, RobotLaws.test_what_it_is_is_known_before_it_is_connected),
    (ClosesWhatItNeverOpened, RobotLaws.test_what_it_is_is_known_before_it_is_connected),
    (CountsInMilliseconds, RobotLaws.test_what_it_is_is_known_before_it_is_connected),
    (MeasuresMore, RobotLaws.test_it_measures_what_it_says),
    (MeasuresInSinglePrecision, RobotLaws.test_it_measures_what_it_says),
    (MeasuresANumber, RobotLaws.test_it_measures_what_it_says),
    (CannotMeasure, RobotLaws.test_it_measures_what_it_says),
    (HasNoRotation, RobotLaws.test_it_measures_what_it_says),
    (CountsItsGripInPercent, RobotLaws.test_it_measures_what_it_says),
    (HandsOutItsOwnState, RobotLaws.test_what_was_measured_stays_as_it_was),
    (Drifts, RobotLaws.test_an_empty_action_holds_still),
    (PlaysDegrees, RobotLaws.test_it_plays_what_it_says),
    (MovesBeforeItLooks, RobotLaws.test_what_it_cannot_play_is_refused_before_anything_moves),
    (LeavesOutWhatItDoesNotKnow, RobotLaws.test_what_it_cannot_play_is_refused_before_anything_moves),
    (PlaysNaN, RobotLaws.test_what_it_cannot_play_is_refused_before_anything_moves),
    (ReadsAnewWhereItBegins, RobotLaws.test_a_wrong_reading_after_the_check_moves_nothing),
    (CannotBeStopped, RobotLaws.test_a_stop_ends_what_is_under_way),
    (LooksOnlyWhenItBegins, RobotLaws.test_a_stop_ends_what_is_under_way),
    (ForgetsThatItWasStopped, RobotLaws.test_a_stop_ends_what_is_under_way),
    (StaysStopped, RobotLaws.test_a_stop_ends_what_is_under_way),
    (ReturnsAtOnceThoughTimePasses, RobotLaws.test_where_time_passes_by_itself_a_command_takes_its_time),
    (MeasuresItsStateElsewhere, RobotLaws.test_its_state_is_what_it_observes_without_what_takes_long),
    (NamesItsStateOtherwise, RobotLaws.test_its_state_is_what_it_observes_without_what_takes_long),
    (TookThePictureTomorrow, RobotLaws.test_what_was_taken_was_taken_before_now),
    (TookWhatItDoesNotMeasure, RobotLaws.test_what_was_taken_was_taken_before_now),
    (FilmedOnce, RobotLaws.test_its_cameras_can_be_looked_at_while_it_is_played),
    (FilmsSmaller, RobotLaws.test_its_cameras_can_be_looked_at_while_it_is_played),
    (FilmsTomorrow, RobotLaws.test_its_cameras_can_be_looked_at_while_it_is_played),
    (FilmsElsewhere, RobotLaws.test_its_cameras_can_be_looked_at_while_it_is_played),
    (FilmsOverAgain, RobotLaws.test_its_cameras_can_be_looked_at_while_it_is_played),
    (HasAnotherTool, RobotLaws.test_its_kinematics_are_its_own),
    (SolvesElsewhere, RobotLaws.test_its_kinematics_are_its_own),
]


@pytest.mark.parametrize(("robot", "law"), ROBOTS)
def test_a_robot_that_breaks_a_law_is_found(monkeypatch, robot, law):
    with connected(Arm()) as good:
        check(RobotLaws(), law, robot=good, make=Arm)
    with connected(Films()) as good:
        check(RobotLaws(), law, robot=good, make=Films)
    if robot in (CannotBeStopped, LooksOnlyWhenItBegins, FilmedOnce):
        monkeypatch.setattr("offboard_client.testing._robot._PATIENCE", 0.01)
    broken = robot()
    broken.connect()
    with pytest.raises((AssertionError, AttributeError, InvalidAction, pytest.fail.Exception)):
        check(RobotLaws(), law, robot=broken, make=robot)
    broken.stopped.set()


class Home:
    """A task that keeps every law."""

    instruction = "go home"

    def __init__(self, robot):
        self.robot = robot

    def reset(self, seed):
        self.robot.q = np.random.default_rng(seed).uniform(-0.2, 0.2, 2)

    def succeeded(self):
        return bool(np.abs(self.robot.q).max() < 0.01)

    def over(self):
        return False

    def scores(self):
        return {"done": 0.5}


class StartsAnywhere(Home):
    def reset(self, seed):
        super().reset(None)


class GoesOnFromWhereItWas(Home):
    def reset(self, seed):
        self.robot.q = self.robot.q + np.random.default_rng(seed).uniform(-0.2, 0.2, 2)


class JudgesInNumpy(Home):
    def succeeded(self):
        return np.abs(self.robot.q).max() < 0.01


class JudgesOnce(Home):
    judged = None

    def succeeded(self):
        self.judged = not self.judged
        return self.judged


class IsOverInWords(Home):
    def over(self):
        return "no"


class ScoresInWords(Home):
    def scores(self):
        return {"done": "0.5"}


class ScoresNothing(Home):
    def scores(self):
        return {"done": float("nan")}


class IsNotTold(Home):
    instruction = "go elsewhere"


class Told(TaskLaws):
    instruction = "go home"


@pytest.mark.parametrize(
    ("task", "law"),
    [
        (StartsAnywhere, TaskLaws.test_a_seed_says_where_an_episode_starts),
        (GoesOnFromWhereItWas, TaskLaws.test_a_seed_says_where_an_episode_starts),
        (JudgesInNumpy, TaskLaws.test_it_judges_and_is_told),
        (JudgesOnce, TaskLaws.test_it_judges_and_is_told),
        *((each, TaskLaws.test_it_judges_and_is_told) for each in (IsOverInWords, ScoresInWords, ScoresNothing)),
        (IsNotTold, TaskLaws.test_it_judges_and_is_told),
    ],
)
def test_a_task_that_breaks_a_law_is_found(task, law):
    robot = Arm()
    check(Told(), law, robot=robot, task=Home(robot))
    with pytest.raises(AssertionError):
        check(Told(), law, robot=robot, task=task(robot))


def entry(**more):
    return RobotEntry(**{"summary": "An arm.", "factory": Arm, **more})


@dataclass(frozen=True)
class Needs:
    port: str


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (entry(summary=" "), EntryLaws.test_it_can_be_had_by_its_name_alone),
        (entry(summary="An\narm."), EntryLaws.test_it_can_be_had_by_its_name_alone),
        (entry(options=Needs), EntryLaws.test_it_can_be_had_by_its_name_alone),
    ],
    ids=["no summary", "two lines", "an option without a default"],
)
def test_an_entry_that_breaks_a_law_is_found(broken, law):
    check(EntryLaws(), law, chosen=Chosen("arm", "arms 1.0", entry(), None))
    with pytest.raises(AssertionError):
        check(EntryLaws(), law, chosen=Chosen("arm", "arms 1.0", broken, None))


def test_an_entry_that_imports_what_drives_the_robot_is_found(tmp_path, monkeypatch):
    (tmp_path / "motorlike.py").write_text("")
    (tmp_path / "light_robot.py").write_text("import offboard_client.robots")
    (tmp_path / "heavy_robot.py").write_text("import motorlike")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    law = EntryLaws.test_it_is_listed_without_its_libraries
    check(EntryLaws(), law, entry_point=EntryPoint("light", "light_robot:arm", "offboard.robots"))
    with pytest.raises(AssertionError, match="motorlike"):
        check(EntryLaws(), law, entry_point=EntryPoint("heavy", "heavy_robot:arm", "offboard.robots"))


def test_a_defect_is_planted_for_each_law_of_the_clients_kit():
    laws = {
        f"{kind}.{name}"
        for kind in testing.__all__
        if kind.endswith("Laws")
        for name in vars(getattr(testing, kind))
        if name.startswith("test_")
    }
    here = Path(__file__)
    texts = [path.read_text("utf-8") for path in (here, here.with_name("test_kit_of_runs.py"))]
    planted = re.findall(r"(?:\(.+, |law = )(\w+Laws\.test_\w+)", "".join(texts))
    assert set(planted) == laws
    assert len(planted) >= 20
