"""PROTOCOL section 9: Positronic's dialect.

tests/interop runs Positronic's own packages of today. Its older clients cannot be installed beside us: they are played
here byte by byte, with what each generation sends and what it requires of a handshake and of a row.
"""

import json

import msgpack
import numpy as np
import pytest
from answers import POSE, SENT, answering, arm_of, open_robot
from offboard_core.server import InferenceServer
from puppets import Puppet, arm, source
from robots import robot

#: What the quaternion w x y z of POSE turns into: x to y, y to z, z to x.
ROTATION = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


@pytest.mark.rule("R-18", "P-7")
@pytest.mark.parametrize(
    "pose", [np.zeros((3, 7)), np.tile([0.4, 0, 0.3, 1e-12, 0, 0, 0], (3, 1)), np.full((3, 7), 1e200)]
)
def test_a_pose_whose_rotation_is_none_is_no_row_of_positronics(pose):
    with open_robot(arm_of(pose), "dialect=positronic") as one:
        one.ask(SENT)
        reply = one.ask(SENT)
        assert reply["code"] in ("invalid_action", "dialect_unsupported"), reply
        assert "result" in one.ask(SENT)


@pytest.mark.rule("P-1", "P-3", "P-4")
def test_a_row_of_positronics_is_flat():
    with open_robot(arm(), "dialect=positronic") as one:
        rows = one.ask(SENT)["result"]
    assert len(rows) == 3
    for i, row in enumerate(rows):
        assert row.keys() == {"robot_command", "target_grip", "timestamp"}
        assert row["robot_command"].keys() == {"type", "pose"}
        assert row["robot_command"]["type"] == "cartesian_pos"
        pose = row["robot_command"]["pose"]
        assert isinstance(pose, np.ndarray)
        np.testing.assert_allclose(pose, [0.4, 0.1, 0.4 + 0.1 * i, *np.ravel(ROTATION)], atol=1e-6)
        assert type(row["target_grip"]) is float
        assert row["timestamp"] == pytest.approx(i / 10)


@pytest.mark.rule("P-2", "P-3")
@pytest.mark.parametrize(
    ("name", "kind", "field"),
    [("target_joints", "joint_pos", "positions"), ("joint_delta", "joint_delta", "velocities")],
)
def test_joints_in_positronics_dialect(name, kind, field):
    values = np.arange(14.0).reshape(2, 7)
    with open_robot(answering({name: values}), "dialect=positronic") as one:
        rows = one.ask({})["result"]
    assert [row.keys() for row in rows] == [{"robot_command", "timestamp"}] * 2
    assert rows[1]["robot_command"]["type"] == kind
    assert isinstance(rows[1]["robot_command"][field], np.ndarray)
    np.testing.assert_array_equal(rows[1]["robot_command"][field], values[1])


@pytest.mark.rule("P-7")
@pytest.mark.parametrize(
    "columns",
    [
        np.zeros((2, 7)),
        {"joint_velocity": np.zeros((2, 7))},
        {"pose_delta": np.tile(POSE, (2, 1))},
        {"target_grip": np.zeros((2, 1))},
        {"target_pose": np.tile(POSE, (2, 1)), "target_joints": np.zeros((2, 7))},
        {"target_pose": np.tile(POSE, (2, 1)), "speed": np.zeros((2, 1))},
        {"target_joints.left": np.zeros((2, 7))},
    ],
)
def test_what_the_dialect_cannot_express_is_said(columns):
    with open_robot(answering(columns), "dialect=positronic") as one:
        assert one.ask({})["code"] == "dialect_unsupported"
        assert one.ask({})["code"] == "dialect_unsupported", "the session lives"


@pytest.mark.rule("P-7", "R-18")
@pytest.mark.parametrize(
    "columns", [{"target_pose": np.zeros((2, 6))}, {"target_joints": np.zeros((2, 7)), "target_grip": np.zeros((2, 0))}]
)
def test_an_action_of_an_odd_shape_is_answered(columns):
    with open_robot(answering(columns), "dialect=positronic") as one:
        assert one.ask({})["code"] in ("invalid_action", "dialect_unsupported")
        assert one.ask({"type": "ping"})["status"] == "pong"


SEED_ERA = {"__wall_time_ns__": 1, "__inference_time_ns__": 2}
LATER = {"obs_time_ns": 1, "wall_time_ns": 2}


def is_flat(reply):
    return "robot_command" in reply["result"][0]


@pytest.mark.rule("P-5")
@pytest.mark.parametrize(
    ("marks", "flat"),
    [(SEED_ERA, True), (LATER, True), ({}, False), ({"__wall_time_ns__": 1}, False), ({"wall_time_ns": 1}, False),
     ({"obs_time_ns": 1}, False), ({"obs_time": 1}, False)],
)  # fmt: skip
def test_the_first_observation_decides_once(marks, flat):
    with open_robot(arm()) as one:
        assert is_flat(one.ask({**SENT, **marks})) is flat
        assert is_flat(one.ask({**SENT, **({} if flat else LATER)})) is flat


@pytest.mark.rule("P-4", "P-5")
def test_the_url_decides_before_any_observation():
    with open_robot(arm(), "dialect=offboard") as one:
        assert not is_flat(one.ask({**SENT, **LATER}))
    with open_robot(arm(), "dialect=positronic") as one:
        assert is_flat(one.ask(SENT))


