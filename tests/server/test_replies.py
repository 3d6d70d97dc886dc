"""PROTOCOL sections 8 and 9: what comes back, and in whose dialect.

Positronic's own clients are not installed beside these tests; three generations of them are played here byte by byte,
as their frames were recorded: what each sends, and what each of them requires of a handshake and of a row.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgpack
import numpy as np
import pytest
from offboard_client.errors import BY_CODE
from offboard_core import Chunk, Field
from offboard_core.server import InferenceServer
from puppets import ARM_OUTPUTS, Puppet, arm, source
from robots import Robot, robot

POSE = np.array([0.4, 0.1, 0.3, 0.5, 0.5, 0.5, 0.5])
SENT = {"robot_state.ee_pose": POSE, "task": "up"}
#: What the quaternion w x y z of POSE turns into: x to y, y to z, z to x.
ROTATION = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
QUEUED = {"decode_ms", "codec_ms", "queue_ms", "infer_ms", "total_ms", "prev_encode_ms", "batch"}


@contextmanager
def open_robot(models, query: str = "") -> Iterator[Robot]:
    with InferenceServer({"only": models}, port=0) as server, robot(server, query=query) as one:
        one.opened()
        yield one


def answering(columns, fps=10, **more):
    """A model that always answers these columns."""
    chunk = columns if columns is None or isinstance(columns, Chunk) else Chunk(columns)
    return source({"a": lambda: Puppet(lambda episode, inputs: chunk)}, fps=fps, **more)


@pytest.mark.rule("R-1", "R-3", "R-8", "R-10", "R-11")
def test_rows_of_action_and_timestamp():
    with open_robot(arm()) as one:
        rows = one.ask(SENT)["result"]
        assert [row.keys() for row in rows] == [{"action", "timestamp"}] * 3
        assert [row["timestamp"] for row in rows] == pytest.approx([0.0, 0.1, 0.2])
        for i, row in enumerate(rows):
            assert row["action"].keys() == {"target_pose", "target_grip"}
            np.testing.assert_allclose(
                row["action"]["target_pose"], [0.4, 0.1, 0.4 + 0.1 * i, 0.5, 0.5, 0.5, 0.5], 1e-6
            )
            assert row["action"]["target_grip"].shape == (1,)
        text = one.ask_text({name: getattr(v, "tolist", lambda v=v: v)() for name, v in SENT.items()})["result"]
        assert isinstance(text[0]["action"]["target_pose"], list)
        assert text[0]["action"]["target_grip"] == [0.5]


@pytest.mark.rule("R-16", "R-2")
def test_columns_are_the_same_chunk():
    with open_robot(arm(), "layout=columns") as one:
        columns = one.ask(SENT)["result"]["columns"]
        assert columns["action"]["target_pose"].shape == (3, 7)
        assert columns["action"]["target_grip"].shape == (3, 1)
        assert columns["timestamp"].tolist() == pytest.approx([0.0, 0.1, 0.2])
    with open_robot(answering(np.ones((4, 2))), "layout=columns") as one:
        assert one.ask({})["result"]["columns"]["action"].shape == (4, 2)
        text = one.ask_text({})["result"]["columns"]
        assert text["action"] == [[1.0, 1.0]] * 4
    with open_robot(answering(np.ones((4, 2)), fps=None), "layout=columns") as one:
        assert one.ask({})["result"]["columns"].keys() == {"action"}


@pytest.mark.rule("R-2", "R-16")
@pytest.mark.parametrize("query", ["", "layout=columns", "dialect=positronic"])
@pytest.mark.parametrize("answer", [None, Chunk({}), Chunk(np.zeros((0, 7))), Chunk({"target_pose": np.zeros((0, 7))})])
def test_nothing_new_and_stop(query, answer):
    with open_robot(answering(answer), query) as one:
        assert one.ask({})["result"] == (None if answer is None else [])
        assert one.ask_text({})["result"] == (None if answer is None else [])


@pytest.mark.rule("R-4", "R-5", "R-6", "R-7", "R-9", "M-5")
@pytest.mark.parametrize(
    ("name", "width", "kind"),
    [
        ("target_joints", 6, "absolute_joints"), ("joint_delta", 7, "joint_delta"),
        ("joint_velocity", 7, "joint_velocity"), ("pose_delta", 7, "pose_delta"), ("action", 14, "vector"),
    ],
)  # fmt: skip
def test_every_kind_of_action_is_declared_and_sent_as_it_is(name, width, kind):
    values = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    models = answering({name: values}, outputs={name: Field(shape=(width,), kind=kind)})
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        assert one.opened()["meta"]["action"] == {name: {"shape": [width], "unit": None, "kind": kind}}
        rows = one.ask({})["result"]
    np.testing.assert_array_equal([row["action"][name] for row in rows], values)


@pytest.mark.rule("R-9")
def test_a_bare_vector_is_the_action_itself():
    with open_robot(answering(np.arange(6.0).reshape(2, 3))) as one:
        assert [row["action"].tolist() for row in one.ask({})["result"]] == [[0, 1, 2], [3, 4, 5]]


class Cut:
    """A plugin whose codec cuts chunks after 0.3 s."""

    def __init__(self):
        from offboard_core import CodecEntry, hookimpl
        from offboard_core.codecs import timed
        from offboard_core.codecs.native import Native

        def make(options, checkpoint):
            return timed(Native(inputs={}, outputs={}), 10.0, 0.3)

        @hookimpl
        def offboard_codecs():
            yield CodecEntry(name="cut", summary="Cuts.", factory=make)

        self.offboard_codecs = offboard_codecs


@pytest.mark.rule("R-15", "M-7", "R-11")
def test_the_horizon_cuts_the_chunk():
    models = answering(np.zeros((8, 2)), fps=None, codec="cut", plugin=Cut())
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        assert one.opened()["meta"]["action_horizon_sec"] == 0.3
        assert [row["timestamp"] for row in one.ask({})["result"]] == pytest.approx([0.0, 0.1, 0.2])


def arm_of(pose=None, grip=None):
    def answer(episode, inputs):
        poses, grips = np.tile(POSE, (3, 1)), np.full((3, 1), 0.5)
        if len(episode.seen) == 2:
            poses = poses if pose is None else pose
            grips = grips if grip is None else grip
        return Chunk({"target_pose": poses, "target_grip": grips})

    return arm(answer)


@pytest.mark.rule("R-18", "L-3")
@pytest.mark.parametrize(
    "bad",
    [
        {"pose": np.full((3, 7), np.nan)},
        {"pose": np.where(np.arange(21).reshape(3, 7) == 20, np.inf, 0.1)},
        {"grip": np.array([[0.5], [-np.inf], [0.5]], np.float32)},
        {"pose": np.zeros((3, 6))},
        {"pose": np.zeros((3, 1, 7))},
        {"grip": np.full((3, 2), 0.5)},
    ],
)
@pytest.mark.parametrize("query", ["", "layout=columns", "dialect=positronic"])
def test_an_action_that_nobody_meant_is_not_sent(bad, query):
    with open_robot(arm_of(**bad), query) as one:
        one.ask(SENT)
        reply = one.ask(SENT)
        assert reply["code"] == "invalid_action"
        assert "result" not in reply
        assert "result" in one.ask(SENT)


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


@pytest.mark.rule("R-18")
@pytest.mark.parametrize(
    "wrong",
    [
        {"target_pose": np.tile(POSE, (3, 1))},
        {"target_pose": np.tile(POSE, (3, 1)), "target_grip": np.full((3, 1), 0.5), "extra": np.zeros((3, 1))},
        {"target_joints": np.zeros((3, 7)), "target_grip": np.full((3, 1), 0.5)},
    ],
)
def test_an_action_under_other_names_is_not_sent(wrong):
    with open_robot(answering(wrong, outputs=ARM_OUTPUTS)) as one:
        assert one.ask({})["code"] == "invalid_action"


@pytest.mark.rule("R-19")
def test_every_reply_tells_its_time():
    with open_robot(arm()) as one:
        for frame in (SENT, {}, b"\xc1", SENT):
            timing = one.ask(frame)["timing"]
            assert timing.keys() == QUEUED
            assert all(value >= 0 for value in timing.values())
            assert timing["total_ms"] + 1e-6 >= timing["decode_ms"] + timing["infer_ms"]
        assert timing["prev_encode_ms"] > 0
        assert timing["batch"] == 1


@pytest.mark.rule("R-20")
def test_every_code_that_crosses_the_wire_is_a_class():
    sent = (
        "bad_message bad_observation bad_parameter dialect_unsupported busy idle deadline_exceeded model_not_found "
        "load_failed policy_failed invalid_action timeout model_lost unauthorized full shutting_down internal"
    )
    assert set(BY_CODE) == {*sent.split(" "), "configuration", "connection", "connection_lost"}
    assert all(found.code == code for code, found in BY_CODE.items())


# -- Positronic's dialect ------------------------------------------------------------------------------------------


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
    ("columns", "fps"),
    [
        (np.zeros((2, 7)), 10),
        ({"joint_velocity": np.zeros((2, 7))}, 10),
        ({"pose_delta": np.zeros((2, 7))}, 10),
        ({"target_grip": np.zeros((2, 1))}, 10),
        ({"target_pose": np.tile(POSE, (2, 1)), "target_joints": np.zeros((2, 7))}, 10),
        ({"target_pose": np.tile(POSE, (2, 1)), "speed": np.zeros((2, 1))}, 10),
        ({"target_joints.left": np.zeros((2, 7))}, 10),
        ({"target_joints": np.zeros((2, 7))}, None),
    ],
)
def test_what_the_dialect_cannot_express_is_said(columns, fps):
    with open_robot(answering(columns, fps=fps), "dialect=positronic") as one:
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
    """An emulation: the clients' own libraries are not run here. Frames, socket options and demands are theirs."""
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
