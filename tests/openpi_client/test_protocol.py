"""The real openpi-client against this server: nothing of it is changed, nothing of it is ours."""

import threading

import numpy as np
import pytest
from genuine_client import Failed, speaking
from offboard_core import Chunk
from puppets import Door, Puppet, arm, source
from robots import get

POSE = np.array([0.5, 0.0, 0.25, 0.0, 1.0, 0.0, 0.0], np.float32)


@pytest.fixture(scope="module")
def arm_server():
    with speaking(arm()) as server:
        yield server


def test_metadata_then_actions_with_timings(arm_server, client):
    metadata = client.connect(host=arm_server.host, port=arm_server.port)
    assert metadata["checkpoint_id"] == "arm"
    assert metadata["action_layout"] == [["target_pose", 7], ["target_grip", 1]]
    assert metadata["action_fps"] == 10
    assert metadata["action"]["actions"]["shape"] == [8]
    assert "robot_state.ee_pose" in metadata["observation"]
    first = client.infer({"robot_state.ee_pose": POSE, "prompt": "go up"})
    assert first.keys() == {"actions", "server_timing", "policy_timing"}
    np.testing.assert_array_equal(first["actions"][:, 2], POSE[2] + np.array([0.1, 0.2, 0.3]))
    np.testing.assert_array_equal(first["actions"][:, 7], [0.5] * 3)
    assert first["server_timing"]["infer_ms"] >= first["policy_timing"]["infer_ms"] >= 0
    assert "prev_total_ms" not in first["server_timing"]
    assert client.reset() is None
    second = client.infer({"robot_state.ee_pose": POSE})
    assert second["server_timing"]["prev_total_ms"] > 0


@pytest.mark.parametrize("path", ["/", "/openpi/policy", "/v1/realtime/robot/openpi"])
def test_every_path_that_is_known_for_the_protocol(arm_server, client, path):
    client.connect(host=f"ws://{arm_server.host}:{arm_server.port}{path}")
    assert client.infer({"robot_state.ee_pose": POSE})["actions"].shape == (3, 8)


@pytest.mark.parametrize("chunks", [2, pytest.param(3000, marks=pytest.mark.slow)])
def test_the_broker_hands_out_one_action_after_the_other(arm_server, client, chunks):
    client.connect(host=arm_server.host, port=arm_server.port)
    client.broker(3)
    for chunk in range(chunks):
        pose = POSE + np.array([0, 0, chunk % 64 / 64, 0, 0, 0, 0], np.float32)
        steps = [client.infer({"robot_state.ee_pose": pose})["actions"] for _ in range(3)]
        assert [step.shape for step in steps] == [(8,)] * 3
        np.testing.assert_allclose([step[2] for step in steps], pose[2] + np.array([0.1, 0.2, 0.3]))


def test_an_answer_shorter_than_what_the_broker_plays_is_an_error_before_its_first_step(client):
    with speaking(arm(), action_horizon=4) as server:
        client.connect(host=server.host, port=server.port)
        client.broker(4)
        with pytest.raises(
            Failed,
            match=r"RuntimeError: .*\ndialect_unsupported: the model answered 3 steps, where the robot counts on 4",
        ):
            client.infer({"robot_state.ee_pose": POSE})


def test_an_error_is_the_clients_own_exception_and_the_session_goes_on(arm_server, client):
    client.connect(host=arm_server.host, port=arm_server.port)
    with pytest.raises(
        Failed, match=r"^RuntimeError: Error in inference server:\nbad_observation: .*lacks robot_state"
    ):
        client.infer({"task": "go up"})
    with pytest.raises(Failed, match="not finite at index") as raised:
        client.infer({"robot_state.ee_pose": POSE * np.nan})
    assert "Traceback" not in str(raised.value)
    assert client.infer({"robot_state.ee_pose": POSE})["actions"].shape == (3, 8)


def test_healthz_is_what_its_scripts_ask_for(arm_server):
    assert get(arm_server, "/healthz")[:2] == (200, "OK\n")


def test_the_api_key_is_the_servers_token(client):
    with speaking(arm(), auth_token="correct-horse") as server:
        where = {"host": server.host, "port": server.port}
        with pytest.raises(Failed, match="HTTP 401"):
            client.connect(**where)
        with pytest.raises(Failed, match="HTTP 401"):
            client.connect(**where, api_key="wrong")
        assert client.connect(**where, api_key="correct-horse")["checkpoint_id"] == "arm"


def test_a_refusal_says_why(arm_server, client):
    with pytest.raises(Failed, match=r"ConnectionClosed\w+: received 1008 .* there is no model 'pi9' here"):
        client.connect(host=f"ws://{arm_server.host}:{arm_server.port}/?model=pi9")


def test_a_model_is_chosen_by_the_query_and_a_parameter_tunes_it(client):
    with speaking(arm(), arm()) as server:
        url = f"ws://{server.host}:{server.port}/?model=m1/arm&codec.fps=20"
        metadata = client.connect(host=url)
    assert (metadata["checkpoint_id"], metadata["action_fps"]) == ("m1/arm", 20)


@pytest.mark.parametrize("says", [None, Chunk({"target_pose": np.zeros((0, 7)), "target_grip": np.zeros((0, 1))})])
def test_a_model_that_answers_no_actions_is_an_error(client, says):
    with speaking(arm(lambda episode, inputs: says)) as server:
        client.connect(host=server.host, port=server.port)
        with pytest.raises(Failed, match=r"dialect_unsupported: the model .* openpi's protocol has no word"):
            client.infer({"robot_state.ee_pose": POSE})


@pytest.mark.parametrize("seconds", [1, pytest.param(45, marks=pytest.mark.slow)])
def test_an_inference_that_outlasts_the_clients_keepalive_does_not_kill_it(client, seconds):
    """The client gives up a connection whose pings are not answered for 40 s; its times cannot be set."""
    with Door() as door:
        puppet = Puppet(lambda episode, inputs: Chunk(np.ones((2, 3))), doors={0: door})
        with speaking(source({"slow": lambda: puppet})) as server:
            client.connect(host=server.host, port=server.port)
            timer = threading.Timer(seconds, door.open)
            timer.start()
            np.testing.assert_array_equal(client.infer({"x": 1.0})["actions"], np.ones((2, 3)))
            timer.join()
            np.testing.assert_array_equal(client.infer({"x": 1.0})["actions"], np.ones((2, 3)))


def test_a_model_that_plays_something_else_is_refused(client):
    why = r"1008 .* dialect_unsupported: try another --openpi.codec than droid, or --codec than \S+: the model reads"
    with speaking(arm(), codec="droid") as server, pytest.raises(Failed, match=why):
        client.connect(host=server.host, port=server.port)
