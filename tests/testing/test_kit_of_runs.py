"""Each law of the client's kit about a run is broken once: by an observer, or by a policy, that breaks nothing else."""

import threading
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from offboard_client.cli import COLUMNS, Timings
from offboard_client.errors import BadObservation, ConnectionFailed, ConnectionLost, OffboardError
from offboard_client.play import Report
from offboard_client.terminal import CsvFile
from offboard_client.testing import RunObserverLaws, SessionLaws
from planted import check


class TestReport(RunObserverLaws):
    observer = Report


class TestTimings(RunObserverLaws):
    """The file of ``offboard run --timings``."""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        with closing(CsvFile(tmp_path / "timings.csv", COLUMNS, "--timings")) as self.file:
            yield

    def observer(self):
        return Timings(self.file)


class Counts:
    """Keeps every law."""

    def __init__(self):
        self.rows, self.seconds, self.ends = 0, 0.0, []

    def started(self, episode):
        self.seen = []

    def answered(self, answer):
        self.rows += len(answer.rows or ())

    def ticked(self, tick):
        self.seconds += tick.command.seconds

    def ended(self, outcome):
        self.ends.append(outcome.success)


class TestCounts(RunObserverLaws):
    observer = Counts


class WantsEveryChunk(Counts):
    def answered(self, answer):
        self.rows += len(answer.rows)


class WantsEveryTiming(Counts):
    def answered(self, answer):
        self.seconds += answer.timing["total_ms"]


class WantsToHaveSeen(Counts):
    def ticked(self, tick):
        self.seen.append(tick.observation["robot_state.q"])


class CountsOn(Counts):
    number = 0

    def started(self, episode):
        assert episode.number == self.number + 1
        self.number = episode.number


class AddsItsOwn(Counts):
    def answered(self, answer):
        answer.observation["mine"] = 1


class WritesIntoActions(Counts):
    def ticked(self, tick):
        for value in tick.command.action.values():
            value += 1


class WritesIntoWhatCameBefore(Counts):
    def answered(self, answer):
        self.last = answer

    def ended(self, outcome):
        if (last := getattr(self, "last", None)) is not None and last.rows:
            last.rows[0]["action"]["target_grip"][:] = 3


class WantsATask(Counts):
    def answered(self, answer):
        self.rows += len(answer.observation["task"])


class WantsJoints(Counts):
    def ticked(self, tick):
        if tick.command.action:
            self.seconds += tick.command.action["target_joints"].sum()


class KnowsNoLeader(Counts):
    def started(self, episode):
        self.rungs = dict.fromkeys(("playing", "rest", "hold", "safe_action", "fault"), 0)

    def ticked(self, tick):
        self.rungs[tick.rung] += 1


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (KnowsNoLeader, RunObserverLaws.test_it_takes_whatever_happens),
        (WantsATask, RunObserverLaws.test_it_takes_whatever_happens),
        (WantsJoints, RunObserverLaws.test_it_takes_whatever_happens),
        (WritesIntoWhatCameBefore, RunObserverLaws.test_it_writes_into_nothing),
        (WantsEveryChunk, RunObserverLaws.test_it_takes_whatever_happens),
        (WantsEveryTiming, RunObserverLaws.test_it_takes_whatever_happens),
        (WantsToHaveSeen, RunObserverLaws.test_it_takes_whatever_happens),
        (CountsOn, RunObserverLaws.test_it_watches_the_next_run_as_well),
        (AddsItsOwn, RunObserverLaws.test_it_writes_into_nothing),
        (WritesIntoActions, RunObserverLaws.test_it_writes_into_nothing),
    ],
)
def test_an_observer_that_breaks_a_law_is_found(kind, law):
    laws = TestCounts()
    laws.observer = kind
    with pytest.raises((AssertionError, KeyError, TypeError)):
        law(laws)


class Waves:
    """A policy that keeps every law."""

    def __init__(self):
        self.metadata = {
            "type": "waving", "action_fps": 10.0, "action": {"target_joints": {"shape": [2]}},
            "observation": {"robot_state.q": {"shape": [2], "required": True}, "task": {"required": False}},
        }  # fmt: skip
        self.timing = SimpleNamespace(last={})
        self.closed = False

    def infer(self, observation):
        if self.closed:
            raise ConnectionLost("it was closed")
        if "robot_state.q" not in observation:
            raise BadObservation("the observation lacks robot_state.q")
        self.timing.last = {"total_ms": 1.0}
        return self.rows(observation["robot_state.q"])

    def rows(self, q):
        return [{"action": {"target_joints": q + 0.1 * i}, "timestamp": 0.1 * i} for i in range(2)]

    def reset(self):
        pass

    def close(self):
        self.closed = True


class TestWaves(SessionLaws):
    def observation(self, meta):
        return {"robot_state.q": np.zeros(2), "task": "wave"}

    @pytest.fixture
    def open_session(self):
        return Waves


class DeclaresNoRate(Waves):
    def __init__(self):
        super().__init__()
        self.metadata["action_fps"] = 0.0


class IsAnotherOnceAsked(Waves):
    def rows(self, q):
        self.metadata["chunk_length"] = 2
        return super().rows(q)


class HasNothingToDo(Waves):
    def rows(self, q):
        return []


class AnswersNaN(Waves):
    def rows(self, q):
        return super().rows(q * np.nan)


class AnswersNaNLater(Waves):
    asked = 0

    def rows(self, q):
        self.asked += 1
        return super().rows(q if self.asked == 1 else q * np.nan)


