"""Who gets a place on a server that is full: whoever comes, in place of whoever is quiet."""

import json

import numpy as np
import pytest
from offboard_core.server import InferenceServer, ServerConfig
from puppets import Puppet, reached, source
from robots import first, robot
from websockets.exceptions import InvalidStatus

X = {"x": np.zeros(3)}


def full(**settings):
    return InferenceServer({"only": source({"a": Puppet, "b": Puppet})}, port=0, **{"quiet": 1e-9, **settings})


def is_refused(server):
    with pytest.raises(InvalidStatus) as refused, robot(server):
        pass
    assert refused.value.response.status_code == 503
    assert json.loads(refused.value.response.body)["code"] == "full"
    return True


@pytest.mark.rule("C-13")
def test_the_session_that_is_quiet_longest_makes_room():
    with full(max_sessions=3) as server, robot(server) as active, robot(server) as quiet, robot(server) as other:
        for one in (active, quiet, other):
            one.opened()
        active.ask(X)
        other.ask(X)
        with robot(server) as newcomer:
            newcomer.opened()
            assert quiet.closed() == 1008
            assert quiet.reason == "idle"
            assert first(active.ask(X)) == 2
            assert first(other.ask(X)) == 2
            assert first(newcomer.ask(X)) == 1


@pytest.mark.rule("C-13")
def test_each_newcomer_takes_one_place():
    with full(max_sessions=2) as server, robot(server) as one, robot(server) as two:
        one.opened()
        two.opened()
        with robot(server) as three, robot(server) as four:
            three.opened()
            four.opened()
            assert {one.closed(), two.closed()} == {1008}
            assert first(three.ask(X)) == 1


@pytest.mark.rule("C-13")
def test_who_waits_for_an_answer_is_not_quiet(door):
    policy = Puppet(doors={0: door})
    with (
        InferenceServer({"only": source({"a": lambda: policy})}, port=0, max_sessions=1, quiet=0.0) as server,
        robot(server) as one,
    ):
        one.opened()
        one.send(X)
        reached(door.entered)
        assert is_refused(server)
        door.open()
        assert first(one.receive()) == 1


@pytest.mark.rule("C-13", "C-10")
def test_who_was_heard_of_lately_stays():
    assert ServerConfig().quiet == 60.0
    with full(max_sessions=1, quiet=3600.0) as server, robot(server) as one:
        one.opened()
        assert is_refused(server)
        assert first(one.ask(X)) == 1


def test_who_waits_for_another_model_keeps_its_place():
    with full(max_sessions=2) as server, robot(server) as holder, robot(server, "b") as waiting:
        holder.opened()
        assert waiting.told("waiting")
        with robot(server) as newcomer:
            assert holder.closed() == 1008
            assert waiting.opened()["meta"]["checkpoint_id"] == "b"
            assert newcomer.told("waiting")
