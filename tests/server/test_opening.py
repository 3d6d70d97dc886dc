"""PROTOCOL sections 2, 3 and 10: how a session opens, and what the handshake says."""

import json
import re
import threading
from dataclasses import dataclass

import pytest
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from puppets import ARM_INPUTS, Door, Puppet, arm, reached, source, until
from robots import Robot, connect_to, get, get_json, robot
from websockets.exceptions import InvalidStatus

QUICK = ServiceTimeouts(status_every=0.02)


@dataclass(frozen=True)
class Params:
    temperature: float = 1.0


@pytest.fixture(scope="module")
def server():
    def make():
        return Puppet(params=Params, meta={"device": "cpu", "chunk_length": 3})

    models = source({"a": make, "b/c": make}, inputs=ARM_INPUTS, fps=10)
    with InferenceServer({"only": models}, port=0, frontends={}) as running:
        with robot(running) as one:
            one.opened()
        yield running


@pytest.mark.rule("S-5", "S-8")
def test_ready_is_the_first_frame_when_the_model_is_there(server):
    with robot(server) as one:
        frame = one.receive()
    assert frame.keys() == {"status", "meta", "session_id"}
    assert frame["status"] == "ready"
    assert isinstance(frame["session_id"], str)
    assert len(frame["session_id"]) > 10


def test_no_extension_is_negotiated_even_when_compression_is_offered(server):
    with connect_to(f"ws://{server.host}:{server.port}/api/v1/session", compression="deflate") as connection:
        assert "permessage-deflate" in connection.request.headers["Sec-WebSocket-Extensions"]
        assert connection.response.status_code == 101
        assert "Sec-WebSocket-Extensions" not in connection.response.headers


@pytest.mark.rule("S-1")
@pytest.mark.parametrize("path", ["", "/"])
def test_no_id_means_the_default(server, path):
    with connect_to(f"ws://{server.host}:{server.port}/api/v1/session{path}", compression=None) as connection:
        assert Robot(connection).opened()["meta"]["checkpoint_id"] == "a"


@pytest.mark.rule("S-7", "S-8", "E-8")
def test_loading_is_told_again_and_again_whatever_the_loader_does():
    with Door() as door:

        def silent():
            door.passing()
            return Puppet()

        with (
            InferenceServer({"only": source({"a": silent})}, port=0, limits=QUICK) as server,
            robot(server) as one,
            robot(server, query="encoding=json") as other,
        ):
            for _ in range(3):
                frame = one.receive()
                assert {"status", "message"} <= frame.keys() <= {"status", "message", "phase", "elapsed_s"}
                assert frame["status"] == "loading"
                assert isinstance(one.receive_raw(), bytes)
                assert json.loads(other.receive_raw())["status"] == "loading"
            door.open()
            one.opened()
            other.opened()


@pytest.mark.rule("S-7")
def test_the_interval_of_status_frames_is_within_the_promise():
    assert ServiceTimeouts().status_every <= 5.0


@pytest.mark.rule("S-6")
def test_who_waits_is_told_for_whom():
    with (
        InferenceServer({"only": source({"a": Puppet, "b": Puppet})}, port=0, limits=QUICK) as server,
        robot(server) as holder,
    ):
        holder.opened()
        host, port = holder.connection.local_address[:2]
        with robot(server, "b") as waiting:
            frame = waiting.receive()
            assert frame["status"] == "waiting"
            assert re.match(rf"a is in use by {re.escape(host)}:{port}, for [0-9]+ s", frame["message"])
            assert waiting.told("waiting")
            holder.connection.close()
            assert waiting.opened()["meta"]["checkpoint_id"] == "b"


@pytest.mark.rule("S-4", "S-9", "C-5", "R-20")
@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%2Fetc%2Fpasswd",
        "nobody",
        "A",
        "a/",
        "a%00",
    ],
)
def test_an_unknown_model_is_an_error_and_1008(server, path):
    with robot(server, path) as one:
        frame = one.refused()
        assert frame.keys() == {"status", "error", "code"}
        assert frame["code"] == "model_not_found"
        assert "there are: a, b/c" in frame["error"]
        assert one.closed() == 1008
        assert one.reason == "model_not_found"
    with robot(server) as one:
        assert one.receive()["status"] == "ready"


@pytest.mark.rule("S-9", "R-20")
def test_a_load_that_fails_is_an_error_and_the_slot_is_free():
    def broken():
        raise OSError("the disk is full")

    with InferenceServer({"only": source({"bad": broken, "good": Puppet})}, port=0) as server:
        with robot(server, "bad") as one:
            frame = one.refused()
            assert frame["code"] == "load_failed"
            assert "bad could not be loaded: OSError: the disk is full" in frame["error"]
            assert one.closed() == 1008
        with robot(server, "good") as one:
            one.opened()


@pytest.mark.rule("Q-5", "Q-4", "S-9")
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("temprature=1", "temperature"),
        ("temperature=1&temperature=2", "twice"),
        ("temperature=hot", "temperature"),
        ("codec.fsp=10", "fps"),
        ("codec.fps=10&codec.fps=10", "twice"),
        ("codec.fps=-1", "fps"),
        ("dialect=klingon", "offboard, positronic"),
        ("dialect=offboard&dialect=offboard", "twice"),
        ("layout=diagonal", "rows, columns"),
        ("encoding=xml", "json"),
        ("model_id=a", "model_id"),
        ("=", None),
        ("%ff%fe=1", None),
    ],
)
def test_a_parameter_that_does_not_exist_or_fit_is_refused(server, query, says):
    with robot(server, query=query) as one:
        frame = one.refused()
        assert frame["code"] == "bad_parameter"
        assert says is None or says in frame["error"]
        assert one.closed() == 1008