class AnswersBools(Waves):
    def rows(self, q):
        return [{**row, "action": {"target_joints": np.zeros(2, bool)}} for row in super().rows(q)]


class AnswersAnotherShape(Waves):
    def rows(self, q):
        return [{**row, "action": {"target_joints": np.zeros(5)}} for row in super().rows(q)]


class AnswersLists(Waves):
    def rows(self, q):
        return [{**row, "action": {"target_joints": [0.0, 0.0]}} for row in super().rows(q)]


class AnswersAnotherName(Waves):
    def rows(self, q):
        return [{**row, "action": {"joint_delta": q}} for row in super().rows(q)]


class GoesBackInTime(Waves):
    def rows(self, q):
        return super().rows(q)[::-1]


class WritesIntoObservations(Waves):
    def rows(self, q):
        rows = super().rows(q)
        q += 1
        return rows


class AnswersFromOnePieceOfMemory(Waves):
    def __init__(self):
        super().__init__()
        self.memory = np.zeros(2)

    def rows(self, q):
        self.memory += 1
        return [{"action": {"target_joints": self.memory}}]


class FillsOneBuffer(Waves):
    """With the same numbers, for the same observation; nobody else can write into it."""

    def __init__(self):
        super().__init__()
        self.memory = np.zeros(2)

    def rows(self, q):
        self.memory[:] = q
        view = self.memory.view()
        view.flags.writeable = False
        return [{"action": {"target_joints": view}}]


class MeasuresNothing(Waves):
    def rows(self, q):
        self.timing.last = {}
        return super().rows(q)


class MeasuresBackwards(Waves):
    def rows(self, q):
        self.timing.last = {"total_ms": -1.0}
        return super().rows(q)


class BeginsOnce(Waves):
    resets = 0

    def reset(self):
        self.resets += 1
        if self.resets > 2:
            raise ConnectionLost("it has begun")


class TellsInItsOwnWords(Waves):
    def infer(self, observation):
        observation["robot_state.q"]
        return super().infer(observation)


class TellsThatTheConnectionFailed(Waves):
    def infer(self, observation):
        if "robot_state.q" not in observation:
            raise ConnectionFailed("there is no robot_state.q")
        return super().infer(observation)


class TakesAnything(Waves):
    def infer(self, observation):
        return super().infer({"robot_state.q": np.zeros(2), **observation})


class EndsWithAnError(Waves):
    failed = False

    def infer(self, observation):
        if self.failed:
            raise ConnectionLost("there was an error")
        self.failed = "robot_state.q" not in observation
        return super().infer(observation)


class ClosesOnce(Waves):
    def close(self):
        assert not self.closed
        super().close()


class AnswersOn(Waves):
    def close(self):
        pass


class LeavesAThread(Waves):
    over = threading.Event()

    def __init__(self):
        super().__init__()
        threading.Thread(target=self.over.wait, daemon=True).start()


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (DeclaresNoRate, SessionLaws.test_its_handshake_is_that_of_a_server),
        (IsAnotherOnceAsked, SessionLaws.test_its_handshake_is_that_of_a_server),
        (HasNothingToDo, SessionLaws.test_it_answers_in_rows),
        (AnswersNaN, SessionLaws.test_it_answers_in_rows),
        (AnswersNaNLater, SessionLaws.test_it_answers_in_rows),
        (AnswersBools, SessionLaws.test_it_answers_in_rows),
        (AnswersAnotherShape, SessionLaws.test_it_answers_in_rows),
        (AnswersLists, SessionLaws.test_it_answers_in_rows),
        (AnswersAnotherName, SessionLaws.test_it_answers_in_rows),
        (GoesBackInTime, SessionLaws.test_it_answers_in_rows),
        (WritesIntoObservations, SessionLaws.test_what_was_asked_and_answered_stays_as_it_was),
        (AnswersFromOnePieceOfMemory, SessionLaws.test_what_was_asked_and_answered_stays_as_it_was),
        (FillsOneBuffer, SessionLaws.test_what_was_asked_and_answered_stays_as_it_was),
        (MeasuresNothing, SessionLaws.test_it_says_where_the_time_went),
        (MeasuresBackwards, SessionLaws.test_it_says_where_the_time_went),
        (BeginsOnce, SessionLaws.test_a_new_episode_may_begin_at_any_time),
        (TellsInItsOwnWords, SessionLaws.test_what_it_cannot_take_is_an_error_after_which_it_goes_on),
        (TellsThatTheConnectionFailed, SessionLaws.test_what_it_cannot_take_is_an_error_after_which_it_goes_on),
        (TakesAnything, SessionLaws.test_what_it_cannot_take_is_an_error_after_which_it_goes_on),
        (EndsWithAnError, SessionLaws.test_what_it_cannot_take_is_an_error_after_which_it_goes_on),
        (ClosesOnce, SessionLaws.test_it_ends),
        (AnswersOn, SessionLaws.test_it_ends),
        (LeavesAThread, SessionLaws.test_it_ends),
    ],
)
def test_a_policy_that_breaks_a_law_is_found(monkeypatch, kind, law):
    monkeypatch.setattr("offboard_client.testing._session._PATIENCE", 0.01)
    with closing(Waves()) as good:
        check(TestWaves(), law, session=good, open_session=Waves)
    with pytest.raises((AssertionError, OffboardError, KeyError, pytest.fail.Exception)):
        check(TestWaves(), law, session=kind(), open_session=kind)
    if kind is LeavesAThread:
        kind.over.set()
