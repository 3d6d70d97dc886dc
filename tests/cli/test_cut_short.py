"""Ctrl-C and a server that goes away: what was measured until then is shown, and the exit status says the rest."""

import json
import os
import signal
import threading

import numpy as np
import pytest
from offboard_client.cli import main
from offboard_core import InferenceServer
from puppets import PATIENCE


class Policy:
    """At its ``n``-th observation, counted from 1, it does something else before it answers."""

    def __init__(self, n, then):
        self.n, self.then, self.asked = n, then, 0

    def __call__(self, observation):
        self.asked += 1
        if self.asked == self.n:
            self.then()
        return {"action": np.zeros(2)}


@pytest.fixture
def never():
    """Stands for an answer that does not come while the command waits."""
    event = threading.Event()
    yield event
    event.set()


def ctrl_c(never):
    def then():
        os.kill(os.getpid(), signal.SIGINT)
        never.wait(PATIENCE)

    return then


def bench(policy, never, *arguments):
    server = InferenceServer({"m": lambda: policy}, port=0).start()
    try:
        return main(["bench", f"127.0.0.1:{server.port}", "--warmup", "0", *arguments])
    finally:
        never.set()
        server.stop(PATIENCE)


def test_bench_shows_at_ctrl_c_what_it_measured(never, capsys):
    assert bench(Policy(4, ctrl_c(never)), never, "--json", "--requests", "100") == 130
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["interrupted"] is True
    (run,) = found["runs"]
    assert run["requests"] == 3
    assert run["seconds"] > 0
    assert "this was cut short: what is shown is what was measured until then" in err


def test_bench_keeps_the_runs_before(never, capsys):
    assert bench(Policy(6, ctrl_c(never)), never, "--json", "--requests", "5", "--sessions", "1", "2") == 130
    assert [run["requests"] for run in json.loads(capsys.readouterr().out)["runs"]] == [5]


def test_bench_for_people_is_a_table_then_too(never, capsys):
    assert bench(Policy(2, ctrl_c(never)), never) == 130
    assert "requests/s" in capsys.readouterr().out


def test_bench_without_a_figure_is_as_quiet_as_others(never, capsys):
    assert bench(Policy(1, ctrl_c(never)), never, "--json") == 130
    assert capsys.readouterr().out == ""


def test_bench_shows_what_it_measured_when_its_server_goes_away(never, capsys):
    stopping = threading.Thread(target=lambda: server.stop(PATIENCE))

    def goes_away():
        stopping.start()
        never.wait(PATIENCE)

    server = InferenceServer({"m": lambda: Policy(3, goes_away)}, port=0, grace=0.1).start()
    assert main(["bench", f"127.0.0.1:{server.port}", "--warmup", "0", "--json"]) == 1
    never.set()
    stopping.join(PATIENCE)
    out, err = capsys.readouterr()
    assert json.loads(out)["runs"][0]["requests"] == 2
    assert err.splitlines()[-1].startswith("offboard: ")


def test_bench_to_its_end_says_so(never, capsys):
    assert bench(Policy(0, None), never, "--json", "--requests", "2") == 0
    assert json.loads(capsys.readouterr().out)["interrupted"] is False


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_probe_shows_at_ctrl_c_the_handshake(arguments, never, capsys):
    server = InferenceServer({"m": lambda: Policy(1, ctrl_c(never))}, port=0).start()
    try:
        assert main(["probe", f"127.0.0.1:{server.port}", *arguments]) == 130
    finally:
        never.set()
        server.stop(PATIENCE)
    out, err = capsys.readouterr()
    if arguments:
        found = json.loads(out)
        assert (found["interrupted"], found["meta"]["checkpoint_id"]) == (True, "m")
        assert "steps" not in found
    else:
        assert "what to send" in out
    assert "this was cut short: there was no answer yet" in err
