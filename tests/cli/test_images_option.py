"""``--images`` of the commands: what is sent, what is refused, and what is said of it."""

import json
import sys

import numpy as np
import pytest
from offboard_client import InferenceClient
from offboard_client.cli import main
from offboard_client.drivers import RunLength, TimedDriver
from offboard_client.play import Answer, EpisodeInfo, RobotLimits, SafetyLimits
from offboard_client.robots import connected
from offboard_client.robots.sim import SimRobot, Stacking
from offboard_client.terminal import Line
from offboard_core import InferenceServer, declare
from robot_fakes import Watcher


def still(observation):
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 2


@pytest.fixture(scope="module")
def server():
    with InferenceServer({"still": lambda: still}, port=0, fps=10) as made:
        yield made


def test_a_run_says_how_its_images_were_sent(server, capsys):
    where = f"127.0.0.1:{server.port}"
    assert main(["run", "sim", where, "--images", "jpeg:80", "--seconds", "0.4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episode_log"][0]["images"] == ["jpeg:80"]
    assert main(["run", "sim", where, "--seconds", "0.4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episode_log"][0]["images"] == ["raw"]


def test_bench_and_probe_send_them_so(server, capsys):
    where = f"127.0.0.1:{server.port}"
    assert main(["bench", where, "--images", "jpeg", "--requests", "2", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert (run["images"], run["requests"], run["errors"]) == ("jpeg:90", 2, {})
    assert (run["images_sent"], run["images_why"]) == ({"jpeg:90": 2}, ["it was asked for"])
    assert main(["probe", where, "--images", "jpeg:50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert main(["probe", where, "--images", "auto"]) == 2
    assert "--images auto measures several observations, and this sends one" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's memory")
@pytest.mark.parametrize("shared", [True, False])
def test_a_bench_says_that_it_measures_shared_memory_where_it_does(capsys, shared):
    """From elsewhere it takes longer."""
    with InferenceServer({"still": lambda: still}, port=0, fps=10, shared_memory=shared) as made:
        command = ["bench", f"127.0.0.1:{made.port}", "--requests", "2"]
        assert main([*command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["runs"][0]["shared_memory"] is shared
        assert main(command) == 0
        assert ("memory that both share" in capsys.readouterr().out) is shared


def seeing(observation):
    return [{"target_joints": np.zeros(7)}]


def test_a_bench_says_what_auto_came_to(capsys):
    """How each observation's images were sent, and why: of a link that is fast, raw."""
    policy = declare(observation={"image.wrist": (64, 64, 3)}, action={"target_joints": (7,)})(seeing)
    with InferenceServer({"it": policy}, port=0, fps=10) as made:
        command = ["bench", f"127.0.0.1:{made.port}", "--images", "auto", "--requests"]
        assert main([*command, "3", "--json"]) == 0
        (run,) = json.loads(capsys.readouterr().out)["runs"]
        assert run["images_sent"] == {"raw": 3}
        (why,) = run["images_why"]
        assert why.startswith("images stay raw: an exchange takes about")
        assert main([*command, "1", "--warmup", "0"]) == 0
        out = capsys.readouterr().out
    said = "images: raw in 1 of 1 observation (auto decides when 3 raw answers to images are measured)"
    assert said in " ".join(out.split())


@pytest.mark.parametrize("command", ["run sim", "check sim", "bench", "probe"])
def test_what_is_no_form_is_refused(server, command, capsys):
    assert main([*command.split(), f"127.0.0.1:{server.port}", "--images", "webp"]) == 1
    assert "images is 'webp'; write raw, jpeg, jpeg:QUALITY (1 to 100) or auto" in capsys.readouterr().err


def test_without_the_library_it_says_what_brings_it(server, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert main(["check", "sim", f"127.0.0.1:{server.port}", "--images", "auto"]) == 1
    assert "images as JPEG need simplejpeg: pip install 'offboard-client[images]'" in capsys.readouterr().err


def test_observers_are_told_with_each_answer(server):
    heard = Watcher()
    with (
        InferenceClient("127.0.0.1", server.port, images="jpeg:70") as client,
        client.new_session() as session,
        connected(SimRobot()) as robot,
    ):
        limits = RobotLimits(SafetyLimits())
        TimedDriver(session, robot, Stacking(robot), limits=limits, observers=[heard]).run(RunLength(seconds=0.4))
    told = [event for event in heard.events if isinstance(event, (EpisodeInfo, Answer))]
    assert len(told) > 1
    assert {event.images for event in told} == {"jpeg:70"}


def test_what_is_said_aside_stays_above_a_line_that_changes(capsys):
    with Line() as line:
        line.aside("images stay raw: [so]")
    assert capsys.readouterr().err == "images stay raw: [so]\n"
