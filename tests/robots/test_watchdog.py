"""Every call of a robot has an end: a robot that hangs is told to stop and left, and the run has its report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from offboard_client.errors import ConfigurationError, RobotFailed
from offboard_client.robots import OwnThread, Robot, WatchedRobot, WatchedTask, connected
from offboard_core import InferenceServer
from offboard_process import in_process
from plugin_dists import write_plugin
from robot_fakes import FakeRobot
from waits import PATIENCE, reached, until

#: Seconds after which a call counts as hung, and for a test to wait for that.
SOON = 1.0


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What hangs goes on in the end."""
    monkeypatch.setattr("offboard_client.robots.watchdog.STOPPING", SOON)
    go = threading.Event()
    yield go
    go.set()


def test_all_calls_are_made_on_one_thread_and_raise_what_they_raise() -> None:
    thread = OwnThread("robot")
    made = {thread("it", threading.get_ident) for _ in range(3)}
    assert len(made) == 1
    assert threading.get_ident() not in made
    with pytest.raises(ZeroDivisionError):
        thread("it", lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="of its own"):
        thread("it", lambda: (_ for _ in ()).throw(TimeoutError("of its own")))
    thread.end()
    assert not thread.stuck


def test_a_call_that_does_not_come_back_is_left_and_nothing_behind_it_is_made(go: threading.Event) -> None:
    thread, late = OwnThread("robot", SOON), list[int]()
    says = r"^the robot did not come back from apply within 1 s; see what its driver waits for there$"
    with pytest.raises(RobotFailed, match=says):
        thread("apply", lambda: go.wait(PATIENCE))
    assert thread.stuck
    with pytest.raises(RobotFailed, match=says):
        thread("close", lambda: late.append(1))
    go.set()
    until(lambda: not thread.stuck, "it comes back")
    thread.patience = PATIENCE
    assert thread("observe", lambda: 3) == 3
    assert late == []
    thread.end()


def test_a_call_has_the_time_that_it_takes_by_itself() -> None:
    thread = OwnThread("robot", SOON)
    thread("apply", lambda: time.sleep(1.5 * SOON), PATIENCE)
    thread.end()


def test_who_is_interrupted_does_not_wait_for_it(go: threading.Event) -> None:
    thread, begun = OwnThread("robot"), threading.Event()

    def interrupt() -> None:
        reached(begun)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        thread("observe", lambda: (begun.set(), go.wait(PATIENCE)))
    with pytest.raises(RobotFailed, match="had not come back from observe when it was interrupted, and does not"):
        thread("close", lambda: None)


