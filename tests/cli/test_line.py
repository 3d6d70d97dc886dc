"""The one line that changes while a command waits, and what a pipe gets instead."""

import errno
import json

import numpy as np
import pytest
from offboard_client.cli import main
from offboard_client.terminal import Line
from offboard_client.wire import Status
from offboard_core import InferenceServer
from scripted_server import META, ScriptedServer
from terminal import Terminal

HALF = Status(
    "loading", "loading act: fetching 1 of 2 GB (3 s so far)", "loading act: fetching", 83.0, 10**9, 2 * 10**9
)


@pytest.fixture
def terminal(monkeypatch):
    return Terminal(monkeypatch)


def slow(peer):
    peer.upgrade()
    for _ in range(3):
        peer.send(HALF.frame())
    peer.send({"status": "ready", "meta": META, "session_id": "s"})
    peer.answer([])
    peer.wait_for_close()


def test_a_load_is_one_line_with_a_bar_its_size_and_its_time(terminal):
    with terminal.stands_for("stderr"), Line() as line:
        line.status(HALF)
    shown = [text for text in terminal.lines if text.strip()]
    assert shown
    for text in shown:
        assert len(text) <= 80
        assert [
            part for part in ("loading act: fetching", "━", "1.0 GB of 2.0 GB", "0:01:23") if part not in text
        ] == []
        assert "so far" not in text


def test_a_terminal_that_is_no_more_ends_nothing(terminal, monkeypatch):
    """Its window was closed, or the connection to it: what comes after, a report in a file, is still to come."""

    def gone(text):
        raise OSError(errno.EIO, "Input/output error")

    with terminal.stands_for("stderr"), Line() as line:
        line.show("episode 1")
        monkeypatch.setattr(terminal, "write", gone)
        line.show("episode 2")
        line.stop()
        line.show("episode 3")


def test_without_a_size_there_is_no_bar(terminal):
    with terminal.stands_for("stderr"), Line() as line:
        line.status(HALF)
        line.status(Status("loading", "loading act: warming up", "loading act: warming up", 84.0))
    last = terminal.lines[-2].rstrip()
    assert "warming up" in last
    assert "━" not in last


def test_a_long_text_is_cut_and_not_wrapped(terminal):
    with terminal.stands_for("stderr"), Line() as line:
        line.status(Status("waiting", "a robot " * 40))
    assert {len(text) for text in terminal.lines if text.strip()} == {80}


def test_the_line_is_gone_in_the_end(terminal):
    with terminal.stands_for("stderr"), Line() as line:
        line.status(HALF)
    assert terminal.getvalue().endswith("\x1b[1A\x1b[2K")


def test_what_is_printed_meanwhile_stands_above_it(terminal):
    with terminal.stands_for("stdout", "stderr"), ScriptedServer(slow) as server:
        assert main(["probe", f"127.0.0.1:{server.port}"]) == 0
    before, after = terminal.getvalue().split("ready after")
    assert "loading act: fetching" in before
    assert before.endswith("\x1b[1A\x1b[2K")
    assert "answer: stop" in after


@pytest.mark.parametrize("dumb", [False, True])
def test_elsewhere_each_event_is_a_line_of_its_own(dumb, terminal, monkeypatch, capsys):
    monkeypatch.setenv("TERM", "dumb")
    with ScriptedServer(slow) as server, terminal.stands_for(*["stderr"] * dumb):
        assert main(["probe", f"127.0.0.1:{server.port}", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["steps"] == 0
    assert (terminal.getvalue() if dumb else err) == f"{HALF.message}\n"


def test_what_begins_is_seen_even_if_more_follows_at_once(terminal):
    with terminal.stands_for("stderr"), Line(refresh_per_second=0.001) as line:
        line.status(HALF)
        line.event("1 session on the model it …")
        line.show("1 at once")
    assert any("1 session on the model it" in shown for shown in terminal.lines)


def test_bench_shows_how_far_it_is(terminal, capsys):
    with (
        terminal.stands_for("stderr"),
        InferenceServer({"it": lambda: lambda seen: {"x": np.zeros(1)}}, port=0, fps=10) as server,
    ):
        assert main(["bench", f"127.0.0.1:{server.port}", "--requests", "20", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["runs"][0]["requests"] == 20
        shown = " ".join(terminal.lines)
        assert "1 session on the model it" in shown
        assert "of 20" in shown
        assert main(["bench", f"127.0.0.1:{server.port}", "--seconds", "0.1", "--json"]) == 0
        assert "requests/s" in " ".join(terminal.lines)


def test_a_run_shows_its_episode_and_prints_what_became_of_it(terminal, capsys):
    def still(observation):
        return [{"target_joints": np.array(observation["robot_state.q"])}] * 3

    with terminal.stands_for("stderr"), InferenceServer({"it": lambda: still}, port=0, fps=10) as server:
        address = f"127.0.0.1:{server.port}"
        assert main(["run", "sim", address, "--seconds", "0.5", "--json"]) == 0
    shown = terminal.lines
    assert any("episode 1/1, 0 done, round trip" in line for line in shown)
    assert "episode 1/1 (seed 0): not done after 0.5 s, 5 steps in 2 chunks" in [line.strip() for line in shown]
