"""PROTOCOL section 5: who keeps the model, for how long, and how a session ends."""

import numpy as np
import pytest
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from puppets import Puppet, reached, source
from robots import first, get_json, robot

X = {"x": np.zeros(3)}
HOUR = 3600.0


def two_models(**limits):
    policies = []

    def make():
        policies.append(Puppet())
        return policies[-1]

    limits = ServiceTimeouts(**{"status_every": 0.02, **limits})
    server = InferenceServer({"only": source({"a": make, "b": make})}, port=0, limits=limits)
    return server, policies


@pytest.mark.rule("C-1", "C-5")
def test_a_session_holds_its_model_until_it_is_closed():
    server, policies = two_models()
    with server, robot(server) as holder:
        holder.opened()
        with robot(server, "b") as waiting:
            for _ in range(5):
                assert waiting.told("waiting")
            assert first(holder.ask(X)) == 1
            assert not policies[0].closed.is_set()
            holder.connection.close(1000)
            waiting.opened()
            assert policies[0].closed.is_set()


@pytest.mark.rule("C-2", "C-3")
def test_a_lapse_of_the_network_loses_neither_model_nor_episode():
    server, policies = two_models(linger=HOUR)
    with server, robot(server) as one:
        session_id = one.opened()["session_id"]
        one.ask(X)
        one.vanish()
        with robot(server, query=f"session_id={session_id}") as again, robot(server, "b") as waiting:
            frame = again.opened()
            assert frame["session_id"] == session_id
            assert first(again.ask(X)) == 2, "the same episode"
            assert waiting.told("waiting")
            assert not policies[0].episodes[0].closed.is_set()


@pytest.mark.rule("C-2")
def test_who_waits_for_the_slot_does_not_wait_for_who_may_come_back():
    server, policies = two_models(linger=HOUR)
    with server, robot(server) as one:
        one.opened()
        with robot(server, "b") as waiting:
            assert waiting.told("waiting")
            one.vanish()
            waiting.opened()
        assert policies[0].episodes[0].closed.is_set()


@pytest.mark.rule("C-3")
@pytest.mark.parametrize("session_id", ["unknown", "", "../.."])
def test_an_id_that_is_not_known_opens_a_fresh_session(session_id):
    server, _ = two_models(linger=HOUR)
    with server, robot(server, query=f"session_id={session_id}") as one:
        assert one.opened()["session_id"] != session_id
        assert first(one.ask(X)) == 1


@pytest.mark.rule("C-3")
def test_a_session_that_is_open_cannot_be_taken():
    server, _ = two_models(linger=HOUR)
    with server, robot(server) as one:
        session_id = one.opened()["session_id"]
        one.ask(X)
        with robot(server, query=f"session_id={session_id}") as thief:
            assert thief.opened()["session_id"] != session_id
            assert first(thief.ask(X)) == 1
        assert first(one.ask(X)) == 2


@pytest.mark.rule("C-2")
def test_a_lease_that_nobody_takes_back_ends():
    server, policies = two_models(linger=0.01)
    with server:
        with robot(server) as one:
            one.opened()
            one.vanish()
            with robot(server, "b") as other:
                other.opened()
        reached(policies[0].episodes[0].closed)


@pytest.mark.rule("C-2")
def test_the_lease_lingers_ten_seconds_unless_told_otherwise():
    assert ServiceTimeouts().linger == 10.0


@pytest.mark.rule("C-2", "C-5")
@pytest.mark.parametrize("code", [1000, 1001])
def test_who_says_goodbye_does_not_linger(code):
    server, policies = two_models(linger=HOUR)
    with server:
        with robot(server) as one:
            one.opened()
            one.connection.close(code)
        reached(policies[0].episodes[0].closed)
        with robot(server, "b") as other:
            other.opened()


@pytest.mark.rule("C-4")
def test_an_idle_session_yields_when_somebody_waits():
    server, policies = two_models(idle=0.05)
    with server, robot(server) as sleeper:
        sleeper.opened()
        sleeper.ask(X)
        with robot(server, "b") as waiting:
            waiting.opened()
        assert sleeper.closed() == 1008
        assert sleeper.reason == "idle"
        assert policies[0].closed.is_set()


@pytest.mark.rule("C-4")
def test_an_idle_session_stays_while_nobody_waits():
    server, _ = two_models(idle=0.0)
    with server, robot(server) as one, robot(server) as two:
        one.opened()
        two.opened()
        for _ in range(20):
            get_json(server, "/api/v1/status")
        assert first(one.ask(X)) == 1
        assert first(two.ask(X)) == 1
    assert ServiceTimeouts().idle == 600.0


@pytest.mark.rule("C-8")
def test_a_server_that_goes_away_says_so():
    server, policies = two_models()
    with robot(server.start()) as one, robot(server, "b") as waiting:
        one.opened()
        assert waiting.told("waiting")
        server.stop()
        assert one.closed() == 1012
        assert waiting.closed() == 1012
    reached(policies[0].closed)
