"""A supervised child is started again where it ends, given up where that does not help, and never waited for."""

import os
import signal
import sys
import threading

import pytest
from offboard_client.errors import InvalidAction, LoadFailed, ModelLost, PolicyFailed
from offboard_core.process import Child, Supervisor
from offboard_core.types import Health
from puppets import until

#: Seconds after which something has failed; decides nothing.
PATIENCE = 240
RUNS = "import os, time; print(os.getpid()); print('it runs'); time.sleep(600)"
FAILS = "print('out of memory'); raise SystemExit(3)"


def watching():
    return [thread for thread in threading.enumerate() if thread.name == "offboard-vendor"]


class Kept:
    """A supervisor of tiny children, and what it did.

    ``codes``: each child's program, the last one for all that follow; an exception is raised instead of a start.
    ``may_start``, ``answers``: whether a start returns, and whether a child that runs is found to answer. ``wrong``:
    what the probe raises.
    """

    def __init__(self, *codes, restarts=2):
        self.codes = list(codes)
        self.children = []
        self.may_start, self.answers = threading.Event(), threading.Event()
        self.may_start.set()
        self.answers.set()
        self.wrong = None
        #: How many had been started, each time that one was let go of.
        self.ended = []
        self.supervisor = Supervisor(
            self.start,
            self.probe,
            lambda text: LoadFailed(f"{text}\nBuy more memory.", permanent=True),
            lambda: self.ended.append(len(self.children)),
            name="vendor",
            startup_timeout=PATIENCE,
            restarts=restarts,
        )

    def start(self):
        assert self.may_start.wait(PATIENCE)
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        if isinstance(code, BaseException):
            raise code
        self.children.append(Child([sys.executable, "-c", code], name="the vendor's server", grace=0.2))
        return self.children[-1]

    def probe(self):
        if self.wrong is not None:
            raise self.wrong
        return self.answers.is_set() and self.children[-1].last_line == "it runs"

    def open(self):
        self.supervisor.open(lambda _: None)
        return self.supervisor

    def kill(self):
        os.kill(int(self.children[-1].tail().split()[0]), signal.SIGKILL)


@pytest.fixture
def kept(monkeypatch):
    """``kept(code, ...)``: a :class:`Kept` that restarts at once, and leaves nothing behind."""
    monkeypatch.setattr("offboard_core.process.supervisor.BACK_OFF", 0.001)
    made = []

    def keep(*codes, **more):
        made.append(Kept(*codes, **more))
        return made[-1]

    yield keep
    for each in made:
        each.supervisor.close()
        assert not [child for child in each.children if child.running]
    assert watching() == []


def test_it_is_open_once_the_child_answers_and_closed_with_it(kept):
    one, heard = kept(RUNS), []
    one.answers.clear()

    def report(line):
        heard.append(line)
        if line == "it runs":
            assert one.supervisor.health().state == "recovering"
            one.answers.set()

    one.supervisor.open(report)
    assert heard[-1] == "it runs"
    assert one.supervisor.health() == Health()
    one.supervisor.check_ready()
    one.supervisor.close()
    assert not one.children[0].running
    assert one.ended == [], "whoever closes it lets go of the rest"
    one.supervisor.close()
    assert len(one.children) == 1


def test_while_it_is_restarted_whoever_asks_is_told_so_at_once(kept):
    one = kept(RUNS)
    supervisor = one.open()
    one.answers.clear()
    one.kill()
    until(lambda: len(one.children) == 2 and one.children[1].last_line == "it runs", "the next one runs")
    plight = "vendor is being restarted (attempt 1 of 2), for it was killed by SIGKILL; it says: it runs"
    assert supervisor.health() == Health("recovering", plight)
    with pytest.raises(PolicyFailed) as caught:
        supervisor.check_ready()
    assert caught.value.text == f"{plight}; try again later"
    assert one.ended == [1], "what belonged to the first one was let go of before the second was started"
    one.answers.set()
    until(lambda: supervisor.health() == Health(), "it answers")
    supervisor.check_ready()


def test_nobody_waits_for_a_start_that_does_not_return(kept):
    one = kept(RUNS)
    supervisor = one.open()
    one.may_start.clear()
    one.kill()
    until(lambda: "attempt" in supervisor.health().reason, "it is restarted")
    ended = "vendor is being restarted (attempt 1 of 2), for it was killed by SIGKILL; its log ended with: it runs"
    assert supervisor.health().reason == ended
    with pytest.raises(PolicyFailed, match="try again later"):
        supervisor.check_ready()
    one.may_start.set()
    until(lambda: supervisor.health() == Health(), "it answers")


def test_one_that_was_killed_is_not_taken_for_one_that_was_stopped(kept, monkeypatch):
    """Who listens to it sees its line close first, and has it stopped."""
    monkeypatch.setattr("offboard_core.process.supervisor._MOMENT", PATIENCE)
    one = kept(RUNS)
    supervisor = one.open()
    one.may_start.clear()
    one.kill()
    supervisor.restart()
    until(lambda: "attempt" in supervisor.health().reason, "it is restarted")
    assert "(attempt 1 of 2), for it was killed by SIGKILL" in supervisor.health().reason
    one.may_start.set()
    until(lambda: supervisor.health() == Health(), "it answers")


