"""PROTOCOL sections 6 and 7: what a frame may hold, and what each name means."""

import base64
import io
import json

import msgpack
import numpy as np
import offboard_core.scripted
import pytest
from offboard_core import Chunk, Field
from offboard_core.plugins import Plugins
from offboard_core.server import InferenceServer
from offboard_core.source import from_flags
from PIL import Image
from puppets import Puppet, source
from robots import get_json, robot

PIXELS = np.tile(np.arange(0, 96, 2, dtype=np.uint8)[None, :, None], (32, 1, 3))


def picture(form="PNG"):
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, form, quality=95)
    return out.getvalue()


def binary(array, **changes):
    """The marker map as openpi and Positronic write it, changed."""
    marker = {
        b"__ndarray__": True, b"data": array.tobytes(), b"dtype": array.dtype.str, b"shape": list(array.shape),
    }  # fmt: skip
    return {**marker, **{name.encode(): value for name, value in changes.items()}}


@pytest.fixture(scope="module")
def world():
    seen = []

    def look(episode, inputs):
        seen.append(inputs)
        return Chunk(np.zeros((1, 2)))

    declared = {"tactile": Field(shape=(-1, -1, 3), dtype="uint8", required=False)}
    with InferenceServer({"only": source({"a": lambda: Puppet(look)}, inputs=declared)}, port=0) as server:
        with robot(server) as one:
            one.opened()

        def ask(frame, query=""):
            """(what the policy saw, or None; the reply). The session has to live on."""
            seen.clear()
            with robot(server, query=query) as one:
                one.opened()
                reply = one.ask(frame if isinstance(frame, (bytes, str)) else msgpack.packb(frame))
                found = dict(seen[0]) if seen else None
                assert "result" in one.ask({})
            return found, reply

        yield ask


def refused(world, frame):
    found, reply = world(frame)
    assert found is None
    assert reply["code"] == "bad_message", reply
    return reply["error"]


@pytest.mark.rule("E-1", "E-2")
@pytest.mark.parametrize("dtype", ["|b1", "|i1", "|u1", "<i2", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8", ">f4", ">i2"])
def test_arrays_of_openpis_form_are_read(world, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found, _ = world({"x": binary(array), "s": {b"__npgeneric__": True, b"data": 3, b"dtype": "|u1"}})
    assert found["x"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found["x"], array)
    assert found["s"] == 3


@pytest.mark.rule("E-3")
def test_the_same_maps_with_str_keys_are_read(world):
    array = np.arange(4, dtype=np.float32)
    marker = {"__ndarray__": True, "data": array.tobytes(), "dtype": "<f4", "shape": [4]}
    found, _ = world({"x": marker, "s": {"__npgeneric__": True, "data": 2.5, "dtype": "<f4"}})
    np.testing.assert_array_equal(found["x"], array)
    assert found["s"] == 2.5


@pytest.mark.rule("E-4")
@pytest.mark.parametrize("more", [{b"ndim": 3}, {b"shape": [32, 48, 3]}])
def test_positronics_jpeg_map_is_read(world, more):
    found, _ = world({"image.wrist": {b"__jpeg__": True, b"frames": [picture("JPEG")], **more}})
    assert found["image.wrist"].shape == (32, 48, 3)
    assert np.abs(found["image.wrist"].astype(int) - PIXELS).max() <= 8


@pytest.mark.rule("E-4")
def test_a_batch_of_positronics_jpegs_is_read(world):
    found, _ = world({"clip": {b"__jpeg__": True, b"frames": [picture("JPEG")] * 2, b"ndim": 4}})
    assert found["clip"].shape == (2, 32, 48, 3)


@pytest.mark.rule("E-5")
@pytest.mark.parametrize("name", ["image.wrist", "wrist_image", "observation.images.top", "tactile", "left_image"])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_image_files_are_images_under_the_names_of_images(world, name, form):
    found, _ = world({name: picture(form)})
    (image,) = found.values()
    assert image.dtype == np.uint8
    assert image.shape == (32, 48, 3)
    if form == "PNG":
        np.testing.assert_array_equal(image, PIXELS)


@pytest.mark.rule("E-5")
@pytest.mark.parametrize("name", ["payload", "image", "images.wrist", "robot_state.q"])
def test_bytes_under_other_names_stay_bytes(world, name):
    found, _ = world({name: picture()})
    assert found[name] == picture()


@pytest.mark.rule("E-6", "E-7")
def test_text_is_json_and_is_answered_with_text(world):
    frame = {
        "q": [[1, 2], [3, 4.5]], "grip": [0.5], "task": "stack", "names": ["a", "b"],
        "image.wrist": base64.b64encode(picture()).decode(), "tactile": PIXELS.tolist(),
    }  # fmt: skip
    found, reply = world(json.dumps(frame))
    np.testing.assert_array_equal(found["q"], [[1, 2], [3, 4.5]])
    np.testing.assert_array_equal(found["image.wrist"], PIXELS)
    np.testing.assert_array_equal(found["tactile"], PIXELS)
    assert found["tactile"].dtype == np.uint8
    assert (found["task"], found["names"]) == ("stack", ["a", "b"])
    assert reply["result"] == [{"action": [0.0, 0.0]}]


@pytest.mark.rule("E-7", "R-10")
def test_each_frame_is_answered_in_its_own_encoding(world):
    found, reply = world(json.dumps({"x": [1]}))
    assert isinstance(reply["result"][0]["action"], list)
    found, reply = world({"x": [1]})
    assert isinstance(reply["result"][0]["action"], np.ndarray)
    np.testing.assert_array_equal(found["x"], [1.0])


@pytest.mark.rule("E-9", "E-15")
@pytest.mark.parametrize(
    "dtype",
    ["|O", "O", "|V8", "<U4", "|S4", "<c8", "<M8[ns]", "<m8", "f4,f4", "[('a','<f4')]", "", "x", "float32" * 99],
)
def test_other_dtypes_are_refused(world, dtype):
    assert "dtype" in refused(world, {"x": binary(np.zeros(4, np.float32), dtype=dtype)})
    assert "dtype" in refused(world, {"x": {b"__npgeneric__": True, b"data": b"\0" * 8, b"dtype": dtype}})


@pytest.mark.rule("E-10", "E-11", "E-15")
@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [-1]}, {"shape": [-4]}, {"shape": [-1, -4]}, {"shape": [2**62, 4]}, {"shape": [2**63, 0]},
        {"shape": [1] * 8 + [4]}, {"shape": [4.0]}, {"shape": ["4"]}, {"shape": [True, 4]}, {"shape": 4},
        {"shape": None}, {"shape": [3]}, {"shape": [5]}, {"data": b""}, {"data": b"\0" * 15}, {"data": b"\0" * 17},
        {"data": "text"}, {"data": None}, {"dtype": None},
    ],
    ids=str,
)  # fmt: skip
def test_shape_and_data_have_to_agree(world, changes):
    refused(world, {"x": binary(np.zeros(4, np.float32), **changes)})