def test_who_is_interrupted_in_connect_closes_what_it_has_opened(
    go: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A driver that opens cameras takes longer than anybody waits for a stop; left, it would leave its arm open."""
    robot: Any = FakeRobot()
    robot.spec, robot.realtime, robot.translations, robot.leader = None, True, {}, None
    begun, closing = threading.Event(), threading.Event()
    monkeypatch.setattr(robot, "connect", lambda: (begun.set(), go.wait(PATIENCE), robot.calls.append("connect")))

    def interrupt() -> None:
        reached(begun)
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: "another interrupt leaves it open" in caplog.text, "it waits")
        closing.wait(2 * SOON)  # longer than it would wait for a call that is late
        go.set()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt), connected(WatchedRobot(robot, OwnThread("robot"))):
        pass
    assert robot.calls == ["connect", "close"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 86400])
def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="expected more than 0, and less than a day"):
        OwnThread("robot", seconds)


def test_one_that_hangs_is_told_to_stop_and_so_can_be_closed(
    go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the thread of whoever waits, for the robot's own is busy."""

    class Hanging(FakeRobot):
        spec: Any = None
        leader = None
        translations: Any = {}
        realtime = True

        def observe(self) -> dict[str, Any]:
            go.wait(PATIENCE)
            return super().observe()

        def stop(self) -> None:
            super().stop()
            thread.patience = PATIENCE  # a busy machine may need longer than a second to close it
            monkeypatch.setattr("offboard_client.robots.watchdog.STOPPING", PATIENCE)
            go.set()
            until(lambda: "observe" in self.calls, "it comes back")

    robot: Any = Hanging()
    thread = OwnThread("robot", SOON)
    with pytest.raises(RobotFailed, match="did not come back from observe"):  # noqa: SIM117
        with connected(WatchedRobot(robot, thread)) as watched:
            watched.observe()
    assert [call for call in robot.calls if call != "observe"] == ["connect", "stop", "close"]


def test_it_passes_on_whatever_a_robot_may_have() -> None:
    own = set(vars(WatchedRobot)) | {"spec", "kinematics", "realtime", "translations", "leader"}
    made_of_these = {"actions", "control_period", "checked"}
    assert {name for name in dir(Robot) if not name.startswith("_")} - own == made_of_these


def test_a_task_has_what_it_has() -> None:
    thread = OwnThread("robot")
    plain: Any = WatchedTask(FakeRobot(), thread)
    plain.reset(3)
    assert (plain.instruction, plain.succeeded()) == ("hold still", True)
    assert not hasattr(plain, "over")

    class Scored(FakeRobot):
        def scores(self) -> dict[str, int]:
            return {"thread": threading.get_ident()}

    scored: Any = WatchedTask(Scored(), thread)
    assert scored.scores()["thread"] == thread("it", threading.get_ident)
    thread.end()


# -- the command ---------------------------------------------------------------------------------------------

# The time that it may take is over once it hangs, and not before: a busy machine holds the other calls up as well.
HANGING = """
    import threading, time, types
    import numpy as np
    from offboard_client.robots import Channel, Robot, RobotEntry, RobotSpec, watchdog

    GO = threading.Event()
    WHERE = "<call>"

    def hang(where):
        if where == WHERE:
            watchdog.time = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 1e6)
            GO.wait(<waits>)

    class Arm(Robot):
        spec = RobotSpec(measures={"robot_state.q": Channel(shape=(2,))}, plays={"target_joints": Channel(shape=(2,))},
                         control_period=0.05, simulated=True)
        realtime = False
        def __init__(self, options): hang("being made")
        def connect(self): hang("connect")
        def observe(self):
            hang("observe")
            return {"robot_state.q": np.zeros(2)}
        def apply(self, action, seconds): hang("apply")
        def stop(self): print("told to stop")
        def close(self): hang("close")

    class Task:
        instruction = None
        def __init__(self, robot, instruction): pass
        def reset(self, seed): hang("reset")
        def succeeded(self):
            hang("succeeded")
            return True

    it = RobotEntry(summary="An arm.", factory=Arm, task=Task)
"""
ANYWHERE = ["--limits.workspace-low", "None", "--limits.workspace-high", "None"]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("offboard_client.robots.watchdog.STOPPING", SOON)
    monkeypatch.setattr("offboard_client.robots.watchdog.time", time)
    for module in ("robots.watchdog", "cli.own_thread"):
        monkeypatch.setattr(f"offboard_client.{module}.LONGER", 1.0)

    def install(where: str, waits: str) -> None:
        source = HANGING.replace("<call>", where).replace("<waits>", waits)
        write_plugin(tmp_path, "arm", source, group="offboard.robots", attr="it")

    yield install
    for name in [name for name in sys.modules if name == "arm_plugin_of_dist_arm"]:
        sys.modules.pop(name).GO.set()


def stay(seen: dict[str, Any]) -> dict[str, Any]:
    return {"target_joints": seen["robot_state.q"]}


BEFORE = ["being made", "connect"]
LONG = ["being made", "connect", "reset"]


@pytest.mark.parametrize("where", ["being made", "connect", "reset", "observe", "apply", "succeeded", "close"])
def test_a_robot_that_hangs_fails_the_run_which_has_its_report(install: Any, tmp_path: Path, where: str) -> None:
    install(where, str(PATIENCE))
    with InferenceServer({"stay": lambda: stay}, port=0, fps=10) as server:
        done = in_process(
            "run", "arm", f"127.0.0.1:{server.port}", "--seconds", "0.2", "--robot-timeout", "600", "--json",
            "--output-dir", tmp_path / "kept", *ANYWHERE, path=tmp_path,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"the robot did not come back from {where} within {12 if where in LONG else 6}00" in done.stderr
    lines = done.stdout.splitlines()
    if where in BEFORE:
        assert lines == []
        return
    assert "told to stop" in lines
    report = json.loads(lines[-1])
    (episode,) = report["episode_log"]
    met = report["afterwards"] if where == "close" else episode["failure"]
    assert met[0] == "robot_failed"
    assert (episode["steps"] > 0) == (where in ("succeeded", "close"))
    assert len(list((tmp_path / "kept").glob("*.mcap"))) == 1, "what was recorded is kept"


def test_nothing_that_hangs_keeps_the_process(install: Any, tmp_path: Path) -> None:
    """For good, on a thread that Python would wait for; and it does not let itself be stopped either."""
    install("apply", "")
    module = tmp_path / "arm_plugin_of_dist_arm.py"
    hangs = "threading.Thread(target=GO.wait).start(); GO.wait()"
    text = module.read_text().replace("GO.wait()", hangs)
    module.write_text(text.replace('print("told to stop")', "GO.wait()"))
    with InferenceServer({"stay": lambda: stay}, port=0, fps=10) as server:
        line = ["run", "arm", f"127.0.0.1:{server.port}", "--seconds", "0.2", "--robot-timeout", "600", "--json"]
        done = subprocess.run(
            [sys.executable, "-m", "offboard_client.cli", *line, *ANYWHERE],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["failures"] == {"robot_failed": 1}
    assert "the robot did not come back from stop within 5 s" in done.stderr
    assert "before that: RobotFailed: the robot did not come back from apply within" in done.stderr