def test_it_is_given_up_after_its_restarts_each_later_than_the_one_before(kept, caplog):
    one = kept(RUNS, FAILS)
    supervisor = one.open()
    one.kill()
    until(lambda: supervisor.health().state == "failed", "it is given up")
    reason = supervisor.health().reason
    assert reason.startswith(
        "vendor failed 3 times in a row: the vendor's server exited with code 3. The end of its log:"
    )
    assert reason.endswith("out of memory\nBuy more memory.")
    with pytest.raises(ModelLost) as caught:
        supervisor.check_ready()
    assert caught.value.text == reason
    assert len(one.children) == 3
    assert one.ended == [1, 2, 3]
    said = [message for message in caplog.messages if message.startswith("vendor is being restarted")]
    assert said == [
        "vendor is being restarted (attempt 1 of 2) in 0.001 s",
        "vendor is being restarted (attempt 2 of 2) in 0.002 s",
    ]


@pytest.mark.parametrize("answered", [True, False])
def test_an_answer_begins_a_new_row_of_restarts(kept, answered):
    one = kept(RUNS, restarts=1)
    supervisor = one.open()
    one.kill()
    until(lambda: len(one.children) == 2 and supervisor.health() == Health(), "it answers again")
    if answered:
        supervisor.answered()
    one.kill()
    if answered:
        until(lambda: len(one.children) == 3 and supervisor.health() == Health(), "it answers once more")
    else:
        until(lambda: supervisor.health().state == "failed", "it is given up")
        assert "vendor failed 2 times in a row" in supervisor.health().reason


@pytest.mark.parametrize("error", [LoadFailed("the port is taken"), RuntimeError("the disk is gone"), SystemExit(3)])
def test_a_restart_that_cannot_begin_counts_as_a_death(kept, error):
    one = kept(RUNS, error)
    supervisor = one.open()
    one.kill()
    until(lambda: supervisor.health().state == "failed", "it is given up")
    told = error.text if isinstance(error, LoadFailed) else f"{type(error).__name__}: {error}"
    assert supervisor.health().reason == f"vendor failed 3 times in a row: {told}\nBuy more memory."


def test_letting_go_of_one_that_fails_keeps_the_next_one_from_nothing(kept, caplog):
    one = kept(RUNS)

    def leave():
        raise SystemExit(3)

    one.supervisor._ended = leave
    supervisor = one.open()
    one.kill()
    until(lambda: len(one.children) == 2 and supervisor.health() == Health(), "the next one runs")
    assert "what belonged to vendor could not be let go of" in caplog.text


def test_an_explanation_that_fails_hides_nothing(kept, caplog):
    def explain(text):
        raise ZeroDivisionError("a bug")

    one = kept(RUNS, FAILS, restarts=1)
    one.supervisor._explain = explain
    supervisor = one.open()
    one.kill()
    until(lambda: supervisor.health().state == "failed", "it is given up")
    assert supervisor.health().reason.endswith("out of memory")
    assert "the end of vendor cannot be explained" in caplog.text
    other = kept(FAILS)
    other.supervisor._explain = explain
    with pytest.raises(LoadFailed, match=r"exited with code 3[\s\S]*out of memory$"):
        other.open()


def test_a_child_that_hangs_is_stopped_and_the_next_one_started(kept):
    one = kept(RUNS)
    supervisor = one.open()
    supervisor.restart()
    assert not one.children[0].running
    until(lambda: len(one.children) == 2 and supervisor.health() == Health(), "the next one answers")


def test_a_first_start_that_fails_is_explained_and_leaves_nothing(kept):
    one = kept(FAILS)
    with pytest.raises(LoadFailed, match=r"exited with code 3[\s\S]*out of memory\nBuy more memory\.$") as caught:
        one.open()
    assert caught.value.permanent
    assert one.ended == [1]
    assert len(one.children) == 1, "the first start is tried once"


@pytest.mark.parametrize("error", [InvalidAction("it answers nonsense"), ZeroDivisionError("a bug")])
def test_a_child_whose_answer_is_wrong_is_stopped(kept, error):
    one = kept(RUNS)
    one.wrong = error
    expected = ZeroDivisionError if isinstance(error, ZeroDivisionError) else LoadFailed
    with pytest.raises(expected, match=r"it answers nonsense\nBuy more memory|a bug"):
        one.open()
    assert one.ended == [1]
    assert not one.children[0].running


def test_no_more_threads_is_said_and_leaves_nothing_behind(kept, monkeypatch):
    one, start = kept(RUNS), threading.Thread.start

    def refused(thread):
        if thread.name == "offboard-vendor":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(LoadFailed, match="vendor cannot be watched: can't start new thread"):
        one.open()
    assert not one.children[0].running


def test_closing_while_it_starts_ends_the_start(kept):
    one, errors = kept(RUNS), []
    one.answers.clear()

    def opened():
        try:
            one.open()
        except LoadFailed as error:
            errors.append(error)

    opener = threading.Thread(target=opened)
    opener.start()
    until(lambda: one.children and one.children[0].last_line == "it runs", "it runs")
    one.supervisor.close()
    opener.join(PATIENCE)
    assert [error.text.splitlines()[0] for error in errors] == ["the server is going away"]
    assert one.ended == [1]


def test_what_is_started_after_the_close_is_stopped(kept):
    one = kept(RUNS)
    one.supervisor.close()
    with pytest.raises(LoadFailed, match="the server is going away"):
        one.open()
    assert not one.children[0].running


def test_closing_does_not_wait_for_the_next_restart(kept, monkeypatch):
    one = kept(RUNS)
    supervisor = one.open()
    monkeypatch.setattr("offboard_core.process.supervisor.BACK_OFF", PATIENCE)
    one.kill()
    until(lambda: "attempt" in supervisor.health().reason, "it waits")
    supervisor.close()
    assert watching() == []
    assert len(one.children) == 1