@pytest.mark.rule("Q-1", "Q-2", "Q-4", "M-1")
def test_parameters_hold_for_one_session(server):
    with robot(server, query="temperature=0.5&codec.fps=20&dialect=offboard&layout=rows&encoding=msgpack") as one:
        assert one.opened()["meta"]["action_fps"] == 20
    with robot(server) as one:
        assert one.opened()["meta"]["action_fps"] == 10


@pytest.mark.rule("E-8")
def test_the_handshake_is_text_when_asked_for(server):
    with robot(server, query="encoding=json") as one:
        assert json.loads(one.receive_raw())["status"] == "ready"
    with robot(server, "nobody", query="encoding=json") as one:
        assert json.loads(one.receive_raw())["code"] == "model_not_found"
    with robot(server, query="encoding=json&layout=no") as one:
        assert json.loads(one.receive_raw())["code"] == "bad_parameter"
    with robot(server) as one:
        assert isinstance(one.receive_raw(), bytes)


@pytest.mark.rule("M-1", "M-2", "M-3", "M-5", "M-6", "M-7", "M-8", "M-9", "M-11", "M-4")
def test_meta_says_all_that_a_robot_must_know():
    with InferenceServer({"only": arm()}, port=0) as server:
        with robot(server) as one:
            meta = one.opened()["meta"]
        with robot(server, "arm") as one:
            assert one.opened()["meta"] == meta, "equal on every connection"
    identity = {"type", "host", "port", "checkpoint_path", "checkpoint_id", "experiment_name", "offboard_version"}
    assert identity <= meta.keys()
    assert (meta["type"], meta["checkpoint_id"], meta["checkpoint_path"]) == ("puppet", "arm", "memory/arm")
    assert (meta["host"], meta["port"]) == (server.host, server.port)
    assert meta["observation"]["robot_state.ee_pose"] == {
        "shape": [7], "dtype": "float32", "unit": "m, unit quaternion wxyz", "required": True,
    }  # fmt: skip
    assert meta["observation"]["task"]["required"] is False
    assert meta["action"]["target_pose"] == {
        "shape": [7], "unit": "m, unit quaternion wxyz", "kind": "absolute_pose",
    }  # fmt: skip
    assert meta["action"]["target_grip"]["kind"] == "grip"
    assert meta["action_fps"] == 10
    assert meta["chunk_length"] is None
    assert (meta["codec"], meta["codec_source"]) == ("core.native", "default")
    assert isinstance(meta["conventions"], dict)
    assert meta["image_sizes"] is None
    assert meta["compress_images"] is False
    assert meta["local_stack"]["seq"][0] == {"name": "stop_on_fault"}
    assert isinstance(meta["positronic_version"], str)
    assert "protocol_version" not in meta, "Positronic's clients take its absence for version 1"


@pytest.mark.rule("M-2", "M-7")
def test_what_the_vendor_knows_is_in_meta(server):
    with robot(server) as one:
        meta = one.opened()["meta"]
    assert meta["device"] == "cpu"
    assert meta["chunk_length"] == 3


@pytest.mark.rule("M-6")
def test_without_a_rate_there_are_no_timestamps():
    with InferenceServer({"only": arm(fps=None)}, port=0) as server, robot(server) as one:
        assert one.opened()["meta"]["action_fps"] is None
        rows = one.ask_text({"robot_state.ee_pose": [0, 0, 0, 1, 0, 0, 0]})["result"]
        assert [row.keys() for row in rows] == [{"action"}] * 3


@pytest.mark.rule("M-10")
def test_the_digest_tells_models_apart_and_not_their_addresses():
    hashes = []
    for models in (arm(), arm(), arm(fps=20)):
        with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
            hashes.append(one.opened()["meta"]["spec_hash"])
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.rule("C-9")
@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/sessions", "/api/v2/session", "/metrics"])
def test_a_path_that_is_no_route_is_refused_before_the_upgrade(server, path):
    with pytest.raises(InvalidStatus) as refused:
        connect_to(f"ws://{server.host}:{server.port}{path}")
    assert refused.value.response.status_code == 403


@pytest.mark.rule("C-10")
def test_a_full_server_says_when_to_come_back():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, max_sessions=1) as server:
        with robot(server) as one:
            one.opened()
            with pytest.raises(InvalidStatus) as refused, robot(server):
                pass
            assert refused.value.response.status_code == 503
            assert int(refused.value.response.headers["Retry-After"]) > 0
            assert json.loads(refused.value.response.body)["code"] == "full"
        until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "the session is over")
        with robot(server) as one:
            one.opened()


@pytest.mark.rule("C-10", "C-8", "H-5")
def test_a_draining_server_takes_nobody_and_finishes_what_is_in_flight():
    with Door() as door:
        server = InferenceServer({"only": source({"a": lambda: Puppet(doors={0: door})})}, port=0, grace=30.0)
        server.start()
        with robot(server) as one, robot(server) as idle:
            one.opened()
            idle.opened()
            one.send({})
            reached(door.entered)
            stopping = threading.Thread(target=server.stop, args=(60,))
            stopping.start()
            until(lambda: get(server, "/readyz")[0] != 200, "it drains")
            assert get(server, "/livez")[0] == 200
            with pytest.raises(InvalidStatus) as refused, robot(server):
                pass
            assert refused.value.response.status_code == 503
            assert int(refused.value.response.headers["Retry-After"]) > 0
            assert json.loads(refused.value.response.body)["code"] == "shutting_down"
            door.open()
            assert "result" in one.receive()
            assert one.closed() == 1012
            assert idle.closed() == 1012
        stopping.join(240)
        assert not stopping.is_alive()
