"""PROTOCOL section 6: what a frame may not hold, and that it costs nothing to say so."""

import base64

import msgpack
import numpy as np
import pytest
from frames import binary, picture, refused
from offboard_core.server import InferenceServer
from puppets import Puppet, source
from robots import get_json, robot


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


@pytest.mark.rule("E-18", "E-15")
@pytest.mark.parametrize(
    ("frame", "form"),
    [
        ({"x": {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [1], b"data": b"\0" * 4}}, "msgpack-numpy"),
        ({"x": {"__ndarray_class__": True, "as_npy": b"\x93NUMPY"}}, "GR00T"),
        ({"x": {b"__tensor__": True, b"data": b"", b"dtype": "float32", b"shape": [0]}}, "PathOn-AI"),
        ('{"x": {"__numpy__": "AAAA", "dtype": "<f4", "shape": [1]}}', "json_numpy"),
    ],
    ids=["msgpack-numpy", "gr00t", "pathon", "json_numpy"],
)
def test_another_projects_form_of_an_array_is_named(world, frame, form):
    assert f"x: it comes in {form}'s form" in refused(world, frame)