@pytest.mark.rule("P-8")
def test_the_local_stack_names_the_largest_image():
    class Sizes:
        def __init__(self, sizes):
            from offboard_core import Codec, CodecEntry, CodecMeta, hookimpl

            class Sized(Codec):
                meta = CodecMeta(image_sizes=sizes)

            @hookimpl
            def offboard_codecs():
                yield CodecEntry(name="sized", summary="Declares sizes.", factory=lambda options, checkpoint: Sized())

            self.offboard_codecs = offboard_codecs

    plain = [{"name": "stop_on_fault"}, {"name": "chunked_schedule"}]
    for sizes, sent, largest in (
        (None, None, None),
        ((224, 160), [224, 160], {"width": 224, "height": 160}),
        (
            {"image.wrist": (96, 128), "image.exterior": (320, 64)},
            {"image.wrist": [96, 128], "image.exterior": [320, 64]},
            {"width": 320, "height": 128},
        ),
    ):
        models = source({"a": Puppet}, codec="sized", plugin=Sizes(sizes))
        with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
            meta = one.opened()["meta"]
        restrict = [{"name": "restrict_image_size", "args": largest}] if largest else []
        assert meta["local_stack"] == {"seq": plain + restrict}
        assert meta["image_sizes"] == sent


def pack(value):
    """msgpack with arrays as the clients of all three generations write them."""

    def special(array):
        assert isinstance(array, np.ndarray)
        return {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": array.shape}

    return msgpack.packb(value, default=special)


def unpack(frame):
    """… and as they read them: the frame must be binary, keys str or bytes, markers exactly of this form."""
    assert isinstance(frame, bytes), "their clients assert that a frame is binary"

    def hook(found):
        if b"__ndarray__" in found:
            return np.ndarray(buffer=found[b"data"], dtype=np.dtype(found[b"dtype"]), shape=found[b"shape"])
        if b"__npgeneric__" in found:
            return np.dtype(found[b"dtype"]).type(found[b"data"])
        return found

    return msgpack.unpackb(frame, object_hook=hook, strict_map_key=True)


#: The names that every later generation can build on its side.
KNOWN_PARTS = {"stop_on_fault", "chunked_schedule", "restrict_image_size"}
RAW = {"robot_state.ee_pose": POSE, "robot_state.q": np.zeros(7), "robot_state.dq": np.zeros(7), "grip": 0.25,
       "image.wrist": np.zeros((48, 64, 3), np.uint8), "task": "up"}  # fmt: skip


@pytest.mark.rule("P-9")
@pytest.mark.parametrize(
    ("added", "limit", "compression"),
    [
        (SEED_ERA, 2**20, "deflate"),
        ({**LATER, "descriptor": "arm", "robot_state.status": 0}, 2**20, "deflate"),
        (LATER, 16 * 2**20, None),
    ],
    ids=["the documents' time", "its later main branch", "0.4.1"],
)
def test_what_positronics_clients_send_and_need(added, limit, compression):
    """An emulation: frames, socket options and demands are the clients', the code is not."""
    with (
        InferenceServer({"only": arm()}, port=0) as server,
        robot(server, compression=compression, max_size=limit) as one,
    ):
        while (frame := unpack(one.receive_raw()))["status"] != "ready":
            assert frame["status"] in ("waiting", "loading")
            assert isinstance(frame["message"], str)
        meta = frame["meta"]
        assert "protocol_version" not in frame, "the last generation takes its absence for version 1"
        assert isinstance(frame["session_id"], str)
        assert isinstance(meta["action_fps"], (int, float))
        for name in (
            "type",
            "host",
            "port",
            "checkpoint_id",
            "checkpoint_path",
            "experiment_name",
            "positronic_version",
        ):
            assert name in meta
        assert isinstance(meta["compress_images"], bool)
        parts = meta["local_stack"]["seq"]
        assert {part["name"] for part in parts} <= KNOWN_PARTS
        assert "chunked_schedule" in {part["name"] for part in parts}
        for _ in range(2):
            one.connection.send(pack({**RAW, **added}))
            reply = unpack(one.receive_raw())
            assert "error" not in reply, "any frame with it raises there"
            rows = reply["result"]
            assert isinstance(rows, list)
            for i, row in enumerate(rows):
                assert row.keys() <= {"robot_command", "target_grip", "timestamp"}, "others are a KeyError in the rig"
                assert isinstance(row["target_grip"], float)
                assert row["timestamp"] == pytest.approx(i / meta["action_fps"])
                command = row["robot_command"]
                assert command["type"] == "cartesian_pos"
                assert isinstance(command["pose"], np.ndarray), "the oldest generation fails on a list"
                assert command["pose"].shape == (12,)
        one.connection.close(1000)


@pytest.mark.rule("P-9")
def test_golden_bytes_of_the_wire_that_they_share():
    golden = (
        "81a17884c40b5f5f6e6461727261795f5fc3c40464617461c4080000803f00000040c4056474797065a33c6634c40573686170659102"
    )
    assert pack({"x": np.array([1, 2], np.float32)}).hex() == golden
    with open_robot(answering(np.array([[1, 2]], np.float32), fps=None)) as one:
        one.send(b"\x80")
        raw = one.receive_raw()
    assert (
        b"\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x08\x00\x00\x80?\x00\x00\x00@\xc4\x05dtype\xa3<f4\xc4\x05shape\x91\x02"
        in raw
    )
    assert json.dumps(unpack(raw)["result"][0]["action"].tolist()) == "[1.0, 2.0]"
