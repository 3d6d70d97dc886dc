"""A robot that comes back before the server has noticed that it was gone does not wait for itself (C-3)."""

import numpy as np
import pytest
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from puppets import Door, Puppet, source
from robots import first, get_json, robot

X = {"x": np.zeros(3)}
HOUR = 3600.0


class Remembering:
    def __init__(self):
        self.steps = 0

    def reset(self):
        self.steps = 0

    def select_action(self, observation):
        self.steps += 1
        return np.full((1, 2), float(self.steps))


@pytest.fixture
def alone():
    limits = ServiceTimeouts(linger=HOUR, idle=HOUR, status_every=0.02)
    with InferenceServer({"m": Remembering}, port=0, limits=limits) as server:
        yield server


@pytest.mark.rule("C-3")
def test_it_takes_the_place_of_its_former_session(alone):
    with robot(alone) as former:
        session_id = former.opened()["session_id"]
        assert first(former.ask(X)) == 1
        with robot(alone, query=f"session_id={session_id}") as again:
            assert again.opened()["session_id"] != session_id
            assert first(again.ask(X)) == 1, "a new episode"
            assert former.closed() == 1008
            assert former.reason == "busy"
            assert len(get_json(alone, "/api/v1/status")["holders"]) == 1


@pytest.mark.rule("C-3")
@pytest.mark.parametrize("session_id", ["", "unknown"])
def test_nobody_else_does(alone, session_id):
    with robot(alone) as holder:
        holder.opened()
        with robot(alone, query=f"session_id={session_id}") as other:
            other.told("waiting")
            assert first(holder.ask(X)) == 1
            assert first(holder.ask(X)) == 2


@pytest.mark.rule("C-3")
def test_another_model_is_not_waited_for_either():
    with Door() as door:
        puppets = source({"a": lambda: Puppet(doors={0: door}), "b": Puppet})
        limits = ServiceTimeouts(linger=HOUR, idle=HOUR, status_every=0.02)
        with InferenceServer({"only": puppets}, port=0, limits=limits) as server, robot(server) as former:
            session_id = former.opened()["session_id"]
            former.send(X)
            door.entered.wait()
            with robot(server, "b", query=f"session_id={session_id}") as again:
                assert former.closed() == 1008
                door.open()
                again.opened()
                assert first(again.ask(X)) == 1
