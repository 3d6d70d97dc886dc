"""Several robots on one policy."""

import json
import threading
from contextlib import ExitStack

import numpy as np
import pytest
from offboard_core.server import InferenceServer
from puppets import Door, Puppet, count_up, reached, source, until
from robots import first, get, robot

X = {"x": np.zeros(3)}


def test_two_robots_do_not_share_an_episode():
    policy = Puppet()
    models = source({"a": lambda: policy})
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one, robot(server) as two:
        one.opened()
        two.opened()
        assert [first(r.ask(X)) for r in (one, one, two, one, two)] == [1, 2, 1, 3, 2]
        one.ask({"type": "reset"})
        assert [first(r.ask(X)) for r in (one, two)] == [1, 3]
    assert len(policy.episodes) == 2


@pytest.mark.rule("R-19")
def test_eight_robots_share_the_calls_of_a_policy_that_can_batch():
    doors = {0: Door(), 2: Door()}
    policy = Puppet(max_batch_size=8, doors=doors)
    with ExitStack() as stack:
        for door in doors.values():
            stack.enter_context(door)
        server = stack.enter_context(InferenceServer({"only": source({"a": lambda: policy})}, port=0))
        robots = [stack.enter_context(robot(server)) for _ in range(8)]
        for one in robots:
            one.opened()
        robots[0].send(X)
        reached(doors[0].entered)
        for one in robots[1:]:
            one.send(X)
        wait_until_queued(server, 8)
        doors[0].open()
        assert [one.receive()["timing"]["batch"] for one in robots] == [1] + [7] * 7
        robots[0].send(X)
        reached(doors[2].entered)
        for one in robots[1:]:
            one.send(X)
        wait_until_queued(server, 8)
        doors[2].open()
        replies = [one.receive() for one in robots]
        assert sum(1 / reply["timing"]["batch"] for reply in replies) == pytest.approx(len(policy.batches) - 2)
        assert [first(reply) for reply in replies] == [2.0] * 8, "each episode has its own second answer"
        assert max(len(batch) for batch in policy.batches) >= 7
        assert 'offboard_batches_total{size="7"}' in get(server, "/metrics")[1]


def wait_until_queued(server, count):
    until(lambda: json.loads(get(server, "/api/v1/status")[1])["in_flight"] >= count, f"{count} are queued")


def test_one_bad_robot_harms_none_of_those_who_share_its_call():
    def picky(episode, inputs):
        if "bad" in inputs:
            raise ValueError("this one")
        return count_up(episode, inputs)

    door = Door()
    policy = Puppet(picky, max_batch_size=8, doors={0: door})
    policy.batch_key = lambda item: None
    with door, ExitStack() as stack:
        server = stack.enter_context(InferenceServer({"only": source({"a": lambda: policy})}, port=0))
        robots = [stack.enter_context(robot(server)) for _ in range(4)]
        for one in robots:
            one.opened()
        robots[0].send(X)
        reached(door.entered)
        robots[1].send(X)
        robots[2].send({**X, "bad": True})
        robots[3].send(b"\xc1")
        wait_until_queued(server, 4)
        door.open()
        assert [one.receive().get("code") for one in robots] == [None, None, "policy_failed", "bad_message"]


def test_robots_that_come_and_go_while_others_work():
    policy = Puppet(max_batch_size=4)
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server:
        failures = []

        def work():
            try:
                for _ in range(5):
                    with robot(server) as one:
                        one.opened()
                        assert [first(one.ask(X)) for _ in range(10)] == list(range(1, 11))
            except BaseException as error:
                failures.append(error)

        workers = [threading.Thread(target=work) for _ in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(240)
            assert not worker.is_alive()
        assert failures == []