@pytest.mark.rule("E-10")
def test_eight_dimensions_are_allowed(world):
    found, _ = world({"x": binary(np.zeros((1,) * 8, np.float32))})
    assert found["x"].shape == (1,) * 8


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.rule("E-13", "E-15")
@pytest.mark.parametrize(
    "frame",
    [
        {"x": [{}] * 8000, "y": [[{}] * 8000] * 13},
        {str(i): 0 for i in range(2000)},
        {"x": nested(40)},
        {"x": nested(400)},
        b"\x81\xa1x" + b"\x91" * 5000 + b"\xc0",
        b"\x81\xa1x\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1x\xdb\xff\xff\xff\xff",
        b"\x81\xa1x\xc7\x04\x01abcd",
    ],
    ids=[
        "many maps",
        "many keys",
        "deep",
        "deeper",
        "brackets",
        "claims a list",
        "claims a map",
        "claims a string",
        "extension",
    ],
)
def test_what_would_cost_memory_is_refused(world, frame):
    refused(world, frame)


@pytest.mark.rule("E-13", "E-15")
@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"x":' * 5000 + "1" + "}" * 5000, '{"x": [' + "0," * 200_000 + "0]}", '{"x": ' + "9" * 5000 + "}"],
)
def test_text_that_would_cost_memory_is_refused(world, text):
    refused(world, text)


@pytest.mark.rule("E-13")
def test_a_list_of_strings_takes_the_room_of_its_strings():
    """One long string among many short ones: an array would give each the room of the longest, 16 GB in all."""
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        one.ask({})
        before = get_json(server, "/api/v1/status")["memory_bytes"]
        assert "result" in one.ask(msgpack.packb({"names": ["x" * 2**20] + [""] * 4000}))
        assert get_json(server, "/api/v1/status")["memory_bytes"] < before + 100 * 2**20


@pytest.mark.rule("E-13", "E-15")
def test_sixteen_mebibytes_of_empty_maps_cost_no_memory():
    maps = b"\x81\xa1x\xdd" + (2**24).to_bytes(4, "big") + b"\x80" * 2**24
    lists = b"\x81\xa1x" + (b"\xdc\x20\x00" + b"\x80" * 8191) * 2040
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        one.ask({})
        before = get_json(server, "/api/v1/status")["memory_bytes"]
        for frame in (maps, lists):
            assert one.ask(frame)["code"] == "bad_message"
            assert get_json(server, "/api/v1/status")["memory_bytes"] < before + 200 * 2**20
        assert "result" in one.ask({})


def forged(width, height):
    """A JPEG whose header says so."""
    data = bytearray(picture("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


@pytest.mark.rule("E-14", "E-15")
@pytest.mark.parametrize("size", [(30000, 30000), (8193, 1), (1, 8193), (8000, 3000), (65535, 65535)])
def test_a_forged_header_is_refused_before_anything_is_decoded(size):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server, robot(server) as one:
        one.opened()
        one.ask({})
        before = get_json(server, "/api/v1/status")["memory_bytes"]
        for frame in (
            {"image.wrist": forged(*size)},
            {"image.wrist": {b"__jpeg__": True, b"frames": [forged(*size)], b"ndim": 3}},
        ):
            reply = one.ask(msgpack.packb(frame))
            assert reply["code"] == "bad_message"
            assert "8192" in reply["error"]
        text = one.ask_text({"image.wrist": base64.b64encode(forged(*size)).decode()})
        assert text["code"] == "bad_message"
        assert get_json(server, "/api/v1/status")["memory_bytes"] < before + 50 * 2**20
        assert "result" in one.ask({})


@pytest.mark.rule("E-15")
@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\xc1", b"\x81", b"hello", b"\xa5hello", b"\x93\x01\x02\x03", b"\xc0", b"\x01", b"\x81\x01\x02",
        b"\x80\x80",
        b"\x81\xc4\x01x\x01", b"\x82\xa1x\x01\xa1x\x02", b"\x81\xa1x\xa2\xff\xfe",
        "", "not json", "{", "[1, 2]", "3", "null", '"text"', '{"x": NaN}', '{"x": Infinity}',
        '{"x": 1e999}', '{"x": 1, "x": 2}',
        '{"image.wrist": "no base64!"}', '{"image.wrist": "aGVsbG8="}', '{"x": [[1, 2], [3]]}', '{"x": "\\ud800"}',
        msgpack.packb({"image.wrist": b"no image"}), msgpack.packb({"x": [[1, 2], [3]]}),
        msgpack.packb({"image.wrist": {b"__jpeg__": True, b"frames": [], b"ndim": 3}}),
        msgpack.packb({"image.wrist": picture("JPEG")[:400]}),
    ],
    ids=lambda frame: repr(frame)[:30],
)  # fmt: skip
def test_what_is_no_observation_is_answered_and_the_session_lives(world, frame):
    refused(world, frame)


# -- the observation -----------------------------------------------------------------------------------------------


@pytest.mark.rule("O-1", "O-9", "O-11")
def test_every_name_is_taken_and_passes_untouched(world):
    frame = {
        "a.b.c": [1, 2], "sim.objects.cube": [0.0] * 7, "note": "hello", "flag": True, "ünïcode": 3, "nothing": None,
        "obs_time": 1763632800000000000, "offboard.prefix": [[0.0, 1.0]], "offboard.delay_steps": 2,
    }  # fmt: skip
    found, reply = world(frame)
    assert "result" in reply
    assert found.keys() == frame.keys()
    np.testing.assert_array_equal(found["a.b.c"], [1, 2])
    assert found["note"] == "hello"
    assert found["obs_time"] == frame["obs_time"]
    assert found["offboard.prefix"] == frame["offboard.prefix"]


@pytest.mark.rule("O-8")
@pytest.mark.parametrize(
    ("old", "canonical"),
    [
        ("ee_pose", "robot_state.ee_pose"), ("joint_positions", "robot_state.q"), ("wrist_image", "image.wrist"),
        ("exterior_image", "image.exterior"), ("prompt", "task"), ("instruction", "task"),
    ],
)  # fmt: skip
def test_the_older_names_are_understood(world, old, canonical):
    value = "stack" if canonical == "task" else [0, 1, 2]
    found, _ = world({old: value})
    assert found.keys() == {canonical}


@pytest.mark.rule("O-8", "L-3")
def test_one_thing_under_two_names_is_refused(world):
    found, reply = world({"prompt": "stack", "task": "unstack"})
    assert found is None
    assert reply["code"] == "bad_observation"
    assert "task" in reply["error"]


@pytest.mark.rule("O-8", "O-9")
def test_a_name_that_the_model_itself_declares_is_left_alone():
    declared = {"prompt": Field(dtype="str"), "wrist_image": Field(shape=(-1, -1, 3), dtype="uint8")}
    seen = []

    def look(episode, inputs):
        seen.append(inputs)
        return Chunk(np.zeros((1, 2)))

    models = source({"a": lambda: Puppet(look)}, inputs=declared)
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        one.opened()
        assert "result" in one.ask({"prompt": "stack", "wrist_image": PIXELS})
    assert seen[0].keys() == {"prompt", "wrist_image"}


ROBOT = {
    "robot_state.ee_pose": Field(shape=(7,), dtype="float32"),
    "robot_state.q": Field(shape=(7,), dtype="float32", unit="rad"),
    "robot_state.dq": Field(shape=(7,), dtype="float32", unit="rad/s", required=False),
    "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8", required=False),
    "task": Field(dtype="str", required=False),
}
STATE = {"robot_state.ee_pose": np.array([0.4, 0, 0.3, 1, 0, 0, 0]), "robot_state.q": np.zeros(7)}


@pytest.mark.rule("O-1", "O-2", "O-3", "O-5", "O-6", "M-3", "O-10")
def test_what_the_model_declares_is_checked_before_it():
    with InferenceServer({"only": source({"a": Puppet}, inputs=ROBOT)}, port=0) as server, robot(server) as one:
        one.opened()
        more = {"robot_state.dq": np.zeros(7), "image.wrist": PIXELS, "task": "stack", "extra": 1}
        assert "result" in one.ask({**STATE, **more})
        for wrong in (
            {"robot_state.ee_pose": np.zeros(6)},
            {"robot_state.q": np.array([0, 0, np.nan, 0, 0, 0, 0])},
            {"robot_state.q": np.zeros((1, 7))},
            {"robot_state.dq": "fast"},
            {"image.wrist": PIXELS.astype(np.float32) / 255},
            {"image.wrist": PIXELS[..., :1]},
            {"task": 3},
            {"robot_state.q": None},
        ):
            reply = one.ask({**STATE, **wrong})
            assert reply["code"] == "bad_observation", wrong
            assert next(iter(wrong)) in reply["error"]
        missing = one.ask({"robot_state.ee_pose": np.zeros(7), "robot_state.Q": np.zeros(7)})
        assert "did you mean" in missing["error"], "named, and not used"
        assert "result" in one.ask(STATE)


@pytest.mark.rule("O-7")
def test_two_arms_are_told_apart_by_the_arms_name():
    names = ["robot_state.left.q", "robot_state.right.q", "grip.left", "grip.right"]
    seen = []

    def both(episode, inputs):
        seen.append(inputs)
        return Chunk({f"target_joints.{arm}": np.full((2, 7), value) for arm, value in (("left", 1.0), ("right", 2.0))})

    outputs = {f"target_joints.{arm}": Field(shape=(7,), kind="absolute_joints") for arm in ("left", "right")}
    inputs = {name: Field(shape=(7,) if name.endswith("q") else (1,), dtype="float32") for name in names}
    models = source({"a": lambda: Puppet(both)}, inputs=inputs, outputs=outputs)
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        meta = one.opened()["meta"]
        assert meta["action"].keys() == outputs.keys()
        rows = one.ask({name: np.full(7 if name.endswith("q") else 1, i / 10) for i, name in enumerate(names)})[
            "result"
        ]
    assert seen[0].keys() == set(names)
    assert rows[0]["action"]["target_joints.right"].tolist() == [2.0] * 7


@pytest.fixture(scope="module")
def scripted():
    models = from_flags(Plugins.of(scripted=offboard_core.scripted), vendor="scripted")
    with InferenceServer({"scripted": models}, port=0) as server:
        yield server


POSE = [0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0]
SCENE = {"robot_state.ee_pose": POSE} | {f"sim.objects.{name}_cube": POSE for name in ("red", "green", "blue")}


@pytest.mark.rule("O-4")
@pytest.mark.parametrize("grip", [0.5, [0.5], np.float32(0.5), np.array(0.5), np.array([0.5]), -0.05, 1.05])
def test_grip_may_be_a_number_or_one_in_a_list(scripted, grip):
    with robot(scripted) as one:
        one.opened()
        assert "result" in one.ask({**SCENE, "grip": grip})


@pytest.mark.rule("O-4")
@pytest.mark.parametrize("grip", [-0.06, 1.06, 80, [0.5, 0.5], float("nan"), "half", True])
def test_a_grip_that_is_no_closure_is_refused(scripted, grip):
    with robot(scripted) as one:
        one.opened()
        reply = one.ask({**SCENE, "grip": grip})
        assert reply["code"] == "bad_observation"
        assert "grip" in reply["error"]


@pytest.mark.rule("O-2")
def test_a_pose_is_a_translation_and_a_unit_quaternion(scripted):
    with robot(scripted) as one:
        one.opened()
        degrees = {**SCENE, "grip": 0.5, "robot_state.ee_pose": [0.4, 0.0, 0.3, 0.0, 180.0, 0.0, 0.0]}
        assert one.ask(degrees)["code"] == "bad_observation"
