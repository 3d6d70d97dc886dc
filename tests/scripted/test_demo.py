"""``offboard demo`` as a user runs it: two processes and a socket."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator

import pytest
from offboard_client.cli import main
from offboard_process import LIMIT, command, environment, in_process, offboard
from waits import until


@contextlib.contextmanager
def demo(*arguments: str) -> Generator[tuple[subprocess.Popen[str], int], None, None]:
    """A demo that has begun to play: the process, and the port of its server."""
    process = subprocess.Popen(
        [command(), "demo", *arguments],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    watchdog = threading.Timer(LIMIT, process.kill)
    watchdog.start()
    try:
        assert process.stderr is not None
        serving = process.stderr.readline()
        found = re.search(r":(\d+)", serving)
        assert found, serving + process.stderr.read()
        while "episode 1" not in (line := process.stderr.readline()):
            assert line, "it has left"
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()
        watchdog.cancel()
        watchdog.join()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_plays_and_reports() -> None:
    done = offboard("demo", "--episodes", "2", "--json", "--seed", "7")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["episodes"], report["successes"]) == (2, 2)
    assert report["steps"] > 100
    assert report["round_trip_ms"]["p50"] > report["server_ms"]["total"]["p50"] > 0
    assert [episode["seed"] for episode in report["episode_log"]] == [7, 8]


def test_its_second_form_plays_at_wall_speed_and_asks_meanwhile() -> None:
    def plays() -> bool:
        began = time.monotonic()
        words = ("--clock", "real", "--chunks", "prefetch", "--episodes", "1", "--seconds", "3", "--json")
        done = offboard("demo", *words)
        assert time.monotonic() - began > 3
        report = json.loads(done.stdout)
        assert done.returncode == 1, done.stderr
        if not report["rungs_s"].get("playing"):
            return False
        assert report["failures"] == {}, done.stderr
        assert sum(report["rungs_s"].values()) == pytest.approx(report["episode_log"][0]["seconds"], abs=0.1)
        return True

    until(plays, "a busy machine leaves it the time for an answer in three seconds")


def test_its_status_is_1_if_an_episode_did_not_succeed() -> None:
    done = in_process("demo", "--episodes=1", "--seconds=1")
    assert done.returncode == 1
    assert "0 of 1 episodes" in done.stdout
    assert "not done after 1.0 s" in done.stderr


def test_options_that_are_not_its_own_go_to_the_server() -> None:
    done = in_process("demo", "--episodes", "1", "--vendor", "nonesuch", "--infer_timeout=5")
    assert done.returncode == 1
    assert "there is no vendor 'nonesuch'" in done.stderr
    assert "the server could not start" in done.stderr


def test_a_server_that_cannot_play_the_arm_is_explained(tmp_path) -> None:
    models = tmp_path / "models.toml"
    models.write_text('[it]\nvendor = "scripted"\ncodec = "native"\n')
    done = in_process("demo", "--episodes", "1", models)
    assert done.returncode == 1
    assert "serve with --fps" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--episodes", "0"), "episodes is 0; expected 1 or more"),
        (("--seconds", "-1"), "seconds is -1.0; expected seconds of one episode, above 0 and below 86400"),
        (("--episodes", "many"), "expected INT, not many"),
        (("--task", "fold the towel"), "stack the red cube"),
        (("--seconds", "soon"), "seconds"),
        (("--seed", "-1"), "the seed is -1"),
    ],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...], says: str) -> None:
    done = in_process("demo", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGINT, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGTERM, signal.SIGHUP))]
)
def test_a_signal_ends_both_processes_and_the_table_is_printed(number: signal.Signals) -> None:
    with demo("--episodes", "1000") as (process, port):
        assert listens(port)
        process.send_signal(number)
        out, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == 130
        assert "interrupted" in out
        assert "episodes" in out
        assert not listens(port)


def test_the_server_ends_even_if_the_demo_is_killed() -> None:
    with demo("--episodes", "1000") as (process, port):
        process.kill()
        process.wait(LIMIT)
        deadline = time.monotonic() + LIMIT
        while listens(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not listens(port)


def test_without_the_simulation_no_server_is_started(monkeypatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 1
    assert capsys.readouterr() == ("", "offboard: the demo needs MuJoCo: pip install 'offboard-client[sim]'\n")
