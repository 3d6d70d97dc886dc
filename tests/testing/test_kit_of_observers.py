"""Each law of observers is broken once, by one that breaks nothing else."""

import threading

import pytest
from offboard_core import Observer
from offboard_core.cli import ServeTimings, TimingsOptions
from offboard_core.testing import ObserverLaws


class Sums(Observer):
    """Keeps every law."""

    def __init__(self):
        self.total = 0.0

    def exchanged(self, record):
        self.total += record.timing["total_ms"]


class TestSums(ObserverLaws):
    observer = Sums


class TestTimings(ObserverLaws):
    """The file of ``offboard serve --timings``."""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.files = (tmp_path / f"{number}.csv" for number in range(10))

    def observer(self):
        return ServeTimings(TimingsOptions(file=next(self.files)))


class HasRoomForNone(Sums):
    waiting = 0


class HasRoomForHalfAByte(Sums):
    waiting_bytes = 0.5


class ChangesItsMind(Sums):
    def exchanged(self, record):
        self.contents = False


class WantsItsRobotsTime(Sums):
    def exchanged(self, record):
        self.total += record.robot_ms


class WantsEveryChunk(Sums):
    def exchanged(self, record):
        self.total += len(record.reply_chunk)


class FallsOverAnEnd(Sums):
    def ended(self, session_id):
        raise KeyError(session_id)


class AddsItsOwn(Sums):
    def exchanged(self, record):
        record.timing["mine_ms"] = 0.0


class WritesIntoArrays(Sums):
    def exchanged(self, record):
        if record.observation is not None:
            record.observation["robot_state.q"][0] = 1.0


class LeavesAThread(Sums):
    over = threading.Event()

    def __init__(self):
        super().__init__()
        threading.Thread(target=self.over.wait, daemon=True).start()


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (HasRoomForNone, ObserverLaws.test_it_says_what_it_wants),
        (HasRoomForHalfAByte, ObserverLaws.test_it_says_what_it_wants),
        (ChangesItsMind, ObserverLaws.test_it_says_what_it_wants),
        (WantsItsRobotsTime, ObserverLaws.test_it_takes_whatever_is_answered),
        (WantsEveryChunk, ObserverLaws.test_it_takes_whatever_is_answered),
        (FallsOverAnEnd, ObserverLaws.test_it_takes_whatever_is_answered),
        (AddsItsOwn, ObserverLaws.test_it_writes_into_nothing),
        (WritesIntoArrays, ObserverLaws.test_it_writes_into_nothing),
        (LeavesAThread, ObserverLaws.test_it_ends),
    ],
)
def test_an_observer_that_breaks_a_law_is_found(monkeypatch, kind, law):
    monkeypatch.setattr("offboard_core.testing._observer._PATIENCE", 0.01)
    laws = TestSums()
    laws.observer = kind
    with pytest.raises((AssertionError, KeyError, TypeError, ValueError)):
        law(laws)
    if kind is LeavesAThread:
        kind.over.set()
