"""PROTOCOL section 6: what a frame may hold."""

import base64
import json

import numpy as np
import pytest
from frames import PIXELS, binary, picture


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


@pytest.mark.parametrize("file", [b"abc", picture()[:60]])
def test_an_image_that_is_none_is_named(world, file):
    found, reply = world({"image.wrist": picture(), "left_image": file})
    assert (found, reply["code"]) == (None, "bad_message")
    assert reply["error"].startswith("left_image: ")
    _, reply = world(json.dumps({"image.wrist": base64.b64encode(file).decode()}))
    assert reply["error"].startswith("image.wrist: ")
