"""PROTOCOL section 4: one observation, one reply, and control frames in order."""

import json

import numpy as np
import pytest
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, arm, count_up, reached, source
from robots import first, robot

X = {"x": np.zeros(3)}
POSE = {"robot_state.ee_pose": np.array([0, 0, 0.1, 1, 0, 0, 0], np.float32), "task": "up"}


@pytest.mark.rule("L-1", "L-2", "L-3")
def test_each_observation_gets_one_reply_and_errors_do_not_end_the_session():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        for i in range(1, 4):
            assert first(one.ask(X)) == i
            assert one.ask(b"\xc1").keys() == {"error", "code", "timing"}
        assert one.ask({"type": "stats"})["steps"] == 6, "nothing was sent beside the replies"


@pytest.mark.rule("L-3")
@pytest.mark.parametrize(
    "answer", [ValueError("the tensor"), None, SystemExit(1)], ids=["raises", "nothing new", "leaves the program"]
)
def test_a_policy_that_fails_once_goes_on(answer):
    def fail_second(episode, inputs):
        if len(episode.seen) == 2:
            if answer is None:
                return None
            raise answer
        return count_up(episode, inputs)

    with InferenceServer({"only": source({"a": lambda: Puppet(fail_second)})}, port=0) as server, robot(server) as one:
        one.opened()
        one.ask(X)
        reply = one.ask(X)
        if answer is None:
            assert reply["result"] is None
        else:
            assert reply["code"] == "policy_failed"
            assert str(answer) in reply["error"]
            assert "Traceback" not in reply["error"]
        assert first(one.ask(X)) == 3


@pytest.mark.rule("L-6", "L-1")
def test_a_second_observation_is_busy_and_the_first_is_answered(door):
    policy = Puppet(doors={0: door})
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server, robot(server) as one:
        one.opened()
        one.send({**X, "offboard.seq": 1})
        reached(door.entered)
        one.send({**X, "offboard.seq": 2})
        one.send(json.dumps({"x": 3}))
        assert one.connection.ping().wait(PATIENCE), "the server has read all three"
        door.open()
        assert one.receive()["offboard.seq"] == 1
        assert one.receive()["code"] == "busy"
        text = one.receive_raw()
        assert isinstance(text, str), "in the encoding of its own frame"
        assert json.loads(text)["code"] == "busy"
        assert len(policy.batches) == 1
        assert "result" in one.ask(X)


@pytest.mark.rule("L-6")
def test_what_comes_before_ready_is_answered_after_it(door):
    def slowly():
        door.passing()
        return Puppet()

    with InferenceServer({"only": source({"a": slowly})}, port=0) as server, robot(server) as one:
        one.receive()
        one.send({**X, "offboard.seq": 1})
        one.send({"type": "ping"})
        assert one.connection.ping().wait(PATIENCE)
        door.open()
        one.opened()
        assert one.receive()["offboard.seq"] == 1
        assert one.receive()["status"] == "pong"


@pytest.mark.rule("L-14")
def test_an_observation_that_waited_for_the_load_is_late(door):
    policy = Puppet()

    def slowly():
        door.passing()
        return policy

    with InferenceServer({"only": source({"a": slowly})}, port=0) as server, robot(server) as one:
        one.receive()
        one.send({**X, "offboard.deadline_ms": 0})
        assert one.connection.ping().wait(PATIENCE)
        door.open()
        one.opened()
        assert one.receive()["code"] == "deadline_exceeded"
        assert policy.batches == []


@pytest.mark.rule("L-14", "O-11")
@pytest.mark.parametrize("limit", ["soon", -1, [1], True, float("nan")])
def test_a_deadline_that_is_none_is_refused(limit):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        assert one.ask({**X, "offboard.deadline_ms": limit})["code"] == "bad_message"
        assert "result" in one.ask({**X, "offboard.deadline_ms": 1e6})


@pytest.mark.rule("L-12")
def test_control_frames_are_answered_in_the_order_in_which_they_came(door):
    with (
        InferenceServer({"only": source({"a": lambda: Puppet(doors={1: door})})}, port=0) as server,
        robot(server) as one,
    ):
        one.opened()
        one.ask(X)
        one.send(X)
        reached(door.entered)
        for kind in ("stats", "reset", "ping", "nonsense", "stats"):
            one.send({"type": kind})
        door.open()
        assert first(one.receive()) == 2
        assert one.receive()["status"] == "stats"
        assert one.receive() == {"status": "reset"}
        assert one.receive()["status"] == "pong"
        assert one.receive()["code"] == "bad_message"
        assert one.receive()["status"] == "stats"
        assert first(one.ask(X)) == 1


@pytest.mark.rule("L-8")
def test_reset_starts_a_new_episode():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one, robot(server) as two:
        one.opened()
        two.opened()
        assert [first(one.ask(X)), first(one.ask(X)), first(two.ask(X))] == [1, 2, 1]
        assert one.ask({"type": "reset"}) == {"status": "reset"}
        assert one.ask_text({"type": "reset"}) == {"status": "reset"}
        assert [first(one.ask(X)), first(two.ask(X))] == [1, 2], "the other robot's episode goes on"


