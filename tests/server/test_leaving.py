"""PROTOCOL sections 4 and 5: clients that leave, models that die or hang, and who is not harmed by it."""

import contextlib
import threading

import numpy as np
import pytest
from offboard_core import ModelLost, Policy
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, count_up, reached, source, until
from robots import first, get, get_json, robot
from websockets.exceptions import ConnectionClosed

X = {"x": np.zeros(3)}
POSE = {"robot_state.ee_pose": np.array([0, 0, 0.1, 1, 0, 0, 0], np.float32), "task": "up"}


@pytest.mark.rule("L-5")
@pytest.mark.parametrize("leave", ["close", "vanish"])
def test_who_leaves_the_queue_is_noticed_at_once(leave, door):
    with (
        InferenceServer({"only": source({"a": Puppet, "b": Puppet})}, port=0) as server,
        robot(server) as holder,
        robot(server, "b") as gone,
    ):
        holder.opened()
        assert gone.told("waiting")
        with robot(server) as later:
            assert later.told("waiting")
            gone.connection.close() if leave == "close" else gone.vanish()
            later.opened()
            assert get_json(server, "/api/v1/status")["waiting"] == []


@pytest.mark.rule("L-5")
@pytest.mark.parametrize("leave", ["close", "vanish"])
def test_who_leaves_while_loading_is_noticed_at_once(leave, door):
    def slowly():
        door.passing()
        return Puppet()

    with InferenceServer({"only": source({"a": slowly, "b": Puppet})}, port=0, preload=False) as server:
        with robot(server) as gone:
            gone.receive()
            reached(door.entered)
            gone.connection.close() if leave == "close" else gone.vanish()
            until(lambda: not get_json(server, "/api/v1/status")["waiting"], "it is gone")
        door.open()
        with robot(server, "b") as other:
            other.opened()


@pytest.mark.rule("L-5")
@pytest.mark.parametrize("leave", ["close", "vanish"])
def test_who_leaves_in_mid_inference_harms_nobody(leave, door):
    policy = Puppet(doors={0: door})
    limits = ServiceTimeouts(linger=0.0)
    with InferenceServer({"only": source({"a": lambda: policy, "b": Puppet})}, port=0, limits=limits) as server:
        with contextlib.ExitStack() as robots:
            # One after the other: the episodes are numbered as they begin.
            gone = robots.enter_context(robot(server))
            gone.opened()
            stays = robots.enter_context(robot(server))
            stays.opened()
            gone.send(X)
            reached(door.entered)
            stays.send(X)
            gone.connection.close() if leave == "close" else gone.vanish()
            until(lambda: get_json(server, "/api/v1/status")["sessions"] == 1, "it is gone")
            door.open()
            assert first(stays.receive()) == 1
            reached(policy.episodes[0].closed)
            assert not policy.episodes[1].closed.is_set()
        with robot(server, "b") as other:
            other.opened()


@pytest.mark.rule("C-6", "E-12")
def test_a_message_beyond_the_limit_closes_with_1009():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        with robot(server) as one:
            one.opened()
            one.send(b"\xc6" + (32 * 2**20 - 5).to_bytes(4, "big") + bytes(32 * 2**20 - 5))
            assert one.receive()["code"] == "bad_message", "32 MiB exactly are read; this is bytes and no map"
        with robot(server) as one:
            one.opened()
            with contextlib.suppress(ConnectionClosed):  # it may be closed before all is sent
                one.send(bytes(32 * 2**20 + 1))
            assert one.closed() == 1009
        with robot(server) as one:
            one.opened()


def test_frames_without_end_close_the_session_and_nobody_elses(door):
    with (
        InferenceServer({"only": source({"a": lambda: Puppet(doors={0: door})})}, port=0) as server,
        robot(server) as flood,
        robot(server) as other,
    ):
        flood.opened()
        other.opened()
        flood.send(X)
        reached(door.entered)
        with contextlib.suppress(ConnectionClosed):  # before the last is sent
            for _ in range(100):
                flood.send({"type": "ping"})
        assert flood.closed() == 1008
        door.open()
        assert "result" in other.ask(X)


@pytest.mark.rule("C-7")
def test_a_model_that_dies_closes_its_sessions_with_1011_and_is_loaded_anew():
    made = []

    def make() -> Policy:
        def die(episode, inputs):
            if len(made) == 1:
                raise ModelLost("the child exited with status 9")
            return count_up(episode, inputs)

        made.append(Puppet(die))
        return made[-1]

    with InferenceServer({"only": source({"a": make})}, port=0) as server:
        with robot(server) as one, robot(server) as idle:
            one.opened()
            idle.opened()
            reply = one.ask(X)
            assert (reply["code"], reply["error"]) == ("model_lost", "the child exited with status 9")
            assert one.closed() == 1011
            assert idle.closed() == 1011
        with robot(server) as one:
            one.opened()
            assert first(one.ask(X)) == 1
        reached(made[0].closed)


@pytest.mark.rule("L-4", "H-4", "H-5", "L-3")
def test_a_policy_that_hangs_is_answered_for_and_recovers(door):
    limits = ServiceTimeouts()
    with (
        InferenceServer({"only": source({"a": lambda: Puppet(doors={1: door})})}, port=0, limits=limits) as server,
        robot(server) as one,
        robot(server) as two,
    ):
        one.opened()
        two.opened()
        one.ask(X)
        one.send(X)
        reached(door.entered)
        two.send(X)
        object.__setattr__(limits, "infer", 0.2)  # a busy machine takes longer for what is answered
        assert one.receive()["code"] == "timeout"
        assert two.receive()["code"] == "timeout"
        assert [get(server, path)[0] for path in ("/livez", "/readyz", "/healthz")] == [200, 503, 503]
        assert get_json(server, "/api/v1/status")["wedged"] is True
        with robot(server) as third:
            assert third.refused()["code"] == "timeout"
        object.__setattr__(limits, "infer", PATIENCE)
        door.open()
        until(lambda: get(server, "/readyz")[0] == 200, "the model returns")
        assert first(one.ask(X)) == 3, "the late answer is not sent: this is the next one"
        assert first(two.ask(X)) == 1, "what was given up in the queue never reached the model"


def test_a_hundred_sessions_leave_nothing_behind():
    policy = Puppet()
    before = set(threading.enumerate())
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server:
        for _ in range(100):
            with robot(server) as one:
                one.opened()
                one.ask(X)
        until(lambda: not get_json(server, "/api/v1/status")["sessions"], "all are gone")
        assert all(episode.closed.wait(PATIENCE) for episode in policy.episodes)
        assert len(policy.episodes) == 100
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("offboard-"):
            thread.join(PATIENCE)
            assert not thread.is_alive()
