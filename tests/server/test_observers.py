"""Observers of a server that robots reach over a socket."""

import json
import socket
import threading

import msgpack
import numpy as np
import pytest
from offboard_client import InferenceClient
from offboard_client.errors import PolicyFailed
from offboard_core import ConfigurationError, InferenceServer
from puppets import PATIENCE
from robots import get, get_json, robot
from watching import Noting


def hold(observation):
    if observation["robot_state.q"][0] > 8:
        raise ValueError("out of reach")
    return {"target_joints": np.asarray(observation["robot_state.q"])}


def joints(value):
    return {"robot_state.q": np.full(7, value, np.float32), "image.wrist": np.full((32, 48, 3), 7, np.uint8)}


def waited(event):
    assert event.wait(PATIENCE), "this did not happen"


def test_a_record_has_what_went_over_the_wire():
    watching = Noting(3)
    with (
        InferenceServer(hold, port=0, observers=[watching]) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        rows = session.infer(joints(1))
        timing = session.timing.last
        session.infer(joints(2))
        with pytest.raises(PolicyFailed, match="out of reach"):
            session.infer(joints(9))
    first, second, failed = watching.records
    assert (first.session_id, first.model_id) == (session.session_id, session.metadata["checkpoint_id"])
    assert first.observation["image.wrist"].shape == (32, 48, 3)
    assert first.reply_chunk.action["target_joints"].tolist() == [list(rows[0]["action"]["target_joints"])]
    assert first.timing["total_ms"] == timing["server.total_ms"]
    assert second.timing["prev_encode_ms"] == first.encode_ms
    assert second.robot_ms > 0
    assert failed.error == PolicyFailed.code
    assert (failed.chunk, failed.reply_chunk) == (None, None)
    assert failed.observation["robot_state.q"][0] == 9
    assert watching.closed == 1


@pytest.mark.parametrize("text", [False, True])
def test_the_sizes_are_those_of_the_frames(text):
    message = {"robot_state.q": [0.0] * 7, "task": "größer"}
    frame = json.dumps(message, ensure_ascii=False) if text else msgpack.packb(message)
    watching = Noting()
    with InferenceServer(hold, port=0, observers=[watching]) as server, robot(server) as one:
        one.opened()
        one.send(frame)
        reply = one.receive_raw()
        waited(watching.come)
    (record,) = watching.records
    assert (record.frame_bytes, record.reply_bytes) == tuple(
        len(part.encode() if isinstance(part, str) else part) for part in (frame, reply)
    )


def test_how_many_images_came_as_files_is_told():
    image = np.zeros((16, 16, 3), np.uint8)
    watching = Noting(3)
    with InferenceServer(hold, port=0, observers=[watching]) as server:
        for images in ("raw", "jpeg"):
            with InferenceClient(server.host, server.port, images=images) as client, client.new_session() as session:
                session.infer({**joints(1), "image.wrist": image, "image.exterior": image})
        with robot(server) as one:
            one.opened()
            one.ask({"image.wrist": b"no image", "robot_state.q": [0.0] * 7})
            waited(watching.come)
    assert [record.image_files for record in watching.records] == [0, 2, None]


def test_what_cannot_be_read_is_told_too():
    watching = Noting(2)
    with InferenceServer(hold, port=0, observers=[watching]) as server, robot(server) as one:
        one.opened()
        assert one.ask({"image.wrist": b"no image", "robot_state.q": [0.0] * 7})["code"] == "bad_message"
        one.ask({"robot_state.q": [0.0] * 7})
        waited(watching.come)
    assert [(record.number, record.error) for record in watching.records] == [(1, "bad_message"), (2, None)]
    assert watching.records[0].frame_bytes > 0


def test_what_became_of_the_records_is_counted_where_others_look():
    watching = Noting(2)
    with InferenceServer(hold, port=0, observers={"mine": watching}) as server:
        with InferenceClient(server.host, server.port) as client, client.new_session() as session:
            session.infer(joints(1))
            session.infer(joints(2))
            waited(watching.come)
        assert get_json(server, "/api/v1/status")["observers"]["mine"].keys() == {"seen", "dropped", "failed"}
        metrics = get(server, "/metrics")[1]
    for outcome in ("seen", "dropped", "failed"):
        assert f'offboard_observed_total{{observer="mine",outcome="{outcome}"}}' in metrics


def test_a_server_without_observers_says_nothing_of_them():
    with InferenceServer(hold, port=0) as server:
        assert "observers" not in get_json(server, "/api/v1/status")
        assert "offboard_observed_total{" not in get(server, "/metrics")[1]


def test_observers_are_closed_where_the_server_cannot_listen():
    watching = Noting()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = InferenceServer(hold, port=taken.getsockname()[1], observers=[watching])
        with pytest.raises(ConfigurationError, match="in use"):
            server.start()
    assert watching.closed == 1
    assert not [one for one in threading.enumerate() if one.name == "offboard-observer-Noting"]


def test_a_server_whose_observers_are_closed_does_not_start_again():
    server = InferenceServer(hold, port=0, observers=[Noting()])
    with server:
        pass
    with pytest.raises(ConfigurationError, match="observers were closed"):
        server.start()