@pytest.mark.rule("L-8")
def test_a_reset_that_fails_is_answered_and_no_observation_before_it_is_done():
    policy = Puppet()
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server, robot(server) as one:
        one.opened()
        assert [first(one.ask(X)), first(one.ask(X))] == [1, 2]
        policy.episodes[0].reset = lambda: 1 / 0
        assert one.ask({"type": "reset"})["code"] == "policy_failed"
        for _ in range(2):
            refused = one.ask({**X, "offboard.seq": 7})
            assert (refused["code"], refused["offboard.seq"]) == ("policy_failed", 7)
        del policy.episodes[0].reset
        assert first(one.ask(X)) == 1


@pytest.mark.rule("L-9")
def test_ping_speaks_for_the_model(door):
    with (
        InferenceServer({"only": source({"a": lambda: Puppet(doors={0: door})})}, port=0) as server,
        robot(server) as one,
        robot(server) as two,
    ):
        one.opened()
        two.opened()
        two.send(X)
        reached(door.entered)
        one.send({"type": "ping"})
        assert one.connection.ping().wait(PATIENCE), "the socket lives"
        with pytest.raises(TimeoutError):
            one.connection.recv(timeout=0)
        door.open()
        reply = one.receive()
        assert reply["status"] == "pong"
        assert reply["checkpoint_id"] == "a"
        assert reply["model_ms"] > 0


@pytest.mark.rule("L-10")
def test_stats_are_this_sessions_own():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one, robot(server) as two:
        one.opened()
        two.opened()
        assert one.ask({"type": "stats"}) == {"status": "stats", "steps": 0, "errors": {}, "timing": {}}
        for _ in range(4):
            one.ask(X)
        one.ask(b"\xc1")
        two.ask(X)
        stats = one.ask({"type": "stats"})
        assert (stats["steps"], stats["errors"]) == (5, {"bad_message": 1})
        assert stats["timing"].keys() == {"decode_ms", "codec_ms", "queue_ms", "infer_ms", "total_ms"}
        for stage in stats["timing"].values():
            assert 0 <= stage["p50"] <= stage["p95"] <= stage["p99"]
        assert two.ask({"type": "stats"})["steps"] == 1


@pytest.mark.rule("L-11")
@pytest.mark.parametrize(
    "kind",
    ["nonsense", "", None, 1, ["reset"], {"reset": 1}, np.zeros(2), "reset" * 200],
    ids=lambda kind: str(kind)[:9],
)
def test_an_unknown_control_frame_gets_an_error_and_never_silence(kind):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        assert one.ask({"type": kind})["code"] == "bad_message"
        if not isinstance(kind, np.ndarray):
            assert one.ask_text({"type": kind})["code"] == "bad_message"
        assert first(one.ask(X)) == 1


@pytest.mark.rule("L-7")
def test_the_first_reply_says_what_nobody_reads_and_no_later_one():
    with InferenceServer({"only": arm()}, port=0) as server, robot(server) as one:
        one.opened()
        odd = {
            "ee_pose": POSE["robot_state.ee_pose"],
            "robot_state.Q": np.zeros(7),
            "image.left": np.zeros((2, 2, 3), np.uint8),
        }
        warnings = one.ask(odd)["warnings"]
        assert all(isinstance(warning, str) for warning in warnings)
        text = "\n".join(warnings)
        assert "robot_state.Q" in text
        assert "image.left" in text
        assert "quaternion order" in text
        assert "no task" in text
        assert "warnings" not in one.ask(odd)
    with InferenceServer({"only": arm()}, port=0) as server, robot(server) as one:
        one.opened()
        assert "warnings" not in one.ask(POSE)


@pytest.mark.rule("L-13", "O-11")
def test_the_sequence_number_comes_back_with_errors_too():
    with InferenceServer({"only": arm()}, port=0) as server, robot(server) as one:
        one.opened()
        assert one.ask({**POSE, "offboard.seq": 2**40})["offboard.seq"] == 2**40
        assert one.ask({"offboard.seq": -3})["offboard.seq"] == -3
        bad_image = one.ask({**POSE, "image.wrist": b"no image", "offboard.seq": 5})
        assert (bad_image["code"], bad_image["offboard.seq"]) == ("bad_message", 5)
        assert "offboard.seq" not in one.ask(POSE)
        assert "offboard.seq" not in one.ask(b"\xc1")
        assert one.ask({**POSE, "offboard.seq": "one"})["code"] == "bad_message"


def test_a_name_that_an_observation_lacks_is_told_with_those_it_has():
    def reach(observation):
        return {"target_joints": observation["robot_state.q"]}

    with InferenceServer(reach, port=0) as server, robot(server) as one:
        one.opened()
        reply = one.ask({"robot_state.qs": [0.0], "grip": 0.5})
        assert reply["code"] == "policy_failed"
        assert "KeyError: 'robot_state.q' (it was given grip, robot_state.qs)" in reply["error"]
        many = one.ask({f"x{i}": 0.0 for i in range(50)})
        assert " and 30 more)" in many["error"]
